"""What there is to say of the queue as a whole: -R, -q, -g; and -h, -V."""
from tsfast.grammar.options cimport Command
from tsfast.server.connections cimport Conn
from tsfast.server.request cimport Request
from tsfast.server.targets cimport Targets
from tsfast.server.services cimport Services

cdef int count_running(Services services, Conn *conn, const Request *request, Command *command,
                       const Targets *jobs) noexcept nogil
cdef int last_id(Services services, Conn *conn, const Request *request, Command *command,
                 const Targets *jobs) noexcept nogil
cdef int list_gpus(Services services, Conn *conn, const Request *request, Command *command,
                   const Targets *jobs) noexcept nogil
cdef int show_help(Services services, Conn *conn, const Request *request, Command *command,
                   const Targets *jobs) noexcept nogil
cdef int show_version(Services services, Conn *conn, const Request *request, Command *command,
                      const Targets *jobs) noexcept nogil
