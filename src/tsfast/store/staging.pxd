"""Records of jobs that are about to be queued: built in memory, then written to the table together.

Of one frame: the jobs share the context of its caller, get ids in a row, and exist all at once or not at all.
"""
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint32_t, uint64_t

from tsfast.store.contexts cimport Context, Contexts
from tsfast.layout.table cimport tsf_cold, tsf_hot
from tsfast.layout.wire cimport tsf_request
from tsfast.store.table cimport Table

# A job to be queued. All pointers are borrowed for the call.
cdef struct Submission:
    const char *argv                # argc NUL-terminated words, argv_len bytes
    uint32_t argc
    uint32_t argv_len
    const char *label               # NULL: none
    const char *env_text            # NULL: none
    const char *prefix              # of the output file's path, NULL: no output file
    const char *cwd                 # NULL: the caller's
    const char *env                 # variables of its own: NUL-terminated `NAME=VALUE`, or `NAME` for one to be unset
    uint32_t env_len
    const uint64_t *after
    size_t n_after
    const uint64_t *after_ok
    size_t n_after_ok
    uint32_t slots
    uint32_t gpus                   # how many it needs, see struct tsf_cold
    uint32_t gpu_share
    uint64_t vram
    const char *gpu_exact           # NULL: none are named
    uint32_t array_first            # of an array, see struct tsf_cold
    uint32_t array_limit
    uint32_t flags                  # enum tsf_job_flag
    uint32_t holds                  # see Scheduler.add

# What the queue has to know of a staged job beside its record.
cdef struct Staged:
    size_t at                       # of its blob in `blobs`: n_after + n_after_ok ids at its beginning
    int32_t gpu_class
    uint32_t holds

cdef class Staging:
    cdef Table table
    cdef Contexts contexts
    cdef Context context            # of the caller, counted once from begin() on
    cdef uint64_t token[2]
    cdef uint64_t first             # id of the first one
    cdef uint32_t n, room
    cdef tsf_hot *hot               # owned, likewise the following
    cdef tsf_cold *cold
    cdef Staged *staged
    cdef char *blobs
    cdef size_t size, blobs_room

    # All: 0, or -1 with errno.
    cdef int begin(self, const tsf_request *request, const char *cwd, const char *env,
                   const char *affinity) noexcept nogil
    # One more. Its ids are checked by the owner, who sets `staged[n - 1].gpu_class` afterwards.
    cdef int add(self, const Submission *job, bint skipped) noexcept nogil
    cdef int write(self) noexcept nogil               # into the table, and committed; nothing is there if it fails
    cdef void drop(self) noexcept nogil               # instead of write, or after it failed
    cdef void end(self) noexcept nogil                # after write
    cdef const uint64_t *after(self, uint32_t i) noexcept nogil

    # private
    cdef int _reserve(self, size_t size) noexcept nogil
