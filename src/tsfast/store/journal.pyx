# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See journal.pxd."""
import os

from tsfast.base import trust

cimport cython
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset, strerror

from tsfast.layout.table cimport (
    TSF_COLD_BYTES, TSF_FORGOTTEN, TSF_HOT_BYTES, TSF_SEGMENT_BITS, tsf_cold, tsf_cold_check, tsf_hot,
)
from tsfast.base.limits cimport JOURNAL_IDLE_MS
from tsfast.base.system cimport (
    EFD_CLOEXEC, EFD_NONBLOCK, EINVAL, ENOMEM, EPOLLIN, close, errno, eventfd, read, set_errno,
)

_DIRECTORY = "journal"
_NO_BOOT_ID = "a journal needs /proc/sys/kernel/random/boot_id, to tell a crash of the machine from one of the server"


cdef class _File:
    """A journal as it was read; the records follow on each other in `data`."""
    cdef bytes data
    cdef const char *start
    cdef tsf_journal_head head

    cdef bint load(self, bytes data):
        """False if its head is not whole."""
        self.data = data
        self.start = data
        if len(data) < <Py_ssize_t> sizeof(tsf_journal_head):
            return False
        memcpy(&self.head, self.start, sizeof(tsf_journal_head))
        return (self.head.magic == TSF_JOURNAL_MAGIC and self.head.format == TSF_JOURNAL_FORMAT
                and tsf_journal_head_check(&self.head) == self.head.check)

    cdef bint record(self, size_t at, tsf_journal_record *record):
        """The record there, if there is a whole one."""
        cdef size_t left = <size_t> len(self.data) - at
        if left < sizeof(tsf_journal_record):
            return False
        memcpy(record, self.start + at, sizeof(tsf_journal_record))
        return (record.magic == TSF_JOURNAL_RECORD and record.size <= left - sizeof(tsf_journal_record)
                and tsf_journal_check(record, self.start + at + sizeof(tsf_journal_record), self.head.number)
                == record.check)

    cdef list records(self, bint last):
        """(place, ...) of what counts, and the number of holes in it. In the last file the last group counts up to its
        first hole: it was not synced."""
        cdef tsf_journal_record record
        cdef size_t at = sizeof(tsf_journal_head), end = at
        found = []
        while at + sizeof(tsf_journal_record) <= <size_t> len(self.data):
            if self.record(at, &record):
                found.append((at, record.group))
                at += sizeof(record) + ((<size_t> record.size + 7) & ~<size_t> 7)
            else:
                behind = self.data.find(_RECORD_MAGIC, at + 1)
                if behind < 0:
                    break                      # zeros, as the file was allocated
                at = behind
        counted = []
        newest = max([entry[1] for entry in found], default=0)
        for place, _ in found:
            if place != end:
                if last and end >= newest:
                    break                      # torn in the last group
                counted.append(None)
            self.record(place, &record)
            end = place + sizeof(record) + ((<size_t> record.size + 7) & ~<size_t> 7)
            counted.append(place)
        return counted


_RECORD_MAGIC = (<unsigned int> TSF_JOURNAL_RECORD).to_bytes(4, "little")


