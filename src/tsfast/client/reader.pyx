# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See reader.pxd.

A server may write meanwhile: a half-written record fails its checksum and is read again; a job that is forgotten
between two reads is gone. This module never writes. Single records come from mappings, which cost no system call; whole
tables from read calls, which a mapping would not make faster.
"""
import os

from tsfast.store.table import TableError as StoreError
from tsfast.client.errors import QueueError

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from tsfast.layout.check cimport tsf_check32
from tsfast.layout.table cimport (
    TSF_CANCELLED, TSF_FAILED, TSF_FINISHED, TSF_HOT_BYTES, TSF_KILLED, TSF_LOST, TSF_NONE, TSF_NOT_STARTABLE,
    TSF_QUEUED, TSF_RUNNING, TSF_SEGMENT_BITS, TSF_SEGMENT_JOBS, TSF_SKIPPED, TSF_STARTING, tsf_cold, tsf_cold_check,
    tsf_header, tsf_hot, tsf_hot_check, tsf_hot_stime_ms, tsf_hot_utime_ms,
)
from tsfast.base.limits cimport READER_PAUSE_US, READER_PAUSES, READER_TRIES
from tsfast.render.listing cimport read_job
from tsfast.store.record cimport end_signal, error_level, is_there, was_waited_for
from tsfast.render.fields cimport state_name
from tsfast.base.system cimport (
    AT_SYMLINK_NOFOLLOW, EINTR, EIO, ENOENT, MAP_FAILED, MAP_SHARED, O_RDONLY, PROT_READ, close, errno, fstat, fstatat,
    fstatfs, mmap, munmap, off_t, pread, set_errno, ssize_t, stat_t, statfs_t, strerror, tsf_open_ours,
)
from tsfast.store.checks cimport is_hole
from tsfast.store.table cimport Table

cdef enum:
    CHUNK = 1024                  # records read at a time; divides a segment
    TMPFS_MAGIC = 0x01021994
    NO_GROUP = 0xffffffffffffffff

cdef extern from *:
    """
    /* What another process may write at this moment: read now, and once. */
    static inline void copy_shared(void *to, const void *from, size_t size)
    {
        memcpy(to, from, size);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    }
    """
    void copy_shared(void *to, const void *from_, size_t size) noexcept nogil

cdef extern from "<stdio.h>" nogil:
    int snprintf(char *text, size_t room, const char *format, ...)

cdef extern from "<unistd.h>" nogil:
    int usleep(unsigned int us)

NONE = TSF_NONE
QUEUED = TSF_QUEUED
STARTING = TSF_STARTING
RUNNING = TSF_RUNNING
FINISHED = TSF_FINISHED
FAILED = TSF_FAILED
KILLED = TSF_KILLED
NOT_STARTABLE = TSF_NOT_STARTABLE
LOST = TSF_LOST
SKIPPED = TSF_SKIPPED
CANCELLED = TSF_CANCELLED
DAMAGED = STATE_DAMAGED

class TableError(QueueError, StoreError):
    """The table cannot be used: another user's, of a newer format, or damaged. The text is one line for the user."""
    __module__ = "tsfast"


class ReadError(QueueError, OSError):
    """A system call failed, or a record is damaged."""
    __module__ = "tsfast"


STATE_NAMES = {
    state: state_name(state).decode()
    for state in (QUEUED, STARTING, RUNNING, FINISHED, FAILED, KILLED, NOT_STARTABLE, LOST, SKIPPED, CANCELLED)
} | {DAMAGED: "unreadable"}


# ---- records -------------------------------------------------------------------------------------------------------
cdef bint wait_a_moment(int *tried, int *pauses) noexcept nogil:
    """Whether to read a record that fails its check once more. The server may have been interrupted while it wrote it,
    but of many damaged records only the first ones are worth the time."""
    tried[0] += 1
    if tried[0] < READER_TRIES:
        return True
    if pauses[0] == 0:
        return False
    pauses[0] -= 1
    usleep(READER_PAUSE_US)
    return True


cdef size_t read_some(int fd, void *data, size_t size, uint64_t offset) noexcept nogil:
    """Reads as many bytes as there are."""
    cdef size_t done = 0
    cdef ssize_t got
    while done < size:
        got = pread(fd, <char *> data + done, size - done, <off_t> (offset + done))
        if got < 0 and errno == EINTR:
            continue
        if got <= 0:
            break
        done += <size_t> got
    return done


