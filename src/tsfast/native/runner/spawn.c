/* The job's own process from its birth to execve.
 *
 * It shares the runner's memory, which sleeps meanwhile (CLONE_VM | CLONE_VFORK: the cost does not grow with the
 * runner's memory), and has a stack of its own, so it needs no compiler's help to leave the runner's frames alone.
 * Nothing here allocates or takes a lock. Descriptors, directory, umask, limits and signal mask are its own. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runner.h"

#define PATH_SIZE 4096
#define TICK_NS 10000000 /* USER_HZ is 100 wherever this runs */
#define AFFINITY_SIZE 1024 /* 8,192 processors, the most that Linux can be built for */

struct birth {
    struct runner *runner;
    struct job *job;
};

void set_signal_mask(uint64_t mask) { syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask); }

/* One line to the job's own output: one call, so that it is whole or missing. */
static void complain(const char *what, const char *name, int cause)
{
    const char *why = strerror(cause);
    char shown[SHOWN_MOST + 3];
    struct iovec parts[] = {{(void *)what, strlen(what)},
                            {shown, tsf_show(shown, SHOWN_MOST, name, strlen(name))},
                            {(void *)"': ", 3},
                            {(void *)why, strlen(why)},
                            {(void *)"\n", 1}};

    if (writev(2, parts, 5) < 0)
        return; /* its output is the only place that it has */
}

/* Only descriptors above 4 are moved: 0 and 1 are /dev/null from birth, and 2, the server's log, is always replaced. */
static void set_descriptors(const struct job *job)
{
    int plain = job->assign.cold.flags & TSF_JOB_NO_OUTPUT;
    int out = plain ? job->given[1] : job->out;
    int err = plain ? job->given[2] : job->err >= 0 ? job->err : job->out;

    if (job->given[0] >= 0)
        dup2(job->given[0], 0);
    if (out >= 0)
        dup2(out, 1);
    dup2(err >= 0 ? err : 1, 2);
}