cdef class _Replay:
    """Writes what the journals hold over the table again."""
    cdef int state_dir
    cdef dict files
    cdef set forgotten

    def __init__(self, int state_dir):
        self.state_dir = state_dir
        self.files = {}
        self.forgotten = set()

    cdef int file(self, str name) except -1:
        if name not in self.files:
            self.files[name] = trust.open_file(name, os.O_RDWR | os.O_CREAT, self.state_dir)
            if name.startswith("seg."):
                whole = <unsigned long long> (TSF_HOT_BYTES + TSF_COLD_BYTES)
                if os.fstat(self.files[name]).st_size < whole:
                    os.ftruncate(self.files[name], whole)
        return self.files[name]

    cdef apply(self, const tsf_journal_record *record, bytes data):
        cdef const tsf_hot *hot
        if record.kind == TSF_JOURNAL_HEADER:
            os.pwrite(self.file("header"), data, record.offset)
        elif record.kind == TSF_JOURNAL_BLOB:
            os.pwrite(self.file(f"blob.{record.number:08x}"), data, record.offset)
        elif record.kind == TSF_JOURNAL_SEGMENT:
            os.pwrite(self.file(f"seg.{record.number:08x}"), data, record.offset)
            if record.offset < TSF_HOT_BYTES and record.size == sizeof(tsf_hot):
                hot = <const tsf_hot *> <const char *> data
                id = (record.number << TSF_SEGMENT_BITS) + record.offset // sizeof(tsf_hot)
                self.forgotten.discard(id)
                if hot.state == TSF_FORGOTTEN:
                    self.forgotten.add(id)
        elif record.kind == TSF_JOURNAL_DROP:
            for name in (f"seg.{record.number:08x}", f"blob.{record.number:08x}"):
                if name in self.files:
                    os.close(self.files.pop(name))
                try:
                    os.unlink(name, dir_fd=self.state_dir)
                except FileNotFoundError:
                    pass
            self.forgotten = {id for id in self.forgotten if id >> TSF_SEGMENT_BITS != record.number}
        elif record.kind == TSF_JOURNAL_CONTEXT:
            contexts = trust.open_subdirectory("ctx", self.state_dir, make=True)
            try:
                fd = trust.create_file(f"{record.number:016x}", contexts)
            finally:
                os.close(contexts)
            try:
                os.pwrite(fd, data, 0)
            finally:
                os.close(fd)

    cdef finish(self):
        """Secrets of forgotten jobs may have come back: wipe them again."""
        cdef tsf_cold cold
        for id in self.forgotten:
            segment = self.file(f"seg.{id >> TSF_SEGMENT_BITS:08x}")
            at = TSF_HOT_BYTES + (id & ((1 << TSF_SEGMENT_BITS) - 1)) * sizeof(tsf_cold)
            data = os.pread(segment, sizeof(tsf_cold), at)
            if len(data) < <Py_ssize_t> sizeof(tsf_cold):
                continue
            memcpy(&cold, <const char *> data, sizeof(tsf_cold))
            secret = <object> cold.diff_len + cold.env_text_len
            if tsf_cold_check(&cold, <uint64_t> id) == cold.check and secret <= cold.blob_len:
                os.pwrite(self.file(f"blob.{id >> TSF_SEGMENT_BITS:08x}"), bytes(secret),
                          cold.blob_off + cold.blob_len - secret)

    cdef close_files(self):
        for fd in self.files.values():
            os.close(fd)


def _numbers(int directory) -> list[int]:
    return sorted(int(name, 16) for name in os.listdir(directory) if len(name) == 16)


def _load(int directory, number):
    cdef _File file = _File()
    fd = trust.open_file(f"{number:016x}", dir_fd=directory)
    try:
        return file if file.load(os.read(fd, os.fstat(fd).st_size)) else None
    finally:
        os.close(fd)


def has_journal(int state_dir) -> bool:
    """Whether the queue's last server kept a journal."""
    try:
        os.close(trust.open_subdirectory(_DIRECTORY, state_dir))
    except FileNotFoundError:
        return False
    return True


def replay(int state_dir, str boot_id not None):
    """If the machine was started anew since the journal was written, write what it holds over the table. Returns the
    number of damaged places, or None if there was nothing to do. Raises OSError."""
    cdef _File file
    cdef _Replay table
    cdef tsf_journal_record record
    directory = trust.open_subdirectory(_DIRECTORY, state_dir)
    try:
        files = [(number, _load(directory, number)) for number in _numbers(directory)]
    finally:
        os.close(directory)
    if not boot_id:
        raise ValueError(_NO_BOOT_ID)
    # One whose head is not whole was about to be begun: nothing relied on it.
    whole = [(number, file) for number, file in files if file is not None]
    if not whole:
        return None
    newest, file = max(whole)
    first = file.head.first
    if boot_id and file.head.boot_id[:TSF_JOURNAL_BOOT_ID].partition(b"\0")[0] == boot_id.encode()[:39]:
        return None                            # the kernel still has all that was written
    try:
        os.mkdir("ctx", 0o700, dir_fd=state_dir)
    except FileExistsError:
        pass
    table = _Replay(state_dir)
    damaged = 0
    try:
        for number, loaded in whole:
            if number < first:
                continue
            file = loaded
            for place in file.records(number == newest):
                if place is None:
                    damaged += 1
                    continue
                file.record(place, &record)
                start = place + sizeof(record)
                table.apply(&record, file.data[start:start + record.size])
        table.finish()
    finally:
        table.close_files()
    return damaged


