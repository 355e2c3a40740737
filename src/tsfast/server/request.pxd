"""A client's request: its parts, checked once, and what its environment says."""
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t

from tsfast.layout.wire cimport tsf_request

# A request whose parts have been checked; pointers into the frame's payload.
cdef struct Request:
    const tsf_request *head
    const char *argv_bytes
    const char *cwd
    const char *env
    const char *affinity

# 0, or -1: the lengths in the frame do not fit it or each other. `rest`: what follows the request's own strings; NULL:
# nothing may.
cdef int request_read(Request *request, const char *payload, uint32_t size, const char **rest) noexcept nogil
# `size` bytes are exactly `count` NUL-terminated strings.
cdef bint strings_fit(const char *data, size_t size, size_t count) noexcept nogil
# The value in the client's environment, NULL if it is not there or empty. `name` ends in `=`.
cdef const char *variable(const Request *request, const char *name) noexcept nogil
# It is there, even if it is empty.
cdef bint has_variable(const Request *request, const char *name) noexcept nogil
# stdout is a terminal, and neither no-color.org's variable nor its kind speaks against it.
cdef bint wants_colour(const Request *request) noexcept nogil

# Room for the words of a command line, which is used again for the next one.
cdef struct Words:
    const char **words         # owned
    size_t room

# argc NUL-terminated words as an argv, valid until the next call; NULL without memory.
cdef const char *const *words_split(Words *words, const char *bytes, uint32_t argc) noexcept nogil
cdef void words_free(Words *words) noexcept nogil
