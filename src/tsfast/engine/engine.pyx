# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See engine.pxd. An engine overrides all of these functions."""
from tsfast.base.system cimport ENOSYS, set_errno


cdef class Engine:
    cdef int prepare(self, uint32_t *entry, uint64_t *gen) noexcept nogil:
        set_errno(ENOSYS)
        return -1

    cdef int start(self, uint32_t entry, uint64_t gen, uint64_t job, uint16_t attempt, const tsf_cold *cold,
                   const Handover *handover) noexcept nogil:
        return -1

    cdef void flush(self) noexcept nogil:
        pass

    cdef int signal(self, uint32_t entry, int number) noexcept nogil:
        return -1

    cdef int cancel(self, uint32_t entry, uint32_t grace_s) noexcept nogil:
        return -1

    cdef void release(self, uint32_t entry) noexcept nogil:
        pass

    cdef void drop_jobs(self) noexcept nogil:
        pass

    cdef bint reaped(self, pid_t pid, int status, const rusage *usage) noexcept nogil:
        return False

    cdef Adoption adopt(self, uint64_t job, const tsf_hot *hot, Outcome *outcome) noexcept nogil:
        return ADOPT_NO_MEMORY

    cdef void end_adoption(self) noexcept nogil:
        pass
