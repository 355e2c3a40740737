# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See waiters.pxd."""
cimport cython
from libc.stdlib cimport calloc, free

from tsfast.server.connections cimport Conn
from tsfast.base.idmap cimport idmap_del, idmap_free, idmap_get, idmap_put, not_there
from tsfast.base.system cimport CLOCK_MONOTONIC, tsf_now_ns


@cython.final
cdef class Waiters:
    def __dealloc__(self):
        idmap_free(&self.jobs)
        idmap_free(&self.members)

    cdef Conn *first(self, uint64_t id) noexcept nogil:
        cdef uint64_t found = idmap_get(&self.jobs, id)
        return NULL if found == not_there() else <Conn *> <size_t> found

    cdef int add(self, Conn *conn, uint64_t id, int role) noexcept nogil:
        cdef Conn *first = self.first(id)
        if idmap_put(&self.jobs, id, <uint64_t> <size_t> conn) < 0:
            return -1
        conn.job = id
        conn.role = role
        conn.prev_waiting = NULL
        conn.next_waiting = first
        if first != NULL:
            first.prev_waiting = conn
        return 0

    cdef void park(self, Conn *conn, uint64_t jobs) noexcept nogil:
        conn.job = jobs
        conn.role = ROLE_ROOM
        conn.next_waiting = NULL
        conn.prev_waiting = self.parked_last
        if self.parked_last != NULL:
            self.parked_last.next_waiting = conn
        else:
            self.parked_first = conn
        self.parked_last = conn
        self.n_parked += 1

    cdef void remove(self, Conn *conn) noexcept nogil:
        if conn.role == ROLE_GROUP:
            self._dissolve(<Group *> conn.group)
            conn.group = NULL
            conn.role = ROLE_NONE
        if conn.role == ROLE_NONE or conn.role == ROLE_SUCCESSOR:
            return
        if conn.role == ROLE_ROOM:
            self.n_parked -= 1
        if conn.next_waiting != NULL:
            conn.next_waiting.prev_waiting = conn.prev_waiting
        elif conn.role == ROLE_ROOM:
            self.parked_last = conn.prev_waiting
        if conn.prev_waiting != NULL:
            conn.prev_waiting.next_waiting = conn.next_waiting
        elif conn.role == ROLE_ROOM:
            self.parked_first = conn.next_waiting
        elif conn.next_waiting != NULL:
            idmap_put(&self.jobs, conn.job, <uint64_t> <size_t> conn.next_waiting)    # replaces: needs no memory
        else:
            idmap_del(&self.jobs, conn.job)
        conn.prev_waiting = conn.next_waiting = NULL
        conn.role = ROLE_NONE

    # ---- groups ------------------------------------------------------------------------------------------------
    cdef Group *gather(self, Conn *conn, uint64_t total, const tsf_counted *counted, bint progress) noexcept nogil:
        cdef Group *group = <Group *> calloc(1, sizeof(Group))
        if group == NULL:
            return NULL
        group.members = <Member *> calloc(<size_t> total + 1, sizeof(Member))
        if group.members == NULL:
            free(group)
            return NULL
        group.conn = conn
        group.total = group.left = total
        group.counted = counted[0]
        group.failed = counted.bad
        group.bad_id = counted.bad_id if counted.bad else not_there()
        group.bad_level = counted.bad_level
        group.since_ns = tsf_now_ns(CLOCK_MONOTONIC)
        group.progress = progress
        if progress:
            group.next = self.watched
            if self.watched != NULL:
                self.watched.prev = group
            self.watched = group
        conn.group = group
        conn.role = ROLE_GROUP
        return group

    cdef int join(self, Group *group, uint64_t index, uint64_t id) noexcept nogil:
        cdef Member *member = &group.members[index]
        cdef Member *first = self.first_member(id)
        if idmap_put(&self.members, id, <uint64_t> <size_t> member) < 0:
            return -1
        member.group = group
        member.id = id
        member.next = first
        if first != NULL:
            first.prev = member
        return 0

    cdef Member *first_member(self, uint64_t id) noexcept nogil:
        cdef uint64_t found = idmap_get(&self.members, id)
        return NULL if found == not_there() else <Member *> <size_t> found

    cdef void count(self, Group *group, uint64_t id, bint bad, int32_t level) noexcept nogil:
        group.left -= 1
        if bad:
            group.failed += 1
            if id < group.bad_id:
                group.bad_id = id
                group.bad_level = level

    cdef void leave(self, Member *member) noexcept nogil:
        if member.next != NULL:
            member.next.prev = member.prev
        if member.prev != NULL:
            member.prev.next = member.next
        elif member.next != NULL:
            idmap_put(&self.members, member.id, <uint64_t> <size_t> member.next)      # replaces: needs no memory
        else:
            idmap_del(&self.members, member.id)
        member.group = NULL

    cdef void _dissolve(self, Group *group) noexcept nogil:
        cdef uint64_t i
        cdef uint64_t *ended = self.ended_members
        for i in range(group.total):
            if group.members[i].group != NULL:
                self.leave(&group.members[i])
        if group.progress:
            if group.prev != NULL:
                group.prev.next = group.next
            else:
                self.watched = group.next
            if group.next != NULL:
                group.next.prev = group.prev
        ended[0] -= group.ended
        free(group.members)
        free(group)