def discard(int state_dir):
    """Sync the table and keep no journal any more. Raises OSError."""
    if tsf_sync_table(state_dir) < 0:
        raise OSError(errno, strerror(errno).decode(), "the job table")
    directory = trust.open_subdirectory(_DIRECTORY, state_dir)
    try:
        for name in os.listdir(directory):
            os.unlink(name, dir_fd=directory)
    finally:
        os.close(directory)
    os.rmdir(_DIRECTORY, dir_fd=state_dir)
    os.fsync(state_dir)


cdef void event_came(void *owner, Source *source, uint32_t events) noexcept nogil:
    cdef uint64_t count
    read(source.fd, &count, sizeof(count))
    (<Journal> owner)._came(False)


cdef void idle_due(void *owner) noexcept nogil:
    (<Journal> owner).wanted = True


@cython.final
cdef class Journal:
    def __cinit__(self):
        self.event.fd = self.syncer.dir = self.syncer.file = self.syncer.state_dir = -1

    def __init__(self, Loop loop, int state_dir, str boot_id not None):
        """Open the journals of a state directory, whose descriptor stays the caller's; begin() has to follow."""
        if not boot_id:
            raise ValueError(_NO_BOOT_ID)
        boot = boot_id.encode()[:39]
        self.loop = loop
        self.syncer.state_dir = state_dir
        self.syncer.dir = trust.open_subdirectory(_DIRECTORY, state_dir, make=True)
        numbers = _numbers(self.syncer.dir)
        self.syncer.head.magic = TSF_JOURNAL_MAGIC
        self.syncer.head.format = TSF_JOURNAL_FORMAT
        self.syncer.head.number = self.syncer.head.first = self.number = max(numbers, default=0) + 1
        memcpy(self.syncer.head.boot_id, <const char *> boot, <size_t> len(boot))
        self.group_at = sizeof(tsf_journal_head)
        self.event.fd = self.syncer.event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        self.event.handler = event_came
        self.event.owner = <void *> self
        self.timer = loop.new_timer(idle_due, <void *> self)
        if self.event.fd < 0 or loop.watch(&self.event, EPOLLIN) < 0:
            raise OSError(errno, strerror(errno).decode(), "eventfd")

    cdef int begin(self, const char *header, size_t size) except -1:
        """Sync the table as it is and journal from here on."""
        self.header = header
        self.header_size = size
        _sync_above(self.syncer.state_dir)
        self.add(TSF_JOURNAL_HEADER, 0, 0, header, size)
        if self.failed:
            raise MemoryError
        if tsf_syncer_start(&self.syncer, self.groups[0].data, self.groups[0].size) < 0:
            raise OSError(errno, strerror(errno).decode(), "the journal")
        self.group_at += self.groups[0].size
        self.groups[0].size = 0
        self.synced = self.end
        return 0

    def __dealloc__(self):
        tsf_syncer_stop(&self.syncer)
        for fd in (self.event.fd, self.syncer.dir, self.syncer.file):
            if fd >= 0:
                close(fd)
        free(self.groups[0].data)
        free(self.groups[1].data)
        free(self.deferred)

    # ---- adding ------------------------------------------------------------------------------------------------
    cdef void add(self, int kind, uint64_t number, uint64_t offset, const void *data, size_t size) noexcept nogil:
        cdef Group *group = &self.groups[self.filling]
        cdef size_t padded = (size + 7) & ~<size_t> 7, need = sizeof(tsf_journal_record) + padded, room
        cdef tsf_journal_record record
        cdef char *grown
        if group.size + need > group.room:
            room = max(2 * group.room, group.size + need, <size_t> 65536)
            grown = <char *> realloc(group.data, room)
            if grown == NULL:
                self.failed = ENOMEM           # what was written cannot be promised any more
                return
            group.data = grown
            group.room = room
        record.magic = TSF_JOURNAL_RECORD
        record.kind = <uint32_t> kind
        record.group = self.group_at
        record.number = number
        record.offset = offset
        record.size = <uint32_t> size
        record.check = tsf_journal_check(&record, data, self.number)
        grown = group.data + group.size
        memcpy(grown, &record, sizeof(record))
        memcpy(grown + sizeof(record), data, size)
        memset(grown + sizeof(record) + size, 0, padded - size)
        group.size += need
        self.end += need

    cdef void register(self, int kind, DeferredHandler handler, void *owner) noexcept nogil:
        self.handlers[kind] = handler
        self.owners[kind] = owner

    cdef void defer(self, int kind, uint64_t number) noexcept nogil:
        cdef Deferred *grown
        cdef size_t room
        if self.first_deferred == self.n_deferred:
            self.first_deferred = self.n_deferred = 0
        if self.n_deferred == self.deferred_room:
            room = max(2 * self.deferred_room, <size_t> 64)
            grown = <Deferred *> realloc(self.deferred, room * sizeof(Deferred))
            if grown == NULL:
                return                         # its storage stays until the segment or the context is swept
            self.deferred = grown
            self.deferred_room = room
        self.deferred[self.n_deferred].kind = kind
        self.deferred[self.n_deferred].number = number
        self.deferred[self.n_deferred].barrier = self.end
        self.n_deferred += 1

    cdef void _run_deferred(self) noexcept nogil:
        cdef Deferred *deferred
        while self.first_deferred < self.n_deferred:
            deferred = &self.deferred[self.first_deferred]
            if deferred.barrier > self.synced:
                return
            self.first_deferred += 1
            self.handlers[deferred.kind](self.owners[deferred.kind], deferred.kind, deferred.number)

    # ---- the thread --------------------------------------------------------------------------------------------
    cdef void push(self) noexcept nogil:
        if self.failed or self.busy or self.groups[self.filling].size == 0:
            return
        if self.wanted:
            self._give()
        else:
            self.loop.set_timer(self.timer, JOURNAL_IDLE_MS)

    cdef void _give(self) noexcept nogil:
        cdef Group *group = &self.groups[self.filling]
        tsf_syncer_give(&self.syncer, group.data, group.size, self.fresh)
        self.busy = True
        self.wanted = self.fresh = False
        self.group_at += group.size
        self.filling = 1 - self.filling
        self.groups[self.filling].size = 0
        if self.group_at > <uint64_t> TSF_JOURNAL_BYTES:
            self.fresh = True
            self.number += 1
            self.group_at = sizeof(tsf_journal_head)
            self.add(TSF_JOURNAL_HEADER, 0, 0, self.header, self.header_size)

    cdef void _came(self, bint wait) noexcept nogil:
        cdef int error = tsf_syncer_look(&self.syncer, wait, &self.synced, &self.busy)
        if error:
            self.failed = error
        else:
            self._run_deferred()

    cdef int settle(self) noexcept nogil:
        while not self.failed and self.synced < self.end:
            self._came(True)
            if not self.failed and self.groups[self.filling].size:
                self._give()
                self._came(True)
        if self.failed:
            set_errno(self.failed)
            return -1
        return 0


cdef _sync_above(int state_dir):
    """The directories on the way to the state directory, which may have been made just now."""
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=state_dir)
    try:
        while True:
            above = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
            here, there = os.fstat(fd), os.fstat(above)
            os.close(fd)
            fd = above
            if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                return
            try:
                os.fsync(fd)
            except OSError as error:
                if error.errno != EINVAL:      # not every file system can sync a directory
                    raise
    except PermissionError:
        pass                                   # a directory that may only be passed was not made by us
    finally:
        os.close(fd)
