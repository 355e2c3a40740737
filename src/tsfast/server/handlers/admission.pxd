"""Room in the queue (TS_MAXCONN): which submissions have to wait for it, and when their turn comes."""
from libc.stdint cimport uint64_t

from tsfast.server.services cimport Services

# A submission of so many jobs waits for room, behind those that wait already. A batch that is larger than the queue may
# be waits until the queue is empty.
cdef bint must_wait(Services services, uint64_t jobs) noexcept nogil
# Take up requests for which there is room now, oldest first: one for which there is not enough holds up those behind
# it.
cdef void admit_parked(Services services) noexcept nogil
