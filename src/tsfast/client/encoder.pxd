"""The client's side of BATCH frames (native/wire.h): jobs in, frames out.

The grammar checks every job when it is added, so that a wrong one is reported before anything is sent.
"""
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

# Consecutive jobs that are sent together.
cdef struct Part:
    size_t begin                  # of its jobs in `data`; they end where the next part begins
    uint64_t place                # in the batch, of its first job
    uint32_t count
    bint looks_back               # one depends on a job of an earlier part

cdef class Encoder:
    cdef char *data               # owned: the struct tsf_batch_job of all jobs, each with its strings
    cdef size_t size, room
    cdef Part *parts              # owned
    cdef size_t n_parts, parts_room
    cdef readonly uint64_t count
    cdef readonly bint needs_directory        # a job has no directory of its own: it gets the client's
    cdef uint64_t highest, highest_place      # the greatest id that a job depends on, + 1, and which job does
    cdef const char **words       # owned: of the current job
    cdef size_t words_room
    cdef char error[320]

    # For C callers. All: 0, or -1 with `error`; then the job is not in it, and the others still are.
    cdef int begin_job(self) noexcept nogil
    cdef int put(self, const char *text, size_t size) noexcept nogil            # part of a string
    cdef int end_job(self, uint32_t argc, size_t argv_len, uint32_t cwd_len, uint32_t env_count,
                     size_t env_len) noexcept nogil

    # private
    cdef int _reserve(self, size_t more) noexcept nogil
    cdef int _check(self, const char *argv, uint32_t argc, Part *part) noexcept nogil
    cdef int _fail(self, const char *text) noexcept nogil
    cdef int _line(self, const char *line, size_t size, uint32_t *argc) noexcept nogil
    cdef _add(self, object words, bint command, object cwd, object env)
    cdef size_t _put_word(self, object word, object what) except 0
