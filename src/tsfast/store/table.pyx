# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See table.pxd."""
import os

from tsfast.base import trust

cimport cython
from libc.stddef cimport size_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset, strerror

from tsfast.store.journal cimport (
    DEFER_PUNCH, DEFER_UNLINK, DEFER_WIPE, TSF_JOURNAL_BLOB, TSF_JOURNAL_DROP, TSF_JOURNAL_HEADER, TSF_JOURNAL_SEGMENT,
)
from tsfast.layout.check cimport tsf_check32
from tsfast.layout.table cimport (
    TSF_COLD_BYTES, TSF_END_NONE, TSF_FORGOTTEN, TSF_HOT_BYTES, TSF_REMOVED, TSF_SEGMENT_BITS, TSF_SEGMENT_JOBS,
    TSF_STARTING, TSF_TABLE_FEATURES, TSF_TABLE_FORMAT, TSF_TABLE_MAGIC, TSF_WAS_REMOVED, tsf_cold, tsf_cold_check,
    tsf_end_of, tsf_extra, tsf_extra_fits, tsf_extra_offset, tsf_extra_room, tsf_grant, tsf_grant_check,
    tsf_grant_offset, tsf_grant_room, tsf_header, tsf_hot, tsf_hot_check,
)
from tsfast.base.files cimport read_all, write_all
from tsfast.base.limits cimport READER_TRIES, REMOVED_SEARCHED
from tsfast.base.system cimport (
    AT_SYMLINK_NOFOLLOW, EIO, ENOENT, ENOMEM, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, O_CREAT, O_RDONLY, O_RDWR,
    close, errno, fallocate, fstat, fstatat, ftruncate, off_t, pread, set_errno, ssize_t, stat_t, tsf_log,
    tsf_open_ours, unlinkat,
)
from tsfast.store.checks cimport fill_fresh, ids_check, is_hole, is_sized, settings_check
from tsfast.store.record cimport Record

cdef enum:
    NO_GROUP = 0xffffffffffffffff


class TableError(Exception):
    """The table cannot be used: not ours, of a newer format, or damaged. The text is one line for the user."""


cdef void deferred(void *owner, int kind, uint64_t number) noexcept nogil:
    (<Table> owner)._deferred(kind, number)


