/* ts-run ENTRY, or ts-run hook ...: see runner.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "runner.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

static void say(const char *line)
{
    if (write(2, line, strlen(line)) < 0)
        return; /* nowhere else to report it */
}

/* Blocked but with default dispositions: execve keeps both ignored signals and the mask, so a job needs one call to
 * get the defaults of all. Raw calls: the C libraries refuse to touch the signals that they use themselves. */
static void block_signals(void)
{
    const uint64_t all = ~0ull, defaults[4] = {0};

    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof all);
    for (int i = 1; i <= 64; i++)
        syscall(SYS_rt_sigaction, i, defaults, NULL, sizeof all);
}

static void keep_descriptors_apart(void)
{
    if (syscall(SYS_close_range, TSF_RUNNER_STATE_DIR + 1, ~0u, 0) < 0)
        for (int fd = TSF_RUNNER_STATE_DIR + 1; fd < 1024; fd++)
            close(fd); /* an old kernel or a filter; the server's are close-on-exec anyway */
    fcntl(TSF_RUNNER_SOCKET, F_SETFD, FD_CLOEXEC);
    fcntl(TSF_RUNNER_STATE_DIR, F_SETFD, FD_CLOEXEC);
}

/* Nothing that happens to the server's session, terminal or directory may reach the job. */
static void leave_server(struct runner *runner)
{
    block_signals();
    keep_descriptors_apart();
    setsid();
    umask(077);
    if (chdir("/") < 0)
        say("ts-run: cannot enter the root directory\n");
    for (int i = 0; i < (int)TSF_LIMITS; i++)
        syscall(SYS_prlimit64, 0, i, NULL, runner->limits[i]);
}

static void become_runner(void)
{
    const struct timeval idle = {TSF_RUNNER_IDLE_MS / 1000, TSF_RUNNER_IDLE_MS % 1000 * 1000};

    prctl(PR_SET_NAME, "ts-run", 0, 0, 0); /* executed through a descriptor, it would be called by that one's number */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        say("ts-run: cannot become a subreaper; processes that a job leaves will not be seen\n");
    setsockopt(TSF_RUNNER_SOCKET, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof idle);
}

/* The one descriptor of `runs` stays open forever: closing any would drop the lock. */
static struct tsf_run *open_entry(unsigned long number)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    int fd = openat(TSF_RUNNER_STATE_DIR, "runs", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    struct tsf_runs_header *header;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size < TSF_RUNS_BYTES) {
        say("ts-run: cannot open runs\n");
        return NULL;
    }
    header = mmap(NULL, TSF_RUNS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (header == MAP_FAILED || header->magic != TSF_RUNS_MAGIC || header->version != TSF_RUNS_VERSION) {
        say("ts-run: runs is not of a known layout\n");
        return NULL;
    }
    lock.l_start = (off_t)(number * sizeof(struct tsf_run));
    if (tsf_fcntl(fd, F_SETLK, &lock) < 0) {
        say("ts-run: the entry belongs to another runner\n");
        return NULL;
    }
    return (struct tsf_run *)header + number;
}

