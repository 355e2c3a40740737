# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See settings.pxd."""
from libc.stddef cimport size_t

from tsfast.base.text cimport Text, text_char, text_str
from tsfast.lifecycle cimport changes
from tsfast.server.environ cimport environ_value, set_environ, unset_environ
from tsfast.server.request cimport variable

cdef const char *NOT_RECORDED = b"the setting could not be recorded"
cdef const char *NOT_CHANGED = b"the server's environment could not be changed"


cdef int done(Services services, Conn *conn, int result, const char *failed) noexcept nogil:
    if result < 0:
        return services.reply.fail_errno(conn, failed)
    return services.reply.exit(conn, 0)


cdef int set_slots(Services services, Conn *conn, const Request *request, Command *command,
                   const Targets *jobs) noexcept nogil:
    if not command.has_number:
        return services.reply.answer_number(conn, services.spool.slots())
    return done(services, conn, changes.set_slots(services.spool, command.number),
                b"the number of slots could not be recorded")


cdef int get_gpu_free(Services services, Conn *conn, const Request *request, Command *command,
                      const Targets *jobs) noexcept nogil:
    return services.reply.answer_number(conn, services.spool.allocator.gpus.free_percent)


cdef int set_gpu_free(Services services, Conn *conn, const Request *request, Command *command,
                      const Targets *jobs) noexcept nogil:
    return done(services, conn, changes.set_gpu_free(services.spool, command.number), NOT_RECORDED)


cdef int get_gpu_wait(Services services, Conn *conn, const Request *request, Command *command,
                      const Targets *jobs) noexcept nogil:
    return services.reply.answer_number(conn, services.spool.header().gpu_wait_s)


cdef int set_gpu_wait(Services services, Conn *conn, const Request *request, Command *command,
                      const Targets *jobs) noexcept nogil:
    return done(services, conn, changes.set_gpu_wait(services.spool, command.number), NOT_RECORDED)


# ---- the directory of output files -----------------------------------------------------------------------------

cdef int get_logdir(Services services, Conn *conn, const Request *request, Command *command,
                    const Targets *jobs) noexcept nogil:
    services.reply.text.size = 0
    services.submitter.logdir(&services.reply.text)
    return services.reply.answer_value(conn)


cdef int set_logdir(Services services, Conn *conn, const Request *request, Command *command,
                    const Targets *jobs) noexcept nogil:
    cdef Text *path = &services.reply.text
    cdef size_t size
    # The client's side looks whether it is a writable directory: the server waits for no path.
    if variable(request, b"TSFAST_LOGDIR_CHECKED=") == NULL:
        return services.reply.delegate(conn)
    path.size = 0
    if command.text[0] != c'/':
        text_str(path, request.cwd)
        text_char(path, c'/')
    text_str(path, command.text)
    size = path.size
    text_char(path, 0)
    if path.failed or size >= sizeof(services.spool.header().logdir):
        path.failed = False
        return services.reply.fail(conn, b"--set_logdir: the path is too long")
    return done(services, conn, changes.set_logdir(services.spool, path.data, size),
                b"--set_logdir: it could not be recorded")


# ---- the server's environment ----------------------------------------------------------------------------------

cdef int get_variable(Services services, Conn *conn, const Request *request, Command *command,
                      const Targets *jobs) noexcept nogil:
    cdef const char *value = environ_value(command.text)
    services.reply.text.size = 0
    if value != NULL:
        text_str(&services.reply.text, value)
    return services.reply.answer_value(conn)


cdef int set_variable(Services services, Conn *conn, const Request *request, Command *command,
                      const Targets *jobs) noexcept nogil:
    return changed(services, conn, set_environ(command.text))


cdef int unset_variable(Services services, Conn *conn, const Request *request, Command *command,
                        const Targets *jobs) noexcept nogil:
    return changed(services, conn, unset_environ(command.text))


cdef int changed(Services services, Conn *conn, int result) noexcept nogil:
    if result == 0:
        services.spool.allocator.monitor.renew()   # the monitor gets the new one
    return done(services, conn, result, NOT_CHANGED)
