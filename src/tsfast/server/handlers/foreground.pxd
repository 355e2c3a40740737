"""-f: a job with the descriptors of its client, which stays until it ends."""
from libc.stdint cimport int32_t, uint64_t

from tsfast.server.connections cimport Conn
from tsfast.server.services cimport Services

# The client, whose job this is, waits for it. Also where the job was queued by an earlier connection of the client.
cdef int wait_in_foreground(Services services, Conn *conn, uint64_t id) noexcept nogil
# The client's descriptors have come. -1: they are not three.
cdef int attach(Services services, Conn *conn) noexcept nogil
# Those of the client that waits for this job, valid during this call. 3, or 0: no client has sent any.
cdef int lend_descriptors(Services services, uint64_t id, int *fds) noexcept nogil
cdef void drop_descriptors(Conn *conn) noexcept nogil
# The client got this signal. A job that has not started yet is removed.
cdef void forward_signal(Services services, Conn *conn, int32_t number) noexcept nogil
