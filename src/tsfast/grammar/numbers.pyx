# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See numbers.pxd."""
from libc.stdint cimport uint32_t, uint64_t

cdef const uint64_t MAX_SIZE = 0x3ffffffffffff
cdef const uint64_t MILLION = 1000000


cdef bint read_number(const char *value, size_t size, uint64_t most, uint64_t *number) noexcept nogil:
    cdef uint64_t n = 0, digit
    cdef size_t i
    if size == 0:
        return False
    for i in range(size):
        if value[i] < c"0" or value[i] > c"9":
            return False
        digit = <uint64_t>(value[i] - c"0")
        if n > (most - digit) // 10:
            return False
        n = n * 10 + digit
    number[0] = n
    return n <= most


cdef bint read_range(const char *value, size_t size, uint64_t most, uint64_t *first, uint64_t *last) noexcept nogil:
    cdef size_t head = 0
    while head < size and value[head] != c"-":
        head += 1
    if not read_number(value, head, most, first):
        return False
    last[0] = first[0]
    return head == size or (read_number(value + head + 1, size - head - 1, most, last) and first[0] <= last[0])


cdef bint read_decimal(const char *value, size_t size, uint32_t places, uint64_t most,
                       uint64_t *number) noexcept nogil:
    cdef uint64_t whole = 0, part = 0, unit = 1
    cdef size_t dot = 0, end = size
    cdef uint32_t _place
    for _place in range(places):
        unit *= 10
    while dot < size and value[dot] != c".":
        dot += 1
    if dot == size:
        if not read_number(value, size, most // unit, &whole):
            return False
        number[0] = whole * unit
        return True
    if dot + 1 == size or (dot and not read_number(value, dot, most // unit, &whole)):
        return False
    while end > dot + 2 and value[end - 1] == c"0":
        end -= 1
    if end - dot - 1 > places or not read_number(value + dot + 1, end - dot - 1, unit - 1, &part):
        return False
    for _place in range(<uint32_t> (end - dot - 1), places):
        part *= 10
    number[0] = whole * unit + part
    return number[0] <= most


cdef int memory_shift(const char *unit) noexcept nogil:
    """Of K, KB, Ki, KiB, and of M, G and T likewise, in either case; 0: no such unit."""
    cdef int shift = 0
    cdef size_t i
    for i in range(4):
        if unit[0] == b"KMGT"[i] or unit[0] == b"kmgt"[i]:
            shift = 10 * <int> (i + 1)
    if shift == 0:
        return 0
    unit += 1
    unit += unit[0] == c"i" or unit[0] == c"I"
    unit += unit[0] == c"B" or unit[0] == c"b"
    return 0 if unit[0] else shift


cdef bint read_size(const char *value, uint64_t *bytes) noexcept nogil:
    cdef size_t digits = 0
    cdef uint64_t millionths = 0, kib
    cdef int shift
    while c"0" <= value[digits] <= c"9" or value[digits] == c".":
        digits += 1
    shift = memory_shift(value + digits)
    if (shift == 0 or not read_decimal(value, digits, 6, (MAX_SIZE >> shift) * MILLION + MILLION - 1, &millionths)
            or millionths == 0):
        return False
    kib = millionths // MILLION << (shift - 10)
    kib += ((millionths % MILLION << (shift - 10)) + MILLION - 1) // MILLION
    bytes[0] = kib << 10
    return True
