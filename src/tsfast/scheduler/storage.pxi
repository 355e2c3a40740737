# The part of scheduler.pyx that keeps its memory: allocation, the slab of jobs, the directory of their ids, edges.

# For tests: this many allocations from now one fails, once; 0: none does.
cdef uint64_t fail_in = 0


cdef bint fails() noexcept nogil:
    global fail_in
    if fail_in == 0:
        return False
    fail_in -= 1
    return fail_in == 0


# ---- slab -----------------------------------------------------------------------------------------------------------

# One more chunk at the end of an array of `count` chunks; the array itself grows at every power of two.
cdef void *add_chunk(void ***chunks, uint32_t count, size_t size) noexcept nogil:
    cdef void **larger
    if (count & (count - 1)) == 0:
        larger = <void **> (NULL if fails() else realloc(chunks[0], 2 * (count + 1) * sizeof(void *)))
        if larger == NULL:
            return NULL
        chunks[0] = larger
    chunks[0][count] = NULL if fails() else aligned_alloc(CACHE_LINE, size)
    return chunks[0][count]


cdef int widen(uint32_t **items, size_t room) noexcept nogil:
    cdef uint32_t *larger = <uint32_t *> (NULL if fails() else realloc(items[0], room * sizeof(uint32_t)))
    if larger == NULL:
        return -1
    items[0] = larger
    return 0


# Room for one job more, in the slab and in each heap. Untouched room of the heaps costs address space only.
cdef int reserve_job(Queue q) noexcept nogil:
    cdef uint32_t room
    if q.slab_free != NIL or q.slab_top < q.slab_room:
        return 0
    if q.slab_room >= JOBS_MAX:
        return -1
    if q.slab_room == q.index_room:
        room = 2 * q.index_room if q.index_room else CHUNK
        if widen(&q.slotted.items, room) or widen(&q.slotless.items, room) or widen(&q.oversize.items, room):
            return -1
        if widen(&q.scratch, 2 * <size_t> room):
            return -1
        q.index_room = room
    if add_chunk(<void ***> &q.chunks, q.slab_room >> CHUNK_BITS, CHUNK * sizeof(Job)) == NULL:
        return -1
    q.slab_room += CHUNK
    q.unused += CHUNK
    return 0


# Room for one member more in the heaps of its class.
cdef int reserve_class(Queue q, uint32_t number) noexcept nogil:
    cdef GpuClass *grown
    cdef GpuClass *group
    cdef uint32_t room
    if number == 0:
        return 0
    if number > q.n_classes:
        grown = <GpuClass *> (NULL if fails() else realloc(q.classes, (<size_t> number + 1) * sizeof(GpuClass)))
        if grown == NULL:
            return -1
        memset(grown + (q.n_classes + 1 if q.classes != NULL else 0), 0,
               (number - q.n_classes + (q.classes == NULL)) * sizeof(GpuClass))
        q.classes = grown
        q.n_classes = number
    group = &q.classes[number]
    if group.members < group.room:
        return 0
    room = 2 * group.room if group.room else 16
    if widen(&group.slotted.items, room) or widen(&group.slotless.items, room):
        return -1
    group.room = room
    return 0


# ---- arrays ---------------------------------------------------------------------------------------------------------

cdef inline JobArray *array_at(Queue q, uint32_t group) noexcept nogil:
    return &q.arrays[group & ~<uint32_t> ARRAY_BIT]


cdef inline uint32_t gpus_of(Queue q, uint32_t group) noexcept nogil:
    return array_at(q, group).gpu_class if group & <uint32_t> ARRAY_BIT else group


# An entry that is not in use, or NIL: no memory.
cdef uint32_t free_array(Queue q) noexcept nogil:
    cdef uint32_t room = 2 * q.arrays_room if q.arrays_room else 16
    cdef uint32_t number = q.arrays_free
    cdef JobArray *larger
    if number != NIL:
        q.arrays_free = q.arrays[number].first
        return number
    if q.arrays_top == q.arrays_room:
        if room >= <uint32_t> ARRAY_BIT:
            return NIL
        larger = <JobArray *> (NULL if fails() else realloc(q.arrays, <size_t> room * sizeof(JobArray)))
        if larger == NULL:
            return NIL
        q.arrays = larger
        q.arrays_room = room
    q.arrays_top += 1
    return q.arrays_top - 1


