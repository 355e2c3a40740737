/* Waits for the job, passes signals to it, and leaves its result where any later server finds it. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runner.h"

/* A job shorter than this is reported once, when it has ended. */
#define STARTED_AFTER_NS 2000000
/* Between two rounds of killing, and how many there are when only processes are left that cannot be killed. */
#define KILL_ROUND_NS 10000000u
#define KILL_ROUNDS 500
/* How long gzip may take after the job's end: a process that the job left behind may hold its pipe forever. */
#ifndef GZIP_PATIENCE_MS
#define GZIP_PATIENCE_MS 10000
#endif

enum child_event { NOTHING_ENDED, LEADER_ENDED };

uint64_t now_ns(int clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Raw, because only the system call gives the rusage of a process that stays unreaped. */
static int wait_for(idtype_t type, int pid, siginfo_t *info, int options, struct rusage *usage)
{
    long result;

    info->si_pid = 0;
    do
        result = syscall(SYS_waitid, type, pid, info, options, usage);
    while (result < 0 && errno == EINTR);
    return (int)result;
}

static void gzip_ended(struct tsf_run *run, struct job *job, const siginfo_t *info)
{
    if (info->si_code != CLD_EXITED || info->si_status)
        run->notes |= TSF_NOTE_GZIP;
    job->gzip = 0;
}

/* Reaps dead orphans of the job until the leader has died: the leader stays a zombie, so that no other process can get
 * its pid before the result is stored. */
static enum child_event look_at_children(struct tsf_run *run, struct job *job, int leader, siginfo_t *info,
                                         struct rusage *usage)
{
    siginfo_t other;

    for (;;) {
        if (wait_for(P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT, usage) < 0 || !info->si_pid)
            return NOTHING_ENDED;
        if (info->si_pid == leader)
            return LEADER_ENDED;
        wait_for(P_PID, info->si_pid, &other, WEXITED | WNOHANG, NULL);
        if (other.si_pid && other.si_pid == job->gzip)
            gzip_ended(run, job, &other);
    }
}

/* Returns 1 if live processes are left under the runner. */
static int reap_all(void)
{
    siginfo_t info;

    do {
        if (tsf_step(wait_for(P_ALL, 0, &info, WEXITED | WNOHANG, NULL)) < 0)
            return 0; /* ECHILD */
    } while (info.si_pid);
    return 1;
}

static int report(const struct job *job, enum tsf_report_kind kind, int retiring, int flags)
{
    struct tsf_report packet = {.kind = kind, .retiring = (uint32_t)retiring, .gen = job->assign.gen};

    return tsf_send(TSF_RUNNER_SOCKET, &packet, sizeof packet, flags | MSG_NOSIGNAL) == (ssize_t)sizeof packet;
}

static int has_ended(int leader)
{
    siginfo_t info;

    return wait_for(P_PID, leader, &info, WEXITED | WNOHANG | WNOWAIT, NULL) < 0 || info.si_pid;
}

/* A job that ended by itself before this keeps its result. */
static void cancel(struct tsf_run *run, struct job *job, int leader, uint32_t order)
{
    if (job->kill_ns || has_ended(leader))
        return;
    job->kill_ns = now_ns(CLOCK_BOOTTIME) + (uint64_t)(order >> TSF_COMMAND_GRACE_SHIFT) * 1000000000u;
    run->notes |= TSF_NOTE_CANCEL;
    tsf_kill(-leader, (int)(order & 0xff));
    tsf_kill(-leader, SIGCONT);
}

/* A command is removed when it is obeyed, so that a second wake-up does not send the signal twice. The leader is our
 * unreaped child here, hence its pid and group are still the job's. */
static void obey_command(struct tsf_run *run, struct job *job, int leader)
{
    uint64_t command = __atomic_load_n(&run->command, __ATOMIC_ACQUIRE), gen = job->assign.gen;
    uint32_t order = (uint32_t)command;
    int signal = (int)(order & 0xff);

    if (command >> 32 != (gen & 0xffffffff) || signal < 1 || signal > 64)
        return;
    if (!__atomic_compare_exchange_n(&run->command, &command, command >> 32 << 32, 0, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE))
        return; /* a newer one, whose own wake-up is on its way */
    if (order & TSF_COMMAND_CANCEL)
        cancel(run, job, leader, order);
    else if (tsf_kill(-leader, signal) < 0 && errno == ESRCH)
        tsf_kill(leader, signal);
}

/* How long to wait for a signal; NULL: forever. */
static const struct timespec *patience(const struct job *job, int reported, struct timespec *time)
{
    uint64_t now, left = KILL_ROUND_NS;

    *time = (struct timespec){0, STARTED_AFTER_NS};
    if (!reported)
        return time;
    if (!job->kill_ns)
        return NULL;
    now = now_ns(CLOCK_BOOTTIME);
    if (now < job->kill_ns)
        left = job->kill_ns - now;
    time->tv_sec = (time_t)(left / 1000000000u);
    time->tv_nsec = (long)(left % 1000000000u);
    return time;
}

static int kill_is_due(const struct job *job) { return job->kill_ns && now_ns(CLOCK_BOOTTIME) >= job->kill_ns; }

static int could_not_execute(const struct tsf_run *run)
{
    return tsf_is_shortage(TSF_STAGE_EXEC, (int)run->spawn_errno);
}

static void wait_for_leader(struct runner *runner, struct job *job, int leader, siginfo_t *info, struct rusage *usage)
{
    const uint64_t wanted = 1ull << (SIGCHLD - 1) | 1ull << (TSF_RUN_SIGNAL - 1);
    struct timespec time;
    uint64_t executing = tsf_run_word(job->assign.gen, TSF_RUN_EXECING);
    int reported = 0;

    for (;;) {
        long signal = syscall(SYS_rt_sigtimedwait, &wanted, NULL, patience(job, reported, &time), sizeof wanted);

        if (signal == SIGCHLD) {
            if (look_at_children(runner->entry, job, leader, info, usage) == LEADER_ENDED)
                return;
        } else if (signal == TSF_RUN_SIGNAL) {
            obey_command(runner->entry, job, leader);
        } else if (signal < 0 && errno == EAGAIN && !reported) {
            if (tsf_run_load(runner->entry) == executing && !could_not_execute(runner->entry))
                report(job, TSF_REPORT_STARTED, 0, MSG_DONTWAIT); /* if it is lost, ENDED says all */
            reported = 1;
        }
        if (kill_is_due(job))
            kill_children(job->gzip);
    }
}

static int wait_status(const siginfo_t *info)
{
    if (info->si_code == CLD_EXITED)
        return (info->si_status & 0xff) << 8;
    return info->si_status | (info->si_code == CLD_DUMPED ? 0x80 : 0);
}

static uint32_t milliseconds(struct timeval t)
{
    uint64_t ms = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_usec / 1000;

    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

static void store_result(struct tsf_run *run, const struct job *job, const siginfo_t *info, const struct rusage *usage)
{
    run->duration_ns = now_ns(CLOCK_BOOTTIME) - job->start_boot_ns;
    run->end_ns = now_ns(CLOCK_REALTIME);
    run->status = wait_status(info);
    run->utime_ms = milliseconds(usage->ru_utime);
    run->stime_ms = milliseconds(usage->ru_stime);
    run->maxrss_kb = usage->ru_maxrss < UINT32_MAX ? (uint32_t)usage->ru_maxrss : UINT32_MAX;
    if (run->spawn_errno) {
        run->stage = TSF_STAGE_EXEC;
        run->cause = (uint16_t)run->spawn_errno;
    }
}

static void store_unstarted(struct tsf_run *run, int status, enum tsf_stage stage, int cause)
{
    run->pid = 0;
    run->start_ns = run->start_ticks = 0;
    run->duration_ns = 0;
    run->end_ns = now_ns(CLOCK_REALTIME);
    run->status = status;
    run->stage = (uint16_t)stage;
    run->cause = (uint16_t)cause;
}

/* The order is the guarantee: result, word, reaping, message. Whichever process dies in between, the next reader can
 * continue. */
static int leave_result(struct runner *runner, const struct job *job, enum tsf_run_state from)
{
    struct tsf_run *run = runner->entry;
    uint64_t gen = job->assign.gen;
    int retiring, reported;

    run->check = tsf_run_check(run);
    tsf_fault("runner-result");
    tsf_run_cas(run, tsf_run_word(gen, from), tsf_run_word(gen, TSF_RUN_EXITED));
    tsf_fault("runner-exited");
    retiring = reap_all();
    /* What is left of a cancelled job is killed first: then the locks end with the runner. */
    if (!(retiring && job->kill_ns))
        leases_end(&runner->leases);
    tsf_fault("runner-reaped");
    /* Blocking: a server that is slow to read must not miss this one. If it is gone, the call fails at once. */
    do
        reported = report(job, TSF_REPORT_ENDED, retiring, 0);
    while (!reported && errno == EINTR);
    tsf_fault("runner-reported");
    return reported && !retiring;
}

/* The leader of a cancelled job has ended; the others have what is left of the grace time. */
static void end_left_overs(const struct job *job)
{
    const uint64_t wanted = 1ull << (SIGCHLD - 1);
    struct timespec time;

    for (int rounds = 0; rounds < KILL_ROUNDS && reap_all();) {
        if (kill_is_due(job)) {
            kill_children(job->gzip);
            rounds++;
        }
        syscall(SYS_rt_sigtimedwait, &wanted, NULL, patience(job, 1, &time), sizeof wanted);
    }
}

/* What is not written by then is written later, if at all; the result says so. */
static void wait_for_gzip(struct tsf_run *run, struct job *job)
{
    const uint64_t wanted = 1ull << (SIGCHLD - 1);
    const uint64_t end = now_ns(CLOCK_BOOTTIME) + (uint64_t)tsf_wait_ms(GZIP_PATIENCE_MS) * 1000000;
    siginfo_t info;

    while (wait_for(P_PID, job->gzip, &info, WEXITED | WNOHANG, NULL) == 0) {
        uint64_t now = now_ns(CLOCK_BOOTTIME);
        struct timespec left = {(time_t)((end - now) / 1000000000u), (long)((end - now) % 1000000000u)};

        if (info.si_pid) {
            gzip_ended(run, job, &info);
            return;
        }
        if (now >= end)
            break;
        syscall(SYS_rt_sigtimedwait, &wanted, NULL, &left, sizeof wanted);
    }
    run->notes |= TSF_NOTE_GZIP;
}

int finish_unstarted(struct runner *runner, struct job *job, enum tsf_stage stage, int cause)
{
    if (tsf_is_shortage(stage, cause))
        job_drop_output(runner, job);
    store_unstarted(runner->entry, 126 << 8, stage, cause);
    return leave_result(runner, job, TSF_RUN_CLAIMED);
}

int finish_job(struct runner *runner, struct job *job, int leader)
{
    struct tsf_run *run = runner->entry;
    struct rusage usage;
    siginfo_t info;
    int reusable;

    wait_for_leader(runner, job, leader, &info, &usage);
    tsf_fault("runner-reap");
    switch (tsf_run_state(tsf_run_load(run))) {
    case TSF_RUN_EXECING:
        store_result(run, job, &info, &usage);
        if (could_not_execute(run))
            job_drop_output(runner, job);
        else if (job->gzip)
            wait_for_gzip(run, job);
        reusable = leave_result(runner, job, TSF_RUN_EXECING);
        if (!reusable && job->kill_ns)
            end_left_overs(job);
        return reusable;
    case TSF_RUN_CLAIMED: /* it reported why, or was killed before it could execute anything */
        if (run->stage)
            return finish_unstarted(runner, job, run->stage, run->cause);
        store_unstarted(run, wait_status(&info), TSF_STAGE_SPAWN, 0);
        return leave_result(runner, job, TSF_RUN_CLAIMED);
    default: /* revoked: the entry is no longer this job's, and its process lost the race and ran nothing */
        leases_end(&runner->leases);
        return !reap_all();
    }
}
