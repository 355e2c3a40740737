# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See start.pxd."""
from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy, memset

from tsfast.base.system cimport EAGAIN, errno
from tsfast.engine.engine cimport Handover
from tsfast.engine.outcome cimport Outcome, Started, wants, wants_room
from tsfast.layout.fault cimport tsf_fault
from tsfast.layout.table cimport (
    TSF_JOB_FOREGROUND, TSF_JOB_NO_OUTPUT, TSF_NOTE_CANCEL, TSF_QUEUED, TSF_RUNNING, TSF_STAGE_RECORD, TSF_STAGE_SPAWN,
    TSF_STARTING, tsf_cold, tsf_hot,
)
from tsfast.lifecycle.changes cimport cancel_queued, remove, write_queued
from tsfast.lifecycle.finish cimport finish
from tsfast.lifecycle.pauses cimport STAGE_MEMORY, STAGE_RUNNER, STAGE_TABLE
from tsfast.lifecycle.spool cimport Spool
from tsfast.scheduler.scheduler cimport FLAG_CANCEL, JOB_STARTING, Job
from tsfast.store.record cimport Record


cdef void dispatch(Spool spool) noexcept nogil:
    cdef uint64_t id
    spool.allocator.refresh(spool.scheduler)
    while spool.pauses.may_start() and spool.scheduler.next_start(&id):
        start(spool, id)
        if spool.scheduler.gpu_ready:
            spool.allocator.refresh(spool.scheduler)
    if spool.hooks.n_due:
        spool.hooks.start_due()


cdef void start(Spool spool, uint64_t id) noexcept nogil:
    cdef Job *job = spool.scheduler.get(id)
    cdef tsf_hot hot
    cdef tsf_cold cold
    cdef Outcome outcome
    cdef uint32_t entry
    cdef uint64_t gen
    cdef Handover handover
    cdef int sent = -1, stage = TSF_STAGE_SPAWN, cause = EAGAIN, _try
    if spool.table.read_cold(id, &cold) < 0:
        memset(&outcome, 0, sizeof(outcome))
        outcome.stage = TSF_STAGE_RECORD
        outcome.cause = <uint16_t> errno
        outcome.status = 126 << 8
        if ended(spool, id, &outcome) < 0:
            postpone(spool, id, STAGE_TABLE, errno)
        return
    if spool.pauses.n_places and not has_room(spool, id, &cold):
        return
    if not hand_over(spool, job, &cold, &handover):
        return
    for _try in range(8):
        if spool.engine.prepare(&entry, &gen) < 0:
            cause = errno
            break
        job.attempt += 1
        memset(&hot, 0, sizeof(hot))
        hot.state = TSF_STARTING
        hot.attempt = job.attempt
        hot.run = entry
        hot.gen = <uint32_t> gen
        hot.order = job.order
        if ((spool.scheduler.gpu_class(job) and spool.allocator.record(id, job.attempt, &cold) < 0)
                or spool.table.write_hot(id, &hot) < 0):
            stage = STAGE_TABLE
            cause = errno
            break
        job.run = entry
        tsf_fault(b"start-recorded")
        sent = spool.engine.start(entry, gen, id, job.attempt, &cold, &handover)
        if sent == 0:
            break
    if spool.scheduler.gpu_class(job):
        spool.allocator.sent(sent == 0)
    if sent != 0:
        postpone(spool, id, stage, cause)


cdef bint has_room(Spool spool, uint64_t id, const tsf_cold *cold) noexcept nogil:
    """False: its output would go where there was no room a moment ago."""
    cdef Record record
    cdef tsf_hot hot
    cdef tsf_cold whole
    cdef int cause
    if (cold.prefix_len == 0 or cold.flags & TSF_JOB_NO_OUTPUT
            or spool.table.read_record(id, &record, &hot, &whole) < 0
            or not spool.pauses.has_no_room(id, &record, &cause)):
        return True
    spool.scheduler.requeue(id)
    if spool.pauses.no_room(id, &record, cause) < 0:
        spool.pauses.all_starts(STAGE_MEMORY, errno)    # or it would be the next one to start, for ever
    return False


