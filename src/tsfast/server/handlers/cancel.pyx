# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See cancel.pxd."""
cimport cython
from libc.stddef cimport size_t
from libc.stdlib cimport free, malloc, qsort

from tsfast.grammar.options cimport IdRange
from tsfast.scheduler.scheduler cimport FLAG_CANCEL, JOB_BLOCKED, JOB_ENDED, JOB_READY, JOB_RUNNING, JOB_STARTING, Job
from tsfast.layout.structs cimport (
    TSF_CANCELLED, TSF_COMMAND_CANCEL, TSF_COMMAND_GRACE_SHIFT, TSF_NOTE_CANCEL, tsf_hot,
)
from tsfast.lifecycle cimport changes
from tsfast.base.limits cimport CANCEL_POLL_MS
from tsfast.server.handlers.several cimport Cursor
from tsfast.engine.runner_table cimport RUNNER_ORPHAN, Runner
from tsfast.base.system cimport CLOCK_MONOTONIC, SIGKILL, SIGTERM, tsf_now_ns


cdef void orphans_due(void *owner) noexcept nogil:
    (<Cancel> owner)._orphans()


cdef int later_first(const void *a, const void *b) noexcept nogil:
    cdef uint64_t one = (<const uint64_t *> a)[0], two = (<const uint64_t *> b)[0]
    return 1 if one < two else -1 if one > two else 0


@cython.final
cdef class Cancel:
    def __init__(self, Loop loop, Replies reply, Many many, Spool spool, uint32_t grace_s):
        self.loop = loop
        self.reply = reply
        self.many = many
        self.spool = spool
        self.grace_s = min(grace_s, <uint32_t> 0xffff)
        self.timer = loop.new_timer(orphans_due, <void *> self)

    cdef int perform(self, Conn *conn, const Command *command) noexcept nogil:
        cdef IdRange last
        cdef Command named = command[0]
        cdef Cursor cursor
        cdef uint64_t total
        cdef uint64_t *ids
        cdef size_t i, n = 0
        cdef int failed = 0
        if named.n_ranges == 0:
            if self.spool.queue.last_added() == NULL:
                return self.reply.fail(conn, b"there is no job")
            last.first = last.last = self.spool.queue.last_added().id
            named.ranges = &last
            named.n_ranges = 1
        total = self.many.count_known(conn, &named)
        if total == 0:
            return 0
        ids = <uint64_t *> malloc(<size_t> total * sizeof(uint64_t))
        if ids == NULL:
            return self.reply.no_memory(conn)
        cursor.ranges = named.ranges
        cursor.n = named.n_ranges
        cursor.at = 0
        cursor.begun = False
        while n < total and self.many.next_known(&cursor, &ids[n]):
            n += 1
        if self._check(conn, &named, ids, n) == 0:
            # The later ones first: a job that waits for another one of them is cancelled like it, and not skipped.
            qsort(ids, n, sizeof(uint64_t), later_first)
            for i in range(n):
                failed = self._cancel(self.spool.queue.get(ids[i]))
                if failed:
                    break
            if failed:
                self.reply.fail_errno(conn, b"the job table could not be written")
            else:
                self.reply.exit(conn, 0)
        free(ids)
        return 0

    cdef int _check(self, Conn *conn, const Command *command, uint64_t *ids, size_t n) noexcept nogil:
        """A job named by itself must not have ended, unless by a --cancel; of a range those count that have not."""
        cdef uint64_t live = 0
        cdef size_t i, k
        cdef Job *job
        cdef tsf_hot hot
        for i in range(n):
            job = self.spool.queue.get(ids[i])
            if job.state != JOB_ENDED or (self.spool.table.read_hot(ids[i], &hot) == 0
                                          and hot.state == TSF_CANCELLED):
                live += 1
                continue
            for k in range(command.n_ranges):
                if command.ranges[k].first == ids[i] == command.ranges[k].last:
                    self.reply.fail_job(conn, ids[i], b"has ended already; nothing was cancelled")
                    return -1
        if live == 0:
            self.reply.fail(conn, b"all of these jobs have ended already")
            return -1
        return 0

    cdef int _cancel(self, Job *job) noexcept nogil:
        cdef tsf_hot hot
        if job == NULL or job.flags & FLAG_CANCEL:
            return 0                           # named twice, or under way
        if job.state == JOB_BLOCKED or job.state == JOB_READY:
            return changes.cancel_queued(self.spool, job.id)
        if job.state != JOB_STARTING and job.state != JOB_RUNNING:
            return 0
        if self.spool.table.read_hot(job.id, &hot) < 0:
            return -1
        hot.notes |= TSF_NOTE_CANCEL
        if self.spool.table.write_hot(job.id, &hot) < 0:
            return -1
        job.flags |= FLAG_CANCEL
        self._order(job)
        return 0

    cdef void _order(self, const Job *job) noexcept nogil:
        cdef Runner *runner = self.spool.runners.table.runners[job.run]
        self.spool.runners.signal(job.run, (self.grace_s << <uint32_t> TSF_COMMAND_GRACE_SHIFT)
                                  | <uint32_t> TSF_COMMAND_CANCEL | <uint32_t> SIGTERM)
        if runner != NULL:
            runner.kill_ns = tsf_now_ns(CLOCK_MONOTONIC) + <uint64_t> self.grace_s * 1000000000
        self.loop.set_timer(self.timer, CANCEL_POLL_MS)

    cdef void resume(self) noexcept nogil:
        cdef Job *job = self.spool.queue.first_running()
        while job != NULL:
            if job.flags & FLAG_CANCEL:
                self._order(job)
            job = self.spool.queue.following(job)

    cdef void _orphans(self) noexcept nogil:
        """As long as one of them runs: is its runner still there to end it?"""
        cdef Job *job = self.spool.queue.first_running()
        cdef Runner *runner
        cdef bint left = False
        while job != NULL:
            if job.flags & FLAG_CANCEL:
                left = True
                runner = self.spool.runners.table.runners[job.run]
                if (runner != NULL and runner.kind == RUNNER_ORPHAN
                        and tsf_now_ns(CLOCK_MONOTONIC) >= runner.kill_ns):
                    self.spool.runners.signal(job.run, <uint32_t> TSF_COMMAND_CANCEL | <uint32_t> SIGKILL)
            job = self.spool.queue.following(job)
        if left:
            self.loop.set_timer(self.timer, CANCEL_POLL_MS)
