# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See changes.pxd."""
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from tsfast.base.system cimport errno, set_errno
from tsfast.layout.fault cimport tsf_fault
from tsfast.layout.table cimport (
    TSF_CANCELLED, TSF_FORGOTTEN, TSF_NOTE_CANCEL, TSF_QUEUED, TSF_REMOVED, tsf_header, tsf_hot,
)
from tsfast.lifecycle.finish cimport settled, skip_dependents
from tsfast.lifecycle.idempotency cimport tokens_remember
from tsfast.lifecycle.retention cimport forget, forget_soon
from tsfast.lifecycle.spool cimport Spool
from tsfast.scheduler.scheduler cimport (
    FLAG_CANCEL, FLAG_DUE, FLAG_SKIPPED, JOB_BLOCKED, JOB_ENDED, JOB_READY, JOB_RUNNING, JOB_STARTING, Job,
)


cdef int remove(Spool spool, uint64_t id, const uint64_t *token) noexcept nogil:
    cdef Job *job = spool.scheduler.get(id)
    cdef tsf_hot hot
    if job == NULL or job.state == JOB_STARTING or job.state == JOB_RUNNING:
        return -2
    if job.state == JOB_ENDED and (job.flags & FLAG_DUE or token == NULL or token[0] == 0):
        return forget(spool, id)
    # First final, then its dependents, then forgotten: see skipped_from_birth in submission.pyx. The token stays until
    # the reply is sent: the same request, made again because the server died before, must not remove another job.
    memset(&hot, 0, sizeof(hot))
    hot.state = TSF_FORGOTTEN if job.state == JOB_ENDED else TSF_REMOVED
    hot.order = spool.next_end
    if token != NULL:
        hot.start_ns = token[0]
        hot.duration_ns = token[1]
    if spool.table.write_hot(id, &hot) < 0:
        return -1
    tsf_fault(b"remove-recorded")
    if token != NULL:
        tokens_remember(&spool.tokens, token, id)       # its answer can be lost while this server lives
    forget_soon(spool, id)
    if job.state == JOB_ENDED:
        spool.scheduler.forget(id)
        spool.events.add(id, TSF_FORGOTTEN)
        return 0
    spool.next_end += 1
    spool.allocator.release_class(<int32_t> spool.scheduler.gpu_class(job))
    spool.scheduler.remove(id)
    spool.events.ended(id, &hot)
    spool.on_final(spool.owner, id, &hot)
    skip_dependents(spool)
    return 0


cdef int cancel_queued(Spool spool, uint64_t id) noexcept nogil:
    cdef Job *job = spool.scheduler.get(id)
    cdef tsf_hot hot
    if job == NULL or (job.state != JOB_BLOCKED and job.state != JOB_READY):
        return -2
    memset(&hot, 0, sizeof(hot))
    hot.state = TSF_CANCELLED
    hot.attempt = job.attempt
    hot.order = spool.next_end
    if spool.table.write_hot(id, &hot) < 0:
        return -1
    spool.next_end += 1
    spool.allocator.release_class(<int32_t> spool.scheduler.gpu_class(job))
    spool.scheduler.cancel(id)
    job.flags |= FLAG_SKIPPED
    settled(spool, id, &hot)
    return 0


cdef int urgent(Spool spool, uint64_t id) noexcept nogil:
    if spool.scheduler.urgent(id) < 0:
        return -2
    return write_queued(spool, spool.scheduler.get(id))


cdef int swap(Spool spool, uint64_t a, uint64_t b, const uint64_t *token) noexcept nogil:
    cdef uint64_t *intent = spool.table.header.intent
    cdef Job *one = spool.scheduler.get(a)
    cdef Job *two = spool.scheduler.get(b)
    cdef uint64_t before[2]
    if token[0] and memcmp(token, spool.table.header.swap_token, 16) == 0:
        return 0             # the call is made again, because the server died before its answer: twice were undone
    if one == NULL or two == NULL or spool.scheduler.swap(a, b) < 0:
        return -2
    # Two records change together: the places that they will have are written down first.
    intent[0] = 1
    intent[1] = a
    intent[2] = one.order
    intent[3] = b
    intent[4] = two.order
    memcpy(before, spool.table.header.swap_token, 16)
    memcpy(spool.table.header.swap_token, token, 16)
    if spool.table.save_settings() < 0:
        return swap_back(spool, one, two, before)
    tsf_fault(b"swap-intended")
    if write_queued(spool, one) < 0:
        return swap_back(spool, one, two, before)
    tsf_fault(b"swap-half")
    if write_queued(spool, two) < 0:
        return swap_back(spool, one, two, before)
    intent[0] = 0
    spool.table.save_settings()
    return 0


