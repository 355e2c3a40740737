"""A growing buffer of bytes and the ways to write foreign bytes into it: quoted for a shell, on one line, as JSON.

A buffer that could not grow has `failed` set, keeps what it had, and takes nothing more; check it once at the end.
"""
from libc.stdint cimport uint32_t, uint64_t

cdef extern from "tsfast/native/shown.h" nogil:
    ctypedef enum tsf_kind "enum tsf_kind":
        TSF_PLAIN
        TSF_HIDDEN
        TSF_DIRECTION
        TSF_CONTROL
    enum:
        TSF_ESCAPE_MAX
        TSF_NO_CHARACTER
    size_t tsf_decode(const char *data, size_t size, uint32_t *character)
    bint tsf_in_ranges(const uint32_t *ranges, size_t count, uint32_t c)
    tsf_kind tsf_kind_of(uint32_t c, const char *data)
    size_t tsf_escape(char *to, const char *data, size_t size)
    size_t tsf_show(char *to, size_t most, const char *data, size_t size)

cdef struct Text:
    char *data           # malloc'ed, NULL at first; freed by text_free
    size_t size, room
    bint failed

cdef enum:
    MOMENT_MARK = 1      # before a time of day that is left to who shows the text: foreign text has none, it is escaped

cdef void text_free(Text *text) noexcept nogil
cdef void text_add(Text *text, const char *data, size_t size) noexcept nogil
cdef void text_str(Text *text, const char *string) noexcept nogil
cdef void text_char(Text *text, char c) noexcept nogil
cdef void text_pad(Text *text, size_t count) noexcept nogil           # that many spaces
cdef void text_u64(Text *text, uint64_t value) noexcept nogil
cdef void text_i64(Text *text, long long value) noexcept nogil
# Takes the bytes from `size` on away again.
cdef void text_cut(Text *text, size_t size) noexcept nogil

# The following escape characters of the kind `least` and of the later ones, see native/shown.h.
#
# One argument quoted so that bash reads it back as it was: plain if it needs nothing, else '...', or $'...' if there is
# something to escape in it or is not valid UTF-8.
cdef void text_quoted(Text *text, const char *word, size_t size, tsf_kind least) noexcept nogil
# Text for one line: \n, \t, \xNN for what is escaped; everything else as it is.
cdef void text_oneline(Text *text, const char *data, size_t size, tsf_kind least) noexcept nogil
# A JSON string with its quotes; invalid UTF-8 becomes U+FFFD.
cdef void text_json(Text *text, const char *data, size_t size, tsf_kind least) noexcept nogil

# Terminal columns that `data` takes. Invalid bytes and control characters count as one.
cdef size_t display_columns(const char *data, size_t size) noexcept nogil
# How many leading bytes of `data` fit into that many columns, combining characters with what they belong to.
cdef size_t bytes_of_columns(const char *data, size_t size, size_t columns) noexcept nogil
