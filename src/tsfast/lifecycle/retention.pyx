# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See retention.pxd."""
from libc.stddef cimport size_t
from libc.stdint cimport uint16_t, uint64_t, uint8_t
from libc.stdlib cimport realloc
from libc.string cimport memmove

from tsfast.layout.table cimport TSF_FORGOTTEN, TSF_REMOVED, tsf_cold, tsf_hot
from tsfast.lifecycle.spool cimport Spool
from tsfast.scheduler.scheduler cimport FLAG_DUE, FLAG_FORGET, FLAG_VOLATILE, FLAG_WAITED, JOB_ENDED, Job


cdef const uint64_t *removed_token(const tsf_hot *hot) noexcept nogil:
    if hot.state == TSF_REMOVED or (hot.state == TSF_FORGOTTEN and hot.start_ns | hot.duration_ns):
        return &hot.start_ns
    return NULL


cdef bint untidy(Spool spool) noexcept nogil:
    return spool.n_forgettable or spool.scheduler.ended > kept(spool)


cdef uint64_t kept(Spool spool) noexcept nogil:
    """How many ended jobs. A client that has to ask again for the jobs that it waits for, because the server died,
    still finds them."""
    return spool.table.header.max_finished + spool.kept_longer + spool.kept_for_waiters


cdef void tidy(Spool spool, size_t n) noexcept nogil:
    cdef uint64_t id
    cdef size_t i
    cdef Job *job
    cdef tsf_hot hot
    for i in range(n):
        id = spool.forgettable[i]
        job = spool.scheduler.get(id)
        if job != NULL and job.state == JOB_ENDED:
            forget(spool, id)
        elif job == NULL and spool.table.read_hot(id, &hot) == 0 and removed_token(&hot) != NULL:
            forget_removed(spool, id)
    if n:
        memmove(spool.forgettable, spool.forgettable + n, (spool.n_forgettable - n) * sizeof(uint64_t))
        spool.n_forgettable -= n
    trim(spool)


cdef void trim(Spool spool) noexcept nogil:
    if spool.scheduler.ended > kept(spool):
        forget_oldest(spool, spool.scheduler.ended - kept(spool))


cdef int clear(Spool spool) noexcept nogil:
    return forget_oldest(spool, spool.scheduler.ended)


cdef int drop_all(Spool spool) noexcept nogil:
    if spool.table.drop_all() < 0:
        return -1
    spool.engine.drop_jobs()
    return 0


cdef int forget_oldest(Spool spool, uint64_t n) noexcept nogil:
    cdef Job *oldest = spool.scheduler.first_ended()
    cdef Job *following
    while n and oldest != NULL:
        following = spool.scheduler.following(oldest)
        if forget(spool, oldest.id) < 0:
            return -1
        oldest = following
        n -= 1
    return 0


cdef int forget(Spool spool, uint64_t id) noexcept nogil:
    cdef tsf_cold cold
    cdef Job *job = spool.scheduler.get(id)
    cdef bint known
    if job.flags & FLAG_DUE:
        job.flags |= FLAG_FORGET         # its hook needs the record until it was started
        return 0
    known = spool.table.read_cold(id, &cold) == 0
    if spool.table.forget(id, False) < 0:
        return -1
    if known:
        spool.contexts.release(cold.ctx)
        spool.gpu_jobs -= cold.gpus > 0
    spool.scheduler.forget(id)
    spool.events.add(id, TSF_FORGOTTEN)
    return 0


cdef void forget_removed(Spool spool, uint64_t id) noexcept nogil:
    cdef tsf_cold cold
    cdef tsf_hot hot
    cdef bint queued = spool.table.read_hot(id, &hot) == 0 and hot.state == TSF_REMOVED
    if spool.table.read_cold(id, &cold) == 0:
        spool.contexts.release(cold.ctx)
        spool.gpu_jobs -= cold.gpus > 0
    spool.table.forget(id, queued)


cdef void client_waits(Spool spool, uint64_t id) noexcept nogil:
    cdef Job *job = spool.scheduler.get(id)
    if job != NULL:
        job.flags |= FLAG_WAITED


cdef void answered(Spool spool, uint64_t id) noexcept nogil:
    cdef Job *job = spool.scheduler.get(id)
    if job != NULL and job.flags & FLAG_VOLATILE:
        forget_soon(spool, id)


cdef void forget_soon(Spool spool, uint64_t id) noexcept nogil:
    cdef size_t room = 2 * spool.forgettable_room if spool.forgettable_room else 64
    cdef uint64_t *grown
    if spool.n_forgettable == spool.forgettable_room:
        grown = <uint64_t *> realloc(spool.forgettable, room * sizeof(uint64_t))
        if grown == NULL:
            return                         # the next recovery does it
        spool.forgettable = grown
        spool.forgettable_room = room
    spool.forgettable[spool.n_forgettable] = id
    spool.n_forgettable += 1


cdef void forget_volatile(Spool spool, uint64_t id) noexcept nogil:
    cdef Job *job = spool.scheduler.get(id)
    if job != NULL and (job.flags & FLAG_WAITED or not spool.in_grace):
        answered(spool, id)


cdef void hook_begun(Spool spool, uint64_t id, uint8_t left) noexcept nogil:
    cdef Job *job = spool.scheduler.get(id)
    if job == NULL or left:
        return
    job.flags &= <uint16_t> ~FLAG_DUE
    if job.flags & FLAG_FORGET:
        forget(spool, id)
