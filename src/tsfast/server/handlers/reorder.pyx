# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See reorder.pxd."""
from libc.stdint cimport uint64_t
from libc.stdlib cimport free

from tsfast.lifecycle cimport changes
from tsfast.lifecycle.spool cimport Spool
from tsfast.scheduler.scheduler cimport JOB_BLOCKED, JOB_READY, Job
from tsfast.server.replies cimport Replies
from tsfast.server.targets cimport all_jobs, known_job


cdef int make_urgent(Services services, Conn *conn, const Request *request, Command *command,
                     const Targets *jobs) noexcept nogil:
    """They are the next ones, in the order in which they are named."""
    cdef uint64_t *ids = all_jobs(jobs, services.spool)
    cdef uint64_t n = jobs.count
    cdef int done = 0
    if ids == NULL:
        return services.reply.no_memory(conn)
    if all_can_move(services.reply, services.spool, conn, jobs, ids):
        while n > 0 and done == 0:
            n -= 1
            done = changes.urgent(services.spool, ids[n])
        if done < 0:
            services.reply.fail_table(conn)
        else:
            services.reply.exit(conn, 0)
    free(ids)
    return 0


cdef bint all_can_move(Replies reply, Spool spool, Conn *conn, const Targets *jobs,
                       const uint64_t *ids) noexcept nogil:
    """False: the client has the reply."""
    cdef const Job *job
    cdef uint64_t i
    for i in range(jobs.count):
        job = spool.job(ids[i])
        if job.state != JOB_BLOCKED and job.state != JOB_READY:
            reply.refuse(conn, jobs.one, ids[i], b"is not queued", b"nothing was moved")
            return False
        if spool.unreadable.has(ids[i]):
            if jobs.one:
                reply.fail_unreadable(conn, ids[i], ids[i])
            else:
                reply.refuse(conn, False, ids[i], b"has a record that cannot be read", b"nothing was moved")
            return False
    return True


cdef bint can_swap(Services services, Conn *conn, uint64_t id) noexcept nogil:
    """False: the client has the reply."""
    if known_job(services.reply, services.spool, conn, id) == NULL:
        return False
    if services.spool.unreadable.has(id):
        services.reply.fail_unreadable(conn, id, id)
        return False
    return True


cdef int swap_jobs(Services services, Conn *conn, const Request *request, Command *command,
                   const Targets *jobs) noexcept nogil:
    cdef int done
    if not can_swap(services, conn, command.id) or not can_swap(services, conn, command.id2):
        return 0
    done = changes.swap(services.spool, command.id, command.id2, request.head.token)
    if done == -2:
        return services.reply.fail(conn, b"-U: only queued jobs can change places")
    return services.reply.fail_table(conn) if done < 0 else services.reply.exit(conn, 0)
