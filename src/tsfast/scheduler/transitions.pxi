# The part of scheduler.pyx that transitions are made of: which heap a job is in, who waits for whom, becoming ready,
# skipped or ended.

# ---- heaps ----------------------------------------------------------------------------------------------------------

# The heap in which it waits for its turn, if there are as many slots as it needs, and its array lets it.
cdef inline Heap *home_of(Scheduler s, const Job *job) noexcept nogil:
    cdef uint32_t gpu_class = gpus_of(s, job.waits_in)
    if gpu_class == 0:
        return &s.slotted if job.slots else &s.slotless
    return &s.classes[gpu_class].slotted if job.slots else &s.classes[gpu_class].slotless


# The heap that a READY job is in. After the slots were lowered, jobs with too many of them may still be in `slotted`.
cdef inline Heap *heap_of(Scheduler s, uint32_t i) noexcept nogil:
    cdef Job *job = job_at(s.chunks, i)
    if job.waits_in & <uint32_t> ARRAY_BIT and array_at(s, job.waits_in).first != i:
        return &array_at(s, job.waits_in).waiting
    if job.slots and job.place < s.oversize.size and s.oversize.items[job.place] == i:
        return &s.oversize
    return home_of(s, job)


cdef inline void put_in(Scheduler s, Heap *heap, uint32_t i) noexcept nogil:
    push(s.chunks, heap, i)
    if job_at(s.chunks, i).waits_in and heap != &s.oversize:
        s.gpu_ready += gpus_of(s, job_at(s.chunks, i).waits_in) != 0


cdef inline void take_from(Scheduler s, Heap *heap, uint32_t i) noexcept nogil:
    pull(s.chunks, heap, i)
    if job_at(s.chunks, i).waits_in and heap != &s.oversize:
        s.gpu_ready -= gpus_of(s, job_at(s.chunks, i).waits_in) != 0


# The first of a heap that has as many slots as there are at most; the others go aside. NIL: none.
cdef inline uint32_t first_of(Scheduler s, Heap *heap) noexcept nogil:
    cdef uint32_t i
    while heap.size:
        i = heap.items[0]
        if job_at(s.chunks, i).slots <= s.max_slots:
            return i
        take_from(s, heap, i)
        put_in(s, &s.oversize, i)
    return NIL


# Of two jobs the one that is first in the queue; NIL is none.
cdef inline uint32_t earlier(Scheduler s, uint32_t i, uint32_t j) noexcept nogil:
    if i == NIL or j == NIL:
        return j if i == NIL else i
    return i if job_at(s.chunks, i).order < job_at(s.chunks, j).order else j


# Into the heaps of the queue, where it is looked at when the next job is wanted.
cdef inline void enter_heap(Scheduler s, uint32_t i) noexcept nogil:
    cdef Job *job = job_at(s.chunks, i)
    put_in(s, home_of(s, job) if job.slots <= s.max_slots else &s.oversize, i)


# After any change of its members: if it is an array, its first READY member is in the heaps of the queue if one
# more of it may start, and else none is.
cdef void choose_first(Scheduler s, uint32_t waits_in) noexcept nogil:
    cdef JobArray *array
    cdef bint may_start
    cdef uint32_t i
    if not waits_in & <uint32_t> ARRAY_BIT:
        return
    array = array_at(s, waits_in)
    may_start = array.active < array.limit
    i = array.first
    if i != NIL and (not may_start or (array.waiting.size
                                       and earlier(s, array.waiting.items[0], i) != i)):
        take_from(s, heap_of(s, i), i)
        array.first = NIL
        push(s.chunks, &array.waiting, i)
    if array.first == NIL and may_start and array.waiting.size:
        i = array.waiting.items[0]
        pull(s.chunks, &array.waiting, i)
        array.first = i
        enter_heap(s, i)


# What is READY is in a heap from enter_ready to leave_ready.
cdef void enter_ready(Scheduler s, uint32_t i) noexcept nogil:
    cdef uint32_t waits_in = job_at(s.chunks, i).waits_in
    if waits_in & <uint32_t> ARRAY_BIT:
        push(s.chunks, &array_at(s, waits_in).waiting, i)
        choose_first(s, waits_in)
    else:
        enter_heap(s, i)


cdef void leave_ready(Scheduler s, uint32_t i) noexcept nogil:
    cdef uint32_t waits_in = job_at(s.chunks, i).waits_in
    cdef Heap *heap = heap_of(s, i)
    if waits_in & <uint32_t> ARRAY_BIT and heap == &array_at(s, waits_in).waiting:
        pull(s.chunks, heap, i)
        return
    take_from(s, heap, i)
    if waits_in & <uint32_t> ARRAY_BIT:
        array_at(s, waits_in).first = NIL
        choose_first(s, waits_in)


# ---- edges ----------------------------------------------------------------------------------------------------------

cdef inline uint32_t find_older(Scheduler s, uint64_t id, uint64_t than) noexcept nogil:
    return find(s, id) if id < than else NIL


# Whether one of these has ended badly, and how many edges the others take (added to `edges`).
cdef bint survey(Scheduler s, uint64_t id, const uint64_t *after, size_t n, bint unknown_is_bad,
                 uint64_t *edges) noexcept nogil:
    cdef bint bad = False
    cdef uint32_t i
    cdef size_t k
    for k in range(n):
        i = find_older(s, after[k], id)
        if i == NIL:
            bad = bad or unknown_is_bad
        elif job_at(s.chunks, i).state != JOB_ENDED:
            edges[0] += 1
        elif job_at(s.chunks, i).flags & FLAG_BAD:
            bad = True
    return bad