cdef uint64_t hot_place(uint64_t id) noexcept nogil:
    return (id & (TSF_SEGMENT_JOBS - 1)) * sizeof(tsf_hot)


cdef uint64_t cold_place(uint64_t id) noexcept nogil:
    return TSF_HOT_BYTES + (id & (TSF_SEGMENT_JOBS - 1)) * sizeof(tsf_cold)


cdef int read_both(int fd, uint64_t id, tsf_hot *hot, tsf_cold *cold, int *pauses) noexcept nogil:
    """One job that could not be read with the others: 1: it exists, 0: it does not, -1: it is damaged."""
    cdef int tried = 0
    while True:
        if read_some(fd, hot, sizeof(tsf_hot), hot_place(id)) < sizeof(tsf_hot) or is_hole(hot, sizeof(tsf_hot)):
            return 0
        if tsf_hot_check(hot, id) == hot.check:
            if not is_there(hot.state):
                return 0
            if (read_some(fd, cold, sizeof(tsf_cold), cold_place(id)) == sizeof(tsf_cold)
                    and tsf_cold_check(cold, id) == cold.check):
                return 1
        if not wait_a_moment(&tried, pauses):
            return -1


cdef void fill_row(JobRow *row, uint64_t id, const tsf_hot *hot, const tsf_cold *cold) noexcept nogil:
    memset(row, 0, sizeof(JobRow))
    row.id = id
    row.state = hot.state
    row.notes = hot.notes
    row.end = hot.end
    row.attempt = hot.attempt
    row.status = hot.status
    row.pid = hot.pid
    row.stage = hot.stage
    row.cause = hot.cause
    row.start_ns = hot.start_ns
    row.duration_ns = hot.duration_ns
    row.order = hot.order
    row.exit_code = error_level(hot)
    row.signal = <uint8_t> end_signal(hot)
    if was_waited_for(hot):
        row.utime_ms = <uint32_t> min(tsf_hot_utime_ms(hot), <uint64_t> 0xffffffff)
        row.stime_ms = <uint32_t> min(tsf_hot_stime_ms(hot), <uint64_t> 0xffffffff)
        row.maxrss_kb = hot.maxrss_kb
    row.enqueue_ns = cold.enqueue_ns
    row.slots = cold.slots
    row.flags = cold.flags
    row.gpus = cold.gpus
    row.gpu_share = cold.gpu_share
    row.vram = cold.vram
    row.batch_index = cold.batch_index
    row.batch_count = cold.batch_count


# ---- segments ------------------------------------------------------------------------------------------------------
cdef int open_segment(int dir_fd, uint64_t number, stat_t *st) noexcept nogil:
    cdef char name[32]
    cdef int fd
    snprintf(name, sizeof(name), b"seg.%08llx", <unsigned long long> number)
    fd = tsf_open_ours(dir_fd, name, O_RDONLY)
    if fd >= 0 and fstat(fd, st) < 0:
        close(fd)
        return -1
    return fd


cdef void close_hots(Hots *hots) noexcept nogil:
    if hots.data != NULL:
        munmap(<void *> hots.data, hots.size)
    if hots.fd >= 0:
        close(hots.fd)
    hots.data = NULL
    hots.fd = -1
    hots.size = 0


@cython.final
cdef class Result:
    """How a job ended, or how far it has come."""

    cdef readonly uint64_t id
    cdef readonly int state
    cdef readonly object exit_code
    cdef readonly object signal
    cdef readonly int status
    cdef readonly int pid
    cdef readonly uint64_t start_ns
    cdef readonly uint64_t duration_ns
    cdef readonly uint64_t utime_ms
    cdef readonly uint64_t stime_ms
    cdef readonly uint32_t maxrss_kb
    cdef readonly int stage
    cdef readonly int cause
    cdef readonly int attempt

    def __repr__(self):
        return (f"<Result of job {self.id}: {STATE_NAMES.get(self.state, self.state)}, exit_code={self.exit_code}, "
                f"signal={self.signal}>")


