# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See _waiters.pxd."""
cimport cython
from libc.stdlib cimport malloc
from libc.string cimport memcpy

from tsfast._conns cimport Conn
from tsfast._idmap cimport idmap_del, idmap_free, idmap_get, idmap_put, not_there


@cython.final
cdef class Waiters:
    def __dealloc__(self):
        idmap_free(&self.jobs)

    cdef Conn *first(self, uint64_t id) noexcept nogil:
        cdef uint64_t found = idmap_get(&self.jobs, id)
        return NULL if found == not_there() else <Conn *> <size_t> found

    cdef int add(self, Conn *conn, uint64_t id, int role) noexcept nogil:
        cdef Conn *first = self.first(id)
        if idmap_put(&self.jobs, id, <uint64_t> <size_t> conn) < 0:
            return -1
        conn.job = id
        conn.role = role
        conn.prev_waiting = NULL
        conn.next_waiting = first
        if first != NULL:
            first.prev_waiting = conn
        return 0

    cdef int park(self, Conn *conn, const char *payload, uint32_t size) noexcept nogil:
        conn.parked = <char *> malloc(size)
        if conn.parked == NULL:
            return -1
        memcpy(conn.parked, payload, size)
        conn.parked_size = size
        conn.role = ROLE_ROOM
        conn.next_waiting = NULL
        conn.prev_waiting = self.parked_last
        if self.parked_last != NULL:
            self.parked_last.next_waiting = conn
        else:
            self.parked_first = conn
        self.parked_last = conn
        return 0

    cdef void remove(self, Conn *conn) noexcept nogil:
        if conn.role == ROLE_NONE:
            return
        if conn.next_waiting != NULL:
            conn.next_waiting.prev_waiting = conn.prev_waiting
        elif conn.role == ROLE_ROOM:
            self.parked_last = conn.prev_waiting
        if conn.prev_waiting != NULL:
            conn.prev_waiting.next_waiting = conn.next_waiting
        elif conn.role == ROLE_ROOM:
            self.parked_first = conn.next_waiting
        elif conn.next_waiting != NULL:
            idmap_put(&self.jobs, conn.job, <uint64_t> <size_t> conn.next_waiting)    # replaces: needs no memory
        else:
            idmap_del(&self.jobs, conn.job)
        conn.prev_waiting = conn.next_waiting = NULL
        conn.role = ROLE_NONE
