# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See describe_array.pxd."""
from libc.string cimport memset

from tsfast.grammar.options cimport ACTION_FULL_COMMAND
from tsfast.scheduler.scheduler cimport (
    FLAG_BAD, FLAG_SKIPPED, JOB_BLOCKED, JOB_ENDED, JOB_READY, JOB_RUNNING, JOB_SKIPPING, JOB_STARTING, Job,
)
from tsfast.layout.table cimport tsf_cold, tsf_hot
from tsfast.layout.wire cimport TSF_TTY_STDOUT
from tsfast.base.text cimport TSF_CONTROL, TSF_HIDDEN, text_char, text_str, text_u64
from tsfast.store.record cimport Record
from tsfast.render.fields cimport record_pattern
from tsfast.render.rows cimport array_counts
from tsfast.server.handlers.explain cimport why


cdef inline bint runs(const Job *job) noexcept nogil:
    return job.state == JOB_STARTING or job.state == JOB_RUNNING


cdef void count_array(Spool spool, const Span *span, ArrayCounts *counts) noexcept nogil:
    cdef uint64_t id = span.first - 1
    cdef const Job *job
    counts.first = span.first
    counts.count = span.count
    counts.index = span.index
    while spool.next_id(id, &id) and id - span.first < span.count:
        job = spool.job(id)
        if runs(job):
            counts.running += 1
        elif spool.unreadable.n and spool.unreadable.has(id):
            counts.unreadable += 1
        elif job.state != JOB_ENDED and job.state != JOB_SKIPPING:
            counts.queued += 1
        elif job.flags & FLAG_SKIPPED or job.state == JOB_SKIPPING:
            counts.skipped += 1
        elif job.flags & FLAG_BAD:
            counts.failed += 1
        else:
            counts.ok += 1


cdef const Span *whole_array(Spool spool, const IdRange *named) noexcept nogil:
    cdef const Span *span = spool.arrays.of(named.first)
    if span == NULL or span.count == 1 or span.first != named.first or named.last - named.first + 1 != span.count:
        return NULL
    return span


cdef void why_array(Text *text, Spool spool, const Span *span, uint64_t parked) noexcept nogil:
    """How many are how, and of those that wait, and of those that ended badly, what there is to say of the first."""
    cdef uint64_t id = span.first - 1
    cdef const Job *waiting = NULL
    cdef const Job *bad = NULL
    cdef const Job *job
    cdef ArrayCounts counts
    memset(&counts, 0, sizeof(counts))
    count_array(spool, span, &counts)
    counts.removed = <uint32_t> spool.removed_ones(span.first, span.first + span.count - 1)
    while spool.next_id(id, &id) and id - span.first < span.count and (waiting == NULL or bad == NULL):
        job = spool.job(id)
        if waiting == NULL and (job.state == JOB_BLOCKED or job.state == JOB_READY):
            waiting = job
        elif bad == NULL and job.state == JOB_ENDED and job.flags & FLAG_BAD:
            bad = job
    text_str(text, b"Array ")
    text_u64(text, span.first)
    text_char(text, c"[")
    text_u64(text, span.index)
    text_char(text, c"-")
    text_u64(text, <uint64_t> span.index + span.count - 1)
    text_str(text, b"] ")
    array_counts(text, &counts)
    text_char(text, c"\n")
    if waiting != NULL:
        text_str(text, b"the first that waits:\n")
        why(text, spool, waiting, parked)
    if bad != NULL:
        text_str(text, b"the first that failed:\n")
        why(text, spool, bad, parked)


cdef const char *command_of(Text *text, Spool spool, const Span *span, bint terminal) noexcept nogil:
    """As it was typed."""
    cdef uint64_t id = span.first - 1
    cdef Record record
    cdef tsf_hot hot
    cdef tsf_cold cold
    while spool.next_id(id, &id) and id - span.first < span.count:
        if spool.read_record(id, &record, &hot, &cold) == 0:
            record_pattern(text, &record, 0, TSF_HIDDEN if terminal else TSF_CONTROL)
            text_char(text, c"\n")
            return NULL
    return b"is an array whose records cannot be read"


cdef const char *tell_whole(Text *text, Spool spool, const Span *span, int action, uint64_t parked,
                            uint32_t tty) noexcept nogil:
    if action == ACTION_FULL_COMMAND:
        return command_of(text, spool, span, tty & TSF_TTY_STDOUT)
    why_array(text, spool, span, parked)
    return NULL