@cython.final
cdef class Table:
    def __cinit__(self):
        self.dir_fd = -1
        self.header_fd = -1

    def __init__(self, int dir_fd, bint writable):
        """Take over the descriptor of a state directory. Raises TableError, or OSError for a failed system call."""
        self.dir_fd = dir_fd
        self.writable = writable
        self._open_header()
        if self.header_fd < 0 and self._has_segments():
            self._open_header()                # it may have come since
            if self.header_fd < 0:
                raise TableError("the job table's header is missing, so that nobody knows which jobs there are: "
                                 "restore the state directory, or move it away to begin anew")
        if self.header_fd < 0 and writable:
            self._create()
            self._open_header()
        if self.header_fd < 0:
            fill_fresh(&self.header)           # its first server is just about to make it, or died before it did
            return
        self._check_format()
        if self.refresh() < 0:
            raise OSError(errno, strerror(errno).decode(), "header")
        if ids_check(&self.header) != self.header.ids_check or self.header.features != ~self.header.not_features:
            raise TableError("the job table's header is damaged, so that nobody knows which jobs there are: "
                             "restore the state directory, or move it away to begin anew")
        if self.header.features & ~<uint32_t> TSF_TABLE_FEATURES:
            raise TableError("the job table has something of a later version of tsfast: use that version")
        if self.header.floor > self.header.committed:
            raise TableError("the job table's header is damaged")
        if settings_check(&self.header) != self.header.check:
            if not writable:
                raise TableError("the job table's header is damaged")
            # Ids and jobs do not depend on the settings: go on with the defaults.
            self.settings_lost = True
            memset(&self.header.slots, 0, <size_t> (<char *> &self.header.check - <char *> &self.header.slots))
            if self.save_settings() < 0:
                raise OSError(errno, strerror(errno).decode(), "header")
        self.first_segment = self.header.floor >> TSF_SEGMENT_BITS

    cdef _check_format(self):
        """Before anything else is read: headers of other formats have other lengths."""
        data = os.pread(self.header_fd, sizeof(tsf_header), 0)
        memcpy(&self.header, <const char *> data, <size_t> len(data))
        if len(data) < <Py_ssize_t> (sizeof(self.header.magic) + sizeof(self.header.format)):
            raise TableError("the job table's header is too short")
        if self.header.magic != TSF_TABLE_MAGIC:
            raise TableError("the state directory holds something else than a job table")
        if self.header.format < <uint32_t> TSF_TABLE_FORMAT:
            raise TableError("the job table is that of an earlier version of tsfast: the next call of ts takes it up")
        if self.header.format != TSF_TABLE_FORMAT:
            raise TableError(
                f"the job table has format {self.header.format}, this version knows format {TSF_TABLE_FORMAT}: "
                "use the version of tsfast that made it"
            )
        if len(data) < <Py_ssize_t> sizeof(tsf_header):
            raise TableError("the job table's header is too short")

    cdef _open_header(self):
        try:
            self.header_fd = trust.open_file("header", os.O_RDWR if self.writable else os.O_RDONLY, self.dir_fd)
        except FileNotFoundError:
            pass

    cdef bint _has_segments(self) except -1:
        return any([name.startswith("seg.") for name in os.listdir(self.dir_fd)])

    cdef _create(self):
        cdef tsf_header fresh
        fill_fresh(&fresh)
        # Whole under another name, then renamed: a table either has a valid header or is not there.
        fd = trust.create_file("header.new", self.dir_fd)
        try:
            if write_all(fd, &fresh, sizeof(tsf_header), 0) < 0:
                raise OSError(errno, strerror(errno).decode(), "header")
        finally:
            os.close(fd)
        os.rename("header.new", "header", src_dir_fd=self.dir_fd, dst_dir_fd=self.dir_fd)

    def __dealloc__(self):
        cdef uint64_t i
        for i in range(self.n_segments):
            self._close(i)
        free(self.segments)
        free(self.blob)
        free(self.ahead)
        if self.header_fd >= 0:
            close(self.header_fd)
        if self.dir_fd >= 0:
            close(self.dir_fd)

    cdef void _close(self, uint64_t index) noexcept nogil:
        cdef Segment *segment = self.segments[index]
        if segment == NULL:
            return
        if segment.fd >= 0:
            close(segment.fd)
        if segment.blob_fd >= 0:
            close(segment.blob_fd)
        free(segment)
        self.segments[index] = NULL

    cdef int refresh(self) noexcept nogil:
        cdef int tries = 1 if self.writable else READER_TRIES
        while tries:
            tries -= 1
            if read_all(self.header_fd, &self.header, sizeof(tsf_header), 0) < 0:
                return -1
            if (ids_check(&self.header) == self.header.ids_check
                    and settings_check(&self.header) == self.header.check):
                break                          # else the server may be writing it, or it is damaged
        return 0

    cdef int save_settings(self) noexcept nogil:
        self.header.check = settings_check(&self.header)
        return self._write_header(&self.header.slots, &self.header + 1)

    cdef int save_setting(self, void *setting, const void *value, size_t size) noexcept nogil:
        cdef tsf_header before = self.header
        memcpy(setting, value, size)
        if self.save_settings() == 0:
            return 0
        self.header = before
        return -1

    cdef int _write_header(self, const void *start, const void *end) noexcept nogil:
        """What lies between two places in self.header."""
        cdef uint64_t offset = <uint64_t> (<const char *> start - <const char *> &self.header)
        cdef size_t size = <size_t> (<const char *> end - <const char *> start)
        if write_all(self.header_fd, start, size, offset) < 0:
            return -1
        if self.journal is not None:
            self.journal.add(TSF_JOURNAL_HEADER, 0, offset, start, size)
        return 0

    cdef int commit(self, uint64_t next_id) noexcept nogil:
        cdef uint64_t before = self.header.committed
        self.header.committed = next_id
        self.header.ids_check = ids_check(&self.header)
        if self._write_header(&self.header.ids_check, &self.header.committed + 1) < 0:
            self.header.committed = before
            self.header.ids_check = ids_check(&self.header)
            return -1
        return 0

    # ---- segments ----------------------------------------------------------------------------------------------
    cdef Segment *segment(self, uint64_t number) noexcept nogil:
        """The open segment, created if this is the writer; NULL with errno."""
        cdef uint64_t index
        cdef Segment **grown
        cdef Segment *segment
        if number < self.first_segment:
            set_errno(ENOENT)
            return NULL
        index = number - self.first_segment
        if index >= self.n_segments:
            grown = <Segment **> realloc(self.segments, <size_t> (index + 1) * sizeof(Segment *))
            if grown == NULL:
                set_errno(ENOMEM)
                return NULL
            memset(grown + self.n_segments, 0, <size_t> (index + 1 - self.n_segments) * sizeof(Segment *))
            self.segments = grown
            self.n_segments = index + 1
        if self.segments[index] == NULL:
            segment = <Segment *> calloc(1, sizeof(Segment))
            if segment == NULL:
                set_errno(ENOMEM)
                return NULL
            self.segments[index] = segment
            if self._open(number, segment) < 0:
                self._close(index)
                return NULL
        return self.segments[index]

    cdef int _open(self, uint64_t number, Segment *segment) noexcept nogil:
        cdef char name[32]
        cdef stat_t st
        cdef int flags = O_RDWR | O_CREAT if self.writable else O_RDONLY
        segment.number = number
        segment.blob_fd = -1
        snprintf(name, sizeof(name), b"seg.%08llx", <unsigned long long> number)
        segment.fd = tsf_open_ours(self.dir_fd, name, flags)
        if segment.fd < 0 or fstat(segment.fd, &st) < 0:
            return -1
        if self.writable and <uint64_t> st.st_size < TSF_HOT_BYTES + TSF_COLD_BYTES:
            if st.st_size > 0 or (number << TSF_SEGMENT_BITS) < self.header.committed:
                self.truncated += 1            # it was whole from its first job on: somebody cut it
            if ftruncate(segment.fd, <off_t> (TSF_HOT_BYTES + TSF_COLD_BYTES)) < 0:
                return -1
        snprintf(name, sizeof(name), b"blob.%08llx", <unsigned long long> number)
        segment.blob_fd = tsf_open_ours(self.dir_fd, name, flags)
        if segment.blob_fd < 0 or fstat(segment.blob_fd, &st) < 0:
            return -1
        segment.blob_size = (<uint64_t> st.st_size + 7) & ~(<uint64_t> 7)
        return 0

    cdef bint has_segment(self, uint64_t number) noexcept nogil:
        cdef char name[32]
        cdef stat_t st
        snprintf(name, sizeof(name), b"seg.%08llx", <unsigned long long> number)
        return fstatat(self.dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0

    cdef void _unlink(self, uint64_t number) noexcept nogil:
        cdef char name[32]
        if number - self.first_segment < self.n_segments:
            self._close(number - self.first_segment)
        snprintf(name, sizeof(name), b"seg.%08llx", <unsigned long long> number)
        unlinkat(self.dir_fd, name, 0)
        snprintf(name, sizeof(name), b"blob.%08llx", <unsigned long long> number)
        unlinkat(self.dir_fd, name, 0)

    # ---- records -----------------------------------------------------------------------------------------------
    cdef int _write_segment(self, const Segment *segment, const void *data, size_t size,
                            uint64_t offset) noexcept nogil:
        if write_all(segment.fd, data, size, offset) < 0:
            return -1
        if self.journal is not None:
            self.journal.add(TSF_JOURNAL_SEGMENT, segment.number, offset, data, size)
        return 0

    cdef int put(self, uint64_t first, uint32_t n, tsf_hot *hot, tsf_cold *cold, const char *blobs,
                 size_t size) noexcept nogil:
        cdef Segment *segment = self.segment(first >> TSF_SEGMENT_BITS)
        cdef uint64_t at = first & (TSF_SEGMENT_JOBS - 1)
        cdef uint32_t i
        if segment == NULL:
            return -1
        for i in range(n):
            cold[i].blob_check = tsf_check32(blobs + cold[i].blob_off, cold[i].blob_len, first + i)
            cold[i].blob_off += segment.blob_size
            cold[i].check = tsf_cold_check(&cold[i], first + i)
            hot[i].end = tsf_end_of(hot[i].state)
            hot[i].check = tsf_hot_check(&hot[i], first + i)
        if write_all(segment.blob_fd, blobs, size, segment.blob_size) < 0:
            return -1
        if self.journal is not None:
            self.journal.add(TSF_JOURNAL_BLOB, segment.number, segment.blob_size, blobs, size)
        if (self._write_segment(segment, cold, n * sizeof(tsf_cold), TSF_HOT_BYTES + at * sizeof(tsf_cold)) < 0
                or self._write_segment(segment, hot, n * sizeof(tsf_hot), at * sizeof(tsf_hot)) < 0):
            return -1
        segment.blob_size += (size + 7) & ~(<uint64_t> 7)
        for i in range(n):
            self.recovered(first + i)
        return 0

    cdef void recovered(self, uint64_t id) noexcept nogil:
        cdef Segment *segment = self.segment(id >> TSF_SEGMENT_BITS)
        if segment != NULL:
            segment.live += 1
            segment.group[(id & (TSF_SEGMENT_JOBS - 1)) // GROUP] += 1

    cdef void withdraw(self, uint64_t id) noexcept nogil:
        cdef Segment *segment = self.segment(id >> TSF_SEGMENT_BITS)
        segment.live -= 1
        segment.group[(id & (TSF_SEGMENT_JOBS - 1)) // GROUP] -= 1

    cdef int write_hot(self, uint64_t id, tsf_hot *hot) noexcept nogil:
        cdef Segment *segment = self.segment(id >> TSF_SEGMENT_BITS)
        if segment == NULL:
            return -1
        if hot.end == TSF_END_NONE:
            hot.end = tsf_end_of(hot.state)
        hot.check = tsf_hot_check(hot, id)
        return self._write_segment(segment, hot, sizeof(tsf_hot), (id & (TSF_SEGMENT_JOBS - 1)) * sizeof(tsf_hot))

    cdef int read_hot(self, uint64_t id, tsf_hot *hot) noexcept nogil:
        cdef Segment *segment = self.segment(id >> TSF_SEGMENT_BITS)
        cdef int tries = 1 if self.writable else READER_TRIES
        if segment == NULL:
            return -1
        while tries:
            tries -= 1
            if read_all(segment.fd, hot, sizeof(tsf_hot), (id & (TSF_SEGMENT_JOBS - 1)) * sizeof(tsf_hot)) < 0:
                return -1
            if tsf_hot_check(hot, id) == hot.check:
                return 0
        set_errno(ENOENT if is_hole(hot, sizeof(tsf_hot)) else EIO)
        return -1

    cdef int read_cold(self, uint64_t id, tsf_cold *cold) noexcept nogil:
        cdef Segment *segment = self.segment(id >> TSF_SEGMENT_BITS)
        if segment == NULL:
            return -1
        if read_all(segment.fd, cold, sizeof(tsf_cold),
                    TSF_HOT_BYTES + (id & (TSF_SEGMENT_JOBS - 1)) * sizeof(tsf_cold)) < 0:
            return -1
        if tsf_cold_check(cold, id) != cold.check:
            set_errno(ENOENT if is_hole(cold, sizeof(tsf_cold)) else EIO)
            return -1
        return 0

    cdef int read_record(self, uint64_t id, Record *record, tsf_hot *hot, tsf_cold *cold) noexcept nogil:
        if self.read_hot(id, hot) < 0 or self.read_cold(id, cold) < 0:
            return -1
        record.id = id
        record.hot = hot
        record.cold = cold
        record.blob = self._read_blob(id, cold)
        if record.blob == NULL:
            return -1
        record.extra = NULL
        if cold.extra_len:
            record.extra = <const tsf_extra *> (record.blob + (tsf_extra_offset(cold) - cold.blob_off))
        record.grant = self._read_grant(id, hot, cold)
        return 0

    cdef const char *_read_blob(self, uint64_t id, const tsf_cold *cold) noexcept nogil:
        """Of a job alone, checked, with its optional part and room for its grant behind it; NULL with errno."""
        cdef Segment *segment = self.segment(id >> TSF_SEGMENT_BITS)
        cdef uint64_t at = tsf_extra_offset(cold)
        cdef char *grown
        cdef char *extra
        cdef size_t size
        if segment == NULL:
            return NULL
        if not is_sized(cold):
            set_errno(EIO)
            return NULL
        size = <size_t> (tsf_grant_offset(cold) - cold.blob_off + tsf_grant_room(cold))
        if size > self.blob_room:
            grown = <char *> realloc(self.blob, size)
            if grown == NULL:
                set_errno(ENOMEM)
                return NULL
            self.blob = grown
            self.blob_room = size
        if read_all(segment.blob_fd, self.blob, cold.blob_len, cold.blob_off) < 0:
            return NULL
        if tsf_check32(self.blob, cold.blob_len, id) != cold.blob_check:
            set_errno(EIO)
            return NULL
        if cold.extra_len:
            extra = self.blob + (at - cold.blob_off)
            if read_all(segment.blob_fd, extra, <size_t> tsf_extra_room(cold), at) < 0:
                return NULL
            if not tsf_extra_fits(<const tsf_extra *> extra, cold, id):
                set_errno(EIO)
                return NULL
        return self.blob

    cdef bint blob_is_whole(self, uint64_t id, const tsf_cold *cold) noexcept nogil:
        if (is_sized(cold) and cold.extra_len == 0 and self.ahead != NULL
                and self._blob_ahead(id, cold) != NULL):
            return True
        return self._read_blob(id, cold) != NULL or errno == ENOMEM

    cdef int write_grant(self, uint64_t id, const tsf_cold *cold, const char *grant, size_t size) noexcept nogil:
        cdef Segment *segment = self.segment(id >> TSF_SEGMENT_BITS)
        if segment == NULL:
            return -1
        if write_all(segment.blob_fd, grant, size, tsf_grant_offset(cold)) < 0:
            return -1
        if self.journal is not None:
            self.journal.add(TSF_JOURNAL_BLOB, segment.number, tsf_grant_offset(cold), grant, size)
        return 0

    cdef const tsf_grant *_read_grant(self, uint64_t id, const tsf_hot *hot, const tsf_cold *cold) noexcept nogil:
        """Of the start that the job is in or has had; NULL: it needs no GPU or has not started."""
        cdef Segment *segment = self.segment(id >> TSF_SEGMENT_BITS)
        cdef size_t room = tsf_grant_room(cold)
        cdef uint64_t at = tsf_grant_offset(cold)
        cdef tsf_grant *grant = <tsf_grant *> (self.blob + (at - cold.blob_off))
        if room == 0 or segment == NULL or (hot.state != TSF_STARTING and hot.start_ns == 0):
            return NULL
        if (read_all(segment.blob_fd, grant, room, at) < 0 or grant.count > cold.gpus or grant.attempt != hot.attempt
                or grant.check != tsf_grant_check(grant, id)):
            return NULL
        return grant

    cdef void start_records(self) noexcept nogil:
        if self.ahead == NULL:
            self.ahead = <Ahead *> malloc(sizeof(Ahead))
        if self.ahead != NULL:
            self.ahead.next = 0
            self.ahead.first = NO_GROUP
            self.ahead.blob_size = 0

    cdef int next_record(self, uint64_t id, Record *record, tsf_hot *hot, tsf_cold *cold) noexcept nogil:
        # What does not fit, for whichever reason, is read alone, which tells the reason.
        cdef uint64_t i = id & (GROUP - 1)
        cdef const char *blob = NULL
        if self._read_ahead(id) and self.ahead.cold[i].gpus == 0 and self.ahead.cold[i].extra_len == 0:
            hot[0] = self.ahead.hot[i]
            cold[0] = self.ahead.cold[i]
            if tsf_hot_check(hot, id) == hot.check and tsf_cold_check(cold, id) == cold.check and is_sized(cold):
                blob = self._blob_ahead(id, cold)
        if blob == NULL:
            return self.read_record(id, record, hot, cold)
        record.id = id
        record.hot = hot
        record.cold = cold
        record.blob = blob
        record.extra = NULL
        record.grant = NULL
        return 0

    cdef bint _read_ahead(self, uint64_t id) noexcept nogil:
        """Have the id's group in memory, if it seems worth it: this id follows the one before."""
        cdef Ahead *ahead = self.ahead
        cdef uint64_t first = id & ~<uint64_t> (GROUP - 1)
        cdef bint follows
        cdef Segment *segment
        if ahead == NULL:
            return False
        follows = id == ahead.next
        ahead.next = id + 1
        if first == ahead.first:
            return True
        if not follows:
            return False
        segment = self.segment(id >> TSF_SEGMENT_BITS)
        ahead.first = NO_GROUP
        ahead.blob_size = 0
        if segment == NULL or self.read_group(first, ahead.hot) < 0 or read_all(
                segment.fd, ahead.cold, GROUP * sizeof(tsf_cold),
                TSF_HOT_BYTES + (first & (TSF_SEGMENT_JOBS - 1)) * sizeof(tsf_cold)) < 0:
            return False
        ahead.first = first
        return True

    cdef const char *_blob_ahead(self, uint64_t id, const tsf_cold *cold) noexcept nogil:
        """The job's blob, checked, among those that were read with it; NULL if it cannot be there."""
        cdef Ahead *ahead = self.ahead
        cdef ssize_t got
        cdef const char *blob
        if cold.blob_len > BLOB_AHEAD:
            return NULL
        if cold.blob_off < ahead.blob_off or cold.blob_off + cold.blob_len > ahead.blob_off + ahead.blob_size:
            ahead.blob_size = 0
            got = pread(self.segment(id >> TSF_SEGMENT_BITS).blob_fd, ahead.blob, BLOB_AHEAD, <off_t> cold.blob_off)
            if got < <ssize_t> cold.blob_len:
                return NULL
            ahead.blob_off = cold.blob_off
            ahead.blob_size = <size_t> got
        blob = ahead.blob + (cold.blob_off - ahead.blob_off)
        return blob if tsf_check32(blob, cold.blob_len, id) == cold.blob_check else NULL

    cdef int read_group(self, uint64_t first, tsf_hot *hot) noexcept nogil:
        cdef Segment *segment = self.segment(first >> TSF_SEGMENT_BITS)
        if segment == NULL:
            return -1
        return read_all(segment.fd, hot, GROUP * sizeof(tsf_hot),
                        (first & (TSF_SEGMENT_JOBS - 1)) * sizeof(tsf_hot))

    cdef int read_cold_group(self, uint64_t first, tsf_cold *cold) noexcept nogil:
        cdef Segment *segment = self.segment(first >> TSF_SEGMENT_BITS)
        if segment == NULL:
            return -1
        return read_all(segment.fd, cold, GROUP * sizeof(tsf_cold),
                        TSF_HOT_BYTES + (first & (TSF_SEGMENT_JOBS - 1)) * sizeof(tsf_cold))

    # ---- forgetting --------------------------------------------------------------------------------------------
    cdef int forget(self, uint64_t id, bint removed) noexcept nogil:
        cdef Segment *segment = self.segment(id >> TSF_SEGMENT_BITS)
        cdef uint64_t at = id & (TSF_SEGMENT_JOBS - 1), number = id >> TSF_SEGMENT_BITS
        cdef tsf_hot hot
        if segment == NULL:
            return -1
        if self.journal is None:
            self._wipe(segment, id)
        memset(&hot, 0, sizeof(tsf_hot))
        hot.state = TSF_FORGOTTEN
        hot.cause = TSF_WAS_REMOVED if removed else 0
        if self.write_hot(id, &hot) < 0:
            return -1
        segment.live -= 1
        segment.group[at // GROUP] -= 1
        if self.journal is not None:
            self.journal.defer(DEFER_WIPE, id)
        if segment.group[at // GROUP] == 0 and (id | (GROUP - 1)) < self.header.committed:
            if self.journal is not None:
                self.journal.defer(DEFER_PUNCH, id & ~(<uint64_t> (GROUP - 1)))
            else:
                self._punch(segment, id & ~(<uint64_t> (GROUP - 1)))
        if segment.live == 0 and ((number + 1) << TSF_SEGMENT_BITS) <= self.header.committed:
            if self.journal is not None:
                self.journal.add(TSF_JOURNAL_DROP, number, 0, NULL, 0)
                self.journal.defer(DEFER_UNLINK, number)
            else:
                self._unlink(number)
        return 0

    cdef uint64_t removed_ones(self, uint64_t first, uint64_t last) noexcept nogil:
        cdef tsf_hot group[GROUP]
        cdef uint64_t at = first & ~<uint64_t> (GROUP - 1), found = 0
        cdef int i
        if last - first >= REMOVED_SEARCHED:
            return 0
        while at <= last:
            if self.has_segment(at >> TSF_SEGMENT_BITS) and self.read_group(at, group) == 0:
                for i in range(GROUP):
                    found += first <= at + i <= last and (
                        group[i].state == TSF_REMOVED
                        or (group[i].state == TSF_FORGOTTEN and group[i].cause == TSF_WAS_REMOVED))
            at += GROUP
        return found

    cdef void use(self, Journal journal) noexcept:
        self.journal = journal
        for kind in (DEFER_WIPE, DEFER_PUNCH, DEFER_UNLINK):
            journal.register(kind, deferred, <void *> self)

    cdef void _deferred(self, int kind, uint64_t number) noexcept nogil:
        """A forgotten job is that on the disk now, so what it had may go."""
        cdef Segment *segment
        if kind == DEFER_UNLINK:
            self._unlink(number)
            return
        segment = self.segment(number >> TSF_SEGMENT_BITS)
        if segment != NULL and kind == DEFER_WIPE:
            self._wipe(segment, number)
        elif segment != NULL:
            self._punch(segment, number)

    cdef void _wipe(self, Segment *segment, uint64_t id) noexcept nogil:
        """Zeros over the job's difference to its base context and the text of TS_ENV: they can hold secrets."""
        cdef char zeros[512]
        cdef tsf_cold cold
        cdef uint64_t left, at
        if self.read_cold(id, &cold) < 0 or <uint64_t> cold.diff_len + cold.env_text_len > cold.blob_len:
            return
        memset(zeros, 0, sizeof(zeros))
        left = <uint64_t> cold.diff_len + cold.env_text_len
        at = cold.blob_off + cold.blob_len - left
        while left:
            if write_all(segment.blob_fd, zeros, <size_t> min(left, <uint64_t> sizeof(zeros)), at) < 0:
                return
            at += min(left, <uint64_t> sizeof(zeros))
            left -= min(left, <uint64_t> sizeof(zeros))

    cdef void _punch(self, Segment *segment, uint64_t first) noexcept nogil:
        """Give back the storage of a group that is forgotten as a whole. Not supported everywhere; then it stays."""
        cdef tsf_cold cold[GROUP]
        cdef int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
        cdef uint64_t at = first & (TSF_SEGMENT_JOBS - 1), start = ~(<uint64_t> 0), end = 0
        cdef uint64_t last
        cdef int i
        if read_all(segment.fd, cold, GROUP * sizeof(tsf_cold), TSF_HOT_BYTES + at * sizeof(tsf_cold)) == 0:
            # Blobs are in the order of the ids, so what lies between the first and the last one is this group's; but
            # those of edited jobs lie further behind, among those of others.
            for i in range(GROUP):
                if tsf_cold_check(&cold[i], first + i) != cold[i].check:
                    continue
                last = tsf_grant_offset(&cold[i]) + tsf_grant_room(&cold[i])
                if cold[i].version:
                    fallocate(segment.blob_fd, mode, <off_t> cold[i].blob_off, <off_t> (last - cold[i].blob_off))
                    continue
                start = min(start, cold[i].blob_off)
                end = max(end, last)
            if start < end <= segment.blob_size:
                fallocate(segment.blob_fd, mode, <off_t> start, <off_t> (end - start))
        fallocate(segment.fd, mode, <off_t> (TSF_HOT_BYTES + at * sizeof(tsf_cold)), <off_t> (GROUP * sizeof(tsf_cold)))
        fallocate(segment.fd, mode, <off_t> (at * sizeof(tsf_hot)), <off_t> (GROUP * sizeof(tsf_hot)))

    cdef void look(self) noexcept nogil:
        cdef stat_t st
        if not self.gone and fstat(self.header_fd, &st) == 0 and st.st_nlink == 0:
            self.gone = True
            tsf_log(b"the state directory was deleted under the server: nothing more is queued")

    cdef int drop_all(self) noexcept nogil:
        cdef uint64_t number, last, before = self.header.floor
        cdef Segment *segment
        self.header.floor = self.header.committed
        self.header.ids_check = ids_check(&self.header)
        if self._write_header(&self.header.ids_check, &self.header.floor + 1) < 0:
            self.header.floor = before
            self.header.ids_check = ids_check(&self.header)
            return -1
        if self.journal is not None and self.journal.settle() < 0:
            return -1
        last = self.header.committed >> TSF_SEGMENT_BITS
        for number in range(before >> TSF_SEGMENT_BITS, last):
            self._unlink(number)
        if self.has_segment(last):
            segment = self.segment(last)
            if segment != NULL and ftruncate(segment.blob_fd, 0) == 0:
                # Emptied, but later blobs go on behind: offsets must grow with the ids (see _punch).
                ftruncate(segment.blob_fd, <off_t> segment.blob_size)
        # The queue is dropped, whatever becomes of this: if it is refused, the next one has the slots of this one.
        self.header.slots = 0
        self.save_settings()
        return 0

    # ---- for Python --------------------------------------------------------------------------------------------
    @property
    def committed(self) -> int:
        """The next id; all ids below it and from `floor` on were given out."""
        return self.header.committed

    @property
    def floor(self) -> int:
        """Ids below it were dropped by -K."""
        return self.header.floor

    @property
    def slots(self) -> int:
        """Slots of the queue."""
        return self.header.slots


include "table_probe.pxi"  # of tests/probes; empty in a wheel
