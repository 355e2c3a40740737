"""Clients who hear of each change of a job: each one's place in the ring of events, and what it is sent.

A watcher gets more only when it has taken all that it was sent, so one that reads nothing costs the server one frame;
what the ring forgets meanwhile is told to it as a gap.
"""
from libc.stdint cimport uint32_t

from tsfast.server.connections cimport Conn, Conns
from tsfast.lifecycle.events cimport Events
from tsfast.layout.structs cimport tsf_event
from tsfast.base.limits cimport EVENTS_A_FRAME

cdef class Watchers:
    cdef Conns conns
    cdef Events events
    cdef Conn *first                  # Conn.job: the last event that it was sent
    cdef tsf_event frame[EVENTS_A_FRAME]

    # A caller's WATCH. -1: it is none.
    cdef int watch(self, Conn *conn, const char *payload, uint32_t size) noexcept nogil
    cdef void remove(self, Conn *conn) noexcept nogil
    cdef void feed(self) noexcept nogil           # send what can be sent: at the end of a turn, after the answers

    # private
    cdef bint _more(self, Conn *conn) noexcept nogil
