"""-l and -M: the list that the server writes itself; longer ones are left to the client's side."""
from tsfast.grammar.options cimport Command
from tsfast.server.connections cimport Conn
from tsfast.server.request cimport Request
from tsfast.server.targets cimport Targets
from tsfast.server.services cimport Services

cdef int list_jobs(Services services, Conn *conn, const Request *request, Command *command,
                   const Targets *jobs) noexcept nogil
