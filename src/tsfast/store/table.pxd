"""The job table on disk: header, segments, blobs (native/table.h has the layout, docs/table-format.md the protocol).

The server is the only writer and writes by pwrite only: a store into a mapped hole on a full disk would be SIGBUS.
It reads by pread for the same reason: a file that somebody truncated is an error, not a crash. Readers open the table
with writable=False and see the same records.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from tsfast.store.journal cimport Journal
from tsfast.layout.table cimport tsf_cold, tsf_grant, tsf_header, tsf_hot
from tsfast.store.record cimport Record

cdef enum:
    GROUP = 64                # ids whose storage is given back together
    GROUPS = 1024             # groups of a segment
    BLOB_AHEAD = 65536

cdef struct Segment:
    uint64_t number
    int fd
    int blob_fd
    uint64_t blob_size        # where the next blob goes, a multiple of 8
    uint32_t live             # ids of this segment that are not forgotten
    uint8_t group[GROUPS]     # likewise, of each group

# What a list has read ahead of the record that it is at.
cdef struct Ahead:
    uint64_t next             # the id after that of the last record
    uint64_t first            # of the group in `hot` and `cold`; UINT64_MAX: none
    tsf_hot hot[GROUP]
    tsf_cold cold[GROUP]
    uint64_t blob_off         # what is in `blob`, of the segment of that group
    size_t blob_size
    char blob[BLOB_AHEAD]

cdef class Table:
    cdef readonly int dir_fd          # owned
    cdef int header_fd
    cdef bint writable
    cdef tsf_header header            # as on disk; change the settings through save_settings
    cdef Segment **segments           # owned; [number - first_segment], NULL where not open
    cdef uint64_t first_segment, n_segments
    cdef readonly bint settings_lost  # they were damaged, and are the defaults now
    cdef readonly bint gone           # somebody deleted the files: what is written now, nobody will find again
    cdef readonly uint64_t truncated  # segments that somebody cut off; what was missing reads as forgotten
    cdef char *blob                   # owned; of the last read_record, with what stands behind it
    cdef size_t blob_room
    cdef Ahead *ahead                 # owned; NULL until a list is read
    cdef Journal journal              # None but with TS_DURABLE

    # All functions: 0, or -1 with errno (EIO: the record's checksum does not fit; ENOENT: a hole).
    # Make the jobs first .. first+n-1 stand in the table, not yet committed. cold[i].blob_off counts from the start of
    # `blobs` and is moved to its place in the file; the checks are filled in. The ids must be of one segment.
    cdef int put(self, uint64_t first, uint32_t n, tsf_hot *hot, tsf_cold *cold, const char *blobs,
                 size_t size) noexcept nogil
    cdef void withdraw(self, uint64_t id) noexcept nogil          # one that put() wrote will not be committed
    cdef int commit(self, uint64_t next_id) noexcept nogil        # the jobs below next_id exist from here on
    cdef int write_hot(self, uint64_t id, tsf_hot *hot) noexcept nogil
    cdef int read_hot(self, uint64_t id, tsf_hot *hot) noexcept nogil
    cdef int read_cold(self, uint64_t id, tsf_cold *cold) noexcept nogil
    # All of a job, the blob and its optional part checked; valid until the next read_record.
    cdef int read_record(self, uint64_t id, Record *record, tsf_hot *hot, tsf_cold *cold) noexcept nogil
    # Recovery: the job's blob and its optional part fit their checksums. Quick where the ids come in a row, from
    # start_records() on.
    cdef bint blob_is_whole(self, uint64_t id, const tsf_cold *cold) noexcept nogil
    # Which GPUs the job is given, for its next start: a whole tsf_grant.
    cdef int write_grant(self, uint64_t id, const tsf_cold *cold, const char *grant, size_t size) noexcept nogil
    # The same for many rows in a row: rows whose ids follow each other are read together. What stands in the table must
    # not change between start_records() and the last next_record(), or the rows can be those of before.
    cdef void start_records(self) noexcept nogil
    cdef int next_record(self, uint64_t id, Record *record, tsf_hot *hot, tsf_cold *cold) noexcept nogil
    # The records of one group, unchecked; zeros where there is nothing.
    cdef int read_group(self, uint64_t first, tsf_hot *hot) noexcept nogil
    cdef int read_cold_group(self, uint64_t first, tsf_cold *cold) noexcept nogil
    cdef void recovered(self, uint64_t id) noexcept nogil         # recovery: this id is not forgotten
    cdef int forget(self, uint64_t id, bint removed) noexcept nogil   # removed: it had not run, and -r took it out
    # How many of the ids from `first` to `last` were removed, as far as that is still known; 0 for very many ids.
    cdef uint64_t removed_ones(self, uint64_t first, uint64_t last) noexcept nogil
    cdef void look(self) noexcept nogil                           # are the files still there? Sets `gone`
    cdef int drop_all(self) noexcept nogil                        # -K: nothing of the ids so far is left
    cdef int save_settings(self) noexcept nogil
    # One of them: set and save it, or leave it as it was. 0, or -1 with errno.
    cdef int save_setting(self, void *setting, const void *value, size_t size) noexcept nogil
    cdef void use(self, Journal journal) noexcept                 # what is written from here on is journaled
    cdef int refresh(self) noexcept nogil                         # readers: the header as it is now
    cdef Segment *segment(self, uint64_t number) noexcept nogil
    cdef bint has_segment(self, uint64_t number) noexcept nogil   # False: nothing of its ids is left

    # private
    cdef _check_format(self)
    cdef _open_header(self)
    cdef bint _has_segments(self) except -1
    cdef _create(self)
    cdef int _write_header(self, const void *start, const void *end) noexcept nogil
    cdef int _write_segment(self, const Segment *segment, const void *data, size_t size,
                            uint64_t offset) noexcept nogil
    cdef void _deferred(self, int kind, uint64_t number) noexcept nogil
    cdef void _close(self, uint64_t index) noexcept nogil
    cdef int _open(self, uint64_t number, Segment *segment) noexcept nogil
    cdef void _unlink(self, uint64_t number) noexcept nogil
    cdef const tsf_grant *_read_grant(self, uint64_t id, const tsf_hot *hot, const tsf_cold *cold) noexcept nogil
    cdef bint _read_ahead(self, uint64_t id) noexcept nogil
    cdef const char *_read_blob(self, uint64_t id, const tsf_cold *cold) noexcept nogil
    cdef const char *_blob_ahead(self, uint64_t id, const tsf_cold *cold) noexcept nogil
    cdef void _wipe(self, Segment *segment, uint64_t id) noexcept nogil
    cdef void _punch(self, Segment *segment, uint64_t first) noexcept nogil