static void close_all(int *fds, int count)
{
    for (int i = 0; i < count; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
}

static int take_descriptors(struct msghdr *message, int *received)
{
    struct cmsghdr *part = CMSG_FIRSTHDR(message);
    int count = 0;

    if (part && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS) {
        count = (int)((part->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        count = count > (int)TSF_LEASES_A_PACKET ? (int)TSF_LEASES_A_PACKET : count;
        memcpy(received, CMSG_DATA(part), (size_t)count * sizeof(int));
    }
    return count;
}

/* Returns 0 when no more jobs will come: the server is gone, or had nothing to do for long. */
static int receive_job(struct runner *runner, struct job *job)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(TSF_LEASES_A_PACKET * sizeof(int))];
    } control;
    int received[TSF_LEASES_A_PACKET], count;

    for (;;) {
        struct iovec iov = {&job->assign, sizeof job->assign};
        struct msghdr message = {.msg_iov = &iov,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = CMSG_LEN(TSF_LEASES_A_PACKET * sizeof(int))};
        ssize_t size = recvmsg(TSF_RUNNER_SOCKET, &message, MSG_CMSG_CLOEXEC);

        if (size < 0 && errno == EINTR)
            continue;
        if (size <= 0)
            return 0;
        count = take_descriptors(&message, received);
        if (size == (ssize_t)sizeof(struct tsf_leases)) {
            leases_add(&runner->leases, (const struct tsf_leases *)&job->assign, received, count);
            continue;
        }
        if (runner->leases.gen != job->assign.gen)
            leases_end(&runner->leases);
        *job = (struct job){.assign = job->assign, .given = {-1, -1, -1}, .out = -1, .err = -1};
        if (count == 3 && job->assign.cold.flags & TSF_JOB_FOREGROUND)
            memcpy(job->given, received, sizeof job->given);
        else
            close_all(received, count);
        if (size == (ssize_t)sizeof job->assign && !(message.msg_flags & MSG_TRUNC))
            return 1;
        close_all(job->given, 3);
        say("ts-run: a message of unknown size was ignored\n");
    }
}

static int claim(struct runner *runner, const struct job *job)
{
    struct tsf_run *run = runner->entry;
    uint64_t gen = job->assign.gen;

    tsf_fault("runner-received");
    if (!tsf_run_cas(run, tsf_run_word(gen, TSF_RUN_ASSIGNED), tsf_run_word(gen, TSF_RUN_CLAIMED)))
        return 0;
    tsf_fault("runner-claimed");
    run->pid = 0;
    run->spawn_errno = 0;
    run->start_ticks = run->start_ns = 0;
    memset(run->suffix, 0, sizeof run->suffix);
    run->duration_ns = run->end_ns = 0;
    run->status = 0;
    run->cause = run->stage = 0;
    run->utime_ms = run->stime_ms = run->maxrss_kb = run->notes = 0;
    return 1;
}

/* Returns 1 if the runner can take another job. */
static int run_job(struct runner *runner, struct job *job)
{
    enum tsf_stage stage;
    int cause, leader = 0;

    stage = TSF_STAGE_RECORD;
    cause = runner->entry->job == job->assign.job ? 0 : EIO;
    if (!cause)
        cause = records_load(&runner->records, job);
    if (!cause)
        cause = grant_load(runner, job);
    if (!cause)
        cause = job_prepare(runner, job);
    if (!cause) {
        stage = TSF_STAGE_OUTPUT;
        cause = job_open_output(runner, job);
    }
    if (!cause) {
        stage = TSF_STAGE_GZIP;
        cause = job_start_gzip(runner, job);
    }
    if (!cause) {
        tsf_fault("runner-output");
        stage = TSF_STAGE_SPAWN;
        cause = spawn(runner, job, &leader);
    }
    /* The reader of a pipe waits until the last writer has closed: the job alone must hold these. */
    close_all(job->given, 3);
    close_all(&job->out, 1);
    close_all(&job->err, 1);
    return cause ? finish_unstarted(runner, job, stage, cause) : finish_job(runner, job, leader);
}

int main(int argc, char **argv)
{
    static struct runner runner = {.records.blob_fd = -1};
    static struct job job;
    unsigned long number = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;

    if (argc > 4 && strcmp(argv[1], "hook") == 0) {
        leave_server(&runner);
        return run_hook(&runner, argv + 2);
    }
    if (number < 1 || number > TSF_RUNS) {
        say("ts-run: it is the server that starts this program\n");
        return 2;
    }
    leave_server(&runner);
    become_runner();
    runner.entry = open_entry(number);
    if (!runner.entry)
        return 1;
    runner.entry->runner = getpid();
    while (receive_job(&runner, &job)) {
        if (!claim(&runner, &job)) { /* revoked meanwhile */
            close_all(job.given, 3);
            leases_end(&runner.leases);
        } else if (!run_job(&runner, &job)) {
            break;
        }
    }
    return 0;
}
