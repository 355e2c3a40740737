"""--cancel: queued jobs end as cancelled, running ones with all their processes, in one call.

A running job's runner does it by its own clock: SIGTERM to the job's process group, after a grace time SIGKILL to all
that is left. That it is to be done stands in the job's record before, so that the next server goes on with it. Where
the runner is dead, the server signals the process group itself.
"""
from tsfast.grammar.options cimport Command
from tsfast.server.connections cimport Conn
from tsfast.server.request cimport Request
from tsfast.server.targets cimport Targets
from tsfast.server.services cimport Services

cdef int cancel_jobs(Services services, Conn *conn, const Request *request, Command *command,
                     const Targets *jobs) noexcept nogil
cdef void resume_cancelled(Services services) noexcept nogil      # after a recovery: those that are still to be ended
# Of Services.cancel_timer, whose owner is the Services.
cdef void orphans_due(void *owner) noexcept nogil
