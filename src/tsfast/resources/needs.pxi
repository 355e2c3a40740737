# The part of gpus.pyx about needs: lists of `-g`, and equal needs kept once.

# For tests: this many allocations from now one fails, once; 0: none does.
cdef uint64_t fail_in = 0


cdef bint fails() noexcept nogil:
    global fail_in
    if fail_in == 0:
        return False
    fail_in -= 1
    return fail_in == 0


# ---- lists of `-g` --------------------------------------------------------------------------------------------------

cdef bint is_uuid(const char *text, size_t size) noexcept nogil:
    cdef size_t i
    if size < 5 or size >= UUID_SIZE or (strncmp(text, b"GPU-", 4) != 0 and strncmp(text, b"MIG-", 4) != 0):
        return False
    for i in range(4, size):             # MIG-GPU-.../1/0 is the older form of an instance's UUID
        if not (c'0' <= text[i] <= c'9' or c'a' <= text[i] <= c'z' or c'A' <= text[i] <= c'Z'
                or text[i] == c'-' or text[i] == c'/'):
            return False
    return True


# TSF_GPU_NONE: not a decimal number below TSF_GPUS.
cdef uint32_t index_in(const char *text, size_t size) noexcept nogil:
    cdef uint32_t value = 0
    cdef size_t i
    if size == 0 or size > 4:
        return TSF_GPU_NONE
    for i in range(size):
        if not c'0' <= text[i] <= c'9':
            return TSF_GPU_NONE
        value = 10 * value + <uint32_t> (text[i] - c'0')
    return value if value < <uint32_t> TSF_GPUS else TSF_GPU_NONE


cdef size_t element_size(const char *text) noexcept nogil:
    cdef size_t size = 0
    while text[size] and text[size] != c',':
        size += 1
    return size


cdef bint same_element(const char *a, size_t a_size, const char *b, size_t b_size) noexcept nogil:
    cdef uint32_t index = index_in(a, a_size)
    if index != TSF_GPU_NONE:
        return index_in(b, b_size) == index
    return a_size == b_size and memcmp(a, b, a_size) == 0


# How many elements; 0: not a list, or one occurs twice.
cdef uint32_t list_length(const char *text) noexcept nogil:
    cdef const char *element = text
    cdef const char *earlier
    cdef uint32_t count = 0
    cdef size_t size
    while True:
        size = element_size(element)
        if index_in(element, size) == TSF_GPU_NONE and not is_uuid(element, size):
            return 0
        earlier = text
        while earlier < element:
            if same_element(element, size, earlier, element_size(earlier)):
                return 0
            earlier += element_size(earlier) + 1
        count += 1
        if count > <uint32_t> TSF_GPUS:
            return 0
        if element[size] == 0:
            return count
        element += size + 1


cdef int listed_slot(Gpus g, const char *element, size_t size) noexcept nogil:
    cdef uint32_t index = index_in(element, size)
    cdef uint32_t slot
    if index != TSF_GPU_NONE:
        return g.slot_by_index(index)
    for slot in range(g.n_devices):
        if strlen(g.devices[slot].uuid) == size and memcmp(g.devices[slot].uuid, element, size) == 0:
            return <int> slot
    return -1


# The present devices of a list: as a set, and in its order into slots; how many. absent: elements that are not there.
cdef uint32_t find_listed(Gpus g, const char *text, uint64_t *there, uint32_t *slots,
                          uint32_t *absent) noexcept nogil:
    cdef uint32_t count = 0
    cdef size_t size
    cdef int slot
    mask_clear(there)
    absent[0] = 0
    while True:
        size = element_size(text)
        slot = listed_slot(g, text, size)
        if slot < 0 or not mask_test(g.present, <uint32_t> slot):
            absent[0] += 1
        elif mask_put(there, <uint32_t> slot, True):
            slots[count] = <uint32_t> slot
            count += 1
        if text[size] == 0:
            return count
        text += size + 1


