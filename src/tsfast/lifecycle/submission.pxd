"""SUBMIT: the jobs of one frame get their ids and their records, and are in the queue all at once or not at all.

With TSF_JOB_ARRAY they are one array. Call begin_jobs(), add_job() for each of them, then queue_jobs(), or drop_jobs():
then there is none.
"""
from libc.stdint cimport uint16_t, uint64_t

from tsfast.layout.table cimport tsf_cold
from tsfast.layout.wire cimport tsf_request
from tsfast.lifecycle.spool cimport Spool
from tsfast.store.staging cimport Submission

cdef enum SubmitResult:
    SUBMIT_KNOWN = 1                # the token had queued it before: its id again
    SUBMIT_OK = 0
    SUBMIT_UNKNOWN_ID = -1          # a dependency on an id never given out (in `bad_id`)
    SUBMIT_FAILED = -2              # a system call failed: errno
    SUBMIT_BAD_GPUS = -3            # gpu_exact is no list of GPUs
    SUBMIT_GONE = -4                # the table's files were deleted: nothing that is written now is kept

# SUBMIT_KNOWN: the token had queued them before; the id of the first one again, and no more is to be called.
cdef SubmitResult begin_jobs(Spool spool, const tsf_request *request, const char *cwd, const char *env,
                             const char *affinity, uint64_t *first) noexcept nogil
cdef SubmitResult add_job(Spool spool, const Submission *job) noexcept nogil
cdef SubmitResult queue_jobs(Spool spool) noexcept nogil
cdef void drop_jobs(Spool spool) noexcept nogil

# What is kept in memory of how a job was submitted.
cdef uint16_t job_flags(const tsf_cold *cold) noexcept nogil
