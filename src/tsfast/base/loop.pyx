# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See loop.pxd."""
cimport cython

from tsfast.base.system cimport (
    CLOCK_MONOTONIC, EINTR, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, close, epoll_create1,
    epoll_ctl, epoll_wait, errno, tsf_now_ns,
)


@cython.final
cdef class Loop:
    def __cinit__(self):
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise OSError(errno, "epoll_create1")

    def __dealloc__(self):
        if self.epoll >= 0:
            close(self.epoll)

    cdef int watch(self, Source *source, uint32_t events) noexcept nogil:
        cdef epoll_event event
        cdef int op = EPOLL_CTL_MOD if source.events else EPOLL_CTL_ADD
        if source.events == events:
            return 0
        event.events = events
        event.data.ptr = source
        if epoll_ctl(self.epoll, op, source.fd, &event) < 0:
            return -1
        source.events = events
        return 0

    cdef void remove(self, Source *source) noexcept nogil:
        cdef int i
        cdef epoll_event event
        if not source.events:
            return
        # Closing the descriptor alone would not do: a child between vfork and exec still holds it, and epoll goes on
        # reporting an open file description that its owner has forgotten.
        epoll_ctl(self.epoll, EPOLL_CTL_DEL, source.fd, &event)
        source.events = 0
        for i in range(self.at + 1, self.n_ready):
            if self.ready[i].data.ptr == source:
                self.ready[i].data.ptr = NULL

    cdef int new_timer(self, TimerHandler handler, void *owner) noexcept nogil:
        cdef Timer *timer = &self.timers[self.n_timers]
        timer.due_ns = 0
        timer.handler = handler
        timer.owner = owner
        self.n_timers += 1
        return self.n_timers - 1

    cdef void set_timer(self, int number, int ms) noexcept nogil:
        cdef Timer *timer = &self.timers[number]
        cdef uint64_t due
        if ms < 0:
            timer.due_ns = 0
            return
        due = tsf_now_ns(CLOCK_MONOTONIC) + <uint64_t> ms * 1000000
        if timer.due_ns == 0 or due < timer.due_ns:
            timer.due_ns = due

    cdef int turn(self, bint poll) noexcept nogil:
        cdef int i, timeout = -1, got
        cdef uint64_t now, due = 0
        cdef Source *source
        for i in range(self.n_timers):
            if self.timers[i].due_ns and (due == 0 or self.timers[i].due_ns < due):
                due = self.timers[i].due_ns
        if poll:
            timeout = 0
        elif due:
            now = tsf_now_ns(CLOCK_MONOTONIC)
            timeout = 0 if due <= now else <int> min((due - now + 999999) // 1000000, <uint64_t> 3600000)
        got = epoll_wait(self.epoll, self.ready, EVENTS_PER_TURN, timeout)
        if got < 0:
            return 0 if errno == EINTR else -1
        self.n_ready = got
        for i in range(got):
            self.at = i
            source = <Source *> self.ready[i].data.ptr
            if source != NULL:
                source.handler(source.owner, source, self.ready[i].events)
        self.n_ready = 0
        self.at = 0
        if due:
            now = tsf_now_ns(CLOCK_MONOTONIC)
            for i in range(self.n_timers):
                if self.timers[i].due_ns and self.timers[i].due_ns <= now:
                    self.timers[i].due_ns = 0
                    self.timers[i].handler(self.timers[i].owner)
        return 0
