# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See cancel.pxd."""
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, qsort

from tsfast.lifecycle cimport changes
from tsfast.scheduler.scheduler cimport FLAG_CANCEL, JOB_BLOCKED, JOB_ENDED, JOB_READY, JOB_RUNNING, JOB_STARTING, Job
from tsfast.layout.structs cimport (
    TSF_CANCELLED, TSF_COMMAND_CANCEL, TSF_COMMAND_GRACE_SHIFT, TSF_NOTE_CANCEL, tsf_hot,
)
from tsfast.base.limits cimport CANCEL_POLL_MS
from tsfast.server.targets cimport all_jobs
from tsfast.engine.runner_table cimport RUNNER_ORPHAN, Runner
from tsfast.base.system cimport CLOCK_MONOTONIC, SIGKILL, SIGTERM, tsf_now_ns


cdef int later_first(const void *a, const void *b) noexcept nogil:
    cdef uint64_t one = (<const uint64_t *> a)[0], two = (<const uint64_t *> b)[0]
    return 1 if one < two else -1 if one > two else 0


cdef int cancel_jobs(Services services, Conn *conn, const Request *request, Command *command,
                     const Targets *jobs) noexcept nogil:
    cdef uint64_t *ids = all_jobs(jobs, services.spool)
    cdef int failed = 0
    cdef size_t i
    if ids == NULL:
        return services.reply.no_memory(conn)
    if can_be_cancelled(services, conn, jobs, ids):
        # The later ones first: a job that waits for another one of them is cancelled like it, and not skipped.
        qsort(ids, jobs.count, sizeof(uint64_t), later_first)
        for i in range(jobs.count):
            failed = cancel(services, services.spool.queue.get(ids[i]))
            if failed:
                break
        if failed:
            services.reply.fail_table(conn)
        else:
            services.reply.exit(conn, 0)
    free(ids)
    return 0


cdef bint can_be_cancelled(Services services, Conn *conn, const Targets *jobs, const uint64_t *ids) noexcept nogil:
    """A job named by itself must not have ended, unless by a --cancel; of a range those count that have not. False: the
    client has the reply."""
    cdef uint64_t live = 0
    cdef size_t i, k
    cdef const Job *job
    cdef tsf_hot hot
    for i in range(jobs.count):
        job = services.spool.queue.get(ids[i])
        if job.state != JOB_ENDED or (services.spool.table.read_hot(ids[i], &hot) == 0
                                      and hot.state == TSF_CANCELLED):
            live += 1
            continue
        for k in range(jobs.n_ranges):
            if jobs.ranges[k].first == ids[i] == jobs.ranges[k].last:
                services.reply.refuse(conn, False, ids[i], b"has ended already", b"nothing was cancelled")
                return False
    if live == 0:
        services.reply.fail(conn, b"all of these jobs have ended already")
        return False
    return True


cdef int cancel(Services services, Job *job) noexcept nogil:
    cdef tsf_hot hot
    if job == NULL or job.flags & FLAG_CANCEL:
        return 0                           # named twice, or under way
    if job.state == JOB_BLOCKED or job.state == JOB_READY:
        return changes.cancel_queued(services.spool, job.id)
    if job.state != JOB_STARTING and job.state != JOB_RUNNING:
        return 0
    if services.spool.table.read_hot(job.id, &hot) < 0:
        return -1
    hot.notes |= TSF_NOTE_CANCEL
    if services.spool.table.write_hot(job.id, &hot) < 0:
        return -1
    job.flags |= FLAG_CANCEL
    order(services, job)
    return 0


cdef void order(Services services, const Job *job) noexcept nogil:
    cdef Runner *runner = services.spool.runners.table.runners[job.run]
    services.spool.runners.signal(job.run, (services.cancel_grace_s << <uint32_t> TSF_COMMAND_GRACE_SHIFT)
                                  | <uint32_t> TSF_COMMAND_CANCEL | <uint32_t> SIGTERM)
    if runner != NULL:
        runner.kill_ns = tsf_now_ns(CLOCK_MONOTONIC) + <uint64_t> services.cancel_grace_s * 1000000000
    services.loop.set_timer(services.cancel_timer, CANCEL_POLL_MS)


cdef void resume_cancelled(Services services) noexcept nogil:
    cdef Job *job = services.spool.queue.first_running()
    while job != NULL:
        if job.flags & FLAG_CANCEL:
            order(services, job)
        job = services.spool.queue.following(job)


cdef void orphans_due(void *owner) noexcept nogil:
    end_orphans(<Services> owner)


cdef void end_orphans(Services services) noexcept nogil:
    """As long as one of them runs: is its runner still there to end it?"""
    cdef Job *job = services.spool.queue.first_running()
    cdef Runner *runner
    cdef bint left = False
    while job != NULL:
        if job.flags & FLAG_CANCEL:
            left = True
            runner = services.spool.runners.table.runners[job.run]
            if (runner != NULL and runner.kind == RUNNER_ORPHAN
                    and tsf_now_ns(CLOCK_MONOTONIC) >= runner.kill_ns):
                services.spool.runners.signal(job.run, <uint32_t> TSF_COMMAND_CANCEL | <uint32_t> SIGKILL)
        job = services.spool.queue.following(job)
    if left:
        services.loop.set_timer(services.cancel_timer, CANCEL_POLL_MS)
