# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See explain.pxd."""
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport strlen

from tsfast.resources.mask cimport mask_test
from tsfast.resources.gpus cimport (
    GpuCounts, Need, VERDICT_ALONE, VERDICT_BUSY, VERDICT_DIVIDED, VERDICT_FITS, VERDICT_FOREIGN, VERDICT_HIDDEN,
    VERDICT_LEASED, VERDICT_OCCUPIED, VERDICT_PROHIBITED, VERDICT_SILENT, VERDICT_SMALL, VERDICT_UNSHARED, VERDICT_USED,
    Verdict,
)
from tsfast.scheduler.scheduler cimport (
    FLAG_BAD, JOB_BLOCKED, JOB_ENDED, JOB_READY, JOB_RUNNING, JOB_SKIPPING, JOB_STARTING, Job,
)
from tsfast.layout.table cimport TSF_CANCELLED, TSF_SKIPPED, tsf_cold, tsf_hot
from tsfast.base.text cimport TSF_HIDDEN, Text, text_char, text_cut, text_i64, text_oneline, text_str, text_u64
from tsfast.store.record cimport Record, error_level, record_after, record_after_ok
from tsfast.lifecycle.spool cimport Spool
from tsfast.render.info cimport info_status

cdef enum:
    NAMED = 10           # jobs that a line names; the others are counted


cdef void a_number(Text *text, uint64_t count, const char *one, const char *more) noexcept nogil:
    text_u64(text, count)
    text_char(text, c' ')
    text_str(text, one if count == 1 else more)


cdef void job_line(Text *text, const char *before, uint64_t id, const char *after) noexcept nogil:
    text_str(text, before)
    text_u64(text, id)
    text_str(text, after)


cdef const char *state_words(const Job *job) noexcept nogil:
    if job.state == JOB_RUNNING or job.state == JOB_STARTING:
        return b" (running)\n"
    return b" (queued)\n"


cdef void dependencies(Text *text, Spool spool, const Record *record) noexcept nogil:
    cdef uint32_t i, total = record.cold.n_after + record.cold.n_after_ok, left = 0
    cdef uint64_t id
    cdef const Job *other
    for i in range(total):
        id = record_after(record, i) if i < record.cold.n_after else record_after_ok(record, i - record.cold.n_after)
        other = spool.job(id)
        if other == NULL or other.state == JOB_ENDED:
            continue
        left += 1
        if left > NAMED:
            continue
        text_str(text, b"it waits for the end of job " if i < record.cold.n_after
                 else b"it waits for the success of job ")
        text_u64(text, id)
        if spool.unreadable.n and spool.unreadable.has(id):
            job_line(text, b", whose record cannot be read: `ts -r ", id, b"` removes it\n")
        else:
            text_str(text, state_words(other))
    if left > NAMED:
        text_str(text, b"and for ")
        a_number(text, left - NAMED, b"other job\n", b"other jobs\n")


cdef void before_it(Text *text, Spool spool, const Job *job) noexcept nogil:
    """How many jobs come first."""
    cdef uint64_t id = ~(<uint64_t> 0), ahead = 0
    cdef const Job *other
    while spool.next_id(id, &id):
        other = spool.job(id)
        ahead += (other.state == JOB_READY and other.order < job.order and 0 < other.slots <= spool.slots()
                  and spool.held_back(other) == 0)
    if ahead:
        text_str(text, b"before it in the queue: ")
        a_number(text, ahead, b"job\n", b"jobs\n")


