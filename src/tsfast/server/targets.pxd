"""The jobs that a request names: ids, ranges, arrays and their elements, or the default job of its action.

One id is a set of one. An id that is unknown is an error and nothing is done; of a range those count that are known, at
least one.
"""
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from tsfast.grammar.options cimport Command, IdRange
from tsfast.lifecycle.spool cimport Spool
from tsfast.scheduler.scheduler cimport Job
from tsfast.server.connections cimport Conn
from tsfast.server.replies cimport Replies

cdef struct Targets:
    const IdRange *ranges      # in the order in which they were given; may point to `own`, so it is never copied
    size_t n_ranges
    IdRange own
    uint64_t count             # of the known jobs in it
    bint one                   # it names one job

# Walks through the known jobs of ranges.
cdef struct Cursor:
    const IdRange *ranges
    size_t n, at
    uint64_t next              # in ranges[at]
    bint begun

# False: it names no job or an unknown one, and the client has the reply. repeated: the request was made before, and
# jobs that it names may be forgotten meanwhile, all of them too.
cdef bint select_jobs(Targets *jobs, Replies reply, Spool spool, Conn *conn, Command *command,
                      bint repeated) noexcept nogil
# A known job by itself.
cdef void select_job(Targets *jobs, uint64_t id) noexcept nogil
# A job by its id. NULL: it is unknown, and the client has the reply.
cdef const Job *known_job(Replies reply, Spool spool, Conn *conn, uint64_t id) noexcept nogil
# How many jobs were named that are not known any more, without those that -r took out of the queue.
cdef uint64_t forgotten_jobs(const Targets *jobs, Spool spool) noexcept nogil

cdef void walk_ranges(Cursor *cursor, const IdRange *ranges, size_t n) noexcept nogil
cdef void walk(Cursor *cursor, const Targets *jobs) noexcept nogil
# The next one; False at the end.
cdef bint next_job(Cursor *cursor, Spool spool, uint64_t *id) noexcept nogil
# All of them, in a malloc'ed array of jobs.count; NULL without memory.
cdef uint64_t *all_jobs(const Targets *jobs, Spool spool) noexcept nogil