cdef int swap_back(Spool spool, const Job *one, const Job *two, const uint64_t *token) noexcept nogil:
    """The disk refused a swap: as it was before, as far as the disk lets. -1, errno kept."""
    cdef int error = errno
    spool.scheduler.swap(one.id, two.id)
    write_queued(spool, one)
    write_queued(spool, two)
    spool.table.header.intent[0] = 0
    memcpy(spool.table.header.swap_token, token, 16)
    spool.table.save_settings()
    set_errno(error)
    return -1


cdef int write_queued(Spool spool, const Job *job) noexcept nogil:
    cdef tsf_hot hot
    memset(&hot, 0, sizeof(hot))
    hot.state = TSF_QUEUED
    hot.attempt = job.attempt
    hot.order = job.order
    return spool.table.write_hot(job.id, &hot)


cdef int signal(Spool spool, uint64_t id, int number) noexcept nogil:
    cdef Job *job = spool.scheduler.get(id)
    if job == NULL or not (job.state == JOB_STARTING or job.state == JOB_RUNNING):
        return -2
    return spool.engine.signal(job.run, number)


cdef int cancel(Spool spool, uint64_t id, uint32_t grace_s) noexcept nogil:
    cdef Job *job = spool.scheduler.get(id)
    cdef tsf_hot hot
    if job == NULL or job.flags & FLAG_CANCEL:
        return 0                           # named twice, or under way
    if job.state == JOB_BLOCKED or job.state == JOB_READY:
        return cancel_queued(spool, id)
    if job.state != JOB_STARTING and job.state != JOB_RUNNING:
        return 0
    if spool.table.read_hot(id, &hot) < 0:
        return -1
    hot.notes |= TSF_NOTE_CANCEL           # so that the next server goes on with it
    if spool.table.write_hot(id, &hot) < 0:
        return -1
    job.flags |= FLAG_CANCEL
    spool.engine.cancel(job.run, grace_s)
    return 0


cdef void repeat_cancels(Spool spool, uint32_t grace_s) noexcept nogil:
    cdef Job *job = spool.scheduler.first_running()
    while job != NULL:
        if job.flags & FLAG_CANCEL:
            spool.engine.cancel(job.run, grace_s)
        job = spool.scheduler.following(job)


# ---- settings, which the table keeps ---------------------------------------------------------------------------

cdef int set_slots(Spool spool, uint32_t slots) noexcept nogil:
    if spool.table.save_setting(&spool.table.header.slots, &slots, sizeof(slots)) < 0:
        return -1
    spool.scheduler.set_slots(slots)
    return 0


cdef int set_gpu_free(Spool spool, uint32_t percent) noexcept nogil:
    if spool.table.save_setting(&spool.table.header.gpu_free_percent, &percent, sizeof(percent)) < 0:
        return -1
    spool.allocator.gpus.set_free_percent(percent)
    return 0


cdef int set_gpu_wait(Spool spool, uint32_t seconds) noexcept nogil:
    if spool.table.save_setting(&spool.table.header.gpu_wait_s, &seconds, sizeof(seconds)) < 0:
        return -1
    spool.allocator.resume()                      # a pause that was set before counts no longer
    return 0


cdef int set_logdir(Spool spool, const char *path, size_t size) noexcept nogil:
    cdef tsf_header changed = spool.table.header
    memcpy(changed.logdir, path, size)
    changed.logdir_len = <uint32_t> size
    return spool.table.save_setting(&spool.table.header, &changed, sizeof(changed))
