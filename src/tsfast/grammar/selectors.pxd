"""Filters: the words FIELD=VALUE that choose the jobs of an action. Pure; the owner of the jobs' records matches them.

Ids are united, filters intersected. The fields are those of field_table.pxd.
"""
from libc.stdint cimport int64_t, uint64_t

cdef enum Compare:
    EQUAL                    # = ; of a text with `*` in it: a pattern
    UNEQUAL                  # !=
    CONTAINS                 # ~ ; of texts
    LESS                     # <
    GREATER                  # >
    AT_MOST                  # <=
    AT_LEAST                 # >=

cdef struct Filter:
    int field                # FieldId
    int compare              # Compare
    const char *value        # in the word that was read, ends with NUL
    uint64_t number          # of a number, a size (bytes) or a duration (seconds)
    unsigned int states      # of KIND_STATE: a bit for each enum tsf_state

# A word that begins like FIELD=VALUE, whatever the field.
cdef bint is_filter(const char *word) noexcept nogil
# 0, or -1 with one line in error[room].
cdef int read_filter(const char *word, Filter *filter, char *error, size_t room) noexcept nogil

# What the filters of each kind say of a value.
cdef bint number_fits(const Filter *filter, uint64_t number) noexcept nogil
cdef bint text_fits(const Filter *filter, const char *text, size_t size) noexcept nogil
# at: nanoseconds since 1970; begin, end: of the filter's value, see times.pxd.
cdef bint time_fits(const Filter *filter, int64_t at, int64_t begin, int64_t end) noexcept nogil
