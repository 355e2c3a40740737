# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See foreground.pxd."""
from libc.string cimport memcpy

from tsfast.base.system cimport close
from tsfast.layout.table cimport tsf_hot
from tsfast.layout.wire cimport TSF_FRAME_SEND_DESCRIPTORS
from tsfast.lifecycle cimport changes, retention, start
from tsfast.scheduler.scheduler cimport JOB_ENDED, JOB_RUNNING, JOB_SKIPPING, Job
from tsfast.server.connections cimport conn_of
from tsfast.server.waiters cimport ROLE_FOREGROUND
from tsfast.store.record cimport error_level


cdef int wait_in_foreground(Services services, Conn *conn, uint64_t id) noexcept nogil:
    cdef const Job *job = services.spool.job(id)
    cdef bint given_up
    cdef tsf_hot hot
    if job == NULL:
        with gil:
            given_up = id in services.spool.given_up
        return services.reply.fail_job(
            conn, id, b"was removed: its client did not return after the server was restarted" if given_up
            else b"is no longer known: it has ended or was removed")
    if job.state == JOB_ENDED or job.state == JOB_SKIPPING:
        if services.spool.read_hot(id, &hot) < 0:
            return services.reply.fail_errno(conn, b"the job's record cannot be read")
        retention.answered(services.spool, id)
        return services.reply.exit(conn, error_level(&hot))
    if services.spool.unreadable.has(id):
        return services.reply.fail_unreadable(conn, id, id)
    if services.wait_for_job(conn, id, ROLE_FOREGROUND) < 0:
        return services.reply.no_memory(conn)
    services.conns.send(conn, TSF_FRAME_SEND_DESCRIPTORS, NULL, 0)
    return 0


cdef int attach(Services services, Conn *conn) noexcept nogil:
    cdef const Job *job = services.spool.job(conn.awaited.job)
    if conn.n_fds != 3:
        return -1
    if job != NULL and job.state == JOB_RUNNING:
        drop_descriptors(conn)                  # it has them from an earlier connection
    start.descriptors_came(services.spool, conn.awaited.job)
    return 0


cdef int lend_descriptors(Services services, uint64_t id, int *fds) noexcept nogil:
    cdef Conn *conn = services.waiters.first(id)
    while conn != NULL and not (conn.role == ROLE_FOREGROUND and conn.n_fds == 3):
        conn = conn_of(conn.in_waiting.next)
    if conn == NULL:
        return 0
    memcpy(fds, conn.fds, 3 * sizeof(int))
    return 3


cdef void drop_descriptors(Conn *conn) noexcept nogil:
    cdef int i
    for i in range(conn.n_fds):
        close(conn.fds[i])
    conn.n_fds = 0


cdef void forward_signal(Services services, Conn *conn, int32_t number) noexcept nogil:
    cdef uint64_t id = conn.awaited.job
    if number < 1 or number > 64:
        return
    if changes.signal(services.spool, id, number) == -2:
        services.waiters.remove(conn)
        changes.remove(services.spool, id, NULL)
        services.reply.exit(conn, 128 + number)