cdef void slots(Text *text, Spool spool, const Job *job) noexcept nogil:
    cdef const Job *other = spool.first_running()
    cdef uint32_t named = 0
    cdef uint64_t used = spool.used_slots()
    if job.slots > spool.slots():
        text_str(text, b"it needs ")
        a_number(text, job.slots, b"slot", b"slots")
        text_str(text, b" and the queue has ")
        text_u64(text, spool.slots())
        text_str(text, b": raise them with -S\n")
        return
    text_str(text, b"it needs ")
    a_number(text, job.slots, b"slot", b"slots")
    text_str(text, b"; of ")
    text_u64(text, spool.slots())
    text_str(text, b" there are ")
    text_u64(text, spool.slots() - used if used < spool.slots() else 0)
    text_str(text, b" free\n")
    while other != NULL and named < NAMED:
        if other.slots:
            named += 1
            job_line(text, b"job ", other.id, b" has ")
            a_number(text, other.slots, b"slot\n", b"slots\n")
        other = spool.following(other)
    if other != NULL:
        text_str(text, b"and others\n")
    before_it(text, spool, job)


cdef void gpu_line(Text *text, uint64_t count, const char *what) noexcept nogil:
    if count:
        a_number(text, count, b"is", b"are")
        text_str(text, what)


cdef void gpus(Text *text, Spool spool, const Job *job) noexcept nogil:
    cdef const Need *need = spool.allocator.gpus.need_of(<int32_t> spool.gpu_class(job))
    cdef GpuCounts counts
    spool.allocator.gpus.counts(need, &counts)
    text_str(text, b"it needs ")
    a_number(text, counts.wanted, b"GPU", b"GPUs")
    if counts.present == 0:
        text_str(text, b"; none is known here\n" if spool.allocator.complete or spool.allocator.trouble[0]
                 else b"; NVML is being queried\n")
    else:
        text_str(text, b"; ")
        text_u64(text, counts.of[<int> VERDICT_FITS])
        text_str(text, b" of ")
        text_u64(text, counts.present)
        text_str(text, b" are available now\n")
    gpu_line(text, counts.of[<int> VERDICT_USED], b" used by jobs of this queue\n")
    gpu_line(text, counts.of[<int> VERDICT_LEASED], b" leased by another queue, or without a lease file\n")
    gpu_line(text, counts.of[<int> VERDICT_OCCUPIED], b" short of free memory\n")
    gpu_line(text, counts.of[<int> VERDICT_SMALL], b" too small\n")
    gpu_line(text, counts.of[<int> VERDICT_DIVIDED] + counts.of[<int> VERDICT_PROHIBITED]
             + counts.of[<int> VERDICT_ALONE] + counts.of[<int> VERDICT_UNSHARED] + counts.of[<int> VERDICT_SILENT]
             + counts.of[<int> VERDICT_FOREIGN] + counts.of[<int> VERDICT_BUSY], b" not available\n")
    gpu_line(text, counts.of[<int> VERDICT_HIDDEN], b" left out by TS_VISIBLE_DEVICES\n")
    each_gpu(text, spool, need)
    if spool.allocator.trouble[0]:
        text_str(text, b"NVML does not answer: ")
        text_oneline(text, spool.allocator.trouble, strlen(spool.allocator.trouble), TSF_HIDDEN)
        text_char(text, c'\n')
    if spool.allocator.pausing:
        text_str(text, b"a GPU job has just started: --set_gpu_wait makes the next one wait\n")


cdef bint explained(Verdict verdict) noexcept nogil:
    """By a line of its own; the others are said in full by their number."""
    return (verdict != VERDICT_FITS and verdict != VERDICT_USED and verdict != VERDICT_HIDDEN
            and verdict != VERDICT_LEASED and verdict != VERDICT_SILENT)


cdef void each_gpu(Text *text, Spool spool, const Need *need) noexcept nogil:
    """What is wrong with which."""
    cdef uint32_t slot, told = 0
    for slot in range(spool.allocator.gpus.n_devices):
        if need.exact != NULL or not mask_test(spool.allocator.gpus.present, slot):
            continue
        if not explained(spool.allocator.gpus.verdict(slot, need)):
            continue
        told += 1
        if told > NAMED:
            continue
        job_line(text, b"GPU ", spool.allocator.gpus.device(slot).index, b": ")
        spool.allocator.gpus.explain(text, slot, need)
        text_char(text, c'\n')
    if told > NAMED:
        text_str(text, b"and so on, of ")
        a_number(text, told - NAMED, b"other GPU\n", b"other GPUs\n")
    spool.allocator.tell_silent(text, NAMED, b"", b"\n")


