"""A command line without an action: one job is queued, or an array."""
from tsfast.grammar.options cimport Command
from tsfast.server.connections cimport Conn
from tsfast.server.request cimport Request
from tsfast.server.targets cimport Targets
from tsfast.server.services cimport Services

cdef int submit_jobs(Services services, Conn *conn, const Request *request, Command *command,
                     const Targets *jobs) noexcept nogil
