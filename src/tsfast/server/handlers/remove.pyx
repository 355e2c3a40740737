# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See remove.pxd."""
from libc.stdint cimport uint64_t

from tsfast.lifecycle cimport changes, retention
from tsfast.scheduler.scheduler cimport JOB_RUNNING, JOB_STARTING, Job
from tsfast.server.handlers.wait cimport count_gone
from tsfast.server.targets cimport Cursor, next_job, walk


cdef int remove_jobs(Services services, Conn *conn, const Request *request, Command *command,
                     const Targets *jobs) noexcept nogil:
    """The last one removed carries the idempotency key: with it the whole request is done."""
    cdef Cursor cursor
    cdef uint64_t id, last = 0
    cdef const Job *job
    walk(&cursor, jobs)
    while next_job(&cursor, services.spool, &id):
        job = services.spool.job(id)
        if job.state == JOB_STARTING or job.state == JOB_RUNNING:
            return services.reply.refuse(conn, jobs.one, id, b"is running: end it with -k first",
                                         b"nothing was removed")
        last = id
    walk(&cursor, jobs)
    while next_job(&cursor, services.spool, &id):
        if id != last and changes.remove(services.spool, id, NULL) == -1:
            return services.reply.fail_table(conn)
    if changes.remove(services.spool, last, request.head.token) == -1:
        return services.reply.fail_table(conn)
    return services.reply.exit(conn, 0)


cdef int clear_jobs(Services services, Conn *conn, const Request *request, Command *command,
                    const Targets *jobs) noexcept nogil:
    count_gone(services)
    return services.reply.fail_table(conn) if retention.clear(services.spool) < 0 else services.reply.exit(conn, 0)
