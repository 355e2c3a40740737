"""A small hash map uint64 -> uint64: open addressing, linear probing, deletion by shifting back. Inline helpers."""
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc

cdef enum:
    IDMAP_SMALLEST = 64

cdef struct IdMap:
    uint64_t *keys        # owned
    uint64_t *values      # owned; NOT_THERE marks a free place
    size_t room           # a power of two, 0 before the first put
    size_t used

cdef inline uint64_t not_there() noexcept nogil:
    return ~(<uint64_t> 0)

cdef inline size_t idmap_home(const IdMap *map, uint64_t key) noexcept nogil:
    cdef uint64_t h = key * <uint64_t> 0x9e3779b97f4a7c15
    return <size_t> ((h ^ (h >> 32)) & (map.room - 1))

cdef inline uint64_t idmap_get(const IdMap *map, uint64_t key) noexcept nogil:
    cdef size_t i
    if map.room == 0:
        return not_there()
    i = idmap_home(map, key)
    while map.values[i] != not_there():
        if map.keys[i] == key:
            return map.values[i]
        i = (i + 1) & (map.room - 1)
    return not_there()

cdef inline void idmap_place(IdMap *map, uint64_t key, uint64_t value) noexcept nogil:
    cdef size_t i = idmap_home(map, key)
    while map.values[i] != not_there():
        if map.keys[i] == key:
            map.values[i] = value
            return
        i = (i + 1) & (map.room - 1)
    map.keys[i] = key
    map.values[i] = value
    map.used += 1

# Add or replace. value must not be ~0. 0, or -1 without memory (nothing changed).
cdef inline int idmap_put(IdMap *map, uint64_t key, uint64_t value) noexcept nogil:
    cdef IdMap larger
    cdef size_t i
    if 2 * (map.used + 1) > map.room:
        larger.room = 2 * map.room if map.room else IDMAP_SMALLEST
        larger.used = 0
        larger.keys = <uint64_t *> malloc(larger.room * sizeof(uint64_t))
        larger.values = <uint64_t *> malloc(larger.room * sizeof(uint64_t))
        if larger.keys == NULL or larger.values == NULL:
            free(larger.keys)
            free(larger.values)
            return -1
        for i in range(larger.room):
            larger.values[i] = not_there()
        for i in range(map.room):
            if map.values[i] != not_there():
                idmap_place(&larger, map.keys[i], map.values[i])
        free(map.keys)
        free(map.values)
        map[0] = larger
    idmap_place(map, key, value)
    return 0

cdef inline void idmap_del(IdMap *map, uint64_t key) noexcept nogil:
    cdef size_t i, hole, home
    if map.room == 0:
        return
    i = idmap_home(map, key)
    while map.values[i] != not_there() and map.keys[i] != key:
        i = (i + 1) & (map.room - 1)
    if map.values[i] == not_there():
        return
    hole = i
    map.used -= 1
    while True:
        i = (i + 1) & (map.room - 1)
        if map.values[i] == not_there():
            break
        home = idmap_home(map, map.keys[i])
        # An entry may move back into the hole only if its home does not lie between the hole and itself.
        if ((i - home) & (map.room - 1)) >= ((i - hole) & (map.room - 1)):
            map.keys[hole] = map.keys[i]
            map.values[hole] = map.values[i]
            hole = i
    map.values[hole] = not_there()

cdef inline void idmap_free(IdMap *map) noexcept nogil:
    free(map.keys)
    free(map.values)
    map.keys = NULL
    map.values = NULL
    map.room = map.used = 0
