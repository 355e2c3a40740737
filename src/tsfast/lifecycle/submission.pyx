# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See submission.pxd."""
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t

from tsfast.base.system cimport ENOMEM, set_errno
from tsfast.layout.table cimport (
    TSF_JOB_ARRAY, TSF_JOB_HOOK, TSF_JOB_MAIL, TSF_JOB_VOLATILE, TSF_QUEUED, TSF_SKIPPED, tsf_cold,
)
from tsfast.layout.wire cimport tsf_request
from tsfast.lifecycle.changes cimport remove
from tsfast.lifecycle.finish cimport skip_dependents
from tsfast.lifecycle.idempotency cimport tokens_find, tokens_remember
from tsfast.lifecycle.retention cimport forget_removed
from tsfast.lifecycle.spool cimport Spool
from tsfast.scheduler.scheduler cimport ADD_SKIPPED, FLAG_BAD, FLAG_HOOKED, FLAG_VOLATILE, JOB_ENDED, JOB_SKIPPING, Job
from tsfast.store.staging cimport Staged, Submission


cdef uint16_t job_flags(const tsf_cold *cold) noexcept nogil:
    return <uint16_t> ((FLAG_VOLATILE if cold.flags & TSF_JOB_VOLATILE else 0)
                       | (FLAG_HOOKED if cold.flags & (TSF_JOB_HOOK | TSF_JOB_MAIL) else 0))


cdef SubmitResult begin_jobs(Spool spool, const tsf_request *request, const char *cwd, const char *env,
                             const char *affinity, uint64_t *first) noexcept nogil:
    cdef uint64_t known = tokens_find(&spool.tokens, request.token)
    if known:
        first[0] = known - 1
        return SUBMIT_KNOWN
    if spool.table.gone:
        return SUBMIT_GONE
    first[0] = spool.table.header.committed
    return SUBMIT_OK if spool.staging.begin(request, cwd, env, affinity) == 0 else SUBMIT_FAILED


cdef SubmitResult add_job(Spool spool, const Submission *job) noexcept nogil:
    cdef uint64_t id = spool.staging.first + spool.staging.n
    cdef int32_t gpu_class
    cdef size_t i
    for i in range(job.n_after + job.n_after_ok):
        spool.bad_id = job.after[i] if i < job.n_after else job.after_ok[i - job.n_after]
        if spool.bad_id >= id:
            return SUBMIT_UNKNOWN_ID
    if spool.staging.add(job, skipped_from_birth(spool, job)) < 0:
        return SUBMIT_FAILED
    if job.gpus:
        gpu_class = spool.allocator.class_of(&spool.staging.cold[spool.staging.n - 1], job.gpu_exact)
        if gpu_class == -1:
            set_errno(ENOMEM)
        if gpu_class < 0:
            return SUBMIT_BAD_GPUS if gpu_class == -2 else SUBMIT_FAILED
        spool.staging.staged[spool.staging.n - 1].gpu_class = gpu_class
    return SUBMIT_OK


cdef SubmitResult queue_jobs(Spool spool) noexcept nogil:
    cdef const tsf_cold *cold
    cdef const Staged *staged
    cdef const uint64_t *after
    cdef uint32_t i, array = 0
    cdef bint skipped = False
    cdef int added
    if spool.staging.write() < 0:
        drop_jobs(spool)
        return SUBMIT_FAILED
    for i in range(spool.staging.n):
        spool.gpu_jobs += spool.staging.cold[i].gpus > 0
    cold = &spool.staging.cold[0]
    if cold.flags & TSF_JOB_ARRAY:
        if spool.arrays.add(spool.staging.first, spool.staging.n, cold.array_first) < 0:
            return withdraw(spool, 0, 0)
        if cold.array_limit:
            array = spool.scheduler.new_array(cold.array_limit, cold.slots,
                                              <uint32_t> spool.staging.staged[0].gpu_class)
            if array == 0:
                return withdraw(spool, 0, 0)
    for i in range(spool.staging.n):
        cold = &spool.staging.cold[i]
        after = spool.staging.after(i)
        staged = &spool.staging.staged[i]
        added = spool.scheduler.add(spool.staging.first + i, cold.slots,
                                    array if array else <uint32_t> staged.gpu_class, after, cold.n_after,
                                    after + cold.n_after, cold.n_after_ok, staged.holds)
        if added < 0:
            return withdraw(spool, i, array)
        spool.scheduler.get(spool.staging.first + i).flags |= job_flags(cold)
        spool.events.add(spool.staging.first + i, TSF_QUEUED)
        skipped = skipped or added == ADD_SKIPPED
    tokens_remember(&spool.tokens, spool.staging.token, spool.staging.first)
    spool.staging.end()
    if skipped:
        skip_dependents(spool)
    return SUBMIT_OK


cdef void drop_jobs(Spool spool) noexcept nogil:
    cdef uint32_t i
    for i in range(spool.staging.n):
        spool.allocator.release_class(spool.staging.staged[i].gpu_class)
    spool.staging.drop()


cdef SubmitResult withdraw(Spool spool, uint32_t queued, uint32_t array) noexcept nogil:
    """There was no memory for more of the frame's jobs, which are in the table: then for none of them."""
    cdef uint32_t i
    for i in range(spool.staging.n):
        if i < queued:
            remove(spool, spool.staging.first + i, NULL)
        else:
            forget_removed(spool, spool.staging.first + i)
            spool.allocator.release_class(spool.staging.staged[i].gpu_class)
    spool.scheduler.drop_array(array)
    spool.staging.end()
    set_errno(ENOMEM)
    return SUBMIT_FAILED


cdef bint skipped_from_birth(Spool spool, const Submission *job) noexcept nogil:
    """A job of after_ok has ended badly or is forgotten. It must stand in the table as skipped from its first
    write: at a recovery a forgotten dependency counts as ended well."""
    cdef size_t i
    cdef Job *other
    for i in range(job.n_after_ok):
        if job.after_ok[i] >= spool.staging.first:
            if spool.staging.hot[job.after_ok[i] - spool.staging.first].state == TSF_SKIPPED:
                return True
            continue
        other = spool.scheduler.get(job.after_ok[i])
        if other == NULL or other.state == JOB_SKIPPING or (other.state == JOB_ENDED and other.flags & FLAG_BAD):
            return True
    return False
