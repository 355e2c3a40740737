# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See wiring.pxd."""
from libc.stdint cimport uint8_t, uint64_t

from tsfast.base.system cimport pid_t
from tsfast.engine.outcome cimport Outcome
from tsfast.layout.structs cimport tsf_run
from tsfast.lifecycle cimport retention, start


cdef void run_started(void *owner, uint64_t job, const tsf_run *run) noexcept nogil:
    start.started(<Spool> owner, job, run)


cdef int run_ended(void *owner, uint64_t job, const Outcome *outcome) noexcept nogil:
    return start.ended(<Spool> owner, job, outcome)


cdef void run_revoked(void *owner, uint64_t job) noexcept nogil:
    start.not_taken(<Spool> owner, job)


cdef void child_reaped(void *owner, pid_t pid, int status) noexcept nogil:
    (<Spool> owner).hooks.reaped(pid)
    (<Spool> owner).grants.poller.reaped(pid, status)


cdef void hook_begun(void *owner, uint64_t job, uint8_t left) noexcept nogil:
    retention.hook_begun(<Spool> owner, job, left)


cdef void connect(Spool spool) noexcept:
    spool.runners.owner = <void *> spool
    spool.runners.on_started = run_started
    spool.runners.on_ended = run_ended
    spool.runners.on_revoked = run_revoked
    spool.runners.on_stranger = child_reaped
    spool.hooks.owner = <void *> spool
    spool.hooks.on_begun = hook_begun
