"""TS_ENV_KEEP and TS_ENV_DROP: which variables of the client's environment are stored with a job. Pure."""
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t

from tsfast.layout.wire cimport tsf_request
from tsfast.base.text cimport Text

# The patterns of both: copies, because the originals are in the filtered environment.
cdef struct EnvPatterns:
    Text text             # owned: those of KEEP, a NUL, those of DROP, a NUL
    size_t drop_at
    bint keep, drop       # they are there

# From an environment of so many bytes. 0, or -1 without memory (then nothing must be stored).
cdef int patterns_read(EnvPatterns *patterns, const char *env, uint32_t size) noexcept nogil
# Removes from NUL-terminated strings, `NAME=VALUE` or `NAME`, what must not be stored.
cdef void patterns_apply(const EnvPatterns *patterns, char *env, uint32_t *size, uint32_t *count) noexcept nogil
cdef void patterns_free(EnvPatterns *patterns) noexcept nogil
# All three for `env`, the strings of the request whose head is `head`. 0, or -1 without memory.
cdef int filter_environment(char *env, tsf_request *head) noexcept nogil
