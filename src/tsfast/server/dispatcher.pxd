"""A client's request, from its frame to its handler: each action has one in a table. And what wakes those who wait."""
from libc.stdint cimport int32_t, uint32_t, uint64_t

from tsfast.grammar.options cimport Command
from tsfast.layout.table cimport tsf_hot
from tsfast.lifecycle.spool cimport Spool
from tsfast.server.connections cimport Conn, Conns
from tsfast.server.request cimport Request
from tsfast.server.targets cimport Targets
from tsfast.server.services cimport Services
from tsfast.server.subscribers cimport Subscribers

# Carries out an action. jobs: what the request names, if its entry in the table says so; else NULL. Returns 0, or
# FRAME_LATER.
ctypedef int (*Handler)(Services services, Conn *conn, const Request *request, Command *command,
                        const Targets *jobs) noexcept nogil

cdef class Dispatcher:
    cdef Conns conns
    cdef Spool spool
    cdef Services services
    cdef Subscribers subscribers
    cdef uint32_t release             # of this server, see tsf_release
    cdef bint giving_way              # a client of a later release is ready to start the next server
    cdef bint stirred                 # the end of a connection has changed the queue

    # private
    cdef int _frame(self, Conn *conn, uint32_t type, char *payload, uint32_t size) noexcept nogil
    cdef int _request_frame(self, Conn *conn, uint32_t type, char *payload, uint32_t size) noexcept nogil
    cdef int _request(self, Conn *conn, char *payload, uint32_t size) noexcept nogil
    cdef int _perform(self, Conn *conn, const Request *request, Command *command) noexcept nogil
    cdef void _hung_up(self, Conn *conn) noexcept nogil
    cdef void _job_started(self, uint64_t id) noexcept nogil
    cdef void _job_final(self, uint64_t id, const tsf_hot *hot) noexcept nogil
    cdef void _carry_out(self, Conn *conn, uint64_t id) noexcept nogil
