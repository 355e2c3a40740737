# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See describe.pxd."""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport strlen

from tsfast.grammar.options cimport ACTION_FULL_COMMAND, ACTION_INFO, ACTION_LABEL, ACTION_STATE, ACTION_WHY
from tsfast.scheduler.scheduler cimport JOB_BLOCKED, JOB_READY, Job
from tsfast.layout.structs cimport TSF_ALLOCATING, TSF_SHOWS_MOMENTS, TSF_TTY_STDOUT, tsf_cold, tsf_hot
from tsfast.base.text cimport (
    TSF_CONTROL, TSF_HIDDEN, Text, text_add, text_char, text_cut, text_i64, text_oneline, text_str,
)
from tsfast.store.record cimport Row, row_label
from tsfast.render.fields cimport command_words, state_name
from tsfast.lifecycle.spool cimport Spool
from tsfast.base.system cimport CLOCK_REALTIME, tsf_now_ns
from tsfast.render.info cimport info
from tsfast.server.handlers.explain cimport why


cdef const char *tell(Text *text, Spool spool, const Job *job, int action, uint64_t parked,
                      uint32_t tty) noexcept nogil:
    cdef Row row
    cdef tsf_hot hot
    cdef tsf_cold cold
    cdef const char *cwd = NULL
    cdef size_t begin
    cdef bint terminal = tty & TSF_TTY_STDOUT
    if action == ACTION_WHY:
        why(text, spool, job, parked)
        return NULL
    if spool.table.read_row(job.id, &row, &hot, &cold) < 0:
        if action == ACTION_STATE:
            text_str(text, b"unreadable\n")
            return NULL
        return b"has a record that cannot be read"
    if action == ACTION_INFO:
        if cold.cwd_len == 0:
            cwd = spool.contexts.directory(cold.ctx)
        info(text, &row, cwd, strlen(cwd) if cwd != NULL else 0, tsf_now_ns(CLOCK_REALTIME),
             tty & TSF_SHOWS_MOMENTS)
        begin = text.size
        text_str(text, b"Waits: ")
        if spool.pauses.reason(text, job):
            text_str(text, b", tried again\n")
        else:
            text_cut(text, begin)
        return NULL
    if action == ACTION_STATE:
        text_str(text, state_name(TSF_ALLOCATING if spool.allocating(job) else <int> hot.state))
    elif action == ACTION_LABEL:
        if terminal:
            text_oneline(text, row_label(&row), cold.label_len, TSF_HIDDEN)
        else:
            text_add(text, row_label(&row), cold.label_len)
    elif action == ACTION_FULL_COMMAND:
        command_words(text, &row, TSF_HIDDEN if terminal else TSF_CONTROL)
    elif job.state == JOB_BLOCKED or job.state == JOB_READY:
        return b"has not started yet"
    elif hot.pid == 0:
        return b"has no process"
    else:
        text_i64(text, hot.pid)
    text_char(text, c'\n')
    return NULL
