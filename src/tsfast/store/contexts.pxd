"""Base contexts: the environment, limits and directory that jobs of one shell share, stored once (native/table.h).

A submission gets the name of a base context and what its job has more: another directory, a few variables. A base has
nothing that one of its jobs does not have, so that what was a job's own is gone from the disk with it. Base contexts
are counted by the jobs that use them and their files unlinked when nobody does.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from tsfast.base.idmap cimport IdMap
from tsfast.store.journal cimport Journal
from tsfast.layout.table cimport tsf_ctx
from tsfast.layout.wire cimport tsf_request
from tsfast.base.limits cimport CONTEXTS_CACHED, DIFF_MAX

# A base context in memory, with an index of its variables by name.
cdef struct Base:
    uint64_t name
    uint64_t used           # when last used, in calls; 0: free place
    char *data              # owned: the file's bytes
    size_t size
    uint32_t *entries       # owned: offset of each variable in the environment block
    uint32_t *index         # owned: open addressing, entry number + 1
    uint32_t index_room     # a power of two
    uint8_t *seen           # owned: one per variable, scratch

# What acquire() found. Pointers point into the request or into the Contexts, valid until its next call.
cdef struct Context:
    uint64_t name
    const char *cwd         # cwd_len 0: the base's directory
    uint32_t cwd_len        # without the NUL
    const char *diff
    uint32_t diff_len

cdef class Contexts:
    cdef int dir_fd         # of ctx/, owned
    cdef IdMap refs         # name -> number of jobs
    cdef Base cache[CONTEXTS_CACHED]
    cdef uint64_t calls
    cdef char diff[2][DIFF_MAX]
    cdef Journal journal    # None but with TS_DURABLE

    # Find or make the context of a request whose strings follow it (native/wire.h). It is counted once. 0, or -1 with
    # errno (ENOSPC and the like: nothing is left behind).
    cdef int acquire(self, const tsf_request *request, const char *cwd, const char *env, const char *affinity,
                     Context *out) noexcept nogil
    cdef void release(self, uint64_t name) noexcept nogil
    # One more job uses this context.
    cdef int one_more(self, uint64_t name) noexcept nogil
    # The directory of a base context, for -i; NULL if it cannot be read. Valid until the next call.
    cdef const char *directory(self, uint64_t name) noexcept nogil

    cdef void use(self, Journal journal) noexcept

    # private
    cdef void _unlink(self, uint64_t name) noexcept nogil
    cdef int _store(self, const Base *base) noexcept nogil
    cdef int _load(self, uint64_t number, Base *base) noexcept nogil
    cdef Base *_new_of_shared(self, const tsf_request *request, const char *cwd, const char *env, const char *affinity,
                              const Base *alike) noexcept nogil
    cdef Base *_new(self, const tsf_request *request, const char *cwd, const char *env,
                    const char *affinity) noexcept nogil
