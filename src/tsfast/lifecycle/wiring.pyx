# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See wiring.pxd."""
from libc.stdint cimport uint8_t, uint64_t

from tsfast.base.system cimport WNOHANG, pid_t, rusage, wait4
from tsfast.engine.outcome cimport Outcome, Started
from tsfast.lifecycle cimport retention, start


cdef void job_started(void *owner, uint64_t job, const Started *started) noexcept nogil:
    start.started(<Spool> owner, job, started)


cdef int job_ended(void *owner, uint64_t job, const Outcome *outcome) noexcept nogil:
    return start.ended(<Spool> owner, job, outcome)


cdef void job_revoked(void *owner, uint64_t job) noexcept nogil:
    start.not_taken(<Spool> owner, job)


cdef void hook_begun(void *owner, uint64_t job, uint8_t left) noexcept nogil:
    retention.hook_begun(<Spool> owner, job, left)


cdef void connect(Spool spool) noexcept:
    spool.engine.owner = <void *> spool
    spool.engine.on_started = job_started
    spool.engine.on_ended = job_ended
    spool.engine.on_revoked = job_revoked
    spool.hooks.owner = <void *> spool
    spool.hooks.on_begun = hook_begun


cdef void reap(Spool spool) noexcept nogil:
    cdef rusage usage
    cdef int status
    cdef pid_t pid
    while True:
        pid = wait4(-1, &status, WNOHANG, &usage)
        if pid <= 0:
            return
        if not spool.engine.reaped(pid, status, &usage):
            spool.hooks.reaped(pid)
            spool.allocator.monitor.reaped(pid, status)
