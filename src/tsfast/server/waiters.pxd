"""Which clients wait for which jobs, and which wait for room in the queue. It knows no jobs beyond their ids."""
from libc.stdint cimport int32_t, uint64_t

from tsfast.base.idmap cimport IdMap
from tsfast.base.links cimport Link
from tsfast.layout.wire cimport tsf_counted
from tsfast.server.connections cimport Conn

cdef enum Role:
    ROLE_NONE = 0
    ROLE_WAIT = 1              # -w, --wait-all: until the last of its jobs ends (Conn.awaited.wait)
    ROLE_FOREGROUND = 2        # -f: until its job ends, which has its descriptors (awaited.job, as the next three)
    ROLE_FOLLOW = 3            # -c, -t of a job that is being started: until its output file has a name
    ROLE_FOLLOWING = 4         # -c, -t: the client follows the file until the job ends
    ROLE_START = 5             # -o, -p of a job that is being started: until it has an output file and a process
    ROLE_ROOM = 6              # its request waits for room in the queue, TS_MAXCONN (awaited.room)
    ROLE_SUCCESSOR = 7         # of a later release: it starts the next server
    ROLE_SUBSCRIBER = 8        # of subscribers.pxd: receives every event (awaited.event)

# The jobs that one client waits for, and one of them.
cdef struct Wait:
    Conn *conn
    bint one                   # it names one job
    uint64_t total             # how many, in `jobs` behind this struct
    uint64_t left, failed
    uint64_t ended             # of those that are counted: while the client waited
    uint64_t forgotten         # further ones that it names: how they ended is not known
    uint64_t stuck             # others, that cannot run, because the record of `culprit` cannot be read
    uint64_t culprit
    uint64_t bad_id            # the first failure in the order of the ids, and its error level
    int32_t bad_level
    uint64_t since_ns          # CLOCK_MONOTONIC
    bint progress              # the client shows how far it is
    tsf_counted counted        # what the table no longer tells, for the same request to the next server
    Link in_progress           # of Waiters.progress

cdef struct WaitedJob:
    Link in_job                # of those that wait for the same job; its owner is the Wait, NULL once it has left
    uint64_t id                # UINT64_MAX: it has ended and is forgotten, or cannot run

cdef inline Wait *wait_of(const Link *link) noexcept nogil:
    """NULL for the end of a list."""
    return NULL if link == NULL else <Wait *> link.owner

cdef inline WaitedJob *waited_jobs(Wait *wait) noexcept nogil:
    return <WaitedJob *> (wait + 1)

cdef class Waiters:
    cdef IdMap jobs                   # job -> first Conn.in_waiting of those that wait for it with a role of their own
    cdef IdMap waited                 # job -> first WaitedJob.in_job
    cdef Link *parked                 # Conn.in_waiting: requests that wait for room, oldest first
    cdef uint64_t n_parked
    cdef Link *progress               # Wait.in_progress
    cdef uint64_t *ended_jobs         # of all waits: ended while their clients waited; borrowed

    cdef Conn *first(self, uint64_t id) noexcept nogil            # then by Conn.in_waiting
    cdef int add(self, Conn *conn, uint64_t id, int role) noexcept nogil      # 0, or -1 without memory
    # Its request, which is kept, waits for room for so many jobs.
    cdef void park(self, Conn *conn, uint64_t jobs) noexcept nogil
    cdef void remove(self, Conn *conn) noexcept nogil             # from whatever it waits for
    # A wait of a client for `total` jobs, none of them joined yet; NULL without memory. remove(conn) ends it.
    # counted: by earlier servers, for the same request.
    cdef Wait *begin(self, Conn *conn, uint64_t total, const tsf_counted *counted, bint progress) noexcept nogil
    cdef int join(self, Wait *wait, uint64_t index, uint64_t id) noexcept nogil     # 0, or -1 without memory
    cdef WaitedJob *first_waited(self, uint64_t id) noexcept nogil
    # One of the jobs has ended; one that was joined leaves.
    cdef void count(self, Wait *wait, uint64_t id, bint bad, int32_t level) noexcept nogil
    cdef void leave(self, WaitedJob *waited) noexcept nogil

    # private
    cdef void _end(self, Wait *wait) noexcept nogil
