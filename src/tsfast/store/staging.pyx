# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See staging.pxd."""
cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport uint16_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset, strcmp, strlen

from tsfast.store.contexts cimport Contexts
from tsfast.layout.fault cimport tsf_fault
from tsfast.layout.table cimport (
    TSF_PART_MAX, TSF_QUEUED, TSF_SEGMENT_JOBS, TSF_SKIPPED, tsf_cold, tsf_grant_room, tsf_hot, tsf_label_hash,
)
from tsfast.layout.wire cimport tsf_request
from tsfast.base.limits cimport ARRAY_MAX, BLOB_MAX, FRAME_BLOBS_MAX
from tsfast.base.system cimport CLOCK_REALTIME, E2BIG, ENOMEM, errno, set_errno, tsf_now_ns
from tsfast.store.table cimport Table

cdef enum:
    JOBS_KEPT = 4096             # room that is kept for the next frame
    BLOBS_KEPT = 1 << 20


cdef inline char *joined(char *to, const void *part, size_t size) noexcept nogil:
    """The end of what is there after the part; a part of no bytes may be NULL."""
    if size:
        memcpy(to, part, size)
    return to + size


cdef inline size_t length(const char *text) noexcept nogil:
    return strlen(text) if text != NULL else 0


@cython.final
cdef class Staging:
    def __init__(self, Table table, Contexts contexts):
        self.table = table
        self.contexts = contexts

    def __dealloc__(self):
        free(self.hot)
        free(self.cold)
        free(self.staged)
        free(self.blobs)

    cdef int begin(self, const tsf_request *request, const char *cwd, const char *env,
                   const char *affinity) noexcept nogil:
        self.n = 0
        self.size = 0
        self.first = self.table.header.committed
        self.token[0] = request.token[0]
        self.token[1] = request.token[1]
        return self.contexts.acquire(request, cwd, env, affinity, &self.context)

    cdef int _reserve(self, size_t size) noexcept nogil:
        """Room for one more job and so many bytes of blob."""
        cdef uint32_t room
        cdef size_t bytes
        cdef void *hot
        cdef void *cold
        cdef void *staged
        cdef char *blobs
        if self.n == self.room:
            room = max(2 * self.room, <uint32_t> 64)
            hot = realloc(self.hot, room * sizeof(tsf_hot))
            if hot != NULL:
                self.hot = <tsf_hot *> hot
            cold = realloc(self.cold, room * sizeof(tsf_cold))
            if cold != NULL:
                self.cold = <tsf_cold *> cold
            staged = realloc(self.staged, room * sizeof(Staged))
            if staged != NULL:
                self.staged = <Staged *> staged
            if hot == NULL or cold == NULL or staged == NULL:
                set_errno(ENOMEM)
                return -1
            self.room = room
        if self.size + size > self.blobs_room:
            bytes = max(2 * self.blobs_room, self.size + size)
            blobs = <char *> realloc(self.blobs, bytes)
            if blobs == NULL:
                set_errno(ENOMEM)
                return -1
            self.blobs = blobs
            self.blobs_room = bytes
        return 0

    cdef int add(self, const Submission *job, bint skipped) noexcept nogil:
        cdef size_t label = length(job.label), prefix = length(job.prefix), env_text = length(job.env_text)
        cdef size_t exact = length(job.gpu_exact)
        cdef const char *cwd = self.context.cwd
        cdef size_t cwd_len = self.context.cwd_len
        cdef size_t size, whole
        cdef tsf_cold sized
        cdef tsf_hot *hot
        cdef tsf_cold *cold
        cdef char *p
        if job.cwd != NULL and strcmp(job.cwd, self.context.cwd) != 0:
            cwd = job.cwd
            cwd_len = strlen(cwd)
        size = (8 * (job.n_after + job.n_after_ok) + job.argv_len + label + exact + prefix + cwd_len
                + self.context.diff_len + job.env_len + env_text)
        if size > BLOB_MAX or max(label, prefix, cwd_len, exact) > <size_t> TSF_PART_MAX:
            set_errno(E2BIG)
            return -1
        sized.gpus = <uint16_t> job.gpus
        whole = ((size + 7) & ~<size_t> 7) + ((tsf_grant_room(&sized) + 7) & ~<size_t> 7)
        if self.size + whole > <size_t> FRAME_BLOBS_MAX:
            set_errno(E2BIG)
            return -1
        if self._reserve(whole) < 0:
            return -1
        hot = &self.hot[self.n]
        memset(hot, 0, sizeof(tsf_hot))
        hot.state = TSF_SKIPPED if skipped else TSF_QUEUED
        hot.order = 0 if skipped else (<uint64_t> 1 << 63) + self.first + self.n
        cold = &self.cold[self.n]
        memset(cold, 0, sizeof(tsf_cold))
        cold.enqueue_ns = tsf_now_ns(CLOCK_REALTIME)
        cold.token[0] = self.token[0]
        cold.token[1] = self.token[1]
        cold.blob_off = self.size
        cold.blob_len = <uint32_t> size
        cold.ctx = self.context.name
        cold.slots = job.slots
        cold.flags = job.flags
        cold.batch_index = self.n
        cold.n_after = <uint32_t> job.n_after
        cold.n_after_ok = <uint32_t> job.n_after_ok
        cold.argc = job.argc
        cold.argv_len = job.argv_len
        cold.label_len = <uint16_t> label
        cold.label_hash = tsf_label_hash(job.label, label)
        cold.prefix_len = <uint16_t> prefix
        cold.cwd_len = <uint16_t> cwd_len
        cold.diff_len = self.context.diff_len + job.env_len
        cold.env_text_len = <uint32_t> env_text
        cold.gpus = <uint16_t> job.gpus
        cold.gpu_share = <uint16_t> job.gpu_share
        cold.gpu_exact_len = <uint16_t> exact
        cold.vram = job.vram
        cold.array_first = job.array_first
        cold.array_limit = <uint16_t> job.array_limit if job.array_limit < <uint32_t> ARRAY_MAX else 0   # 0: all
        p = self.blobs + self.size
        memset(p + size, 0, whole - size)
        p = joined(p, job.after, 8 * job.n_after)
        p = joined(p, job.after_ok, 8 * job.n_after_ok)
        p = joined(p, job.argv, job.argv_len)
        p = joined(p, job.label, label)
        p = joined(p, job.gpu_exact, exact)
        p = joined(p, job.prefix, prefix)
        p = joined(p, cwd, cwd_len)
        p = joined(p, self.context.diff, self.context.diff_len)
        p = joined(p, job.env, job.env_len)
        joined(p, job.env_text, env_text)
        self.staged[self.n].at = self.size
        self.staged[self.n].gpu_class = 0
        self.staged[self.n].holds = job.holds
        self.size += whole
        self.n += 1
        return 0

    cdef int write(self) noexcept nogil:
        cdef uint32_t at = 0, part, i, _i
        cdef size_t begin, end
        cdef int done = 0
        while at < self.n and done == 0:
            # The ids of one call must be of one segment.
            part = min(self.n - at, TSF_SEGMENT_JOBS - <uint32_t> ((self.first + at) & (TSF_SEGMENT_JOBS - 1)))
            begin = self.staged[at].at
            end = self.staged[at + part].at if at + part < self.n else self.size
            for i in range(at, at + part):
                self.cold[i].blob_off -= begin
                self.cold[i].batch_count = self.n
            done = self.table.put(self.first + at, part, &self.hot[at], &self.cold[at], self.blobs + begin, end - begin)
            if done == 0:
                at += part
        if done == 0:
            tsf_fault(b"submit-written")
            done = self.table.commit(self.first + self.n)
        if done < 0:
            done = errno
            for i in range(at):
                self.table.withdraw(self.first + i)
            set_errno(done)
            return -1
        tsf_fault(b"submit-committed")
        for _i in range(1, self.n):
            self.contexts.one_more(self.context.name)        # of a name that is there: needs no memory
        return 0

    cdef void drop(self) noexcept nogil:
        cdef int error = errno
        self.contexts.release(self.context.name)
        self.end()
        set_errno(error)

    cdef void end(self) noexcept nogil:
        if self.room > JOBS_KEPT:
            free(self.hot)
            free(self.cold)
            free(self.staged)
            self.hot = NULL
            self.cold = NULL
            self.staged = NULL
            self.room = 0
        if self.blobs_room > BLOBS_KEPT:
            free(self.blobs)
            self.blobs = NULL
            self.blobs_room = 0
        self.n = 0

    cdef const uint64_t *after(self, uint32_t i) noexcept nogil:  # no-cython-lint
        return <const uint64_t *> (self.blobs + self.staged[i].at)
