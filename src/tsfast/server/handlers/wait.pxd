"""-w and --wait-all: the reply comes when the last of the jobs has ended."""
from libc.stdint cimport uint64_t

from tsfast.grammar.options cimport Command
from tsfast.layout.table cimport tsf_hot
from tsfast.server.connections cimport Conn
from tsfast.server.request cimport Request
from tsfast.server.targets cimport Targets
from tsfast.server.services cimport Services

cdef int wait_for_jobs(Services services, Conn *conn, const Request *request, Command *command,
                       const Targets *jobs) noexcept nogil
cdef int wait_for_all(Services services, Conn *conn, const Request *request, Command *command,
                      const Targets *jobs) noexcept nogil
# All ended jobs are about to be forgotten: the clients that wait get what was counted of them, for the next server.
cdef void count_gone(Services services) noexcept nogil
# A job has ended: the waits for it count it, and those whose last job it was have their reply.
cdef void count_ended(Services services, uint64_t id, const tsf_hot *hot) noexcept nogil
# Of Services.progress_timer, whose owner is the Services.
cdef void progress_due(void *owner) noexcept nogil
