"""Numbers as people type them. Pure. False: the text is not one, or it is more than `most`."""
from libc.stdint cimport uint32_t, uint64_t

# Decimal digits and nothing else.
cdef bint read_number(const char *value, size_t size, uint64_t most, uint64_t *number) noexcept nogil
# `7` or `7-12`.
cdef bint read_range(const char *value, size_t size, uint64_t most, uint64_t *first, uint64_t *last) noexcept nogil
# `2`, `0.5`, `.5`, `1.0`: in units of 10 ** -places. Zeros at the end say nothing, other digits must fit.
cdef bint read_decimal(const char *value, size_t size, uint32_t places, uint64_t most, uint64_t *number) noexcept nogil
# A size of memory: `20G`, `0.5GB`, `512MiB`: powers of 1024, the unit is always given; in whole KiB, rounded up, and
# less than about 1024T. value: ends with NUL.
cdef bint read_size(const char *value, uint64_t *bytes) noexcept nogil
