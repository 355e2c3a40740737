# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See wait.pxd."""
from libc.stdint cimport int32_t

from tsfast.base.idmap cimport not_there
from tsfast.base.limits cimport PROGRESS_MS
from tsfast.base.system cimport CLOCK_MONOTONIC, tsf_now_ns
from tsfast.base.text cimport Text, text_char, text_str, text_u64
from tsfast.grammar.options cimport IdRange
from tsfast.layout.table cimport TSF_FINISHED, TSF_REMOVED
from tsfast.layout.wire cimport TSF_EXIT_ERROR, TSF_FRAME_COUNTED, TSF_FRAME_PROGRESS, TSF_TTY_STDERR, tsf_counted
from tsfast.lifecycle cimport retention
from tsfast.lifecycle.spool cimport Spool
from tsfast.scheduler.scheduler cimport FLAG_BAD, FLAG_DUE, JOB_ENDED, JOB_RUNNING, JOB_STARTING, Job
from tsfast.server.targets cimport Cursor, forgotten_jobs, next_job, walk, walk_ranges
from tsfast.server.connections cimport conn_of
from tsfast.server.waiters cimport ROLE_WAIT, Wait, WaitedJob, wait_of, waited_jobs
from tsfast.store.record cimport error_level

cdef const char *CLEAR_LINE = b"\r\x1b[K"


cdef int wait_for_jobs(Services services, Conn *conn, const Request *request, Command *command,
                       const Targets *jobs) noexcept nogil:
    cdef bint progress = request.head.tty & TSF_TTY_STDERR and not jobs.one
    cdef uint64_t forgotten = forgotten_jobs(jobs, services.spool)
    cdef Cursor cursor
    cdef Wait *wait = services.waiters.begin(conn, jobs.count, &request.head.counted, progress)
    if wait == NULL:
        return services.reply.no_memory(conn)
    wait.one = jobs.one
    wait.counted.since = 0
    wait.forgotten = forgotten - min(forgotten, request.head.counted.gone)
    walk(&cursor, jobs)
    return join_jobs(services, wait, &cursor)


cdef int wait_for_all(Services services, Conn *conn, const Request *request, Command *command,
                      const Targets *jobs) noexcept nogil:
    """For those that have not ended yet; of a request that is made again, for those that had not when it began."""
    cdef uint64_t total = services.spool.unfinished()
    cdef tsf_counted counted = request.head.counted
    cdef IdRange everything
    cdef Cursor cursor
    cdef Wait *wait
    if counted.since:
        total += ended_since(services.spool, counted.since)
    else:
        counted.since = services.spool.next_end
    wait = services.waiters.begin(conn, total, &counted, request.head.tty & TSF_TTY_STDERR)
    if wait == NULL:
        return services.reply.no_memory(conn)
    services.conns.send(conn, TSF_FRAME_COUNTED, &wait.counted, sizeof(wait.counted))
    everything.first = 0
    everything.last = services.spool.header().committed
    walk_ranges(&cursor, &everything, 1)
    return join_jobs(services, wait, &cursor)


cdef uint64_t ended_since(Spool spool, uint64_t since) noexcept nogil:
    cdef const Job *job = spool.last_ended()
    cdef uint64_t n = 0
    while job != NULL and job.order >= since:
        n += 1
        job = spool.preceding(job)
    return n


cdef int join_jobs(Services services, Wait *wait, Cursor *cursor) noexcept nogil:
    """Jobs that ended before wait.counted.since do not count."""
    cdef WaitedJob *jobs = waited_jobs(wait)
    cdef uint64_t id, index = 0
    cdef const Job *job
    services.spool.unreadable.look(~(<uint64_t> 0))
    while index < wait.total and next_job(cursor, services.spool, &id):
        job = services.spool.job(id)
        if job.state == JOB_ENDED:
            if wait.counted.since and job.order < wait.counted.since:
                continue
            jobs[index].id = id
            if not count_end(services, wait, id):
                return 0
        elif services.spool.unreadable.n and services.spool.unreadable.blocked(id, &wait.culprit):
            if wait.one:
                services.reply.fail_unreadable(wait.conn, id, wait.culprit)
                services.waiters.remove(wait.conn)
                return 0
            jobs[index].id = not_there()
            wait.stuck += 1
            wait.left -= 1
        elif services.waiters.join(wait, index, id) < 0:
            services.reply.no_memory(wait.conn)
            services.waiters.remove(wait.conn)
            return 0
        else:
            retention.client_waits(services.spool, id)
        index += 1
    if wait.left == 0:
        finish(services, wait)
    elif wait.progress:
        show_progress(services)
    return 0


cdef bint count_end(Services services, Wait *wait, uint64_t id) noexcept nogil:
    """Of a job that has ended already. False: the client has the reply."""
    cdef tsf_hot hot
    if services.spool.read_hot(id, &hot) == 0:
        services.waiters.count(wait, id, hot.state != TSF_FINISHED, error_level(&hot))
    elif wait.one:
        services.reply.fail_errno(wait.conn, b"the job's record cannot be read")
        services.waiters.remove(wait.conn)
        return False
    else:
        services.waiters.count(wait, id, True, -1)
    return True


# ---- ends ------------------------------------------------------------------------------------------------------

cdef void count_gone(Services services) noexcept nogil:
    cdef Conn *conn = conn_of(services.conns.all)
    while conn != NULL:
        if conn.role == ROLE_WAIT:
            count_gone_of(services, <Wait *> conn.awaited.wait)
        conn = conn_of(conn.in_all.next)