# Makes job i wait for those of these that have not ended. The edges are reserved.
cdef void tie(Scheduler s, uint32_t i, const uint64_t *after, size_t n, bint ok) noexcept nogil:
    cdef Job *job = job_at(s.chunks, i)
    cdef Job *other
    cdef uint32_t e, o
    cdef size_t k
    for k in range(n):
        o = find_older(s, after[k], job.id)
        if o == NIL:
            continue
        other = job_at(s.chunks, o)
        if other.state == JOB_ENDED:
            continue
        e = take_edge(s)
        edge_at(s.edge_chunks, e).waiter = i << 1 | <uint32_t> ok
        edge_at(s.edge_chunks, e).next = other.edges
        other.edges = e
        job.pending += 1


# ---- steps that transitions are made of -----------------------------------------------------------------------------

cdef inline void to_ready(Scheduler s, uint32_t i) noexcept nogil:
    cdef Job *job = job_at(s.chunks, i)
    set_state(s, job, JOB_READY)
    enter_ready(s, i)


# What starts and runs has its slots, and its place in its array, from occupy to vacate.
cdef inline void occupy(Scheduler s, uint32_t i) noexcept nogil:
    cdef Job *job = job_at(s.chunks, i)
    s.used_slots += job.slots
    append(s.chunks, &s.running_jobs, i)
    if job.waits_in & <uint32_t> ARRAY_BIT:
        array_at(s, job.waits_in).active += 1
        choose_first(s, job.waits_in)


cdef inline void vacate(Scheduler s, uint32_t i) noexcept nogil:
    cdef Job *job = job_at(s.chunks, i)
    s.used_slots -= job.slots
    unlink(s.chunks, &s.running_jobs, i)
    if job.waits_in & <uint32_t> ARRAY_BIT:
        array_at(s, job.waits_in).active -= 1
        choose_first(s, job.waits_in)


# A queued job leaves its heap, if it is in one, and loses its holds, which nothing can lift any more.
cdef inline void take_out(Scheduler s, uint32_t i) noexcept nogil:
    cdef Job *job = job_at(s.chunks, i)
    if job.state == JOB_READY:
        leave_ready(s, i)
    job.pending -= job.holds
    job.holds = 0


cdef void to_skipping(Scheduler s, uint32_t i) noexcept nogil:
    take_out(s, i)
    set_state(s, job_at(s.chunks, i), JOB_SKIPPING)
    job_at(s.chunks, i).place = NIL
    if s.skips.last != NIL:
        job_at(s.chunks, s.skips.last).place = i
    else:
        s.skips.first = i
    s.skips.last = i


# The end of job i for the jobs that wait for it, in the order in which they were added.
cdef void resolve(Scheduler s, uint32_t i, bint bad) noexcept nogil:
    cdef uint32_t e = job_at(s.chunks, i).edges
    cdef uint32_t ordered = NIL
    cdef uint32_t following, waiter
    cdef Job *job
    cdef bint ok
    while e != NIL:                     # the list is newest first: reverse it
        following = edge_at(s.edge_chunks, e).next
        edge_at(s.edge_chunks, e).next = ordered
        ordered = e
        e = following
    job_at(s.chunks, i).edges = NIL
    while ordered != NIL:
        e = ordered
        ordered = edge_at(s.edge_chunks, e).next
        waiter = edge_at(s.edge_chunks, e).waiter >> 1
        ok = edge_at(s.edge_chunks, e).waiter & 1
        give_edge(s, e)
        job = job_at(s.chunks, waiter)
        job.pending -= 1
        if job.state == JOB_BLOCKED:
            if ok and bad:
                to_skipping(s, waiter)
            elif job.pending == 0:
                to_ready(s, waiter)
        elif job.state == JOB_GHOST and job.pending == 0:
            give_job(s, waiter)


# A job counts in its array and its class from count_member to drop_member. Then it is in no array any more.
cdef inline void count_member(Scheduler s, const Job *job) noexcept nogil:
    if job.waits_in & <uint32_t> ARRAY_BIT:
        array_at(s, job.waits_in).members += 1
    if gpus_of(s, job.waits_in):
        s.classes[gpus_of(s, job.waits_in)].members += 1


cdef void drop_member(Scheduler s, Job *job) noexcept nogil:
    cdef uint32_t waits_in = job.waits_in
    job.waits_in = gpus_of(s, waits_in)
    if job.waits_in:
        s.classes[job.waits_in].members -= 1
    if waits_in & <uint32_t> ARRAY_BIT:
        array_at(s, waits_in).members -= 1
        if array_at(s, waits_in).members == 0:
            give_array(s, waits_in)


cdef void to_ended(Scheduler s, uint32_t i, bint bad) noexcept nogil:
    cdef Job *job = job_at(s.chunks, i)
    set_state(s, job, JOB_ENDED)
    if bad:
        job.flags |= FLAG_BAD
    s.end_key += 1
    job.order = s.end_key
    append(s.chunks, &s.ended_jobs, i)
    drop_member(s, job)
    resolve(s, i, bad)


# A job of one of two states, or NIL.
cdef inline uint32_t find_in(Scheduler s, uint64_t id, JobState one, JobState other) noexcept nogil:
    cdef uint32_t i = find(s, id)
    if i != NIL and (job_at(s.chunks, i).state == one or job_at(s.chunks, i).state == other):
        return i
    return NIL
