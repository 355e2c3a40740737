"""The runners: native processes that are each the parent of one job at a time, and their entries of `runs`.

A runner is started when a job needs one and none is idle, kept for the next job, and ends by itself when it has been
idle for some seconds. What it reports and what is found when it dies becomes one of three events for the owner. The
protocol of the entries, and what each state means after a crash, is in native/runs.h and docs/reliability.md.
"""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from tsfast.layout.structs cimport TSF_RUNS, tsf_assign, tsf_cold, tsf_hot, tsf_run
from tsfast.base.loop cimport Loop, Source
from tsfast.engine.outbox cimport Outbox
from tsfast.engine.outcome cimport Outcome
from tsfast.base.system cimport pid_t, rusage

# What goes to the runner beside the record; descriptors are lent for the call.
cdef struct Handover:
    int fds[3]            # of the caller of a foreground job
    int n_fds             # 3, or 0: there are none
    const int *leases     # locks on the job's GPUs
    uint32_t n_leases
    bint shared           # they are the queue's and not the job's own
    bint hide_gpus        # the job is to see none of the machine's

cdef enum RunnerKind:
    RUNNER_IDLE = 0       # ours, waits for a job
    RUNNER_BUSY = 1       # ours, has a job
    RUNNER_LEAVING = 2    # ours, ends now
    RUNNER_ADOPTED = 3    # of an earlier server, has a job; watched through pidfd, or polled where there is none
    RUNNER_ORPHAN = 4     # the runner is dead, its job lives: our child, or watched through pidfd

cdef struct Runner:
    uint32_t entry
    uint8_t kind          # RunnerKind
    bint has_job          # false for a runner whose job was dropped by -K
    bint leader_ours      # RUNNER_ORPHAN: we are the parent of the job's leader
    bint leader_reaped    # the leader's status came before the death of its runner did
    bint unrecorded       # ended, but the disk refused the record: to be tried again
    bint unannounced      # RUNNER_ADOPTED: the owner has not heard of the start of its job
    pid_t pid
    int leader_status
    rusage leader_usage
    uint64_t job
    uint64_t gen
    uint64_t kill_ns      # for the owner's use; 0 at the start of each job
    Source socket         # fd -1: closed
    Source pidfd          # likewise
    Runner *prev          # idle list, or list of all others
    Runner *next

cdef enum Verdict:
    VERDICT_NO_MEMORY = -1
    VERDICT_QUEUED = 0    # it was not started: back in the queue
    VERDICT_RUNNING = 1   # it runs and is watched from now on
    VERDICT_ENDED = 2     # the outcome is known; release() the entry once it is recorded

ctypedef void (*StartedHandler)(void *owner, uint64_t job, const tsf_run *run) noexcept nogil
# 0 when the outcome stands in the table, -1 when it is to be tried again later.
ctypedef int (*EndedHandler)(void *owner, uint64_t job, const Outcome *outcome) noexcept nogil
ctypedef void (*RevokedHandler)(void *owner, uint64_t job) noexcept nogil
ctypedef void (*StrangerHandler)(void *owner, pid_t pid, int status) noexcept nogil

cdef class Runners:
    cdef Loop loop
    cdef int state_dir, runs_fd, program      # owned
    cdef tsf_run *runs                        # [1 .. TSF_RUNS]
    cdef Runner *table[TSF_RUNS + 1]
    cdef uint32_t free_entries[TSF_RUNS + 1]
    cdef uint32_t n_free
    cdef Runner *idle
    cdef Runner *others
    cdef int poll_timer, retry_timer
    cdef bytes fault
    cdef const char *fault_name
    cdef bint same_boot
    cdef bint outdated            # power was lost: entries may be those of long before, and say nothing of a job
    cdef Outbox outbox            # None but with TS_DURABLE
    cdef void *owner
    cdef StartedHandler on_started
    cdef EndedHandler on_ended
    cdef RevokedHandler on_revoked
    cdef StrangerHandler on_stranger          # a child was reaped that is no runner and no job

    # The entry and generation that the next start would have: an idle runner's, or a new one's. 0, or -1 with errno
    # (no process, no entry). Nothing is decided by it: call assign() next, after the job's record says STARTING.
    cdef int prepare(self, uint32_t *entry, uint64_t *gen) noexcept nogil
    # Hand the job to that runner. 0, or -1: the runner is gone and the job was never seen by it (start anew).
    cdef int assign(self, uint32_t entry, uint64_t gen, uint64_t job, uint16_t attempt, const tsf_cold *cold,
                    const Handover *handover) noexcept nogil
    # To the job's process group; -1: not running. `order`: a signal number, or more (native/runs.h).
    cdef int signal(self, uint32_t entry, uint32_t order) noexcept nogil
    cdef const tsf_run *run(self, uint32_t entry) noexcept nogil
    # Recovery: what became of the job that the table says was started as (entry, generation)?
    cdef Verdict recover(self, uint64_t job, const tsf_hot *hot, Outcome *outcome) noexcept nogil
    # After VERDICT_RUNNING, if the job's start does not stand in the table: on_started comes, now or when it starts.
    cdef void await_start(self, uint32_t entry) noexcept nogil
    cdef void recover_rest(self) noexcept nogil       # after all recover(): entries that no job claims
    cdef void release(self, uint32_t entry) noexcept nogil     # the outcome is recorded: the entry is free
    cdef void reap(self) noexcept nogil               # SIGCHLD: take the status of every dead child
    cdef void dismiss_idle(self) noexcept nogil       # those without a job end: their processes are wanted
    cdef void drop_jobs(self) noexcept nogil          # -K: revoke what no runner has taken yet, let the rest run on

    cdef void send_held(self) noexcept nogil          # what assign() has left in the outbox, as far as it may go out

    # private
    cdef void _link(self, Runner *runner, uint8_t kind) noexcept nogil
    cdef void _unlink(self, Runner *runner) noexcept nogil
    cdef void _become(self, Runner *runner, uint8_t kind) noexcept nogil
    cdef Runner *_new(self, uint32_t entry, uint8_t kind) noexcept nogil
    cdef void _close(self, Source *source) noexcept nogil
    cdef void _destroy(self, Runner *runner) noexcept nogil
    cdef Runner *_spawn(self) noexcept nogil
    cdef bint _send(self, Runner *runner, const tsf_assign *message, const Handover *handover) noexcept nogil
    cdef void _receive(self, uint32_t entry) noexcept nogil
    cdef void _ended(self, Runner *runner, const Outcome *outcome) noexcept nogil
    cdef void _retry_unrecorded(self) noexcept nogil
    cdef void _reaped(self, pid_t pid, int status, const rusage *usage) noexcept nogil
    cdef bint _concerns(self, const Runner *runner, pid_t pid) noexcept nogil
    cdef void _settle(self, Runner *runner) noexcept nogil
    cdef bint _leader_lives(self, const tsf_run *run) noexcept nogil
    cdef void _watch(self, Runner *runner, pid_t pid) noexcept nogil
    cdef void _watched_ended(self, uint32_t entry) noexcept nogil
    cdef void _poll_adopted(self) noexcept nogil
    cdef bint _announce(self, Runner *runner) noexcept nogil
    cdef pid_t _alive(self, uint32_t entry, uint64_t *word) noexcept nogil
    cdef Runner *_take(self, uint32_t entry, uint8_t kind) noexcept nogil
    cdef int _adopt(self, uint32_t entry, pid_t pid, uint64_t job, uint64_t gen, bint has_job) noexcept nogil