cdef void count_gone_of(Services services, Wait *wait) noexcept nogil:
    cdef tsf_counted *counted = &wait.counted
    cdef WaitedJob *jobs = waited_jobs(wait)
    cdef uint64_t i, id, before = counted.gone
    cdef const Job *job
    cdef tsf_hot hot
    for i in range(wait.total):
        id = jobs[i].id
        job = services.spool.job(id) if jobs[i].in_job.owner == NULL and id != not_there() else NULL
        if job == NULL or job.state != JOB_ENDED or job.flags & FLAG_DUE:
            continue                           # one whose hook is due stays until that was started
        counted.gone += 1
        if job.flags & FLAG_BAD:
            if counted.bad == 0 or id < counted.bad_id:
                counted.bad_id = id
                counted.bad_level = error_level(&hot) if services.spool.read_hot(id, &hot) == 0 else -1
            counted.bad += 1
        jobs[i].id = not_there()
    if counted.gone != before:
        services.conns.send(wait.conn, TSF_FRAME_COUNTED, counted, sizeof(counted[0]))


cdef void count_ended(Services services, uint64_t id, const tsf_hot *hot) noexcept nogil:
    cdef WaitedJob *waited = services.waiters.first_waited(id)
    cdef uint64_t *ended = services.waiters.ended_jobs
    cdef Wait *wait
    while waited != NULL:
        wait = wait_of(&waited.in_job)
        services.waiters.leave(waited)
        services.waiters.count(wait, id, hot.state != TSF_FINISHED, error_level(hot))
        wait.ended += 1
        ended[0] += 1
        if wait.one and hot.state == TSF_REMOVED:
            fail_removed(services, wait.conn, id)
        elif wait.left == 0:
            finish(services, wait)
        waited = services.waiters.first_waited(id)


cdef void fail_removed(Services services, Conn *conn, uint64_t id) noexcept nogil:
    services.waiters.remove(conn)
    services.reply.fail_job(conn, id, b"was removed")


cdef void finish(Services services, Wait *wait) noexcept nogil:
    """Send the reply; `wait` is gone then."""
    cdef Conn *conn = wait.conn
    cdef int32_t level = wait.bad_level if wait.failed else 0
    if wait.progress:
        services.conns.send(conn, TSF_FRAME_PROGRESS, CLEAR_LINE, 4)
    if wait.forgotten or wait.stuck:
        level = TSF_EXIT_ERROR
    if wait.forgotten:
        say_forgotten(services, conn, wait.forgotten, wait.total + wait.forgotten)
    if wait.stuck:
        say_stuck(services, wait)
    services.waiters.remove(conn)
    services.reply.exit(conn, level)


cdef void say_forgotten(Services services, Conn *conn, uint64_t forgotten, uint64_t total) noexcept nogil:
    cdef Text *text = &services.reply.text
    text.size = 0
    text_str(text, b"ts: ")
    text_u64(text, forgotten)
    text_str(text, b" of ")
    text_u64(text, total)
    text_str(text, b" jobs " if total > 1 else b" job ")
    text_str(text, b"were forgotten: how they ended is not known" if forgotten > 1
             else b"was forgotten: how it ended is not known")
    services.reply.note(conn)


cdef void say_stuck(Services services, const Wait *wait) noexcept nogil:
    cdef Text *text = &services.reply.text
    text.size = 0
    text_str(text, b"ts: ")
    text_u64(text, wait.stuck)
    text_str(text, b" jobs cannot run" if wait.stuck > 1 else b" job cannot run")
    text_str(text, b": the record of job ")
    text_u64(text, wait.culprit)
    text_str(text, b" cannot be read (`ts -r ")
    text_u64(text, wait.culprit)
    text_str(text, b"` removes it)")
    services.reply.note(wait.conn)


# ---- progress --------------------------------------------------------------------------------------------------

cdef void progress_due(void *owner) noexcept nogil:
    show_progress(<Services> owner)


cdef void show_progress(Services services) noexcept nogil:
    cdef Wait *wait = wait_of(services.waiters.progress)
    cdef Text *text = &services.reply.text
    cdef uint64_t now = tsf_now_ns(CLOCK_MONOTONIC)
    while wait != NULL:
        # A client that reads nothing gets no more.
        if wait.conn.output_size == 0:
            progress_line(text, services.spool, wait, now)
            services.conns.send(wait.conn, TSF_FRAME_PROGRESS, text.data, text.size)
        wait = wait_of(wait.in_progress.next)
    if services.waiters.progress != NULL:
        services.loop.set_timer(services.progress_timer, PROGRESS_MS)


cdef void progress_line(Text *text, Spool spool, Wait *wait, uint64_t now) noexcept nogil:
    cdef uint64_t seconds = (now - wait.since_ns) // 1000000000, running = 0, i
    cdef const WaitedJob *jobs = waited_jobs(wait)
    cdef const Job *job
    for i in range(wait.total):
        if jobs[i].in_job.owner != NULL:
            job = spool.job(jobs[i].id)
            running += job != NULL and (job.state == JOB_STARTING or job.state == JOB_RUNNING)
    text.size = 0
    text_str(text, CLEAR_LINE)
    text_u64(text, wait.counted.gone + wait.total - wait.left)
    text_str(text, b" ended, ")
    text_u64(text, wait.failed)
    text_str(text, b" failed, ")
    text_u64(text, running)
    text_str(text, b" running, ")
    text_u64(text, wait.left - running)
    text_str(text, b" left, ")
    text_u64(text, seconds // 3600)
    text_char(text, c':')
    text_char(text, <char> (c'0' + seconds // 600 % 6))
    text_char(text, <char> (c'0' + seconds // 60 % 10))
    text_char(text, c':')
    text_char(text, <char> (c'0' + seconds // 10 % 6))
    text_char(text, <char> (c'0' + seconds % 10))
