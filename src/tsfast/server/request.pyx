# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See request.pxd."""
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport strcmp, strlen, strncmp

from tsfast.layout.wire cimport TSF_TTY_STDOUT, tsf_request


cdef bint strings_fit(const char *data, size_t size, size_t count) noexcept nogil:
    cdef size_t i, found = 0
    for i in range(size):
        if data[i] == 0:
            found += 1
    return found == count and (size == 0 or data[size - 1] == 0)


cdef int request_read(Request *request, const char *payload, uint32_t size, const char **rest) noexcept nogil:
    cdef const tsf_request *head = <const tsf_request *> payload
    cdef uint64_t own
    if size < sizeof(tsf_request):
        return -1
    own = sizeof(tsf_request) + <uint64_t> head.argv_len + head.cwd_len + head.env_len + head.affinity_len
    if own > size or (rest == NULL and own != size):
        return -1
    if rest != NULL:
        rest[0] = payload + own
    request.head = head
    request.argv_bytes = payload + sizeof(tsf_request)
    request.cwd = request.argv_bytes + head.argv_len
    request.env = request.cwd + head.cwd_len
    request.affinity = request.env + head.env_len
    if (not strings_fit(request.argv_bytes, head.argv_len, head.argc)
            or not strings_fit(request.cwd, head.cwd_len, 1)
            or not strings_fit(request.env, head.env_len, head.env_count)):
        return -1
    return 0


cdef const char *value_of(const Request *request, const char *name) noexcept nogil:
    cdef const char *p = request.env
    cdef size_t size = strlen(name)
    while p < request.env + request.head.env_len:
        if strncmp(p, name, size) == 0:
            return p + size
        p += strlen(p) + 1
    return NULL


cdef const char *variable(const Request *request, const char *name) noexcept nogil:
    cdef const char *value = value_of(request, name)
    return value if value != NULL and value[0] else NULL


cdef bint has_variable(const Request *request, const char *name) noexcept nogil:
    return value_of(request, name) != NULL


cdef bint wants_colour(const Request *request) noexcept nogil:
    cdef const char *kind = variable(request, b"TERM=")
    return (request.head.tty & TSF_TTY_STDOUT and variable(request, b"NO_COLOR=") == NULL
            and (kind == NULL or strcmp(kind, b"dumb") != 0))


cdef const char *const *words_split(Words *words, const char *bytes, uint32_t argc) noexcept nogil:
    cdef const char **grown
    cdef uint32_t i
    if <size_t> argc + 1 > words.room:
        grown = <const char **> realloc(<void *> words.words, (<size_t> argc + 1) * sizeof(char *))
        if grown == NULL:
            return NULL
        words.words = grown
        words.room = <size_t> argc + 1
    for i in range(argc):
        words.words[i] = bytes
        bytes += strlen(bytes) + 1
    words.words[argc] = NULL
    return words.words


cdef void words_free(Words *words) noexcept nogil:
    free(<void *> words.words)
