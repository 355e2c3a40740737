# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""A job table of an earlier format becomes one of this format: at the first start of a server of this release.

Either format is whole at each moment, whatever dies: the new segments are written beside the old ones (`seg.X.new`) and
synced; then the new header is renamed over the old one, which decides it; then the segments are renamed. What was cut
off before the header is done again, what was cut off behind it is finished. Blobs, base contexts and `runs` stay.
"""
import os

from tsfast.base import trust
from tsfast.store.table import TableError

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, strerror

from tsfast.store.journal cimport tsf_sync_table
from tsfast.layout.table cimport (
    TSF_HOT_BYTES, TSF_SEGMENT_BITS, TSF_SEGMENT_JOBS, TSF_TABLE_MAGIC, tsf_cold, tsf_header, tsf_hot,
)
from tsfast.layout.table1 cimport (
    tsf_cold1, tsf_cold_from1, tsf_header1, tsf_hot1, tsf_hot_from1, tsf_ids_fit1, tsf_settings_check1,
)
from tsfast.base.files cimport write_all
from tsfast.base.system cimport errno
from tsfast.store.checks cimport fill_fresh, is_hole, seal_header

_DAMAGED = ("the job table's header is damaged, so that nobody knows which jobs there are: "
            "restore the state directory, or move it away to begin anew")

cdef enum:
    TOGETHER = 1024              # records that are read at a time; divides a segment


def migrate(int state_dir) -> bool:
    """Make the table one of this format, if it is of an earlier one, or finish what an earlier start began. True: the
    format was changed now. The caller has the lock, and has replayed the journal. Raises OSError, TableError."""
    cdef tsf_header1 old
    changed = _read_header(state_dir, &old)
    if changed:
        if not tsf_ids_fit1(&old) or old.floor > old.committed:
            raise TableError(_DAMAGED)
        _write_new(state_dir, &old)
    _rename_segments(state_dir, changed)
    return changed


cdef bint _read_header(int state_dir, tsf_header1 *old) except -1:
    """Whether there is one of an earlier format."""
    try:
        fd = trust.open_file("header", os.O_RDONLY, state_dir)
    except FileNotFoundError:
        return False
    try:
        data = os.read(fd, sizeof(tsf_header1))
    finally:
        os.close(fd)
    if len(data) < <Py_ssize_t> sizeof(tsf_header1):
        return False                           # too short for any format: the table says so
    memcpy(old, <const char *> data, sizeof(tsf_header1))
    return old.magic == TSF_TABLE_MAGIC and old.format == 1


cdef _write_new(int state_dir, const tsf_header1 *old):
    cdef tsf_header header
    # The old journal would be written over the new table by the next replay: what it holds has to be in the old table
    # by then, so that it can go.
    _sync(state_dir)
    _empty_journal(state_dir)
    for name in _segments(state_dir, ""):
        _convert(state_dir, name)
    fill_fresh(&header)
    header.committed = old.committed
    header.floor = old.floor
    header.slots = old.slots
    header.max_finished = old.max_finished
    memcpy(header.intent, old.intent, sizeof(header.intent))
    memcpy(header.swap_token, old.swap_token, sizeof(header.swap_token))
    header.logdir_len = old.logdir_len
    memcpy(header.logdir, old.logdir, sizeof(header.logdir))
    header.gpu_free_percent = old.gpu_free_percent
    header.gpu_wait_s = old.gpu_wait_s
    header.gpu_devices = old.gpu_devices
    seal_header(&header)
    if tsf_settings_check1(old) != old.check:
        header.check = 0                       # damaged, as they were: the table takes the defaults, and says so
    fd = trust.create_file("header.new", state_dir)
    try:
        _write(fd, &header, sizeof(header), 0)
        os.fsync(fd)
    finally:
        os.close(fd)
    _sync(state_dir)
    os.rename("header.new", "header", src_dir_fd=state_dir, dst_dir_fd=state_dir)
    os.fsync(state_dir)


cdef _rename_segments(int state_dir, bint changed):
    names = _segments(state_dir, ".new")
    for name in names:
        os.rename(name, name.removesuffix(".new"), src_dir_fd=state_dir, dst_dir_fd=state_dir)
    if names or changed:
        os.fsync(state_dir)


cdef list _segments(int state_dir, str end):
    names = [name.removesuffix(end) for name in os.listdir(state_dir) if name.startswith("seg.") and name.endswith(end)]
    return sorted([name + end for name in names if len(name) == 12])


cdef _convert(int state_dir, str name):
    """Write the segment in the new format beside the old one, and sync it."""
    cdef tsf_hot hots[TOGETHER]
    cdef tsf_cold colds[TOGETHER]
    cdef uint64_t first = <uint64_t> int(name[4:], 16) << TSF_SEGMENT_BITS, at, i
    cdef int old = trust.open_file(name, os.O_RDONLY, state_dir), new = -1
    cdef const char *start
    try:
        new = trust.create_file(f"{name}.new", state_dir)
        # One that was cut off stays so: the table tells it.
        os.ftruncate(new, os.fstat(old).st_size)
        for at in range(0, TSF_SEGMENT_JOBS, TOGETHER):
            data = os.pread(old, TOGETHER * sizeof(tsf_hot), at * sizeof(tsf_hot))
            data += bytes(TOGETHER * sizeof(tsf_hot) - len(data))
            start = data
            for i in range(TOGETHER):
                tsf_hot_from1(&hots[i], <const tsf_hot1 *> start + i, first + at + i)
            if not is_hole(hots, sizeof(hots)):
                _write(new, hots, sizeof(hots), at * sizeof(tsf_hot))
            data = os.pread(old, TOGETHER * sizeof(tsf_cold), TSF_HOT_BYTES + at * sizeof(tsf_cold))
            data += bytes(TOGETHER * sizeof(tsf_cold) - len(data))
            start = data
            for i in range(TOGETHER):
                tsf_cold_from1(&colds[i], <const tsf_cold1 *> start + i, first + at + i)
            if not is_hole(colds, sizeof(colds)):
                _write(new, colds, sizeof(colds), TSF_HOT_BYTES + at * sizeof(tsf_cold))
        os.fsync(new)
    finally:
        for fd in (old, new):
            if fd >= 0:
                os.close(fd)


cdef _write(int fd, const void *data, size_t size, uint64_t offset):
    if write_all(fd, data, size, offset) < 0:
        raise OSError(errno, strerror(errno).decode(), "the job table")


cdef _sync(int state_dir):
    if tsf_sync_table(state_dir) < 0:
        raise OSError(errno, strerror(errno).decode(), "the job table")


cdef _empty_journal(int state_dir):
    try:
        directory = trust.open_subdirectory("journal", state_dir)
    except FileNotFoundError:
        return
    try:
        for name in os.listdir(directory):
            os.unlink(name, dir_fd=directory)
        os.fsync(directory)
    finally:
        os.close(directory)