static uint64_t shown_start_ticks(void)
{
    char text[1024], *p;
    int fd = openat(AT_FDCWD, "/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    uint64_t ticks = 0;

    if (fd >= 0)
        close(fd);
    if (size <= 0)
        return 0;
    text[size] = 0;
    p = strrchr(text, ')'); /* the name in field 2 may hold spaces and parentheses */
    for (int field = 2; p && field < 22; field++)
        p = strchr(p + 1, ' ');
    if (!p)
        return 0;
    for (p++; *p >= '0' && *p <= '9'; p++)
        ticks = ticks * 10 + (uint64_t)(*p - '0');
    return ticks;
}

/* The kernel notes at a process's birth what CLOCK_BOOTTIME shows, and tells it in hundredths of a second. If the clock
 * is in the same hundredth before the birth and now, that is the one, and /proc need not be asked: three system calls
 * less in a job's set-up. A runner's first job tries whether that holds here. */
static uint64_t start_ticks(uint64_t before_ns)
{
    static enum { NOT_TRIED, HOLDS, DOES_NOT_HOLD } rule;
    uint64_t ticks = now_ns(CLOCK_BOOTTIME) / TICK_NS, shown;
    int certain = before_ns / TICK_NS == ticks;

    if (certain && rule == HOLDS)
        return ticks;
    shown = shown_start_ticks();
    if (certain && rule == NOT_TRIED)
        rule = shown == ticks ? HOLDS : DOES_NOT_HOLD;
    return shown;
}

/* Setting a mask, even the same one, makes it a request of the user's that outlives changes of the cpuset: so compare
 * first. */
static int apply_affinity(const char *mask, size_t size)
{
    char own[AFFINITY_SIZE];
    long got = syscall(SYS_sched_getaffinity, 0, sizeof own, own);
    size_t common = got < 0 ? 0 : (size_t)got < size ? (size_t)got : size;
    int same = got > 0 && memcmp(own, mask, common) == 0;

    for (size_t i = common; same && i < size; i++)
        same = !mask[i];
    for (size_t i = common; same && i < (size_t)got; i++)
        same = !own[i];
    return !size || same || syscall(SYS_sched_setaffinity, 0, size, mask) == 0;
}

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

static int apply_limits(const struct runner *runner, const struct tsf_ctx *head)
{
    int all = 1;

    for (int i = 0; i < (int)TSF_LIMITS; i++) {
        const uint64_t *own = runner->limits[i], *want = head->limits[i];
        uint64_t possible[2];

        if (own[0] == want[0] && own[1] == want[1])
            continue;
        if (syscall(SYS_prlimit64, 0, i, want, NULL) == 0)
            continue;
        all = 0;
        possible[1] = least(want[1], own[1]);
        possible[0] = least(want[0], possible[1]);
        syscall(SYS_prlimit64, 0, i, possible, NULL);
    }
    return all;
}

/* Dispensable settings that fail are noted, not fatal: `-i` shows them. */
uint32_t apply_resources(const struct runner *runner)
{
    const struct context *context = &runner->records.context;
    const struct tsf_ctx *head = context->head;
    uint32_t notes = 0;

    if (setpriority(PRIO_PROCESS, 0, head->nice) < 0)
        notes |= TSF_NOTE_NICE;
    if (!apply_affinity(context->affinity, head->affinity_len))
        notes |= TSF_NOTE_AFFINITY;
    if (!apply_limits(runner, head))
        notes |= TSF_NOTE_LIMIT;
    return notes;
}

/* Returns the errno; a file without an interpreter line goes to the shell, as with execvp. */
static int try_file(struct job *job, char *file)
{
    static char shell[] = "/bin/sh";
    char *name = job->argv[0];

    tsf_execve(file, job->argv, job->envp);
    if (errno != ENOEXEC)
        return errno;
    job->argv[-1] = shell;
    job->argv[0] = file;
    execve(shell, job->argv - 1, job->envp);
    job->argv[0] = name; /* the runner sees this memory */
    return errno;
}

/* The job's PATH, not the runner's, and after chdir: a relative part means the job's directory. */
static int search_path(struct job *job, const char *path)
{
    char file[PATH_SIZE], *name = job->argv[0];
    size_t name_size = strlen(name) + 1;
    int denied = 0;

    for (;; path++) {
        size_t size = strcspn(path, ":");
        const char *dir = size ? path : ".";
        size_t dir_size = size ? size : 1;

        if (dir_size + 1 + name_size <= sizeof file) {
            memcpy(file, dir, dir_size);
            file[dir_size] = '/';
            memcpy(file + dir_size + 1, name, name_size);
            switch (try_file(job, file)) {
            case EACCES: /* a later directory may have one that can be executed */
                denied = 1;
                break;
            case ENOENT:
            case ENOTDIR:
            case ENAMETOOLONG:
            case ESTALE:
            case ENODEV:
            case ETIMEDOUT: /* a directory on a broken mount must not hide the next one */
                break;
            default:
                return errno;
            }
        }
        path += size;
        if (!*path)
            return denied ? EACCES : ENOENT;
    }
}

int execute(struct job *job)
{
    const char *path = "/usr/local/bin:/usr/bin:/bin";

    if (!*job->argv[0])
        return ENOENT;
    if (strchr(job->argv[0], '/'))
        return try_file(job, job->argv[0]);
    for (char **env = job->envp; *env; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            path = *env + 5;
    return search_path(job, path);
}

/* The runner may be dead and its entry another job's by now: chdir can take as long as a file server likes. */
static void write_only_if_claimed(const struct tsf_run *run, uint64_t gen)
{
    if (tsf_run_load(run) != tsf_run_word(gen, TSF_RUN_CLAIMED))
        _exit(126);
}

static int child(void *arg)
{
    struct birth *birth = arg;
    struct job *job = birth->job;
    struct tsf_run *run = birth->runner->entry;
    uint64_t gen = job->assign.gen, ticks;
    uint32_t notes;
    int pid = setsid(), cause;

    set_descriptors(job);
    if (chdir(job->cwd) < 0) {
        cause = errno;
        write_only_if_claimed(run, gen);
        run->stage = TSF_STAGE_CHDIR;
        run->cause = (uint16_t)cause;
        if (!tsf_is_shortage(TSF_STAGE_CHDIR, cause))
            complain("ts: cannot enter '", job->cwd, cause);
        _exit(126);
    }
    umask(birth->runner->records.context.head->umask & 0777);
    for (uint32_t i = 0; i < birth->runner->leases.count; i++)
        fcntl(birth->runner->leases.fds[i], F_SETFD, 0); /* only in this process: the job inherits them */
    ticks = start_ticks(job->start_boot_ns);
    notes = apply_resources(birth->runner); /* limits last: nothing is opened under them */
    write_only_if_claimed(run, gen);
    run->pid = pid;
    run->start_ticks = ticks;
    run->notes = notes;
    tsf_fault("child-before-exec");
    /* The race for the right to run: a server that found the runner dead may have revoked the start and queued the job
     * again, and this process would run it a second time. */
    if (!tsf_run_cas(run, tsf_run_word(gen, TSF_RUN_CLAIMED), tsf_run_word(gen, TSF_RUN_EXECING)))
        _exit(126);
    tsf_fault("child-execing");
    set_signal_mask(0);
    cause = execute(job);
    set_signal_mask(~0ull); /* a file size limit of 0 must not turn the error into SIGXFSZ */
    run->spawn_errno = (uint32_t)cause;
    if (!tsf_is_shortage(TSF_STAGE_EXEC, cause))
        complain("ts: cannot run '", job->argv[0], cause);
    _exit(cause == ENOENT ? 127 : 126);
}

struct compression {
    struct job job; /* argv and envp of gzip */
    int from, to, cause;
};

static int gzip_child(void *arg)
{
    struct compression *gzip = arg;

    dup2(gzip->from, 0);
    dup2(gzip->to, 1);
    set_signal_mask(0);
    gzip->cause = execute(&gzip->job);
    _exit(127);
}

/* gzip is found on the job's PATH, and is not part of the job: no signal to the job's group reaches it. */
int spawn_gzip(struct job *job)
{
    static char stack[64 * 1024] __attribute__((aligned(16))), name[] = "gzip", option[] = "-c";
    char *argv[] = {NULL, name, option, NULL};
    struct compression gzip = {.job = {.argv = argv + 1, .envp = job->envp}};
    int ends[2], pid, cause = 0;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return errno;
    gzip.from = ends[0];
    gzip.to = job->out;
    pid = tsf_clone(gzip_child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &gzip);
    if (pid < 0)
        cause = errno;
    else if (gzip.cause && waitpid(pid, NULL, 0) == pid)
        cause = gzip.cause;
    close(ends[0]);
    if (cause) {
        close(ends[1]);
        return cause;
    }
    close(job->out);
    job->out = ends[1];
    job->gzip = pid;
    return 0;
}

int spawn(struct runner *runner, struct job *job, int *leader)
{
    static char stack[64 * 1024] __attribute__((aligned(16)));
    struct birth birth = {runner, job};

    runner->entry->start_ns = now_ns(CLOCK_REALTIME);
    job->start_boot_ns = now_ns(CLOCK_BOOTTIME);
    *leader = tsf_clone(child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &birth);
    if (*leader < 0)
        return errno;
    tsf_fault("runner-spawned");
    return 0;
}
