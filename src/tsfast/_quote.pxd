"""A growing buffer of bytes and the ways to write foreign bytes into it: quoted for a shell, on one line, as JSON.

A buffer that could not grow has `failed` set, keeps what it had, and takes nothing more; callers look once at the end.
"""
from libc.stdint cimport uint32_t, uint64_t

cdef struct Text:
    char *data           # malloc'ed, NULL at first; freed by text_free
    size_t size, room
    bint failed

cdef void text_free(Text *text) noexcept nogil
cdef void text_add(Text *text, const char *data, size_t size) noexcept nogil
cdef void text_str(Text *text, const char *string) noexcept nogil
cdef void text_char(Text *text, char c) noexcept nogil
cdef void text_pad(Text *text, size_t count) noexcept nogil           # that many spaces
cdef void text_u64(Text *text, uint64_t value) noexcept nogil
cdef void text_i64(Text *text, long long value) noexcept nogil
# Takes the bytes from `size` on away again.
cdef void text_cut(Text *text, size_t size) noexcept nogil

# One argument quoted so that bash reads it back as it was: plain if it needs nothing, else '...', or $'...' if it has
# control characters or is no UTF-8. Never contains a byte below 0x20 or 0x7f.
cdef void text_quoted(Text *text, const char *word, size_t size) noexcept nogil
# Text for one line: control characters as \n, \t, \xNN; everything else as it is.
cdef void text_oneline(Text *text, const char *data, size_t size) noexcept nogil
# A JSON string with its quotes; bytes that are no UTF-8 become U+FFFD.
cdef void text_json(Text *text, const char *data, size_t size) noexcept nogil

# Terminal columns that `data` takes. Bytes that are no UTF-8 and control characters count as one.
cdef size_t display_columns(const char *data, size_t size) noexcept nogil
# How many leading bytes of `data` fit into that many columns, combining characters with what they belong to.
cdef size_t bytes_of_columns(const char *data, size_t size, size_t columns) noexcept nogil
