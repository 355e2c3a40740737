# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See output.pxd."""
from libc.stdint cimport int32_t

from tsfast.base.text cimport Text, text_add, text_char, text_str, text_u64
from tsfast.grammar.options cimport ACTION_OUTPUT, ACTION_TAIL
from tsfast.layout.table cimport TSF_JOB_GZIP, TSF_JOB_NO_OUTPUT, TSF_SKIPPED, tsf_cold, tsf_hot
from tsfast.layout.wire cimport TSF_FRAME_ENDED, TSF_FRAME_FOLLOW, tsf_follow
from tsfast.lifecycle.arrays cimport Span
from tsfast.render.fields cimport output_path
from tsfast.scheduler.scheduler cimport JOB_BLOCKED, JOB_ENDED, JOB_READY, JOB_STARTING, Job
from tsfast.server.waiters cimport ROLE_FOLLOW, ROLE_FOLLOWING, ROLE_START
from tsfast.store.record cimport Record, error_level


cdef int show_output(Services services, Conn *conn, const Request *request, Command *command,
                     const Targets *jobs) noexcept nogil:
    if not jobs.one:
        return delegate_array(services, conn, jobs)
    return show_output_of(services, conn, jobs.ranges.first, command.action)


cdef int delegate_array(Services services, Conn *conn, const Targets *jobs) noexcept nogil:
    """The client's side shows the outputs of all elements."""
    cdef const Span *array = services.spool.arrays.of(jobs.ranges.first)
    cdef Text *text = &services.reply.text
    text.size = 0
    text_str(text, b"array ")
    text_u64(text, array.first)
    text_char(text, c' ')
    text_u64(text, array.count)
    return services.reply.delegate_with_text(conn)


cdef int show_output_of(Services services, Conn *conn, uint64_t id, int action) noexcept nogil:
    cdef const Job *job = services.spool.job(id)
    cdef bint ended = job.state == JOB_ENDED
    cdef const char *wrong
    cdef Record record
    cdef tsf_hot hot
    cdef tsf_cold cold
    if action == ACTION_OUTPUT and job.state == JOB_STARTING:
        return services.wait_for_start(conn, id, ROLE_START, action)      # for the name that it is about to have
    if services.spool.unreadable.n and services.spool.unreadable.has(id):
        return services.reply.fail_unreadable(conn, id, id)
    if job.state == JOB_BLOCKED or job.state == JOB_READY:
        return services.reply.fail_job(conn, id, b"has not started yet")
    if services.spool.read_record(id, &record, &hot, &cold) < 0:
        return services.reply.fail_errno(conn, b"the job's record cannot be read")
    wrong = has_none(&hot, &cold, ended, action)
    if wrong != NULL:
        return services.reply.fail_job(conn, id, wrong)
    if hot.suffix[0] == 0:                      # it is being started, and its output has no name yet
        return services.wait_for_start(conn, id, ROLE_START if cold.flags & TSF_JOB_GZIP else ROLE_FOLLOW, action)
    if action == ACTION_OUTPUT:
        services.reply.text.size = 0
        output_path(&services.reply.text, &record)
        return services.reply.answer_value(conn)
    if cold.flags & TSF_JOB_GZIP:
        return delegate_compressed(services, conn, &record)
    if not ended and services.wait_for_job(conn, id, ROLE_FOLLOWING) < 0:
        return services.reply.no_memory(conn)
    send_follow(services, conn, &record, action)
    if ended:
        send_ended(services, conn, error_level(&hot))
    return 0


cdef const char *has_none(const tsf_hot *hot, const tsf_cold *cold, bint ended, int action) noexcept nogil:
    """Why the job has no output to show, as the rest of a line that begins `ts: job 5 `; NULL if it has or will."""
    if hot.state == TSF_SKIPPED:
        return b"was skipped: it has no output"
    if cold.flags & TSF_JOB_NO_OUTPUT:
        return b"was added with -n: its output is not stored"
    if ended and hot.suffix[0] == 0:
        return b"has no output file: see -i"
    if action == ACTION_OUTPUT and hot.suffix[0] == 0:
        return b"runs, but the name of its output could not be recorded"
    return NULL


cdef int delegate_compressed(Services services, Conn *conn, const Record *record) noexcept nogil:
    cdef Text *text = &services.reply.text
    text.size = 0
    text_u64(text, record.id)
    text_char(text, c' ')
    output_path(text, record)
    return services.reply.delegate_with_text(conn)


cdef void send_follow(Services services, Conn *conn, const Record *record, int action) noexcept nogil:
    cdef Text *text = &services.reply.text
    cdef tsf_follow follow
    follow.lines = 10 if action == ACTION_TAIL else -1
    text.size = 0
    text_add(text, <const char *> &follow, sizeof(follow))
    output_path(text, record)
    services.conns.send(conn, TSF_FRAME_FOLLOW, text.data, text.size)


cdef void send_ended(Services services, Conn *conn, int32_t level) noexcept nogil:
    services.conns.send_code(conn, TSF_FRAME_ENDED, level)
    services.conns.finish(conn)


cdef bint begin_following(Services services, Conn *conn, uint64_t id) noexcept nogil:
    """The job that the client waits to follow has a process. False: its output file has no name."""
    cdef Record record
    cdef tsf_hot hot
    cdef tsf_cold cold
    if services.spool.read_record(id, &record, &hot, &cold) < 0 or hot.suffix[0] == 0:
        return False
    send_follow(services, conn, &record, conn.action)
    return True
