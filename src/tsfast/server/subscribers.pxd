"""Subscribers: clients that receive every event. It keeps each one's place in the ring of events.

A subscriber gets more only when it has taken all that it was sent, so one that reads nothing costs the server one
frame; if the ring forgets events meanwhile, it gets an event that says so.
"""
from libc.stdint cimport uint32_t

from tsfast.base.limits cimport EVENTS_A_FRAME
from tsfast.base.links cimport Link
from tsfast.layout.wire cimport tsf_event
from tsfast.lifecycle.events cimport Events
from tsfast.server.connections cimport Conn, Conns

cdef class Subscribers:
    cdef Conns conns
    cdef Events events
    cdef Link *all                    # Conn.in_waiting; Conn.awaited.event: the last one that it was sent
    cdef tsf_event frame[EVENTS_A_FRAME]

    # A client's WATCH frame. -1: it is not well-formed.
    cdef int add(self, Conn *conn, const char *payload, uint32_t size) noexcept nogil
    cdef void remove(self, Conn *conn) noexcept nogil
    cdef void feed(self) noexcept nogil           # send what can be sent: at the end of a turn, after the replies

    # private
    cdef bint _more(self, Conn *conn) noexcept nogil
