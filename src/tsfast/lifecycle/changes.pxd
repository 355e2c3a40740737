"""What a user changes in the queue: remove, cancel, signal and move jobs, change settings.

The functions that return an int return 0, or -1 with errno when the disk refused it (nothing changed), or -2 when the
job's state forbids it.
"""
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from tsfast.lifecycle.spool cimport Spool
from tsfast.scheduler.scheduler cimport Job

# token: of the request, NULL: no request's
cdef int remove(Spool spool, uint64_t id, const uint64_t *token) noexcept nogil
# A queued job has ended now, as cancelled.
cdef int cancel_queued(Spool spool, uint64_t id) noexcept nogil
# A job that has not ended is to be ended: a queued one at once, a running one with all its processes, the last of them
# after the grace time.
cdef int cancel(Spool spool, uint64_t id, uint32_t grace_s) noexcept nogil
# After a recovery: the engine is told again which jobs are to be ended.
cdef void repeat_cancels(Spool spool, uint32_t grace_s) noexcept nogil
cdef int signal(Spool spool, uint64_t id, int number) noexcept nogil
cdef int urgent(Spool spool, uint64_t id) noexcept nogil
cdef int swap(Spool spool, uint64_t a, uint64_t b, const uint64_t *token) noexcept nogil
cdef int set_slots(Spool spool, uint32_t slots) noexcept nogil
cdef int set_gpu_free(Spool spool, uint32_t percent) noexcept nogil
cdef int set_gpu_wait(Spool spool, uint32_t seconds) noexcept nogil
# The path, of `size` bytes without a NUL, is absolute and shorter than its place in struct tsf_header.
cdef int set_logdir(Spool spool, const char *path, size_t size) noexcept nogil

# The job's record says that it is queued.
cdef int write_queued(Spool spool, const Job *job) noexcept nogil
