/* The limits that a server inherits from the call that starts it. They would bind it, and what it starts, for as long
 * as it lives. So this process takes the highest possible limits while it starts the server: it lifts hard limits where
 * that is allowed (root) and raises soft ones to the hard ones. If a server could not work with the result, the call
 * fails.
 *
 * Only the limits that affect the server itself: where hard limits may be lifted, each job gets those of its own
 * client. */
#include "launcher.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MEBIBYTE = 1 << 20, HARD = 1 };

/* Memory: what a server with a small queue needs. File size: what `runs` and a segment of the table need, which have
 * their full length from the beginning. */
static const struct need {
    int limit;
    uint64_t least;
    const char *name;
} needs[] = {
    {RLIMIT_CPU, 2, "RLIMIT_CPU (ulimit -t) is "},
    {RLIMIT_FSIZE, TSF_HOT_BYTES + TSF_COLD_BYTES, "RLIMIT_FSIZE (ulimit -f) is "},
    {RLIMIT_DATA, 32 * MEBIBYTE, "RLIMIT_DATA (ulimit -d) is "},
    {RLIMIT_NOFILE, 64, "RLIMIT_NOFILE (ulimit -n) is "},
    {RLIMIT_AS, 64 * MEBIBYTE, "RLIMIT_AS (ulimit -v) is "},
};
enum { NEEDS = sizeof(needs) / sizeof(needs[0]) };
_Static_assert(sizeof(((struct limits *)NULL)->of) / (2 * sizeof(uint64_t)) == NEEDS, "one for each");

/* What RLIMIT_NOFILE can be at most. */
static uint64_t most_files(void)
{
    char text[32];
    int file = open("/proc/sys/fs/nr_open", O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? 0 : read(file, text, sizeof(text) - 1);

    if (file >= 0)
        close(file);
    text[size > 0 ? size : 0] = '\0';
    return strtoull(text, NULL, 10);
}

/* False if a server could not work with it. */
static bool lift(const struct need *need, uint64_t had[2])
{
    uint64_t highest = need->limit == RLIMIT_NOFILE ? most_files() : UINT64_MAX;
    uint64_t wanted[2] = {highest, highest};

    if (syscall(SYS_prlimit64, 0, need->limit, NULL, had) != 0)
        had[0] = had[HARD] = UINT64_MAX; /* unreadable, so also unchangeable */
    if (had[HARD] < highest && syscall(SYS_prlimit64, 0, need->limit, wanted, NULL) == 0)
        return true;
    wanted[0] = wanted[HARD] = had[HARD];
    if (had[0] != had[HARD])
        syscall(SYS_prlimit64, 0, need->limit, wanted, NULL);
    return had[HARD] >= need->least;
}

/* Refuses if a server could not work. */
void lift_limits(struct limits *had)
{
    char its[24], least[24];

    for (int i = 0; i < NEEDS; i++) {
        if (lift(&needs[i], had->of[i]))
            continue;
        signal(SIGXFSZ, SIG_IGN); /* stderr can be a file, too */
        refuse("no server can be started by this call: ", needs[i].name, decimal(had->of[i][HARD], its),
               ", a server needs ", decimal(needs[i].least, least), " at least");
    }
}

/* This call continues with its own limits. */
void restore_limits(const struct limits *had)
{
    for (int i = 0; i < NEEDS; i++)
        syscall(SYS_prlimit64, 0, needs[i].limit, had->of[i], NULL);
}

/* The limit that ends a server which works well until then. */
void tell_of_its_end(void)
{
    struct rlimit left;
    char its[24];

    if (getrlimit(RLIMIT_CPU, &left) == 0 && left.rlim_max != RLIM_INFINITY)
        complain("warning: ", needs[0].name, decimal(left.rlim_max, its),
                 ", so the server is killed after so many seconds of processor time; the queue is kept, and the next "
                 "call starts another one",
                 (char *)NULL);
}
