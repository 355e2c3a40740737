# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See subscribers.pxd."""
cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from tsfast.server.connections cimport Conn, Conns
from tsfast.lifecycle.events cimport Events, special_event
from tsfast.layout.structs cimport TSF_EVENT_GAP, TSF_EVENT_HEAD, TSF_FRAME_EVENTS, tsf_watch
from tsfast.server.waiters cimport ROLE_WATCH


@cython.final
cdef class Watchers:
    def __init__(self, Conns conns, Events events):
        self.conns = conns
        self.events = events

    cdef int watch(self, Conn *conn, const char *payload, uint32_t size) noexcept nogil:
        cdef tsf_watch asked
        cdef tsf_event told[2]
        cdef size_t n = 1
        if size != sizeof(asked):
            return -1
        memcpy(&asked, payload, sizeof(asked))       # it need not be aligned
        told[0] = special_event(TSF_EVENT_HEAD, self.events.last)
        conn.job = asked.since if asked.since else self.events.last
        if conn.job > self.events.last or conn.job < self.events.lost():
            conn.job = self.events.lost()
            told[1] = special_event(TSF_EVENT_GAP, conn.job)
            n = 2
        conn.role = ROLE_WATCH
        conn.prev_waiting = NULL
        conn.next_waiting = self.first
        if self.first != NULL:
            self.first.prev_waiting = conn
        self.first = conn
        self.conns.send(conn, TSF_FRAME_EVENTS, told, n * sizeof(tsf_event))
        return 0

    cdef void remove(self, Conn *conn) noexcept nogil:
        if conn.role != ROLE_WATCH:
            return
        if conn.next_waiting != NULL:
            conn.next_waiting.prev_waiting = conn.prev_waiting
        if conn.prev_waiting != NULL:
            conn.prev_waiting.next_waiting = conn.next_waiting
        else:
            self.first = conn.next_waiting
        conn.role = 0

    cdef void feed(self) noexcept nogil:
        cdef Conn *conn
        cdef bint more = self.first != NULL
        while more:
            more = False
            conn = self.first
            while conn != NULL:
                more = self._more(conn) or more
                conn = conn.next_waiting
            if more:
                self.conns.flush()           # whoever has taken all of it may have more

    cdef bint _more(self, Conn *conn) noexcept nogil:
        cdef uint64_t lost = self.events.lost()
        cdef size_t n = 0
        if conn.job == self.events.last or conn.output_size or conn.dirty:
            return False
        if conn.job < lost:
            self.frame[0] = special_event(TSF_EVENT_GAP, lost)
            conn.job = lost
            n = 1
        n += self.events.copy(conn.job, self.frame + n, EVENTS_A_FRAME - n)
        conn.job = self.frame[n - 1].seq
        self.conns.send(conn, TSF_FRAME_EVENTS, self.frame, n * sizeof(tsf_event))
        return True
