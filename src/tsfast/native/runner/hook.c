/* ts-run hook ID SUFFIX PROGRAM ARG...: becomes the program that runs after a job's end, in that job's directory,
 * environment and limits. PROGRAM empty: the job's TS_ONFINISH; otherwise one of the server's own, which has the
 * server's log as stderr and must run even if the job's directory is gone.
 *
 * The server holds the other end of TSF_RUNNER_SOCKET. A byte on it says that there is nothing more to try: the program
 * is about to be executed, or why it cannot be is said. The end without a byte says that this process died before. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "runner.h"

static void settle(void)
{
    if (tsf_send(TSF_RUNNER_SOCKET, "x", 1, MSG_NOSIGNAL) < 0)
        return; /* the server is gone: the next one runs it again */
}

static int refuse(int log, const char *id, const char *program, int cause)
{
    const char *why = strerror(cause);
    char shown[SHOWN_MOST + 3];
    struct iovec parts[] = {{(void *)"ts: the program after job ", 26},
                            {(void *)id, strlen(id)},
                            {(void *)" could not run: '", 17},
                            {shown, tsf_show(shown, SHOWN_MOST, program, strlen(program))},
                            {(void *)"': ", 3},
                            {(void *)why, strlen(why)},
                            {(void *)"\n", 1}};

    if (writev(log, parts, 7) < 0)
        why = NULL; /* nowhere else to report it */
    settle();
    return 127;
}

static int load_cold(struct job *job)
{
    uint64_t id = job->assign.job, place = id & (TSF_SEGMENT_JOBS - 1);
    char path[] = "seg.00000000";
    ssize_t got;
    int fd;

    put_hex(path + 4, id >> TSF_SEGMENT_BITS, 8);
    fd = openat(TSF_RUNNER_STATE_DIR, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno;
    got =
        pread(fd, &job->assign.cold, sizeof job->assign.cold, (off_t)(TSF_HOT_BYTES + place * sizeof job->assign.cold));
    close(fd);
    return got == (ssize_t)sizeof job->assign.cold ? 0 : EIO;
}

static char *find_program(char **env)
{
    static char none[] = "";

    for (; *env; env++)
        if (strncmp(*env, "TS_ONFINISH=", 12) == 0)
            return *env + 12;
    return none;
}

static int prepare(struct runner *runner, struct job *job, const char *suffix)
{
    int cause = load_cold(job);

    if (!cause)
        cause = records_load(&runner->records, job);
    if (!strlen(suffix))
        job->assign.cold.flags |= TSF_JOB_NO_OUTPUT; /* no file was made: no TS_OUTPUT */
    if (!cause)
        cause = job_prepare(runner, job);
    if (!cause && job->output && strlen(suffix) == TSF_SUFFIX)
        memcpy(job->output + strlen(job->output) - TSF_SUFFIX, suffix, TSF_SUFFIX);
    return cause;
}

int run_hook(struct runner *runner, char **words)
{
    struct job job = {.assign.job = strtoull(words[0], NULL, 10), .given = {-1, -1, -1}, .out = -1, .err = -1};
    int log = fcntl(2, F_DUPFD_CLOEXEC, TSF_RUNNER_STATE_DIR + 1), own = words[2][0] != 0, cause;

    cause = prepare(runner, &job, words[1]);
    if (cause)
        return refuse(log, words[0], words[2], cause);
    job.argv = words + 2; /* words[1] is the free place before it */
    if (!own) {
        job.argv[0] = find_program(job.envp);
        dup2(1, 2);
    }
    if (chdir(job.cwd) < 0 && !own)
        return refuse(log, words[0], job.cwd, errno);
    umask(runner->records.context.head->umask & 0777);
    apply_resources(runner);
    settle();
    set_signal_mask(0);
    cause = execute(&job);
    set_signal_mask(~0ull);
    return refuse(log, words[0], job.argv[0], cause);
}
