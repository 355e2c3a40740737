# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See absent_callers.pxd."""
cimport cython
from libc.stdio cimport snprintf

from tsfast.scheduler.scheduler cimport FLAG_VOLATILE, JOB_BLOCKED, JOB_RUNNING, JOB_STARTING
from tsfast.layout.fault cimport tsf_wait_ms
from tsfast.layout.table cimport tsf_cold
from tsfast.lifecycle cimport changes
from tsfast.base.limits cimport CALLER_POLL_MS, FOREGROUND_GRACE_MS
from tsfast.base.system cimport pid_t, tsf_log, tsf_process_lived


cdef void time_is_over(void *owner) noexcept nogil:
    with gil:
        (<AbsentCallers> owner)._look()


@cython.final
cdef class AbsentCallers:
    def __init__(self, Spool spool):
        self.spool = spool
        self.ids = []
        self.timer = spool.loop.new_timer(time_is_over, <void *> self)

    cdef void wait(self) noexcept:
        self.spool.in_grace = True
        self.spool.loop.set_timer(self.timer, tsf_wait_ms(FOREGROUND_GRACE_MS))

    cdef _look(self):
        """Jobs whose callers have not come back are not started without their descriptors, nor kept for nobody. A
        caller that is there and does not come is stopped: its job is kept."""
        cdef char line[160]
        cdef Job *job
        cdef uint64_t id
        left = []
        for id in self.ids:
            job = self.spool.scheduler.get(id)
            if job == NULL or not self._waits(job):
                continue
            if self._lives(id) or job.state == JOB_STARTING or job.state == JOB_RUNNING:
                left.append(id)
                continue
            if job.state == JOB_BLOCKED:
                snprintf(line, sizeof(line), b"job %llu: removed: its client (-f) has not returned since the server "
                         b"was restarted", <unsigned long long> id)
                tsf_log(line)
                self.spool.given_up.add(id)
            changes.remove(self.spool, id, NULL)
        self.ids = left
        self.spool.in_grace = len(left) > 0
        if self.spool.in_grace:
            self.spool.loop.set_timer(self.timer, CALLER_POLL_MS)
        self.spool.kept_longer = 0

    cdef bint _waits(self, const Job *job) noexcept nogil:
        if job.state == JOB_BLOCKED:
            return job.holds > 0 and not self.spool.pauses.holds(job.id) and not self.spool.unreadable.has(job.id)
        return job.flags & FLAG_VOLATILE and job.state >= JOB_STARTING

    cdef bint _lives(self, uint64_t id) noexcept nogil:
        cdef tsf_cold cold
        return (self.spool.table.read_cold(id, &cold) == 0
                and tsf_process_lived(<pid_t> (cold.token[1] >> 32), cold.enqueue_ns))
