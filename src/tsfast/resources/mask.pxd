"""Sets of GPUs: bit masks of TSF_GPU_WORDS words. Inline helpers."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from tsfast.layout.gpus cimport TSF_GPUS, TSF_GPU_WORDS

cdef extern from *:
    int popcount64 "__builtin_popcountll"(uint64_t word) noexcept nogil
    int trailing_zeros64 "__builtin_ctzll"(uint64_t word) noexcept nogil   # of a word that is not 0

cdef inline void mask_clear(uint64_t *mask) noexcept nogil:
    memset(mask, 0, TSF_GPU_WORDS * sizeof(uint64_t))

cdef inline void mask_set(uint64_t *mask, uint32_t slot) noexcept nogil:
    mask[slot >> 6] |= <uint64_t> 1 << (slot & 63)

cdef inline void mask_unset(uint64_t *mask, uint32_t slot) noexcept nogil:
    mask[slot >> 6] &= ~(<uint64_t> 1 << (slot & 63))

cdef inline bint mask_test(const uint64_t *mask, uint32_t slot) noexcept nogil:
    return (mask[slot >> 6] >> (slot & 63)) & 1

# Set or unset. True: that changed something.
cdef inline bint mask_put(uint64_t *mask, uint32_t slot, bint value) noexcept nogil:
    if mask_test(mask, slot) == value:
        return False
    mask[slot >> 6] ^= <uint64_t> 1 << (slot & 63)
    return True

cdef inline void mask_and(uint64_t *mask, const uint64_t *other) noexcept nogil:
    cdef uint32_t i
    for i in range(<uint32_t> TSF_GPU_WORDS):
        mask[i] &= other[i]

cdef inline void mask_andnot(uint64_t *mask, const uint64_t *other) noexcept nogil:
    cdef uint32_t i
    for i in range(<uint32_t> TSF_GPU_WORDS):
        mask[i] &= ~other[i]

cdef inline uint32_t mask_count(const uint64_t *mask) noexcept nogil:
    cdef uint32_t i
    cdef uint32_t count = 0
    for i in range(<uint32_t> TSF_GPU_WORDS):
        if mask[i]:
            count += <uint32_t> popcount64(mask[i])
    return count

# The first slot of the set from `slot` on; TSF_GPUS: none. All of them: begin with 0, go on with slot + 1.
cdef inline uint32_t mask_next(const uint64_t *mask, uint32_t slot) noexcept nogil:
    cdef uint32_t i = slot >> 6
    cdef uint64_t word
    if slot >= <uint32_t> TSF_GPUS:
        return TSF_GPUS
    word = mask[i] & (~(<uint64_t> 0) << (slot & 63))
    while word == 0:
        i += 1
        if i == <uint32_t> TSF_GPU_WORDS:
            return TSF_GPUS
        word = mask[i]
    return (i << 6) + <uint32_t> trailing_zeros64(word)

# All of them, in order, into slots (room for TSF_GPUS); how many.
cdef inline uint32_t mask_slots(const uint64_t *mask, uint16_t *slots) noexcept nogil:
    cdef uint32_t i
    cdef uint32_t count = 0
    cdef uint64_t word
    for i in range(<uint32_t> TSF_GPU_WORDS):
        word = mask[i]
        while word:
            slots[count] = <uint16_t> ((i << 6) + <uint32_t> trailing_zeros64(word))
            count += 1
            word &= word - 1
    return count
