# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See waiters.pxd."""
cimport cython
from libc.stdlib cimport calloc, free

from tsfast.base.idmap cimport idmap_del, idmap_free, idmap_get, idmap_put, not_there
from tsfast.base.links cimport links_append, links_prepend, links_remove
from tsfast.base.system cimport CLOCK_MONOTONIC, tsf_now_ns
from tsfast.server.connections cimport conn_of


# ---- lists by the id of a job ----------------------------------------------------------------------------------

cdef Link *first_of(const IdMap *map, uint64_t id) noexcept nogil:
    cdef uint64_t found = idmap_get(map, id)
    return NULL if found == not_there() else <Link *> <size_t> found


cdef int link_to(IdMap *map, uint64_t id, Link *link) noexcept nogil:
    """0, or -1 without memory."""
    cdef Link *first = first_of(map, id)
    if idmap_put(map, id, <uint64_t> <size_t> link) < 0:
        return -1
    links_prepend(&first, link)
    return 0


cdef void unlink_from(IdMap *map, uint64_t id, Link *link) noexcept nogil:
    cdef Link *first = first_of(map, id)
    links_remove(&first, link)
    if first == NULL:
        idmap_del(map, id)
    else:
        idmap_put(map, id, <uint64_t> <size_t> first)      # it is there: this needs no memory


@cython.final
cdef class Waiters:
    def __dealloc__(self):
        idmap_free(&self.jobs)
        idmap_free(&self.waited)

    cdef Conn *first(self, uint64_t id) noexcept nogil:
        return conn_of(first_of(&self.jobs, id))

    cdef int add(self, Conn *conn, uint64_t id, int role) noexcept nogil:
        if link_to(&self.jobs, id, &conn.in_waiting) < 0:
            return -1
        conn.awaited.job = id
        conn.role = role
        return 0

    cdef void park(self, Conn *conn, uint64_t jobs) noexcept nogil:
        conn.awaited.room = jobs
        conn.role = ROLE_ROOM
        links_append(&self.parked, &conn.in_waiting)
        self.n_parked += 1

    cdef void remove(self, Conn *conn) noexcept nogil:
        if conn.role == ROLE_WAIT:
            self._end(<Wait *> conn.awaited.wait)
        elif conn.role == ROLE_ROOM:
            links_remove(&self.parked, &conn.in_waiting)
            self.n_parked -= 1
        elif ROLE_FOREGROUND <= conn.role <= ROLE_START:
            unlink_from(&self.jobs, conn.awaited.job, &conn.in_waiting)
        else:
            return
        conn.role = ROLE_NONE

    # ---- jobs of one wait --------------------------------------------------------------------------------------
    cdef Wait *begin(self, Conn *conn, uint64_t total, const tsf_counted *counted, bint progress) noexcept nogil:
        cdef Wait *wait = NULL
        if total < (~(<size_t> 0) - sizeof(Wait)) // sizeof(WaitedJob):
            wait = <Wait *> calloc(1, sizeof(Wait) + <size_t> total * sizeof(WaitedJob))
        if wait == NULL:
            return NULL
        wait.conn = conn
        wait.total = wait.left = total
        wait.counted = counted[0]
        wait.failed = counted.bad
        wait.bad_id = counted.bad_id if counted.bad else not_there()
        wait.bad_level = counted.bad_level
        wait.progress = progress
        wait.in_progress.owner = <void *> wait
        if progress:
            wait.since_ns = tsf_now_ns(CLOCK_MONOTONIC)
            links_append(&self.progress, &wait.in_progress)
        conn.awaited.wait = <void *> wait
        conn.role = ROLE_WAIT
        return wait

    cdef int join(self, Wait *wait, uint64_t index, uint64_t id) noexcept nogil:
        cdef WaitedJob *waited = &waited_jobs(wait)[index]
        if link_to(&self.waited, id, &waited.in_job) < 0:
            return -1
        waited.in_job.owner = <void *> wait
        waited.id = id
        return 0

    cdef WaitedJob *first_waited(self, uint64_t id) noexcept nogil:
        return <WaitedJob *> first_of(&self.waited, id)    # the link is its first member

    cdef void count(self, Wait *wait, uint64_t id, bint bad, int32_t level) noexcept nogil:
        wait.left -= 1
        if bad:
            wait.failed += 1
            if id < wait.bad_id:
                wait.bad_id = id
                wait.bad_level = level

    cdef void leave(self, WaitedJob *waited) noexcept nogil:
        unlink_from(&self.waited, waited.id, &waited.in_job)
        waited.in_job.owner = NULL

    cdef void _end(self, Wait *wait) noexcept nogil:
        cdef WaitedJob *jobs = waited_jobs(wait)
        cdef uint64_t *ended = self.ended_jobs
        cdef uint64_t i
        for i in range(wait.total):
            if jobs[i].in_job.owner != NULL:
                self.leave(&jobs[i])
        if wait.progress:
            links_remove(&self.progress, &wait.in_progress)
        ended[0] -= wait.ended
        free(wait)
