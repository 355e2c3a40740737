# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See finish.pxd."""
from libc.stdint cimport int32_t, uint16_t, uint64_t, uint8_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy, memset, strerror

from tsfast.base.system cimport tsf_log
from tsfast.engine.outcome cimport Outcome
from tsfast.layout.fault cimport tsf_fault
from tsfast.layout.table cimport (
    TSF_CANCELLED, TSF_DUE_HOOK, TSF_DUE_MAIL, TSF_FAILED, TSF_FINISHED, TSF_JOB_HOOK, TSF_JOB_MAIL, TSF_KILLED,
    TSF_LOST, TSF_NOTE_CANCEL, TSF_NOT_STARTABLE, TSF_SKIPPED, TSF_STAGE_EXEC, TSF_STAGE_NONE, TSF_STAGE_RECORD,
    tsf_cold, tsf_hot, tsf_hot_set_times,
)
from tsfast.lifecycle.retention cimport forget_volatile
from tsfast.lifecycle.spool cimport Spool
from tsfast.scheduler.scheduler cimport FLAG_DUE, FLAG_HOOKED, FLAG_SKIPPED, Job


cdef uint8_t due_at_end(const tsf_cold *cold) noexcept nogil:
    return <uint8_t> ((TSF_DUE_HOOK if cold.flags & TSF_JOB_HOOK else 0)
                      | (TSF_DUE_MAIL if cold.flags & TSF_JOB_MAIL else 0))


cdef int finish(Spool spool, Job *job, const Outcome *outcome) noexcept nogil:
    cdef uint64_t id = job.id
    cdef tsf_hot hot
    cdef tsf_cold cold
    cdef uint8_t due = 0
    if spool.pauses.stage or spool.pauses.n_places:
        spool.pauses.went_on(id)
    if outcome.stage == TSF_STAGE_RECORD:
        say_unreadable(spool, id, outcome.cause)
    final_record(spool, &hot, job, outcome)
    if job.flags & FLAG_HOOKED and spool.table.read_cold(id, &cold) == 0:
        due = due_at_end(&cold)
    hot.due = due
    tsf_fault(b"finish-reported")
    if spool.table.write_hot(id, &hot) < 0:
        return -1
    tsf_fault(b"finish-recorded")
    spool.next_end += 1
    job.run = 0
    spool.allocator.give_back(id, outcome.left)
    spool.allocator.release_class(<int32_t> spool.scheduler.gpu_class(job))
    spool.scheduler.finish(id, hot.state != TSF_FINISHED)
    if due:
        job.flags |= FLAG_DUE
        spool.hooks.add(id, due)
    settled(spool, id, &hot)
    return 0


cdef void say_unreadable(Spool spool, uint64_t id, int cause) noexcept nogil:
    cdef char line[160]
    snprintf(line, sizeof(line), b"job %llu: not started: its record cannot be read: %.80s",
             <unsigned long long> id, strerror(cause))
    tsf_log(line)


cdef void final_record(Spool spool, tsf_hot *hot, const Job *job, const Outcome *outcome) noexcept nogil:
    memset(hot, 0, sizeof(tsf_hot))
    if outcome.lost:
        hot.state = TSF_LOST
    elif outcome.stage != TSF_STAGE_NONE and outcome.stage != TSF_STAGE_EXEC and not outcome.status & 0x7f:
        hot.state = TSF_NOT_STARTABLE
    elif outcome.notes & TSF_NOTE_CANCEL:
        hot.state = TSF_CANCELLED
    elif outcome.status & 0x7f:
        hot.state = TSF_KILLED
    else:
        hot.state = TSF_FAILED if outcome.status else TSF_FINISHED
    hot.notes = <uint8_t> outcome.notes
    hot.attempt = job.attempt
    tsf_hot_set_times(hot, outcome.utime_ms, outcome.stime_ms)
    hot.status = <uint16_t> outcome.status
    hot.pid = outcome.pid
    hot.cause = outcome.cause
    hot.stage = <uint8_t> outcome.stage
    hot.start_ns = outcome.start_ns
    hot.duration_ns = outcome.duration_ns
    hot.order = spool.next_end
    hot.maxrss_kb = outcome.maxrss_kb
    memcpy(hot.suffix, outcome.suffix, sizeof(hot.suffix))


cdef void settled(Spool spool, uint64_t id, const tsf_hot *hot) noexcept nogil:
    spool.events.ended(id, hot)
    spool.on_final(spool.owner, id, hot)
    skip_dependents(spool)
    forget_volatile(spool, id)


cdef void skip_dependents(Spool spool) noexcept nogil:
    cdef uint64_t id
    cdef tsf_hot hot
    while spool.scheduler.next_skipped(&id):
        memset(&hot, 0, sizeof(hot))
        hot.state = TSF_SKIPPED
        hot.order = spool.next_end
        spool.next_end += 1
        spool.table.write_hot(id, &hot)   # refused: a recovery computes it again from its dependency
        spool.scheduler.get(id).flags |= FLAG_SKIPPED
        spool.allocator.release_class(<int32_t> spool.scheduler.gpu_class(spool.scheduler.get(id)))
        spool.events.ended(id, &hot)
        spool.on_final(spool.owner, id, &hot)
        forget_volatile(spool, id)
