# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See _lists.pxd."""
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

from tsfast._jobs cimport JOB_RUNNING, JOB_STARTING, Job
from tsfast._layout cimport TSF_TTY_STDOUT
from tsfast._limits cimport ANSWER_MAX, LIST_ROWS_MAX
from tsfast._listing cimport list_head, list_rows, list_tail
from tsfast._request cimport wants_colour
from tsfast._sys cimport CLOCK_REALTIME, tsf_now_ns
from tsfast._text cimport Look


cdef int list_jobs(Replies reply, Spool spool, Conn *conn, const Request *request,
                   const Command *command) noexcept nogil:
    cdef uint64_t ids[LIST_ROWS_MAX]
    cdef uint64_t live[LIST_ROWS_MAX]
    cdef uint8_t allocating[LIST_ROWS_MAX]
    cdef Look look
    cdef size_t n, n_live, i
    cdef Job *job
    if spool.queue.known > LIST_ROWS_MAX:
        return reply.elsewhere(conn)
    n_live = spool.queue.live(live, LIST_ROWS_MAX)
    n = 0
    for i in range(2 * n_live):            # those that run, then those that wait
        job = spool.queue.get(live[i % n_live])
        if (job.state == JOB_STARTING or job.state == JOB_RUNNING) == (i < n_live):
            ids[n] = job.id
            allocating[n] = spool.allocating(job)
            n += 1
    job = spool.queue.first_ended()
    while job != NULL:
        ids[n] = job.id
        allocating[n] = False
        n += 1
        job = spool.queue.following(job)
    reply.text.size = 0
    look.format = command.format
    look.columns = request.head.columns if request.head.tty & TSF_TTY_STDOUT else 0
    look.colour = wants_colour(request)
    look.gpus = spool.grants.machine_has_gpus() or spool.gpu_jobs > 0
    look.now_ns = tsf_now_ns(CLOCK_REALTIME)
    list_head(&reply.text, &look, spool.queue.used_slots, spool.queue.max_slots)
    if list_rows(&reply.text, spool.table, spool.contexts, ids, allocating, n, &look, True,
                 ANSWER_MAX) < 0:
        return reply.elsewhere(conn)
    list_tail(&reply.text, command.format)
    return reply.answer(conn)
