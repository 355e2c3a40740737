# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See unreadable.pxd."""
cimport cython
from libc.stddef cimport size_t
from libc.stdlib cimport free, realloc

from tsfast.base.idmap cimport idmap_free, idmap_get, idmap_put, not_there
from tsfast.scheduler.scheduler cimport JOB_BLOCKED
from tsfast.layout.table cimport tsf_cold, tsf_hot
from tsfast.store.record cimport Record, record_after


@cython.final
cdef class Unreadable:
    def __init__(self, Scheduler scheduler, Table table):
        self.scheduler = scheduler
        self.table = table

    def __dealloc__(self):
        free(self.ids)
        idmap_free(&self.culprits)

    cdef int add(self, uint64_t id) noexcept nogil:
        cdef size_t i = self.n, room = 2 * self.room + 16
        cdef uint64_t *grown
        if self.n == self.room:
            grown = <uint64_t *> realloc(self.ids, room * sizeof(uint64_t))
            if grown == NULL:
                return -1
            self.ids = grown
            self.room = room
        while i and self.ids[i - 1] > id:
            self.ids[i] = self.ids[i - 1]
            i -= 1
        self.ids[i] = id
        self.n += 1
        self.scheduler.hold(id)
        return 0

    cdef bint _is_held(self, uint64_t id) noexcept nogil:
        cdef Job *job = self.scheduler.get(id)
        return job != NULL and job.state == JOB_BLOCKED

    cdef bint has(self, uint64_t id) noexcept nogil:
        cdef size_t low = 0, high = self.n, middle
        while low < high:
            middle = (low + high) // 2
            if self.ids[middle] < id:
                low = middle + 1
            else:
                high = middle
        return low < self.n and self.ids[low] == id and self._is_held(id)

    cdef bint blocks(self, const Job *job, uint64_t *culprit) noexcept nogil:
        if self.n == 0 or job.state != JOB_BLOCKED:
            return False
        self.look(job.id)
        return self.blocked(job.id, culprit)

    cdef void look(self, uint64_t last) noexcept nogil:
        """A job waits for older ones alone, so one way through them is enough."""
        cdef uint64_t id, found
        cdef size_t i, kept = 0
        cdef Job *job
        cdef Record record
        cdef tsf_hot hot
        cdef tsf_cold cold
        idmap_free(&self.culprits)
        for i in range(self.n):
            if self._is_held(self.ids[i]):
                self.ids[kept] = self.ids[i]
                kept += 1
        self.n = kept                  # without those that -r has removed
        if self.n == 0:
            return
        id = self.ids[0] - 1
        while self.scheduler.next_id(id, &id) and id <= last:
            job = self.scheduler.get(id)
            if job.state != JOB_BLOCKED:
                continue
            if self.has(id):
                idmap_put(&self.culprits, id, id)
                continue
            if self.table.read_record(id, &record, &hot, &cold) < 0:
                continue
            for i in range(cold.n_after + cold.n_after_ok):
                found = idmap_get(&self.culprits, record_after(&record, i))
                if found != not_there():
                    idmap_put(&self.culprits, id, found)
                    break

    cdef bint blocked(self, uint64_t id, uint64_t *culprit) noexcept nogil:
        cdef uint64_t found = idmap_get(&self.culprits, id)
        if found == not_there():
            return False
        culprit[0] = found
        return True
