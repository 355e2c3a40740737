"""BATCH frames: many jobs of a program in one frame, all of which are queued, or none."""
from libc.stdint cimport uint32_t

from tsfast.server.connections cimport Conn
from tsfast.server.services cimport Services

# 0, FRAME_LATER: it waits for room in the queue, or -1: it is not well-formed.
cdef int submit_batch(Services services, Conn *conn, char *payload, uint32_t size) noexcept nogil
