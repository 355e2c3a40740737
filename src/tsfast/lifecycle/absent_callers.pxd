"""Callers of foreground jobs (-f) who have lost their server and may come back to the next one."""
from libc.stdint cimport uint64_t

from tsfast.scheduler.scheduler cimport Job
from tsfast.lifecycle.spool cimport Spool

cdef class AbsentCallers:
    # Their jobs: queued ones, and those that are to be forgotten once the caller has the answer. The recovery fills it.
    cdef list ids

    # From now on they may come back. A job whose caller is gone is removed after a while.
    cdef void wait(self) noexcept

    # private
    cdef Spool spool
    cdef int timer
    cdef _look(self)
    cdef bint _waits(self, const Job *job) noexcept nogil
    cdef bint _lives(self, uint64_t id) noexcept nogil
