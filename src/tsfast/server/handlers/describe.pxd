"""What there is to say of jobs: -s, -i, -a, -F, -p, --why, from their records in the table."""
from libc.stdint cimport uint64_t

from tsfast.grammar.options cimport Command
from tsfast.server.connections cimport Conn
from tsfast.server.request cimport Request
from tsfast.server.targets cimport Targets
from tsfast.server.services cimport Services

cdef int describe_jobs(Services services, Conn *conn, const Request *request, Command *command,
                       const Targets *jobs) noexcept nogil
# The same for one job.
cdef int describe_job(Services services, Conn *conn, uint64_t id, int action) noexcept nogil