cdef void wanting(Text *text, Spool spool, const Job *job) noexcept nogil:
    """What the system is short of."""
    cdef size_t begin = text.size
    text_str(text, b"it waits: ")
    if spool.pauses.reason(text, job):
        text_str(text, b", tried again\n")
    else:
        text_cut(text, begin)


cdef void skipped(Text *text, Spool spool, const Record *record) noexcept nogil:
    cdef uint32_t i, bad = 0, forgotten = 0
    cdef uint64_t id, first = 0
    cdef const Job *other
    cdef tsf_hot hot
    for i in range(record.cold.n_after_ok):
        id = record_after_ok(record, i)
        other = spool.job(id)
        if other == NULL:
            first = first if forgotten else id
            forgotten += 1
        elif other.state == JOB_SKIPPING or (other.state == JOB_ENDED and other.flags & FLAG_BAD):
            bad += 1
            if bad > NAMED or spool.read_hot(id, &hot) < 0:
                continue
            if hot.state == TSF_SKIPPED:
                job_line(text, b"job ", id, b" of its -W was skipped itself\n")
                continue
            if hot.state == TSF_CANCELLED:
                job_line(text, b"job ", id, b" of its -W was cancelled\n")
                continue
            job_line(text, b"job ", id, b" of its -W ended with error level ")
            text_i64(text, error_level(&hot))
            text_char(text, c'\n')
    if bad > NAMED:
        text_str(text, b"and ")
        a_number(text, bad - NAMED, b"other job failed\n", b"other jobs failed\n")
    if forgotten == 1:
        job_line(text, b"job ", first, b" of its -W is no longer known, which counts as a failure\n")
    elif forgotten:
        a_number(text, forgotten, b"", b"jobs of its -W (")
        job_line(text, b"the first is ", first, b") are no longer known, which counts as a failure\n")


cdef void why(Text *text, Spool spool, const Job *job, uint64_t parked) noexcept nogil:
    cdef Record record
    cdef tsf_hot hot
    cdef tsf_cold cold
    job_line(text, b"Job ", job.id, b" ")
    if spool.read_record(job.id, &record, &hot, &cold) < 0:
        text_str(text, b"has a record that cannot be read; it is not started\n")
        return
    if job.state == JOB_BLOCKED:
        text_str(text, b"is queued:\n")
        dependencies(text, spool, &record)
        if job.holds and not spool.pauses.holds(job.id):
            text_str(text, b"it waits for its client (-f)\n")
        wanting(text, spool, job)
    elif job.state == JOB_READY:
        text_str(text, b"is queued:\n")
        if spool.held_back(job):
            text_str(text, b"its array runs as many elements as its limit allows: ")
            text_u64(text, spool.held_back(job))
            text_char(text, c'\n')
        if spool.gpu_class(job):
            gpus(text, spool, job)
        slots(text, spool, job)
        wanting(text, spool, job)
    elif job.state == JOB_STARTING or job.state == JOB_RUNNING:
        text_str(text, b"is running")
        if hot.pid:
            text_str(text, b", pid ")
            text_i64(text, hot.pid)
        text_char(text, c'\n')
    else:
        text_str(text, b"has ended:\n")
        info_status(text, &record)
        if hot.state == TSF_SKIPPED:
            skipped(text, spool, &record)
    if (job.state == JOB_BLOCKED or job.state == JOB_READY) and parked:
        text_str(text, b"the queue is full (TS_MAXCONN): ")
        a_number(text, parked, b"call waits", b"calls wait")
        text_str(text, b" for room in it\n")
