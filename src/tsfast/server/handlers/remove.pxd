"""-r and -C: jobs that do not run are taken out of the queue, ended ones are forgotten."""
from tsfast.grammar.options cimport Command
from tsfast.server.connections cimport Conn
from tsfast.server.request cimport Request
from tsfast.server.targets cimport Targets
from tsfast.server.services cimport Services

cdef int remove_jobs(Services services, Conn *conn, const Request *request, Command *command,
                     const Targets *jobs) noexcept nogil
cdef int clear_jobs(Services services, Conn *conn, const Request *request, Command *command,
                    const Targets *jobs) noexcept nogil
