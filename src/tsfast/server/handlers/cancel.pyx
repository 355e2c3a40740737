# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See cancel.pxd."""
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, qsort

from tsfast.layout.table cimport TSF_CANCELLED, tsf_hot
from tsfast.lifecycle cimport changes
from tsfast.scheduler.scheduler cimport JOB_ENDED, Job
from tsfast.server.targets cimport all_jobs


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
            failed = changes.cancel(services.spool, ids[i], services.cancel_grace_s)
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
        job = services.spool.job(ids[i])
        if job.state != JOB_ENDED or (services.spool.read_hot(ids[i], &hot) == 0
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
