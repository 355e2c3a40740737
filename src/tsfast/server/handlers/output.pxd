"""-c, -t and -o: what a job has written, and where."""
from libc.stdint cimport int32_t, uint64_t

from tsfast.grammar.options cimport Command
from tsfast.server.connections cimport Conn
from tsfast.server.request cimport Request
from tsfast.server.targets cimport Targets
from tsfast.server.services cimport Services

cdef int show_output(Services services, Conn *conn, const Request *request, Command *command,
                     const Targets *jobs) noexcept nogil
# The same for one job.
cdef int show_output_of(Services services, Conn *conn, uint64_t id, int action) noexcept nogil
# The client's job has started: now it can follow. False: the output file has no name.
cdef bint begin_following(Services services, Conn *conn, uint64_t id) noexcept nogil
# The job that the client follows has ended.
cdef void send_ended(Services services, Conn *conn, int32_t level) noexcept nogil