cdef void give_array(Queue q, uint32_t group) noexcept nogil:
    cdef JobArray *array = array_at(q, group)
    free(array.waiting.items)
    memset(array, 0, sizeof(JobArray))
    array.first = q.arrays_free
    q.arrays_free = group & ~<uint32_t> ARRAY_BIT


cdef inline bint fits_group(Queue q, uint32_t group, uint32_t slots) noexcept nogil:
    if not group & <uint32_t> ARRAY_BIT:
        return True
    return (group & ~<uint32_t> ARRAY_BIT) < q.arrays_top and (array_at(q, group).limit != 0
                                                               and array_at(q, group).slots == slots)


# Room for one member more of a group.
cdef int reserve_group(Queue q, uint32_t group) noexcept nogil:
    cdef JobArray *array
    cdef uint32_t room
    if group & <uint32_t> ARRAY_BIT:
        array = array_at(q, group)
        if array.members == array.room:
            room = 2 * array.room if array.room else 16
            if widen(&array.waiting.items, room):
                return -1
            array.room = room
    return reserve_class(q, gpus_of(q, group))


cdef inline uint32_t take_job(Queue q) noexcept nogil:
    cdef uint32_t i = q.slab_free
    if i != NIL:
        q.slab_free = job_at(q.chunks, i).next
    else:
        i = q.slab_top
        q.slab_top += 1
    memset(job_at(q.chunks, i), 0, sizeof(Job))
    return i


cdef inline void give_job(Queue q, uint32_t i) noexcept nogil:
    set_state(q, job_at(q.chunks, i), JOB_FREE)
    job_at(q.chunks, i).next = q.slab_free
    q.slab_free = i


# ---- directory ------------------------------------------------------------------------------------------------------

cdef inline Page *page_of(Queue q, uint64_t id) noexcept nogil:
    cdef uint64_t page = idmap_get(&q.pages, id >> PAGE_BITS)
    return NULL if page == not_there() else <Page *> <size_t> page


cdef inline uint32_t find(Queue q, uint64_t id) noexcept nogil:
    cdef Page *page = page_of(q, id)
    return NIL if page == NULL else page.places[id & (PAGE - 1)]


cdef int reserve_page(Queue q, uint64_t id) noexcept nogil:
    cdef Page *page
    if page_of(q, id) != NULL:
        return 0
    page = <Page *> (NULL if fails() else malloc(sizeof(Page)))
    if page == NULL:
        return -1
    memset(page, 0xFF, sizeof(Page))
    page.used = 0
    if fails() or idmap_put(&q.pages, id >> PAGE_BITS, <uint64_t> <size_t> page):
        free(page)
        return -1
    return 0


# Smallest id in the page that is `least` or larger; its job's index, or NIL.
cdef uint32_t first_in_page(Page *page, uint64_t least) noexcept nogil:
    cdef uint32_t k
    if page != NULL:
        for k in range(<uint32_t> (least & (PAGE - 1)), <uint32_t> PAGE):
            if page.places[k] != NIL:
                return page.places[k]
    return NIL


# ---- edges ----------------------------------------------------------------------------------------------------------

cdef int reserve_edges(Queue q, uint64_t count) noexcept nogil:
    if count > EDGES_MAX or q.edges_used + count > EDGES_MAX:
        return -1
    while q.edge_room - q.edges_used < count:
        if add_chunk(<void ***> &q.edge_chunks, q.edge_room >> CHUNK_BITS, CHUNK * sizeof(Edge)) == NULL:
            return -1
        q.edge_room += CHUNK
    return 0


cdef inline uint32_t take_edge(Queue q) noexcept nogil:
    cdef uint32_t e = q.edge_free
    if e != NIL:
        q.edge_free = edge_at(q.edge_chunks, e).next
    else:
        e = q.edge_top
        q.edge_top += 1
    q.edges_used += 1
    return e


cdef inline void give_edge(Queue q, uint32_t e) noexcept nogil:
    edge_at(q.edge_chunks, e).next = q.edge_free
    q.edge_free = e
    q.edges_used -= 1


# The job that `id` may wait for: only older ones, so that there can be no circle.