cdef bint hand_over(Spool spool, Job *job, const tsf_cold *cold, Handover *handover) noexcept nogil:
    """Have ready what the job gets beside its record. False: it does not start now."""
    memset(handover, 0, sizeof(Handover))
    if cold.flags & TSF_JOB_FOREGROUND:
        handover.n_fds = spool.take_descriptors(spool.owner, job.id, handover.fds)
        if handover.n_fds == 0:            # its client left after it had been handed out once
            spool.scheduler.requeue(job.id)
            if remove(spool, job.id, NULL) < 0:
                spool.pauses.all_starts(STAGE_TABLE, errno)     # or it would be the next one to start, for ever
            return False
    handover.hide_gpus = (spool.scheduler.gpu_class(job) == 0
                          and (spool.allocator.hides or spool.allocator.machine_has_gpus()))
    if spool.scheduler.gpu_class(job):
        if spool.allocator.take(job.id, <int32_t> spool.scheduler.gpu_class(job)) < 0:
            spool.scheduler.requeue(job.id)     # another queue has them: its class is closed by the next refresh
            if spool.allocator.gpus.fits(<int32_t> spool.scheduler.gpu_class(job)):
                spool.pauses.all_starts(STAGE_MEMORY, 0)        # likewise
            return False
        handover.leases = spool.allocator.leases.fds
        handover.n_leases = spool.allocator.leases.count
        handover.shared = spool.allocator.leases.shared
    return True


cdef void descriptors_came(Spool spool, uint64_t id) noexcept nogil:
    spool.scheduler.release(id)


cdef void started(Spool spool, uint64_t id, const Started *facts) noexcept nogil:
    cdef Job *job = spool.scheduler.get(id)
    cdef tsf_hot hot
    if job == NULL:
        return
    spool.revoked_in_row = 0
    if spool.pauses.stage or spool.pauses.n_places:
        spool.pauses.went_on(id)
    memset(&hot, 0, sizeof(hot))
    hot.state = TSF_RUNNING
    hot.notes = <uint8_t> (facts.notes | (TSF_NOTE_CANCEL if job.flags & FLAG_CANCEL else 0))
    hot.attempt = job.attempt
    hot.run = job.run
    hot.gen = <uint32_t> facts.gen
    hot.pid = facts.pid
    hot.start_ns = facts.start_ns
    hot.order = job.order
    memcpy(hot.suffix, facts.suffix, sizeof(hot.suffix))
    spool.table.write_hot(id, &hot)       # a refusal costs nothing: STARTING with this entry means the same
    tsf_fault(b"running-recorded")
    if spool.scheduler.started(id) == 0:
        spool.events.add(id, TSF_RUNNING)
    spool.on_started(spool.owner, id, &hot)


cdef int ended(Spool spool, uint64_t id, const Outcome *outcome) noexcept nogil:
    cdef Job *job = spool.scheduler.get(id)
    if job == NULL:
        return 0
    spool.revoked_in_row = 0
    if wants(outcome) and job.state == JOB_STARTING:
        lacks_something(spool, id, outcome)
        return 0
    return finish(spool, job, outcome)


cdef void lacks_something(Spool spool, uint64_t id, const Outcome *outcome) noexcept nogil:
    """The start failed for want of something: the job waits in its place until there may be some."""
    cdef Record record
    cdef tsf_hot hot
    cdef tsf_cold cold
    take_back(spool, id)
    if (wants_room(outcome) and spool.table.read_record(id, &record, &hot, &cold) == 0
            and spool.pauses.no_room(id, &record, outcome.cause) == 0):
        return
    spool.pauses.all_starts(outcome.stage, outcome.cause)


cdef void not_taken(Spool spool, uint64_t id) noexcept nogil:
    """An idle runner may leave just when it gets a job. Two in a row are no such chance: something is wrong with the
    program or the machine, and without a pause the server would try again and again."""
    take_back(spool, id)
    spool.revoked_in_row += 1
    if spool.revoked_in_row > 1:
        spool.pauses.all_starts(STAGE_RUNNER, 0)


cdef void postpone(Spool spool, uint64_t id, int stage, int cause) noexcept nogil:
    """No process, no entry or no disk now: later."""
    take_back(spool, id)
    spool.pauses.all_starts(stage, cause)


cdef void take_back(Spool spool, uint64_t id) noexcept nogil:
    """It was handed out but surely not started: back to its place."""
    cdef Job *job = spool.scheduler.get(id)
    cdef bint recorded
    if job == NULL:
        return
    recorded = job.run != 0
    job.run = 0
    spool.allocator.give_back(id, False)
    spool.scheduler.requeue(id)
    if not job.flags & FLAG_CANCEL or cancel_queued(spool, id) < 0:
        write_queued(spool, job)
        if recorded:
            spool.events.add(id, TSF_QUEUED)      # readers of the table may have seen it as running
