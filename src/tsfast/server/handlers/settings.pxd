"""Settings: those of the queue, which its table keeps (-S, --set_logdir, --set_gpu_free, --set_gpu_wait), and those of
the server's environment (--getenv, --setenv, --unsetenv)."""
from tsfast.grammar.options cimport Command
from tsfast.server.connections cimport Conn
from tsfast.server.request cimport Request
from tsfast.server.targets cimport Targets
from tsfast.server.services cimport Services

# Without a number: what it is.
cdef int set_slots(Services services, Conn *conn, const Request *request, Command *command,
                   const Targets *jobs) noexcept nogil
cdef int get_logdir(Services services, Conn *conn, const Request *request, Command *command,
                    const Targets *jobs) noexcept nogil
cdef int set_logdir(Services services, Conn *conn, const Request *request, Command *command,
                    const Targets *jobs) noexcept nogil
cdef int get_gpu_free(Services services, Conn *conn, const Request *request, Command *command,
                      const Targets *jobs) noexcept nogil
cdef int set_gpu_free(Services services, Conn *conn, const Request *request, Command *command,
                      const Targets *jobs) noexcept nogil
cdef int get_gpu_wait(Services services, Conn *conn, const Request *request, Command *command,
                      const Targets *jobs) noexcept nogil
cdef int set_gpu_wait(Services services, Conn *conn, const Request *request, Command *command,
                      const Targets *jobs) noexcept nogil
cdef int get_variable(Services services, Conn *conn, const Request *request, Command *command,
                      const Targets *jobs) noexcept nogil
cdef int set_variable(Services services, Conn *conn, const Request *request, Command *command,
                      const Targets *jobs) noexcept nogil
cdef int unset_variable(Services services, Conn *conn, const Request *request, Command *command,
                        const Targets *jobs) noexcept nogil
