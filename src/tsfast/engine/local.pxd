"""The runners: native processes that are each the parent of one job at a time, and their entries of `runs`.

A runner is started when a job needs one and none is idle, kept for the next job, and ends by itself when it has been
idle for some seconds. What it reports and what is found when it dies becomes one of three events for the owner. The
protocol of the entries, and what each state means after a crash, is in native/runs.h and docs/reliability.md.
"""
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from tsfast.base.loop cimport Loop, Source
from tsfast.base.system cimport pid_t, rusage
from tsfast.engine.outbox cimport Outbox
from tsfast.engine.outcome cimport Outcome
from tsfast.engine.runner_process cimport Handover
from tsfast.engine.runner_table cimport Runner, RunnerTable
from tsfast.layout.structs cimport tsf_cold, tsf_hot, tsf_run

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
    cdef int state_dir, program               # owned
    cdef RunnerTable table
    cdef int poll_timer, retry_timer
    cdef bytes fault
    cdef const char *fault_name
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
    cdef Runner *_with_handlers(self, Runner *runner) noexcept nogil
    cdef void _close(self, Source *source) noexcept nogil
    cdef void _destroy(self, Runner *runner) noexcept nogil
    cdef Runner *_spawn(self) noexcept nogil
    cdef void _receive(self, uint32_t entry) noexcept nogil
    cdef void _ended(self, Runner *runner, const Outcome *outcome) noexcept nogil
    cdef void _retry_unrecorded(self) noexcept nogil
    cdef void _reaped(self, pid_t pid, int status, const rusage *usage) noexcept nogil
    cdef bint _concerns(self, const Runner *runner, pid_t pid) noexcept nogil
    cdef void _settle(self, Runner *runner) noexcept nogil
    cdef bint _orphan_ended(self, Runner *runner, Outcome *outcome) noexcept nogil
    cdef void _watch(self, Runner *runner, pid_t pid) noexcept nogil
    cdef void _watched_ended(self, uint32_t entry) noexcept nogil
    cdef void _poll_adopted(self) noexcept nogil
    cdef bint _announce(self, Runner *runner) noexcept nogil
    cdef int _adopt(self, uint32_t entry, pid_t pid, uint64_t job, bint has_job) noexcept nogil
