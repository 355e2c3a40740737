"""The event loop: epoll and a few timers. It knows no jobs and no clients.

A Source is embedded in the structure that owns a descriptor; the owner may free itself in a handler, its own included,
once it has called `remove`: events of this turn that were still to be delivered to it are dropped.
"""
from libc.stdint cimport uint32_t, uint64_t

from tsfast.base.limits cimport EVENTS_PER_TURN, TIMERS_MAX
from tsfast.base.system cimport epoll_event

ctypedef void (*Handler)(void *owner, Source *source, uint32_t events) noexcept nogil
ctypedef void (*TimerHandler)(void *owner) noexcept nogil

cdef struct Source:
    int fd                # not closed by the loop
    uint32_t events       # what is asked for; 0: not registered
    Handler handler
    void *owner           # borrowed
    uint64_t tag          # for the handler's use

cdef struct Timer:
    uint64_t due_ns       # CLOCK_MONOTONIC; 0: not set
    TimerHandler handler
    void *owner

cdef class Loop:
    cdef int epoll
    cdef epoll_event ready[EVENTS_PER_TURN]
    cdef int n_ready, at
    cdef Timer timers[TIMERS_MAX]
    cdef int n_timers

    # Ask for `events` (EPOLLIN, EPOLLOUT) of source.fd from now on. 0, or -1 with errno.
    cdef int watch(self, Source *source, uint32_t events) noexcept nogil
    # Stop, before the descriptor is closed. Does nothing when it is not registered.
    cdef void remove(self, Source *source) noexcept nogil
    # A new timer, unset; its number, for set_timer. At most TIMERS_MAX, fixed at start-up.
    cdef int new_timer(self, TimerHandler handler, void *owner) noexcept nogil
    # Fire once in `ms` milliseconds, unless it is set already to fire sooner. ms < 0: unset.
    cdef void set_timer(self, int number, int ms) noexcept nogil
    # Sleep until something is ready (not at all if `poll`), then call every handler that is due. 0, or -1 with errno.
    cdef int turn(self, bint poll) noexcept nogil
