"""The newest changes of jobs, numbered, in a ring. Who reads them is not its concern.

Numbers begin with the time of the server's start in microseconds, so that those of a later server are larger, and fit
into a JSON number.
"""
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from tsfast.layout.table cimport tsf_hot
from tsfast.layout.wire cimport tsf_event

cdef class Events:
    cdef tsf_event *ring          # owned
    cdef uint64_t base            # before the first event
    cdef uint64_t last            # the newest event's number; `base` if there is none

    # A job is in another state now (enum tsf_state).
    cdef void add(self, uint64_t id, int state) noexcept nogil
    # Likewise, one that has ended: its final record.
    cdef void ended(self, uint64_t id, const tsf_hot *hot) noexcept nogil
    # The largest number whose event, and all before it, the ring has no longer.
    cdef uint64_t lost(self) noexcept nogil
    # Copies events after `since`, which is neither lost nor to come; how many: `room` or all there are.
    cdef size_t copy(self, uint64_t since, tsf_event *to, size_t room) noexcept nogil

    # private
    cdef tsf_event *_next(self, uint64_t id, int state) noexcept nogil

cdef tsf_event special_event(int kind, uint64_t seq) noexcept nogil      # about the stream itself (enum tsf_event_kind)
