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
cdef int reserve_job(Scheduler s) noexcept nogil:
    cdef uint32_t room
    if s.slab_free != NIL or s.slab_top < s.slab_room:
        return 0
    if s.slab_room >= JOBS_MAX:
        return -1
    if s.slab_room == s.index_room:
        room = 2 * s.index_room if s.index_room else CHUNK
        if widen(&s.slotted.items, room) or widen(&s.slotless.items, room) or widen(&s.oversize.items, room):
            return -1
        if widen(&s.scratch, 2 * <size_t> room):
            return -1
        s.index_room = room
    if add_chunk(<void ***> &s.chunks, s.slab_room >> CHUNK_BITS, CHUNK * sizeof(Job)) == NULL:
        return -1
    s.slab_room += CHUNK
    s.unused += CHUNK
    return 0


# Room for one member more in the heaps of its class.
cdef int reserve_class(Scheduler s, uint32_t number) noexcept nogil:
    cdef ResourceClass *grown
    cdef ResourceClass *jobs
    cdef uint32_t room
    if number == 0:
        return 0
    if number > s.n_classes:
        grown = <ResourceClass *> (NULL if fails() else realloc(s.classes,
                                                                (<size_t> number + 1) * sizeof(ResourceClass)))
        if grown == NULL:
            return -1
        memset(grown + (s.n_classes + 1 if s.classes != NULL else 0), 0,
               (number - s.n_classes + (s.classes == NULL)) * sizeof(ResourceClass))
        s.classes = grown
        s.n_classes = number
    jobs = &s.classes[number]
    if jobs.members < jobs.room:
        return 0
    room = 2 * jobs.room if jobs.room else 16
    if widen(&jobs.slotted.items, room) or widen(&jobs.slotless.items, room):
        return -1
    jobs.room = room
    return 0


# ---- arrays ---------------------------------------------------------------------------------------------------------

cdef inline JobArray *array_at(Scheduler s, uint32_t waits_in) noexcept nogil:
    return &s.arrays[waits_in & ~<uint32_t> ARRAY_BIT]


cdef inline uint32_t gpus_of(Scheduler s, uint32_t waits_in) noexcept nogil:
    return array_at(s, waits_in).gpu_class if waits_in & <uint32_t> ARRAY_BIT else waits_in


# An entry that is not in use, or NIL: no memory.
cdef uint32_t free_array(Scheduler s) noexcept nogil:
    cdef uint32_t room = 2 * s.arrays_room if s.arrays_room else 16
    cdef uint32_t number = s.arrays_free
    cdef JobArray *larger
    if number != NIL:
        s.arrays_free = s.arrays[number].first
        return number
    if s.arrays_top == s.arrays_room:
        if room >= <uint32_t> ARRAY_BIT:
            return NIL
        larger = <JobArray *> (NULL if fails() else realloc(s.arrays, <size_t> room * sizeof(JobArray)))
        if larger == NULL:
            return NIL
        s.arrays = larger
        s.arrays_room = room
    s.arrays_top += 1
    return s.arrays_top - 1


cdef void give_array(Scheduler s, uint32_t waits_in) noexcept nogil:
    cdef JobArray *array = array_at(s, waits_in)
    free(array.waiting.items)
    memset(array, 0, sizeof(JobArray))
    array.first = s.arrays_free
    s.arrays_free = waits_in & ~<uint32_t> ARRAY_BIT


cdef inline bint fits_array(Scheduler s, uint32_t waits_in, uint32_t slots) noexcept nogil:
    if not waits_in & <uint32_t> ARRAY_BIT:
        return True
    return (waits_in & ~<uint32_t> ARRAY_BIT) < s.arrays_top and (array_at(s, waits_in).limit != 0
                                                                  and array_at(s, waits_in).slots == slots)


# Room for one member more of an array or a class.
cdef int reserve_member(Scheduler s, uint32_t waits_in) noexcept nogil:
    cdef JobArray *array
    cdef uint32_t room
    if waits_in & <uint32_t> ARRAY_BIT:
        array = array_at(s, waits_in)
        if array.members == array.room:
            room = 2 * array.room if array.room else 16
            if widen(&array.waiting.items, room):
                return -1
            array.room = room
    return reserve_class(s, gpus_of(s, waits_in))


cdef inline uint32_t take_job(Scheduler s) noexcept nogil:
    cdef uint32_t i = s.slab_free
    if i != NIL:
        s.slab_free = job_at(s.chunks, i).next
    else:
        i = s.slab_top
        s.slab_top += 1
    memset(job_at(s.chunks, i), 0, sizeof(Job))
    return i


cdef inline void give_job(Scheduler s, uint32_t i) noexcept nogil:
    set_state(s, job_at(s.chunks, i), JOB_FREE)
    job_at(s.chunks, i).next = s.slab_free
    s.slab_free = i


# ---- directory ------------------------------------------------------------------------------------------------------

cdef inline Page *page_of(Scheduler s, uint64_t id) noexcept nogil:
    cdef uint64_t page = idmap_get(&s.pages, id >> PAGE_BITS)
    return NULL if page == not_there() else <Page *> <size_t> page


cdef inline uint32_t find(Scheduler s, uint64_t id) noexcept nogil:
    cdef Page *page = page_of(s, id)
    return NIL if page == NULL else page.places[id & (PAGE - 1)]


cdef int reserve_page(Scheduler s, uint64_t id) noexcept nogil:
    cdef Page *page
    if page_of(s, id) != NULL:
        return 0
    page = <Page *> (NULL if fails() else malloc(sizeof(Page)))
    if page == NULL:
        return -1
    memset(page, 0xFF, sizeof(Page))
    page.used = 0
    if fails() or idmap_put(&s.pages, id >> PAGE_BITS, <uint64_t> <size_t> page):
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

cdef int reserve_edges(Scheduler s, uint64_t count) noexcept nogil:
    if count > EDGES_MAX or s.edges_used + count > EDGES_MAX:
        return -1
    while s.edge_room - s.edges_used < count:
        if add_chunk(<void ***> &s.edge_chunks, s.edge_room >> CHUNK_BITS, CHUNK * sizeof(Edge)) == NULL:
            return -1
        s.edge_room += CHUNK
    return 0


cdef inline uint32_t take_edge(Scheduler s) noexcept nogil:
    cdef uint32_t e = s.edge_free
    if e != NIL:
        s.edge_free = edge_at(s.edge_chunks, e).next
    else:
        e = s.edge_top
        s.edge_top += 1
    s.edges_used += 1
    return e


cdef inline void give_edge(Scheduler s, uint32_t e) noexcept nogil:
    edge_at(s.edge_chunks, e).next = s.edge_free
    s.edge_free = e
    s.edges_used -= 1


# The job that `id` may wait for: only older ones, so that there can be no circle.
