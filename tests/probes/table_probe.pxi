# Included at the end of table.pyx in builds for tests.
from tsfast.layout.table cimport TSF_QUEUED

from tsfast.layout.table cimport TSF_QUEUED

cdef void _set_hot(tsf_hot *hot, dict fields) except *:
    memset(hot, 0, sizeof(tsf_hot))
    hot.state = fields.get("state", TSF_QUEUED)
    hot.notes = fields.get("notes", 0)
    hot.attempt = fields.get("attempt", 0)
    hot.utime_ms = fields.get("utime_ms", 0)
    hot.stime_ms = fields.get("stime_ms", 0)
    hot.status = fields.get("status", 0) & 0xffff
    hot.pid = fields.get("pid", 0)
    hot.cause = fields.get("cause", 0)
    hot.stage = fields.get("stage", 0)
    hot.start_ns = fields.get("start_ns", 0)
    hot.duration_ns = fields.get("duration_ns", 0)
    hot.order = fields.get("order", 0)
    hot.maxrss_kb = fields.get("maxrss_kb", 0)


cdef void _set_cold(tsf_cold *cold, dict fields, uint32_t argc, uint32_t size) except *:
    memset(cold, 0, sizeof(tsf_cold))
    cold.enqueue_ns = fields.get("enqueue_ns", 0)
    cold.slots = fields.get("slots", 1)
    cold.flags = fields.get("flags", 0)
    cold.batch_index = fields.get("batch_index", 0)
    cold.batch_count = fields.get("batch_count", 1)
    cold.gpus = fields.get("gpus", 0)
    cold.gpu_share = fields.get("gpu_share", 0)
    cold.vram = fields.get("vram", 0)
    cold.argc = argc
    cold.argv_len = cold.blob_len = size


@cython.final
cdef class TableProbe:
    """A table as the server writes it."""

    cdef Table table

    def __init__(self, int dir_fd):
        """Take over the descriptor of a state directory, empty at first."""
        self.table = Table(dir_fd, True)

    def put(self, dict fields not None, argv=(b"true",), uint32_t n=1, bytes extra=b"") -> int:
        """Submit n jobs alike, of one segment; the first one's id. `fields`: those of tsf_hot and tsf_cold by name.
        extra: the optional part of a single one, a multiple of 8 bytes."""
        cdef uint64_t first = self.table.header.committed
        cdef bytes words = b"".join([word + b"\0" for word in argv])
        cdef bytes blobs = words * n + (bytes(7 - (len(words) - 1) % 8) + extra if extra else b"")
        cdef tsf_hot *hot = <tsf_hot *> calloc(n, sizeof(tsf_hot))
        cdef tsf_cold *cold = <tsf_cold *> calloc(n, sizeof(tsf_cold))
        cdef uint32_t i
        try:
            if hot == NULL or cold == NULL:
                raise MemoryError
            _set_hot(hot, fields)
            _set_cold(cold, fields, <uint32_t> len(argv), <uint32_t> len(words))
            cold[0].extra_len = len(extra) // 8
            for i in range(1, n):
                hot[i] = hot[0]
                cold[i] = cold[0]
                cold[i].blob_off = i * cold.blob_len
            if (self.table.put(first, n, hot, cold, <const char *> blobs, <size_t> len(blobs)) < 0
                    or self.table.commit(first + n) < 0):
                raise OSError(errno, strerror(errno).decode())
        finally:
            free(hot)
            free(cold)
        return first

    def commit(self, uint64_t next_id):
        if self.table.commit(next_id) < 0:
            raise OSError(errno, strerror(errno).decode())

    def write(self, uint64_t id, dict fields not None):
        """Another state of a job."""
        cdef tsf_hot hot
        _set_hot(&hot, fields)
        if self.table.write_hot(id, &hot) < 0:
            raise OSError(errno, strerror(errno).decode())

    def forget(self, uint64_t id):
        if self.table.forget(id, False) < 0:
            raise OSError(errno, strerror(errno).decode())

    def drop_all(self):
        if self.table.drop_all() < 0:
            raise OSError(errno, strerror(errno).decode())

    def read(self, uint64_t id):
        """Both records, as dicts; None where nothing is, or the check does not fit."""
        cdef tsf_hot hot
        cdef tsf_cold cold
        hot_there = self.table.has_segment(id >> TSF_SEGMENT_BITS) and self.table.read_hot(id, &hot) == 0
        cold_there = hot_there and self.table.read_cold(id, &cold) == 0
        return (<object> hot if hot_there else None), (<object> cold if cold_there else None)

    def extra(self, uint64_t id):
        """The optional part, None: it has none. Raises OSError: the job cannot be read."""
        cdef Record record
        cdef tsf_hot hot
        cdef tsf_cold cold
        if self.table.read_record(id, &record, &hot, &cold) < 0:
            raise OSError(errno, strerror(errno).decode())
        return None if record.extra == NULL else (<const char *> record.extra)[:tsf_extra_room(&cold)]

    def is_whole(self, uint64_t id) -> bool:
        """As a recovery looks at it."""
        cdef tsf_cold cold
        return self.table.read_cold(id, &cold) == 0 and self.table.blob_is_whole(id, &cold)
