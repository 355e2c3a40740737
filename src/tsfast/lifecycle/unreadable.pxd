"""Jobs whose records were damaged when the server started. What they are, and whether they have run, is lost, so they
are held. Only their end may write their records anew: otherwise the next server would take them for queued."""
from libc.stdint cimport uint64_t

from tsfast.base.idmap cimport IdMap
from tsfast.scheduler.scheduler cimport Job, Scheduler
from tsfast.store.table cimport Table

cdef class Unreadable:
    cdef size_t n

    # Hold it. -1: no memory.
    cdef int add(self, uint64_t id) noexcept nogil
    cdef bint has(self, uint64_t id) noexcept nogil
    # A job that can neither run nor end as long as `culprit` is there: the job itself, or one that it waits for.
    cdef bint blocks(self, const Job *job, uint64_t *culprit) noexcept nogil
    # Before several calls of blocked(): look at all jobs up to this one, in which nothing must change meanwhile.
    cdef void look(self, uint64_t last) noexcept nogil
    cdef bint blocked(self, uint64_t id, uint64_t *culprit) noexcept nogil

    # private
    cdef Scheduler scheduler
    cdef Table table
    cdef uint64_t *ids            # owned, in their order
    cdef size_t room
    cdef IdMap culprits           # of the jobs that cannot run
    cdef bint _is_held(self, uint64_t id) noexcept nogil