cdef Result new_result(uint64_t id, const tsf_hot *hot):
    cdef Result result = Result.__new__(Result)
    cdef int code = error_level(hot), number = end_signal(hot)
    result.id = id
    result.state = hot.state
    result.exit_code = code if code >= 0 else None
    result.signal = number if number else None
    result.status = hot.status
    result.pid = hot.pid
    result.start_ns = hot.start_ns
    result.duration_ns = hot.duration_ns
    if was_waited_for(hot):
        result.utime_ms = tsf_hot_utime_ms(hot)
        result.stime_ms = tsf_hot_stime_ms(hot)
        result.maxrss_kb = hot.maxrss_kb
    result.stage = hot.stage
    result.cause = hot.cause
    result.attempt = hot.attempt
    return result


@cython.final
cdef class Reader:
    def __cinit__(self):
        cdef int i
        self.dir_fd = -1
        for i in range(SEGMENTS_MAPPED):
            self.hots[i].fd = -1

    def __init__(self, int dir_fd):
        """Take over the descriptor of a state directory. Raises TableError, or ReadError for a failed system call."""
        cdef statfs_t st
        cdef uint64_t floor, committed
        if self.dir_fd >= 0:
            raise ValueError("it has a directory already")
        self.dir_fd = dir_fd
        try:
            Table(os.dup(dir_fd), False)       # raises the appropriate error
        except StoreError as failed:
            raise TableError(str(failed)) from failed
        except OSError as failed:
            raise ReadError(failed.errno, failed.strerror, failed.filename) from failed
        if self._map_header() < 0 and errno != ENOENT:
            raise ReadError(errno, strerror(errno).decode(), "header")
        self.ids(&floor, &committed)
        # There, reading a mapped hole takes memory, and without memory it would be SIGBUS.
        self.mapping = fstatfs(dir_fd, &st) == 0 and st.f_type != TMPFS_MAGIC

    cdef int _map_header(self) noexcept nogil:
        """-1 with errno. ENOENT: the queue's first server has not made it yet."""
        cdef stat_t st
        cdef void *data = MAP_FAILED
        cdef int error, fd = tsf_open_ours(self.dir_fd, b"header", O_RDONLY)
        if fd >= 0 and fstat(fd, &st) == 0 and st.st_size >= <long> sizeof(tsf_header):
            data = mmap(NULL, sizeof(tsf_header), PROT_READ, MAP_SHARED, fd, 0)
        error = errno
        if fd >= 0:
            close(fd)
        if data == MAP_FAILED:
            set_errno(error)
            return -1
        self.header = <const tsf_header *> data
        return 0

    def __dealloc__(self):
        cdef int i
        for i in range(SEGMENTS_MAPPED):
            close_hots(&self.hots[i])
        if self.header != NULL:
            munmap(<void *> self.header, sizeof(tsf_header))
        if self.dir_fd >= 0:
            close(self.dir_fd)

    # ---- for Cython --------------------------------------------------------------------------------------------
    cdef void ids(self, uint64_t *floor, uint64_t *committed) noexcept nogil:
        cdef uint64_t both[2]
        cdef uint32_t check
        cdef int tried = 0, pauses = READER_PAUSES
        while self.header != NULL or self._map_header() == 0:
            copy_shared(&check, &self.header.ids_check, sizeof(check))
            copy_shared(both, &self.header.committed, sizeof(both))
            if tsf_check32(both, sizeof(both), 0) == check:
                self.known_committed = both[0]
                self.known_floor = both[1]
                break
            if not wait_a_moment(&tried, &pauses):
                break                      # it is damaged
        committed[0] = self.known_committed
        floor[0] = self.known_floor

    cdef int read_hot(self, uint64_t id, tsf_hot *hot) noexcept nogil:
        cdef uint64_t floor, committed
        cdef int tried = 0, pauses = READER_PAUSES
        self.ids(&floor, &committed)
        if id < floor or id >= committed:
            return TSF_NONE
        while True:
            if not self._fetch(id, hot):
                return TSF_NONE
            if tsf_hot_check(hot, id) == hot.check:
                return hot.state if is_there(hot.state) else <int> TSF_NONE
            if is_hole(hot, sizeof(tsf_hot)):
                return TSF_NONE
            self.group_first = NO_GROUP
            if not wait_a_moment(&tried, &pauses):
                return STATE_DAMAGED

    cdef bint _fetch(self, uint64_t id, tsf_hot *hot) noexcept nogil:
        """The record as it is; False if there is none."""
        cdef uint64_t number = id >> TSF_SEGMENT_BITS, place = hot_place(id), first
        cdef Hots *hots = &self.hots[number % SEGMENTS_MAPPED]
        if hots.number != number or hots.size < place + sizeof(tsf_hot):
            if not self._open(hots, number) or hots.size < place + sizeof(tsf_hot):
                return False
        if hots.data != NULL:
            copy_shared(hot, hots.data + place, sizeof(tsf_hot))
            return True
        if not self.many:
            return read_some(hots.fd, hot, sizeof(tsf_hot), place) == sizeof(tsf_hot)
        first = id & ~<uint64_t> (READ_TOGETHER - 1)
        if self.group_first != first:
            self.group_first = first
            memset(self.group, 0, sizeof(self.group))
            read_some(hots.fd, self.group, sizeof(self.group), hot_place(first))
        hot[0] = self.group[id - first]
        return True

    cdef bint _open(self, Hots *hots, uint64_t number) noexcept nogil:
        """Have the hot part of a segment, as far as the file goes, in this place."""
        cdef stat_t st
        cdef void *data
        cdef size_t size
        cdef int fd
        close_hots(hots)
        fd = open_segment(self.dir_fd, number, &st)
        if fd < 0:
            return False
        size = <size_t> min(<uint64_t> st.st_size, TSF_HOT_BYTES)
        if size < sizeof(tsf_hot):
            close(fd)
            return False
        if self.mapping:
            data = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0)
            close(fd)
            if data == MAP_FAILED:
                return False
            hots.data = <const char *> data
        else:
            hots.fd = fd
        hots.number = number
        hots.size = size
        hots.inode = st.st_ino
        if number > self.newest:
            self.newest = number
            self._drop_vanished()
        return True

    cdef void _drop_vanished(self) noexcept nogil:
        """Release the mappings of segments whose files are gone."""
        cdef char name[32]
        cdef stat_t st
        cdef Hots *hots
        cdef int i
        for i in range(SEGMENTS_MAPPED):
            hots = &self.hots[i]
            if hots.size == 0:
                continue
            snprintf(name, sizeof(name), b"seg.%08llx", <unsigned long long> hots.number)
            if fstatat(self.dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 or st.st_ino != hots.inode:
                close_hots(hots)

    cdef size_t _room(self, uint64_t floor, uint64_t committed) noexcept nogil:
        """The greatest possible number of jobs."""
        cdef uint64_t number, first, last
        cdef char name[32]
        cdef stat_t st
        cdef size_t room = 0
        for number in range(floor >> TSF_SEGMENT_BITS, (committed + TSF_SEGMENT_JOBS - 1) >> TSF_SEGMENT_BITS):
            first = max(floor, number << TSF_SEGMENT_BITS)
            last = min(committed, (number + 1) << TSF_SEGMENT_BITS)
            snprintf(name, sizeof(name), b"seg.%08llx", <unsigned long long> number)
            if first < last and fstatat(self.dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0:
                room += <size_t> (last - first)
        return room

    cdef size_t _fill(self, uint64_t floor, uint64_t committed, JobRow *rows, size_t room,
                      uint64_t *damaged) except? 0 nogil:
        """Writes the rows of the existing jobs; their number."""
        cdef tsf_hot *hots = <tsf_hot *> malloc(CHUNK * (sizeof(tsf_hot) + sizeof(tsf_cold)))
        cdef tsf_cold *colds = <tsf_cold *> (hots + CHUNK)
        cdef uint64_t id = floor, last
        cdef size_t n = 0, n_hot, n_cold, i
        cdef int fd, found, pauses = READER_PAUSES
        cdef tsf_hot hot
        cdef tsf_cold cold
        cdef stat_t st
        if hots == NULL:
            with gil:
                raise MemoryError
        while id < committed:
            last = min(committed, ((id >> TSF_SEGMENT_BITS) + 1) << TSF_SEGMENT_BITS)
            fd = open_segment(self.dir_fd, id >> TSF_SEGMENT_BITS, &st)
            if fd < 0:
                id = last
                continue
            while id < last:
                n_hot = <size_t> min(last - id, <uint64_t> CHUNK)
                i = read_some(fd, hots, n_hot * sizeof(tsf_hot), hot_place(id)) // sizeof(tsf_hot)
                memset(hots + i, 0, (n_hot - i) * sizeof(tsf_hot))
                n_cold = 0
                if not is_hole(hots, n_hot * sizeof(tsf_hot)):
                    n_cold = read_some(fd, colds, n_hot * sizeof(tsf_cold), cold_place(id)) // sizeof(tsf_cold)
                for i in range(n_hot):
                    if hots[i].state == TSF_NONE and is_hole(&hots[i], sizeof(tsf_hot)):
                        continue
                    if tsf_hot_check(&hots[i], id + i) == hots[i].check:
                        if not is_there(hots[i].state):
                            continue
                        if i < n_cold and tsf_cold_check(&colds[i], id + i) == colds[i].check and n < room:
                            fill_row(&rows[n], id + i, &hots[i], &colds[i])
                            n += 1
                            continue
                    found = read_both(fd, id + i, &hot, &cold, &pauses)
                    if found > 0 and n < room:
                        fill_row(&rows[n], id + i, &hot, &cold)
                        n += 1
                    elif found < 0:
                        damaged[0] += 1
                id += n_hot
            close(fd)
        free(hots)
        return n

    # ---- for Python --------------------------------------------------------------------------------------------
    @property
    def committed(self) -> int:
        """The next id; all ids below it and from `floor` on were assigned."""
        cdef uint64_t floor, committed
        self.ids(&floor, &committed)
        return committed

    @property
    def floor(self) -> int:
        """Ids below it were dropped by -K."""
        cdef uint64_t floor, committed
        self.ids(&floor, &committed)
        return floor

    def state(self, uint64_t id) -> int:
        """The job's present state: a constant of this module. NONE: it is forgotten, or never existed."""
        cdef tsf_hot hot
        return self.read_hot(id, &hot)

    def states(self, ids):
        """The states of many: an array of uint8, of the shape of `ids` (a numpy array of uint64, or what makes one)."""
        import numpy

        cdef Py_buffer source, target
        cdef const uint64_t *wanted
        cdef uint8_t *found
        cdef tsf_hot hot
        cdef size_t i
        ids = numpy.asarray(ids, dtype=numpy.uint64, order="C")
        states = numpy.empty(ids.shape, dtype=numpy.uint8)
        PyObject_GetBuffer(ids, &source, PyBUF_SIMPLE)
        try:
            PyObject_GetBuffer(states, &target, PyBUF_WRITABLE)
            wanted = <const uint64_t *> source.buf
            found = <uint8_t *> target.buf
            self.group_first = NO_GROUP
            self.many = True
            for i in range(<size_t> target.len):
                found[i] = <uint8_t> self.read_hot(wanted[i], &hot)
            self.many = False
            PyBuffer_Release(&target)
        finally:
            PyBuffer_Release(&source)
        return states

    def result(self, uint64_t id):
        """A Result; None for a job that does not exist. Raises OSError if its record is damaged."""
        cdef tsf_hot hot
        cdef int state = self.read_hot(id, &hot)
        if state == STATE_DAMAGED:
            raise ReadError(EIO, f"the record of job {id} is damaged")
        return new_result(id, &hot) if state != TSF_NONE else None

    def snapshot(self):
        """All jobs that are there, by id: an array of JOB_DTYPE (dtypes.py). Each row is as it was at one moment,
        not all at the same. `damaged` then says how many were left out because their records are damaged."""
        import numpy

        from tsfast.client.dtypes import JOB_DTYPE

        cdef Py_buffer view
        cdef uint64_t floor, committed, damaged = 0
        cdef size_t room, n
        self._drop_vanished()
        self.ids(&floor, &committed)
        room = self._room(floor, committed)
        rows = numpy.empty(room, dtype=JOB_DTYPE)
        assert rows.itemsize == sizeof(JobRow)
        PyObject_GetBuffer(rows, &view, PyBUF_WRITABLE)
        try:
            with nogil:
                n = self._fill(floor, committed, <JobRow *> view.buf, room, &damaged)
        finally:
            PyBuffer_Release(&view)
        self.damaged = damaged
        rows.resize(n, refcheck=False)
        return rows

    def job(self, uint64_t id):
        """Everything the table has of one job; None for a job that does not exist. Raises ReadError for one whose
        record is damaged, and TableError if the header is."""
        cdef tsf_hot hot
        try:
            job = read_job(self.dir_fd, id) if self.read_hot(id, &hot) != TSF_NONE else None
        except StoreError as failed:
            raise TableError(str(failed)) from failed
        except OSError as failed:
            raise ReadError(failed.errno, failed.strerror, failed.filename) from failed
        if job is None and self.read_hot(id, &hot) != TSF_NONE:
            raise ReadError(EIO, f"the record of job {id} is damaged")
        return job
