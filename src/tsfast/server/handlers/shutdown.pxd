"""-K: the queue ends, and its server."""
from tsfast.grammar.options cimport Command
from tsfast.server.connections cimport Conn
from tsfast.server.request cimport Request
from tsfast.server.targets cimport Targets
from tsfast.server.services cimport Services

cdef int end_queue(Services services, Conn *conn, const Request *request, Command *command,
                   const Targets *jobs) noexcept nogil
# The server ends: everyone who waits gets a reply.
cdef void reply_to_all(Services services, const char *why) noexcept nogil
