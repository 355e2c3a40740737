# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See describe.pxd."""
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint32_t
from libc.string cimport strlen

from tsfast.base.limits cimport ANSWER_MAX
from tsfast.base.system cimport CLOCK_REALTIME, tsf_now_ns
from tsfast.base.text cimport (
    TSF_CONTROL, TSF_HIDDEN, Text, text_add, text_char, text_cut, text_i64, text_oneline, text_str, text_u64,
)
from tsfast.grammar.options cimport (
    ACTION_FULL_COMMAND, ACTION_INFO, ACTION_LABEL, ACTION_PID, ACTION_STATE, ACTION_WHY,
)
from tsfast.layout.table cimport TSF_ALLOCATING, tsf_cold, tsf_hot
from tsfast.layout.wire cimport TSF_EXIT_ERROR, TSF_SHOWS_MOMENTS, TSF_TTY_STDOUT
from tsfast.lifecycle.arrays cimport Span
from tsfast.lifecycle.spool cimport Spool
from tsfast.render.fields cimport command_words, state_name
from tsfast.render.info cimport info
from tsfast.scheduler.scheduler cimport JOB_BLOCKED, JOB_READY, JOB_STARTING, Job
from tsfast.server.handlers.describe_array cimport tell_whole, whole_array
from tsfast.server.handlers.explain cimport why
from tsfast.server.request cimport has_variable
from tsfast.server.targets cimport Cursor, next_job, select_job, walk
from tsfast.server.waiters cimport ROLE_START
from tsfast.store.record cimport Record, record_label


cdef int describe_jobs(Services services, Conn *conn, const Request *request, Command *command,
                       const Targets *jobs) noexcept nogil:
    if command.action == ACTION_INFO and not has_variable(request, b"TZ="):
        conn.tty &= ~<uint32_t> TSF_SHOWS_MOMENTS     # its time zone is the machine's, as ours
    return describe_all(services, conn, command.action, jobs)


cdef int describe_job(Services services, Conn *conn, uint64_t id, int action) noexcept nogil:
    cdef Targets job
    select_job(&job, id)
    return describe_all(services, conn, action, &job)


cdef int describe_all(Services services, Conn *conn, int action, const Targets *jobs) noexcept nogil:
    """Of several jobs: -s `id state` a line; -i one text a job, each after a line `Job: id`, with an empty line
    between. What is wrong with one of them stands in its place."""
    cdef Text *text = &services.reply.text
    cdef int32_t level = 0
    cdef Cursor cursor
    cdef uint64_t id
    cdef const Span *array
    cdef const char *wrong
    text.size = 0
    walk(&cursor, jobs)
    while next_job(&cursor, services.spool, &id):
        if action == ACTION_PID and services.spool.job(id).state == JOB_STARTING:
            return services.wait_for_start(conn, id, ROLE_START, action)
        array = NULL
        if action == ACTION_WHY or action == ACTION_FULL_COMMAND:
            array = whole_array(services.spool, &jobs.ranges[cursor.at])
        if array != NULL:
            id = array.first
            cursor.next = id + array.count
            wrong = tell_whole(text, services.spool, array, action, services.waiters.n_parked, conn.tty)
        else:
            if not jobs.one:
                heading(text, id, action)
            wrong = tell(text, services.spool, services.spool.job(id), action, services.waiters.n_parked,
                         conn.tty)
        if wrong != NULL and (jobs.one or action == ACTION_FULL_COMMAND):
            return services.reply.fail_job(conn, id, wrong)
        if wrong != NULL:
            text_str(text, wrong)
            text_char(text, c'\n')
            level = TSF_EXIT_ERROR
        if text.size > <size_t> ANSWER_MAX and not jobs.one:
            return services.reply.fail(conn, b"too long for one reply: ask for fewer jobs")
    if action == ACTION_INFO:
        return services.reply.answer_info(conn, level)
    return services.reply.answer(conn, level)


cdef void heading(Text *text, uint64_t id, int action) noexcept nogil:
    if action == ACTION_INFO:
        text_str(text, b"\nJob: " if text.size else b"Job: ")
        text_u64(text, id)
        text_char(text, c'\n')
    elif action == ACTION_STATE:
        text_u64(text, id)
        text_char(text, c' ')


cdef const char *tell(Text *text, Spool spool, const Job *job, int action, uint64_t parked,
                      uint32_t tty) noexcept nogil:
    """Append what the action asks for. NULL, or what is wrong, as the rest of a line that begins `ts: job 5 `.

    parked: how many requests wait for room in the queue. tty: of the client, enum tsf_tty: on a terminal people read
    it, while a program gets a value as it is; with TSF_SHOWS_MOMENTS times of day are marked, as info() has it."""
    cdef Record record
    cdef tsf_hot hot
    cdef tsf_cold cold
    cdef const char *cwd = NULL
    cdef bint terminal = tty & TSF_TTY_STDOUT
    if action == ACTION_WHY:
        why(text, spool, job, parked)
        return NULL
    if spool.read_record(job.id, &record, &hot, &cold) < 0:
        if action == ACTION_STATE:
            text_str(text, b"unreadable\n")
            return NULL
        return b"has a record that cannot be read"
    if action == ACTION_INFO:
        if cold.cwd_len == 0:
            cwd = spool.directory(cold.ctx)
        info(text, &record, cwd, strlen(cwd) if cwd != NULL else 0, tsf_now_ns(CLOCK_REALTIME),
             tty & TSF_SHOWS_MOMENTS)
        waiting_line(text, spool, job)
        return NULL
    if action == ACTION_STATE:
        text_str(text, state_name(TSF_ALLOCATING if spool.allocating(job) else <int> hot.state))
    elif action == ACTION_LABEL:
        if terminal:
            text_oneline(text, record_label(&record), cold.label_len, TSF_HIDDEN)
        else:
            text_add(text, record_label(&record), cold.label_len)
    elif action == ACTION_FULL_COMMAND:
        command_words(text, &record, TSF_HIDDEN if terminal else TSF_CONTROL)
    elif job.state == JOB_BLOCKED or job.state == JOB_READY:
        return b"has not started yet"
    elif hot.pid == 0:
        return b"has no process"
    else:
        text_i64(text, hot.pid)
    text_char(text, c'\n')
    return NULL


cdef void waiting_line(Text *text, Spool spool, const Job *job) noexcept nogil:
    cdef size_t begin = text.size
    text_str(text, b"Waits: ")
    if spool.pauses.reason(text, job):
        text_str(text, b", tried again\n")
    else:
        text_cut(text, begin)
