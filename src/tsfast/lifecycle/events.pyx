# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See events.pxd."""
cimport cython
from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from tsfast.layout.wire cimport TSF_EVENT_CHANGE
from tsfast.base.limits cimport EVENTS_KEPT
from tsfast.store.record cimport was_waited_for
from tsfast.base.system cimport CLOCK_REALTIME, tsf_now_ns


cdef tsf_event special_event(int kind, uint64_t seq) noexcept nogil:
    cdef tsf_event event
    memset(&event, 0, sizeof(event))
    event.seq = seq
    event.time_ns = tsf_now_ns(CLOCK_REALTIME)
    event.kind = <uint8_t> kind
    return event


@cython.final
cdef class Events:
    def __cinit__(self):
        # Zeroed pages come from the kernel when they are first written to: a quiet queue has few of them.
        self.ring = <tsf_event *> calloc(EVENTS_KEPT, sizeof(tsf_event))
        if self.ring == NULL:
            raise MemoryError
        self.base = self.last = tsf_now_ns(CLOCK_REALTIME) // 1000

    def __dealloc__(self):
        free(self.ring)

    cdef tsf_event *_next(self, uint64_t id, int state) noexcept nogil:
        cdef tsf_event *event
        self.last += 1
        event = &self.ring[self.last % <uint64_t> EVENTS_KEPT]
        event.seq = self.last
        event.id = id
        event.time_ns = tsf_now_ns(CLOCK_REALTIME)
        event.status = 0
        event.state = <uint8_t> state
        event.kind = TSF_EVENT_CHANGE
        event.waited = event.end = event.tries = event.group = 0
        return event

    cdef void add(self, uint64_t id, int state) noexcept nogil:
        self._next(id, state)

    cdef void ended(self, uint64_t id, const tsf_hot *hot) noexcept nogil:
        cdef tsf_event *event = self._next(id, hot.state)
        event.end = hot.end
        event.tries = hot.tries
        if was_waited_for(hot):
            event.waited = 1
            event.status = hot.status

    cdef uint64_t lost(self) noexcept nogil:
        return max(self.base, self.last - min(self.last, <uint64_t> EVENTS_KEPT))

    cdef size_t copy(self, uint64_t since, tsf_event *to, size_t room) noexcept nogil:
        cdef size_t n = <size_t> min(self.last - since, <uint64_t> room)
        cdef size_t at = <size_t> ((since + 1) % <uint64_t> EVENTS_KEPT)
        cdef size_t first = min(n, <size_t> EVENTS_KEPT - at)
        memcpy(to, self.ring + at, first * sizeof(tsf_event))
        memcpy(to + first, self.ring, (n - first) * sizeof(tsf_event))
        return n
