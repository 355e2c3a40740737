# The part of scheduler.pyx that transitions are made of: which heap a job is in, who waits for whom, becoming ready,
# skipped or ended.

# ---- heaps ----------------------------------------------------------------------------------------------------------

# The heap in which it waits for its turn, if there are as many slots as it needs, and its array lets it.
cdef inline Heap *home_of(Queue q, const Job *job) noexcept nogil:
    cdef uint32_t gpu_class = gpus_of(q, job.group)
    if gpu_class == 0:
        return &q.slotted if job.slots else &q.slotless
    return &q.classes[gpu_class].slotted if job.slots else &q.classes[gpu_class].slotless


# The heap that a READY job is in. After the slots were lowered, jobs with too many of them may still be in `slotted`.
cdef inline Heap *heap_of(Queue q, uint32_t i) noexcept nogil:
    cdef Job *job = job_at(q.chunks, i)
    if job.group & <uint32_t> ARRAY_BIT and array_at(q, job.group).first != i:
        return &array_at(q, job.group).waiting
    if job.slots and job.place < q.oversize.size and q.oversize.items[job.place] == i:
        return &q.oversize
    return home_of(q, job)


cdef inline void put_in(Queue q, Heap *heap, uint32_t i) noexcept nogil:
    push(q.chunks, heap, i)
    if job_at(q.chunks, i).group and heap != &q.oversize:
        q.gpu_ready += gpus_of(q, job_at(q.chunks, i).group) != 0


cdef inline void take_from(Queue q, Heap *heap, uint32_t i) noexcept nogil:
    pull(q.chunks, heap, i)
    if job_at(q.chunks, i).group and heap != &q.oversize:
        q.gpu_ready -= gpus_of(q, job_at(q.chunks, i).group) != 0


# The first of a heap that has as many slots as there are at most; the others go aside. NIL: none.
cdef inline uint32_t first_of(Queue q, Heap *heap) noexcept nogil:
    cdef uint32_t i
    while heap.size:
        i = heap.items[0]
        if job_at(q.chunks, i).slots <= q.max_slots:
            return i
        take_from(q, heap, i)
        put_in(q, &q.oversize, i)
    return NIL


# Of two jobs the one that is first in the queue; NIL is none.
cdef inline uint32_t earlier(Queue q, uint32_t i, uint32_t j) noexcept nogil:
    if i == NIL or j == NIL:
        return j if i == NIL else i
    return i if job_at(q.chunks, i).order < job_at(q.chunks, j).order else j


# Into the heaps of the queue, where it is looked at when the next job is wanted.
cdef inline void enter_heap(Queue q, uint32_t i) noexcept nogil:
    cdef Job *job = job_at(q.chunks, i)
    put_in(q, home_of(q, job) if job.slots <= q.max_slots else &q.oversize, i)


# After any change of a group's members: if it is an array, its first READY member is in the heaps of the queue if one
# more of it may start, and else none is.
cdef void choose_first(Queue q, uint32_t group) noexcept nogil:
    cdef JobArray *array
    cdef bint may_start
    cdef uint32_t i
    if not group & <uint32_t> ARRAY_BIT:
        return
    array = array_at(q, group)
    may_start = array.active < array.limit
    i = array.first
    if i != NIL and (not may_start or (array.waiting.size
                                       and earlier(q, array.waiting.items[0], i) != i)):
        take_from(q, heap_of(q, i), i)
        array.first = NIL
        push(q.chunks, &array.waiting, i)
    if array.first == NIL and may_start and array.waiting.size:
        i = array.waiting.items[0]
        pull(q.chunks, &array.waiting, i)
        array.first = i
        enter_heap(q, i)


# What is READY is in a heap from enter_ready to leave_ready.
cdef void enter_ready(Queue q, uint32_t i) noexcept nogil:
    cdef uint32_t group = job_at(q.chunks, i).group
    if group & <uint32_t> ARRAY_BIT:
        push(q.chunks, &array_at(q, group).waiting, i)
        choose_first(q, group)
    else:
        enter_heap(q, i)


cdef void leave_ready(Queue q, uint32_t i) noexcept nogil:
    cdef uint32_t group = job_at(q.chunks, i).group
    cdef Heap *heap = heap_of(q, i)
    if group & <uint32_t> ARRAY_BIT and heap == &array_at(q, group).waiting:
        pull(q.chunks, heap, i)
        return
    take_from(q, heap, i)
    if group & <uint32_t> ARRAY_BIT:
        array_at(q, group).first = NIL
        choose_first(q, group)


# ---- edges ----------------------------------------------------------------------------------------------------------

cdef inline uint32_t find_older(Queue q, uint64_t id, uint64_t than) noexcept nogil:
    return find(q, id) if id < than else NIL


# Whether one of these has ended badly, and how many edges the others take (added to `edges`).
cdef bint survey(Queue q, uint64_t id, const uint64_t *after, size_t n, bint unknown_is_bad,
                 uint64_t *edges) noexcept nogil:
    cdef bint bad = False
    cdef uint32_t i
    cdef size_t k
    for k in range(n):
        i = find_older(q, after[k], id)
        if i == NIL:
            bad = bad or unknown_is_bad
        elif job_at(q.chunks, i).state != JOB_ENDED:
            edges[0] += 1
        elif job_at(q.chunks, i).flags & FLAG_BAD:
            bad = True
    return bad


