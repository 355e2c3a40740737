# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See shutdown.pxd."""
from libc.stdint cimport uint64_t

from tsfast.base.text cimport Text, text_str, text_u64
from tsfast.layout.wire cimport TSF_FRAME_EXIT_AT_CLOSE, TSF_TTY_STDERR
from tsfast.lifecycle cimport retention
from tsfast.server.connections cimport conn_of
from tsfast.server.waiters cimport ROLE_NONE, ROLE_SUBSCRIBER


cdef int end_queue(Services services, Conn *conn, const Request *request, Command *command,
                   const Targets *jobs) noexcept nogil:
    cdef uint64_t running = services.spool.running()
    cdef uint64_t dropped = services.spool.unfinished() - running
    if retention.drop_all(services.spool) < 0:
        return services.reply.fail_errno(conn, b"the end of the queue could not be recorded")
    reply_to_all(services, b"the queue was ended by -K")
    if request.head.tty & TSF_TTY_STDERR and (dropped or running):
        say_what_is_gone(services, conn, dropped, running)
    services.conns.send_code(conn, TSF_FRAME_EXIT_AT_CLOSE, 0)
    services.last_client = conn
    return 0


cdef void say_what_is_gone(Services services, Conn *conn, uint64_t dropped, uint64_t running) noexcept nogil:
    cdef Text *text = &services.reply.text
    text.size = 0
    text_str(text, b"ts: queued jobs dropped: ")
    text_u64(text, dropped)
    text_str(text, b"; running jobs that go on: ")
    text_u64(text, running)
    services.reply.note(conn)


cdef void reply_to_all(Services services, const char *why) noexcept nogil:
    cdef Conn *conn = conn_of(services.conns.all)
    cdef Conn *following
    services.stopping = True
    while conn != NULL:
        following = conn_of(conn.in_all.next)
        if conn.role != ROLE_NONE and conn.role != ROLE_SUBSCRIBER:
            services.waiters.remove(conn)
            services.reply.fail(conn, why)
        conn = following
