"""Who waits for which job, and who waits for room in the queue. Lists through the connections themselves."""
from libc.stdint cimport int32_t, uint32_t, uint64_t

from tsfast.server.connections cimport Conn
from tsfast.base.idmap cimport IdMap
from tsfast.layout.structs cimport tsf_counted

cdef enum Role:
    ROLE_NONE = 0
    ROLE_WAIT = 1              # -w: until the job ends
    ROLE_FOREGROUND = 2        # -f: likewise, and the job has its descriptors
    ROLE_FOLLOW = 3            # -c, -t of a job that is being started: until its output file has a name
    ROLE_FOLLOWING = 4         # -c, -t: the caller follows the file until the job ends
    ROLE_ROOM = 5              # its request waits for room in the queue (TS_MAXCONN)
    ROLE_TELL = 6              # -o, -p of a job that is being started: until it has an output file and a process
    ROLE_SUCCESSOR = 8         # of a later release: it starts the next server
    ROLE_WATCH = 9             # of _watchers: hears of each change of a job
    ROLE_GROUP = 7             # -w of several jobs, --wait-all: until the last of them ends

# Several jobs that one caller waits for, and one of them.
cdef struct Group:
    Conn *conn
    Member *members            # owned: room for `total`
    uint64_t total, left, failed
    uint64_t ended             # of those that are counted: while the caller waited
    uint64_t forgotten         # further ones of its set: how they ended is not known
    uint64_t stuck             # others, that cannot run, because the record of `culprit` cannot be read
    uint64_t culprit
    uint64_t bad_id            # the first failure in the order of the ids, and its error level
    int32_t bad_level
    uint64_t since_ns          # CLOCK_MONOTONIC
    bint progress              # the caller sees how far it is
    tsf_counted counted        # what the table no longer tells, for the same call to the next server
    Group *prev                # of those with progress
    Group *next

cdef struct Member:
    Group *group               # NULL: it has ended
    uint64_t id                # UINT64_MAX: it has ended and is forgotten, or cannot run
    Member *prev               # those of all groups that wait for the same job
    Member *next

cdef class Waiters:
    cdef IdMap jobs                   # job -> first Conn of those that wait for it
    cdef Conn *parked_first           # requests that wait for room, oldest first
    cdef Conn *parked_last
    cdef uint64_t n_parked
    cdef IdMap members                # job -> first Member of those that wait for it
    cdef Group *watched               # the groups with progress
    cdef uint64_t *ended_members      # of all groups: ended while their callers waited; borrowed

    cdef Conn *first(self, uint64_t id) noexcept nogil            # then Conn.next_waiting
    cdef int add(self, Conn *conn, uint64_t id, int role) noexcept nogil      # 0, or -1 without memory
    # Its request, which is kept, waits for room for so many jobs (conn.job).
    cdef void park(self, Conn *conn, uint64_t jobs) noexcept nogil
    cdef void remove(self, Conn *conn) noexcept nogil             # from whatever it waits for
    # A group of `total` jobs for a caller, none of them joined yet; NULL without memory. remove(conn) ends it. counted:
    # by earlier servers, for the same call.
    cdef Group *gather(self, Conn *conn, uint64_t total, const tsf_counted *counted, bint progress) noexcept nogil
    cdef int join(self, Group *group, uint64_t index, uint64_t id) noexcept nogil   # 0, or -1 without memory
    cdef Member *first_member(self, uint64_t id) noexcept nogil
    # One of the jobs has ended (a member leaves the list of its job).
    cdef void count(self, Group *group, uint64_t id, bint bad, int32_t level) noexcept nogil
    cdef void leave(self, Member *member) noexcept nogil

    # private
    cdef void _dissolve(self, Group *group) noexcept nogil
