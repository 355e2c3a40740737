# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See signal.pxd."""
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from tsfast.base.system cimport SIGTERM
from tsfast.lifecycle cimport changes
from tsfast.scheduler.scheduler cimport JOB_RUNNING, JOB_STARTING, Job
from tsfast.server.targets cimport Cursor, next_job, walk, walk_ranges


cdef int kill_jobs(Services services, Conn *conn, const Request *request, Command *command,
                   const Targets *jobs) noexcept nogil:
    """Of a range, those that run get the signal, at least one."""
    cdef Cursor cursor
    cdef uint64_t id, running = 0
    cdef size_t i
    cdef const Job *job
    cdef int done = 0
    for i in range(jobs.n_ranges):
        walk_ranges(&cursor, &jobs.ranges[i], 1)
        while next_job(&cursor, services.spool, &id):
            job = services.spool.job(id)
            if job.state == JOB_STARTING or job.state == JOB_RUNNING:
                running += 1
            elif jobs.ranges[i].first == jobs.ranges[i].last:
                return services.reply.refuse(conn, jobs.one, id, b"is not running", b"no signal was sent")
    if running == 0:
        return services.reply.fail(conn, b"none of these jobs is running")
    walk(&cursor, jobs)
    while next_job(&cursor, services.spool, &id):
        done = changes.signal(services.spool, id, SIGTERM)
    if jobs.one and done < 0:
        return services.reply.fail_job(conn, jobs.ranges.first, b"has just ended")
    return services.reply.exit(conn, 0)


cdef int kill_all(Services services, Conn *conn, const Request *request, Command *command,
                  const Targets *jobs) noexcept nogil:
    cdef const Job *job = services.spool.first_running()
    while job != NULL:
        changes.signal(services.spool, job.id, SIGTERM)
        job = services.spool.following(job)
    return services.reply.exit(conn, 0)