# Makes job i wait for those of these that have not ended. The edges are reserved.
cdef void tie(Queue q, uint32_t i, const uint64_t *after, size_t n, bint ok) noexcept nogil:
    cdef Job *job = job_at(q.chunks, i)
    cdef Job *other
    cdef uint32_t e, o
    cdef size_t k
    for k in range(n):
        o = find_older(q, after[k], job.id)
        if o == NIL:
            continue
        other = job_at(q.chunks, o)
        if other.state == JOB_ENDED:
            continue
        e = take_edge(q)
        edge_at(q.edge_chunks, e).waiter = i << 1 | <uint32_t> ok
        edge_at(q.edge_chunks, e).next = other.edges
        other.edges = e
        job.pending += 1


# ---- steps that transitions are made of -----------------------------------------------------------------------------

cdef inline void to_ready(Queue q, uint32_t i) noexcept nogil:
    cdef Job *job = job_at(q.chunks, i)
    set_state(q, job, JOB_READY)
    enter_ready(q, i)


# What starts and runs has its slots, and its place in its array, from occupy to vacate.
cdef inline void occupy(Queue q, uint32_t i) noexcept nogil:
    cdef Job *job = job_at(q.chunks, i)
    q.used_slots += job.slots
    append(q.chunks, &q.running_jobs, i)
    if job.group & <uint32_t> ARRAY_BIT:
        array_at(q, job.group).active += 1
        choose_first(q, job.group)


cdef inline void vacate(Queue q, uint32_t i) noexcept nogil:
    cdef Job *job = job_at(q.chunks, i)
    q.used_slots -= job.slots
    unlink(q.chunks, &q.running_jobs, i)
    if job.group & <uint32_t> ARRAY_BIT:
        array_at(q, job.group).active -= 1
        choose_first(q, job.group)


# A queued job leaves its heap, if it is in one, and loses its holds, which nothing can lift any more.
cdef inline void take_out(Queue q, uint32_t i) noexcept nogil:
    cdef Job *job = job_at(q.chunks, i)
    if job.state == JOB_READY:
        leave_ready(q, i)
    job.pending -= job.holds
    job.holds = 0


cdef void to_skipping(Queue q, uint32_t i) noexcept nogil:
    take_out(q, i)
    set_state(q, job_at(q.chunks, i), JOB_SKIPPING)
    job_at(q.chunks, i).place = NIL
    if q.skips.last != NIL:
        job_at(q.chunks, q.skips.last).place = i
    else:
        q.skips.first = i
    q.skips.last = i


# The end of job i for the jobs that wait for it, in the order in which they were added.
cdef void resolve(Queue q, uint32_t i, bint bad) noexcept nogil:
    cdef uint32_t e = job_at(q.chunks, i).edges
    cdef uint32_t ordered = NIL
    cdef uint32_t following, waiter
    cdef Job *job
    cdef bint ok
    while e != NIL:                     # the list is newest first: reverse it
        following = edge_at(q.edge_chunks, e).next
        edge_at(q.edge_chunks, e).next = ordered
        ordered = e
        e = following
    job_at(q.chunks, i).edges = NIL
    while ordered != NIL:
        e = ordered
        ordered = edge_at(q.edge_chunks, e).next
        waiter = edge_at(q.edge_chunks, e).waiter >> 1
        ok = edge_at(q.edge_chunks, e).waiter & 1
        give_edge(q, e)
        job = job_at(q.chunks, waiter)
        job.pending -= 1
        if job.state == JOB_BLOCKED:
            if ok and bad:
                to_skipping(q, waiter)
            elif job.pending == 0:
                to_ready(q, waiter)
        elif job.state == JOB_GHOST and job.pending == 0:
            give_job(q, waiter)


# A job counts in its group from enter_group to leave_group. Then it is in no array any more, only in a class of GPUs.
cdef inline void enter_group(Queue q, const Job *job) noexcept nogil:
    if job.group & <uint32_t> ARRAY_BIT:
        array_at(q, job.group).members += 1
    if gpus_of(q, job.group):
        q.classes[gpus_of(q, job.group)].members += 1


cdef void leave_group(Queue q, Job *job) noexcept nogil:
    cdef uint32_t group = job.group
    job.group = gpus_of(q, group)
    if job.group:
        q.classes[job.group].members -= 1
    if group & <uint32_t> ARRAY_BIT:
        array_at(q, group).members -= 1
        if array_at(q, group).members == 0:
            give_array(q, group)


cdef void to_ended(Queue q, uint32_t i, bint bad) noexcept nogil:
    cdef Job *job = job_at(q.chunks, i)
    set_state(q, job, JOB_ENDED)
    if bad:
        job.flags |= FLAG_BAD
    q.end_key += 1
    job.order = q.end_key
    append(q.chunks, &q.ended_jobs, i)
    leave_group(q, job)
    resolve(q, i, bad)


# A job of one of two states, or NIL.
cdef inline uint32_t find_in(Queue q, uint64_t id, JobState one, JobState other) noexcept nogil:
    cdef uint32_t i = find(q, id)
    if i != NIL and (job_at(q.chunks, i).state == one or job_at(q.chunks, i).state == other):
        return i
    return NIL
