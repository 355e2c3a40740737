"""--cancel: queued jobs end as cancelled, running ones with all their processes, in one call.

Of a running job the engine does it: SIGTERM to the job's process group, after a grace time SIGKILL to all that is left.
"""
from tsfast.grammar.options cimport Command
from tsfast.server.connections cimport Conn
from tsfast.server.request cimport Request
from tsfast.server.targets cimport Targets
from tsfast.server.services cimport Services

cdef int cancel_jobs(Services services, Conn *conn, const Request *request, Command *command,
                     const Targets *jobs) noexcept nogil