# ---- equal needs are one class --------------------------------------------------------------------------------------

cdef uint64_t need_hash(const Need *need) noexcept nogil:
    cdef uint64_t[3] numbers
    if need.exact != NULL:
        return tsf_hash64(need.exact, strlen(need.exact), 1)
    numbers[0] = need.count
    numbers[1] = need.share
    numbers[2] = need.vram
    return tsf_hash64(numbers, sizeof(numbers), 0)


cdef bint same_need(const Need *a, const Need *b) noexcept nogil:
    if a.exact != NULL or b.exact != NULL:
        return a.exact != NULL and b.exact != NULL and strcmp(a.exact, b.exact) == 0
    return a.count == b.count and a.share == b.share and a.vram == b.vram


# The need as it is kept, still with the caller's text. False: it makes no sense.
cdef bint make_plain(Need *need) noexcept nogil:
    if need.exact != NULL:
        need.count = list_length(need.exact)
        need.share = 0
        need.vram = 0
        return need.count != 0
    if need.share == 0 and need.vram == 0:
        return False
    if need.share > <uint32_t> TSF_GPU_WHOLE or need.vram > memory_max():
        return False
    return 0 < need.count <= <uint32_t> TSF_GPUS


# A class that is not in use, or 0: no memory.
cdef uint32_t free_class(Gpus g) noexcept nogil:
    cdef uint32_t room = 2 * g.class_room if g.class_room else 16
    cdef uint32_t number = g.class_free
    cdef Class *larger
    if number:
        g.class_free = g.classes[number].next
        return number
    if g.class_top + 1 >= g.class_room:
        larger = <Class *> (NULL if fails() else realloc(g.classes, room * sizeof(Class)))
        if larger == NULL:
            return 0
        g.classes = larger
        g.class_room = room
    g.class_top += 1
    memset(&g.classes[g.class_top], 0, sizeof(Class))
    return g.class_top


cdef void drop_class(Gpus g, uint32_t number) noexcept nogil:
    free(<void *> g.classes[number].need.exact)
    memset(&g.classes[number], 0, sizeof(Class))
    g.classes[number].next = g.class_free
    g.class_free = number


cdef int32_t intern(Gpus g, const Need *asked) noexcept nogil:
    cdef Need need = asked[0]
    cdef uint64_t hash, first
    cdef uint32_t number
    cdef Class *c
    if not make_plain(&need):
        return -2
    hash = need_hash(&need)
    first = idmap_get(&g.class_of_hash, hash)
    if first == not_there():
        first = 0
    number = <uint32_t> first
    while number and not same_need(&g.classes[number].need, &need):
        number = g.classes[number].next
    if number:
        g.classes[number].references += 1
        return <int32_t> number
    number = free_class(g)
    if number == 0:
        return -1
    c = &g.classes[number]
    c.need = need
    if need.exact != NULL:
        c.need.exact = <char *> NULL if fails() else strdup(need.exact)
    if (need.exact != NULL and c.need.exact == NULL) or fails() or idmap_put(&g.class_of_hash, hash, number) < 0:
        drop_class(g, number)
        return -1
    c.hash = hash
    c.next = <uint32_t> first
    c.references = 1
    g.n_by_memory += need.vram != 0
    return <int32_t> number


cdef void forget_class(Gpus g, uint32_t number) noexcept nogil:
    cdef Class *c = &g.classes[number]
    cdef uint32_t other = <uint32_t> idmap_get(&g.class_of_hash, c.hash)
    if other != number:
        while g.classes[other].next != number:
            other = g.classes[other].next
        g.classes[other].next = c.next
    elif c.next:
        idmap_place(&g.class_of_hash, c.hash, c.next)    # replaces what is there: needs no room
    else:
        idmap_del(&g.class_of_hash, c.hash)
    g.n_by_memory -= c.need.vram != 0
    drop_class(g, number)
