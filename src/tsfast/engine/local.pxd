"""The engine of jobs that run on this machine. Runners, native processes that are each the parent of one job at a time,
start them, signal them and leave their results in `runs`.

A runner is started when a job needs one and none is idle, kept for the next job, and ends by itself when it has been
idle for some seconds. What it reports, and what is found when it dies, becomes a callback of the engine.
"""
from libc.stdint cimport uint32_t, uint64_t

from tsfast.base.loop cimport Loop, Source
from tsfast.base.system cimport pid_t
from tsfast.engine.engine cimport Engine
from tsfast.engine.outbox cimport Outbox
from tsfast.engine.outcome cimport Outcome
from tsfast.engine.runner_table cimport Runner, RunnerTable
from tsfast.layout.runs cimport tsf_run
from tsfast.store.journal cimport Journal

cdef class LocalEngine(Engine):
    cdef Loop loop
    cdef int state_dir, program               # owned
    cdef RunnerTable table
    cdef int poll_timer, retry_timer, kill_timer
    cdef bytes fault
    cdef const char *fault_name
    cdef Outbox outbox                        # None but with TS_DURABLE

    # From now on a job goes to its runner when the journal has its record.
    cdef use(self, Journal journal)

    # private
    cdef const tsf_run *_run(self, uint32_t entry) noexcept nogil
    cdef void _close(self, Source *source) noexcept nogil
    cdef void _destroy(self, Runner *runner) noexcept nogil
    cdef Runner *_spawn(self) noexcept nogil
    cdef void _receive(self, uint32_t entry) noexcept nogil
    cdef void _say_started(self, Runner *runner) noexcept nogil
    cdef void _ended(self, Runner *runner, const Outcome *outcome) noexcept nogil
    cdef void _dismiss_idle(self) noexcept nogil
    cdef void _retry_unrecorded(self) noexcept nogil
    cdef bint _concerns(self, const Runner *runner, pid_t pid) noexcept nogil
    cdef void _settle(self, Runner *runner) noexcept nogil
    cdef void _watch(self, Runner *runner, pid_t pid) noexcept nogil
    cdef void _watched_ended(self, uint32_t entry) noexcept nogil
    cdef void _poll_adopted(self) noexcept nogil
    cdef bint _announce(self, Runner *runner) noexcept nogil
    cdef void _kill_orphans(self) noexcept nogil
    cdef int _adopt(self, uint32_t entry, pid_t pid, uint64_t job, bint has_job) noexcept nogil
