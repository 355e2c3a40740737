"""Who waits for which job, and who waits for room in the queue. Lists through the connections themselves."""
from libc.stdint cimport uint32_t, uint64_t

from tsfast._conns cimport Conn
from tsfast._idmap cimport IdMap

cdef enum Role:
    ROLE_NONE = 0
    ROLE_WAIT = 1              # -w: until the job ends
    ROLE_FOREGROUND = 2        # -f: likewise, and the job has its descriptors
    ROLE_FOLLOW = 3            # -c, -t of a job that is being started: until its output file has a name
    ROLE_FOLLOWING = 4         # -c, -t: the caller follows the file until the job ends
    ROLE_ROOM = 5              # its request waits for room in the queue (TS_MAXCONN)

cdef class Waiters:
    cdef IdMap jobs                   # job -> first Conn of those that wait for it
    cdef Conn *parked_first           # requests that wait for room, oldest first
    cdef Conn *parked_last

    cdef Conn *first(self, uint64_t id) noexcept nogil            # then Conn.next_waiting
    cdef int add(self, Conn *conn, uint64_t id, int role) noexcept nogil      # 0, or -1 without memory
    # Keep a request until there is room. 0, or -1 without memory.
    cdef int park(self, Conn *conn, const char *payload, uint32_t size) noexcept nogil
    cdef void remove(self, Conn *conn) noexcept nogil             # from whatever it waits for
