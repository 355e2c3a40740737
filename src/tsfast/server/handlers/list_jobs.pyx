# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See list_jobs.pxd."""
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free, malloc

from tsfast.lifecycle.arrays cimport Span
from tsfast.lifecycle.spool cimport Spool
from tsfast.server.replies cimport Replies
from tsfast.grammar.options cimport FORMAT_DEFAULT
from tsfast.scheduler.scheduler cimport JOB_RUNNING, JOB_STARTING, Job
from tsfast.layout.wire cimport TSF_FRAME_ERR, TSF_TTY_STDOUT
from tsfast.base.limits cimport ANSWER_MAX, LIST_JOBS_MAX, LIST_ROWS_MAX
from tsfast.render.listing cimport Line, list_head, list_rows, list_tail
from tsfast.base.text cimport Text, text_char, text_free, text_str
from tsfast.server.request cimport wants_colour
from tsfast.base.system cimport CLOCK_REALTIME, tsf_now_ns
from tsfast.render.rows cimport ArrayCounts, Look, list_kind
from tsfast.server.handlers.describe_array cimport count_array

cdef struct Lines:
    Line *lines                   # owned, likewise the following
    uint64_t *live                # ids of the jobs that have not ended
    ArrayCounts *counts           # of Spool.arrays, one for each; NULL: an array's elements have a row each
    size_t n, room


cdef inline bint runs(const Job *job) noexcept nogil:
    return job.state == JOB_STARTING or job.state == JOB_RUNNING


cdef bint add_line(Lines *lines, Spool spool, const Job *job) noexcept nogil:
    """False: there are too many rows."""
    cdef const Span *span = spool.arrays.of(job.id) if lines.counts != NULL else NULL
    cdef ArrayCounts *counts = NULL
    if span != NULL:
        counts = &lines.counts[span - spool.arrays.spans]
        if counts.shown:
            return True
        counts.shown = True
    if lines.n == lines.room:
        return False
    lines.lines[lines.n].id = job.id
    lines.lines[lines.n].array = counts
    lines.lines[lines.n].allocating = spool.allocating(job)
    lines.n += 1
    return True


cdef bint gather(Lines *lines, Spool spool) noexcept nogil:
    cdef size_t n = spool.unfinished_ids(lines.live, spool.known()), i
    cdef const Job *job
    if lines.counts != NULL:
        for i in range(spool.arrays.n):
            count_array(spool, &spool.arrays.spans[i], &lines.counts[i])
    for i in range(2 * n):                 # those that run, then those that wait
        job = spool.job(lines.live[i % n])
        if runs(job) == (i < n) and not add_line(lines, spool, job):
            return False
    job = spool.first_ended()
    while job != NULL:
        if not add_line(lines, spool, job):
            return False
        job = spool.following(job)
    return True


cdef void tell_pause(Replies reply, Spool spool, Conn *conn) noexcept nogil:
    cdef Text line
    line.data = NULL
    line.size = line.room = 0
    line.failed = False
    text_str(&line, b"ts: ")
    spool.pauses.summary(&line)
    text_char(&line, c"\n")
    if not line.failed:
        reply.conns.send(conn, TSF_FRAME_ERR, line.data, line.size)
    text_free(&line)


cdef int list_jobs(Services services, Conn *conn, const Request *request, Command *command,
                   const Targets *jobs) noexcept nogil:
    cdef bint collapsed = command.format == FORMAT_DEFAULT and services.spool.arrays.n > 0
    cdef bint done = False
    cdef Lines lines
    if services.spool.known() > <uint64_t> (LIST_JOBS_MAX if collapsed else LIST_ROWS_MAX):
        return services.reply.delegate(conn)
    lines.n = 0
    lines.room = LIST_ROWS_MAX
    lines.lines = <Line *> malloc(lines.room * sizeof(Line))
    lines.live = <uint64_t *> malloc((services.spool.known() + 1) * sizeof(uint64_t))
    lines.counts = NULL
    if collapsed:
        lines.counts = <ArrayCounts *> calloc(services.spool.arrays.n, sizeof(ArrayCounts))
    if (lines.lines != NULL and lines.live != NULL and (lines.counts != NULL or not collapsed)
            and gather(&lines, services.spool)):
        done = write_lines(&services.reply.text, services.spool, &lines, request, command.format)
    free(lines.lines)
    free(lines.live)
    free(lines.counts)
    if not done:
        return services.reply.delegate(conn)        # too long for the server, or it has no memory
    if command.format == FORMAT_DEFAULT and services.spool.pauses.jobs_wait():
        tell_pause(services.reply, services.spool, conn)
    return services.reply.answer(conn)


cdef bint write_lines(Text *text, Spool spool, const Lines *lines, const Request *request, int format) noexcept nogil:
    """False: it is too long."""
    cdef Look look
    text.size = 0
    look.format = format
    look.columns = request.head.columns if request.head.tty & TSF_TTY_STDOUT else 0
    look.colour = wants_colour(request)
    look.least = list_kind(request.head.tty & TSF_TTY_STDOUT)
    look.gpus = spool.allocator.machine_has_gpus() or spool.gpu_jobs > 0
    look.now_ns = tsf_now_ns(CLOCK_REALTIME)
    list_head(text, &look, spool.used_slots(), spool.slots())
    if list_rows(text, spool.table, spool.contexts, lines.lines, lines.n, &look, True, ANSWER_MAX) != 0:
        return False
    list_tail(text, format)
    return True
