"""-k and -T: SIGTERM to running jobs."""
from tsfast.grammar.options cimport Command
from tsfast.server.connections cimport Conn
from tsfast.server.request cimport Request
from tsfast.server.targets cimport Targets
from tsfast.server.services cimport Services

cdef int kill_jobs(Services services, Conn *conn, const Request *request, Command *command,
                   const Targets *jobs) noexcept nogil
cdef int kill_all(Services services, Conn *conn, const Request *request, Command *command,
                  const Targets *jobs) noexcept nogil
