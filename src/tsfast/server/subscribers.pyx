# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See subscribers.pxd."""
cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from tsfast.base.links cimport is_linked, links_prepend, links_remove
from tsfast.layout.wire cimport TSF_EVENT_GAP, TSF_EVENT_HEAD, TSF_FRAME_EVENTS, tsf_watch
from tsfast.lifecycle.events cimport Events, special_event
from tsfast.server.connections cimport Conn, Conns, conn_of
from tsfast.server.waiters cimport ROLE_NONE, ROLE_SUBSCRIBER


@cython.final
cdef class Subscribers:
    def __init__(self, Conns conns, Events events):
        self.conns = conns
        self.events = events

    cdef int add(self, Conn *conn, const char *payload, uint32_t size) noexcept nogil:
        cdef tsf_watch asked
        cdef tsf_event told[2]
        cdef size_t n = 1
        if size != sizeof(asked):
            return -1
        memcpy(&asked, payload, sizeof(asked))       # it need not be aligned
        told[0] = special_event(TSF_EVENT_HEAD, self.events.last)
        conn.awaited.event = asked.since if asked.since else self.events.last
        if conn.awaited.event > self.events.last or conn.awaited.event < self.events.lost():
            conn.awaited.event = self.events.lost()
            told[1] = special_event(TSF_EVENT_GAP, conn.awaited.event)
            n = 2
        conn.role = ROLE_SUBSCRIBER
        links_prepend(&self.all, &conn.in_waiting)
        self.conns.send(conn, TSF_FRAME_EVENTS, told, n * sizeof(tsf_event))
        return 0

    cdef void remove(self, Conn *conn) noexcept nogil:
        if conn.role == ROLE_SUBSCRIBER:
            links_remove(&self.all, &conn.in_waiting)
            conn.role = ROLE_NONE

    cdef void feed(self) noexcept nogil:
        cdef Conn *conn
        cdef bint more = self.all != NULL
        while more:
            more = False
            conn = conn_of(self.all)
            while conn != NULL:
                more = self._more(conn) or more
                conn = conn_of(conn.in_waiting.next)
            if more:
                self.conns.flush()           # one that has taken all of it may have more

    cdef bint _more(self, Conn *conn) noexcept nogil:
        cdef uint64_t lost = self.events.lost()
        cdef size_t n = 0
        if conn.awaited.event == self.events.last or conn.output_size or is_linked(&conn.in_unsent):
            return False
        if conn.awaited.event < lost:
            self.frame[0] = special_event(TSF_EVENT_GAP, lost)
            conn.awaited.event = lost
            n = 1
        n += self.events.copy(conn.awaited.event, self.frame + n, EVENTS_A_FRAME - n)
        conn.awaited.event = self.frame[n - 1].seq
        self.conns.send(conn, TSF_FRAME_EVENTS, self.frame, n * sizeof(tsf_event))
        return True
