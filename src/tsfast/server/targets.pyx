# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See targets.pxd."""
from libc.stdlib cimport malloc
from libc.string cimport memset

from tsfast.scheduler.scheduler cimport FLAG_SKIPPED


cdef const Job *last_run(Spool spool) noexcept nogil:
    cdef const Job *job = spool.first_running()
    if job == NULL:
        job = spool.last_ended()
        while job != NULL and job.flags & FLAG_SKIPPED:
            job = spool.preceding(job)
    return job


cdef int say_unknown(Replies reply, Spool spool, Conn *conn, uint64_t id) noexcept nogil:
    if id >= spool.header().committed:
        return reply.fail_job(conn, id, b"does not exist")
    return reply.fail_job(conn, id, b"is no longer known")


cdef const Job *known_job(Replies reply, Spool spool, Conn *conn, uint64_t id) noexcept nogil:
    cdef const Job *job = spool.job(id)
    if job == NULL:
        say_unknown(reply, spool, conn, id)
    return job


cdef void select_job(Targets *jobs, uint64_t id) noexcept nogil:
    memset(&jobs.own, 0, sizeof(IdRange))
    jobs.own.first = jobs.own.last = id
    jobs.ranges = &jobs.own
    jobs.n_ranges = 1
    jobs.count = 1
    jobs.one = True


cdef bint select_jobs(Targets *jobs, Replies reply, Spool spool, Conn *conn, Command *command,
                      bint repeated) noexcept nogil:
    cdef const Job *job
    if spool.arrays.resolve(command) < 0:
        reply.fail(conn, command.error)
        return False
    if command.n_ranges:
        jobs.ranges = command.ranges
        jobs.n_ranges = command.n_ranges
        jobs.one = command.has_id
        return count_known(jobs, reply, spool, conn, repeated)
    if command.has_id:
        select_job(jobs, command.id)
        return known_job(reply, spool, conn, command.id) != NULL
    job = last_run(spool) if command.run_last else spool.last_added()
    if job == NULL:
        reply.fail(conn, b"no job has run yet" if command.run_last else b"there is no job")
        return False
    select_job(jobs, job.id)
    return True


cdef bint count_known(Targets *jobs, Replies reply, Spool spool, Conn *conn, bint repeated) noexcept nogil:
    cdef Cursor cursor
    cdef uint64_t id
    cdef size_t i
    jobs.count = 0
    for i in range(jobs.n_ranges):
        walk_ranges(&cursor, &jobs.ranges[i], 1)
        if not next_job(&cursor, spool, &id):
            if repeated:
                continue
            say_unknown(reply, spool, conn, jobs.ranges[i].first)
            return False
        jobs.count += 1
        while next_job(&cursor, spool, &id):
            jobs.count += 1
    return True


cdef uint64_t forgotten_jobs(const Targets *jobs, Spool spool) noexcept nogil:
    cdef uint64_t committed = spool.header().committed, given_out = 0, removed = 0, last
    cdef size_t i
    for i in range(jobs.n_ranges):
        if jobs.ranges[i].first < committed:
            given_out += min(jobs.ranges[i].last, committed - 1) - jobs.ranges[i].first + 1
    if given_out == jobs.count:
        return 0
    for i in range(jobs.n_ranges):
        if jobs.ranges[i].first < committed:
            last = min(jobs.ranges[i].last, committed - 1)
            removed += spool.removed_ones(jobs.ranges[i].first, last)
    return given_out - jobs.count - removed


cdef void walk_ranges(Cursor *cursor, const IdRange *ranges, size_t n) noexcept nogil:
    cursor.ranges = ranges
    cursor.n = n
    cursor.at = 0
    cursor.begun = False


cdef void walk(Cursor *cursor, const Targets *jobs) noexcept nogil:
    walk_ranges(cursor, jobs.ranges, jobs.n_ranges)


cdef bint next_job(Cursor *cursor, Spool spool, uint64_t *id) noexcept nogil:
    while cursor.at < cursor.n:
        if not cursor.begun:
            cursor.begun = True
            cursor.next = cursor.ranges[cursor.at].first
        # next_id finds what comes after; after UINT64_MAX comes the first of all
        if spool.next_id(cursor.next - 1, id) and id[0] <= cursor.ranges[cursor.at].last:
            cursor.next = id[0] + 1
            return True
        cursor.at += 1
        cursor.begun = False
    return False


cdef uint64_t *all_jobs(const Targets *jobs, Spool spool) noexcept nogil:
    cdef uint64_t *ids = <uint64_t *> malloc(<size_t> jobs.count * sizeof(uint64_t))
    cdef Cursor cursor
    cdef uint64_t n = 0
    if ids != NULL:
        walk(&cursor, jobs)
        while n < jobs.count and next_job(&cursor, spool, &ids[n]):
            n += 1
    return ids
