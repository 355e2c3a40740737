# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See listing.pxd."""
import os
from bisect import bisect_right

from tsfast.store.table import TableError as TableError  # no-cython-lint

from libc.stddef cimport size_t
from libc.stdlib cimport free, qsort, realloc
from libc.string cimport memset, strlen

from tsfast.store.contexts cimport Contexts
from tsfast.grammar.options cimport FORMAT_DEFAULT, FORMAT_JSON, FORMAT_TAB
from tsfast.layout.table cimport (
    TSF_ALLOCATING, TSF_CANCELLED, TSF_FINISHED, TSF_JOB_APPEND, TSF_JOB_ARRAY, TSF_JOB_FOREGROUND, TSF_JOB_GZIP,
    TSF_JOB_HOOK, TSF_JOB_LOG, TSF_JOB_MAIL, TSF_JOB_NO_OUTPUT, TSF_JOB_SPLIT_STDERR, TSF_JOB_TRUNCATE,
    TSF_JOB_VOLATILE, TSF_NONE, TSF_QUEUED, TSF_RUNNING, TSF_SEGMENT_BITS, TSF_SKIPPED, TSF_STARTING, tsf_cold,
    tsf_cold_check, tsf_hot, tsf_hot_check, tsf_hot_stime_ms, tsf_hot_utime_ms,
)
from tsfast.base.text cimport Text, text_add, text_char, text_free
from tsfast.store.record cimport (
    Record, end_signal, error_level, is_there, record_after, record_after_ok, record_argv, record_cwd, record_env_text,
    record_exact, record_granted, record_label, record_prefix, was_waited_for,
)
from tsfast.render.fields cimport output_path
from tsfast.base.system cimport CLOCK_REALTIME, EIO, errno, tsf_now_ns
from tsfast.store.table cimport GROUP, Table
from tsfast.render.rows cimport (
    ArrayCounts, Look, array_row, list_header, list_kind, list_row, tab_row, unreadable_row, unreadable_tab,
)
from tsfast.render.json cimport json_object, unreadable_json

cdef enum:
    ROWS_AT_ONCE = 1024

# What a list is sorted by: running jobs and then queued ones by their place in the queue, then the others by that of
# their end.
cdef struct Place:
    uint64_t id
    uint64_t order
    uint32_t array           # which of _Places.arrays it is an element of, 0: of none
    int part                 # 0: running, 1: queued, 2: ended


cdef int by_place(const void *a, const void *b) noexcept nogil:
    cdef const Place *one = <const Place *> a
    cdef const Place *two = <const Place *> b
    if one.part != two.part:
        return one.part - two.part
    if one.order != two.order:
        return -1 if one.order < two.order else 1
    return -1 if one.id < two.id else 1


cdef void list_head(Text *text, const Look *look, uint64_t used, uint32_t slots) noexcept nogil:
    if look.format == FORMAT_DEFAULT:
        list_header(text, look, used, slots)
    elif look.format == FORMAT_JSON:
        text_char(text, c'[')


cdef void add_array(Text *text, Table table, const Record *record, const ArrayCounts *array,
                    const Look *look) noexcept nogil:
    cdef ArrayCounts counts = array[0]
    if counts.queued + counts.running + counts.ok + counts.failed + counts.skipped + counts.unreadable < counts.count:
        counts.removed = <uint32_t> table.removed_ones(counts.first, counts.first + counts.count - 1)
    array_row(text, record, &counts, look)


cdef bint read_another(Table table, const ArrayCounts *array, Record *record, tsf_hot *hot,
                       tsf_cold *cold) noexcept nogil:
    """An element of the array whose record can be read."""
    cdef uint32_t i
    for i in range(array.count):
        if table.read_record(array.first + i, record, hot, cold) == 0 and is_there(hot.state):
            return True
    return False


cdef int list_rows(Text *text, Table table, Contexts contexts, const Line *lines, size_t n, const Look *look,
                   bint first, size_t limit) noexcept nogil:
    cdef int format = look.format
    cdef Record record
    cdef tsf_hot hot
    cdef tsf_cold cold
    cdef const char *cwd
    cdef size_t i
    table.start_records()
    for i in range(n):
        if table.next_record(lines[i].id, &record, &hot, &cold) < 0:
            if format == FORMAT_JSON:
                if not first:
                    text_add(text, b", ", 2)
                first = False
                unreadable_json(text, lines[i].id)
            elif format == FORMAT_TAB:
                unreadable_tab(text, lines[i].id, look)
            elif lines[i].array != NULL and read_another(table, lines[i].array, &record, &hot, &cold):
                add_array(text, table, &record, lines[i].array, look)
            else:
                unreadable_row(text, lines[i].id)
            continue
        if lines[i].allocating and hot.state == TSF_QUEUED:
            hot.state = TSF_ALLOCATING
        if format == FORMAT_JSON:
            if not first:
                text_add(text, b", ", 2)
            first = False
            cwd = contexts.directory(cold.ctx) if cold.cwd_len == 0 else NULL
            json_object(text, &record, cwd, strlen(cwd) if cwd != NULL else 0, look)
        elif format == FORMAT_TAB:
            tab_row(text, &record, look)
        elif lines[i].array != NULL:
            add_array(text, table, &record, lines[i].array, look)
        else:
            list_row(text, &record, look)
        if limit and text.size > limit:
            return -1
    return 0


cdef void list_tail(Text *text, int format) noexcept nogil:
    if format == FORMAT_JSON:
        text_add(text, b"]\n", 2)


cdef class _Places:
    """The jobs of a table in the order of a list."""
    cdef Place *places
    cdef size_t n, room
    cdef ArrayCounts *arrays       # [0] is not used
    cdef uint32_t n_arrays, arrays_room
    cdef bint gpus                 # one of the jobs needs some

    def __dealloc__(self):
        free(self.places)
        free(self.arrays)

    cdef int read(self, Table table) except -1 nogil:
        cdef tsf_hot hot[GROUP]
        cdef tsf_cold cold[GROUP]
        cdef uint64_t first = table.header.floor & ~<uint64_t> (GROUP - 1)
        cdef int i
        while first < table.header.committed:
            if not table.has_segment(first >> TSF_SEGMENT_BITS):
                first = ((first >> TSF_SEGMENT_BITS) + 1) << TSF_SEGMENT_BITS
                continue
            if self._reserve() < 0:
                with gil:
                    raise MemoryError
            if table.read_group(first, hot) == 0 and table.read_cold_group(first, cold) == 0:
                for i in range(GROUP):
                    self._add(table, first + i, &hot[i], &cold[i])
            first += GROUP
        if self.n:  # an empty list has no place, and qsort is promised one
            qsort(self.places, self.n, sizeof(Place), by_place)
        return 0

    cdef int _reserve(self) noexcept nogil:
        """Room for one group more."""
        cdef void *grown
        if self.room < self.n + GROUP:
            grown = realloc(self.places, (2 * self.room + GROUP) * sizeof(Place))
            if grown == NULL:
                return -1
            self.places = <Place *> grown
            self.room = 2 * self.room + GROUP
        if self.arrays_room < self.n_arrays + 1 + GROUP:
            grown = realloc(self.arrays, (2 * <size_t> self.arrays_room + 1 + GROUP) * sizeof(ArrayCounts))
            if grown == NULL:
                return -1
            self.arrays = <ArrayCounts *> grown
            self.arrays_room = 2 * self.arrays_room + 1 + GROUP
        return 0

    cdef void _add(self, Table table, uint64_t id, tsf_hot *hot, const tsf_cold *cold) noexcept nogil:
        cdef Place *place = &self.places[self.n]
        if id < table.header.floor or id >= table.header.committed or (hot.state == TSF_NONE and hot.check == 0):
            return
        place.id = id
        place.array = 0
        if tsf_hot_check(hot, id) != hot.check and table.read_hot(id, hot) < 0:
            if errno == EIO:                   # damaged, its place is lost: it goes where the server holds it
                place.order = (<uint64_t> 1 << 63) + id
                place.part = 1
                self.n += 1
            return
        if not is_there(hot.state):
            return
        place.order = hot.order
        place.part = 2 if hot.state >= TSF_FINISHED else hot.state == TSF_QUEUED
        self.n += 1
        if tsf_cold_check(cold, id) != cold.check:
            return
        self.gpus = self.gpus or cold.gpus > 0
        if cold.flags & TSF_JOB_ARRAY:
            place.array = self._element(id, hot, cold)

    cdef uint32_t _element(self, uint64_t id, const tsf_hot *hot, const tsf_cold *cold) noexcept nogil:
        """Count it in its array, which is the last one or new."""
        cdef ArrayCounts *array = &self.arrays[self.n_arrays]
        if self.n_arrays == 0 or array.first != id - cold.batch_index:
            self.n_arrays += 1
            array = &self.arrays[self.n_arrays]
            memset(array, 0, sizeof(ArrayCounts))
            array.first = id - cold.batch_index
            array.count = cold.batch_count
            array.index = cold.array_first
        if hot.state == TSF_QUEUED:
            array.queued += 1
        elif hot.state < TSF_FINISHED:
            array.running += 1
        elif hot.state == TSF_FINISHED:
            array.ok += 1
        elif hot.state == TSF_SKIPPED or (hot.state == TSF_CANCELLED and hot.pid == 0):
            array.skipped += 1
        else:
            array.failed += 1
        return self.n_arrays

    cdef int keep(self, list runs) except -1:
        """Of the jobs only those in these runs of ids, which are in order."""
        cdef size_t i, kept = 0
        cdef list firsts = [first for first, _ in runs]
        for i in range(self.n):
            run = bisect_right(firsts, self.places[i].id) - 1
            if run >= 0 and self.places[i].id <= runs[run][1]:
                self.places[kept] = self.places[i]
                kept += 1
        self.n = kept
        return 0

    cdef void collapse(self) noexcept nogil:
        """Of each array only the job that comes first."""
        cdef size_t i, kept = 0
        cdef uint32_t array
        for i in range(self.n):
            array = self.places[i].array
            if array and self.arrays[array].shown:
                continue
            self.arrays[array].shown = True
            self.places[kept] = self.places[i]
            kept += 1
        self.n = kept


cdef uint64_t slots_in_use(Table table, const Place *places, size_t n) noexcept nogil:
    """Of the running ones, which come first."""
    cdef tsf_cold cold
    cdef uint64_t used = 0
    cdef size_t i
    for i in range(n):
        if places[i].part != 0:
            break
        if table.read_cold(places[i].id, &cold) == 0:
            used += cold.slots
    return used


def write_list(int dir_fd, int format, uint32_t columns, bint colour, write, bint terminal=False, list only=None):
    """Write the list of the jobs of the table in the state directory `dir_fd` (taken over), by calls of `write` with
    bytes. format: 0 default, 1 JSON, 2 tab. columns: width to cut to, 0 for none; colour: of the states; terminal:
    people read it; only: the jobs of these ids (selection.select), a row each, None for all. Raises OSError,
    TableError."""
    cdef Table table = Table(dir_fd, False)
    cdef Contexts contexts = Contexts(dir_fd)
    cdef _Places places = _Places()
    cdef Text text
    cdef Look look
    cdef Line lines[ROWS_AT_ONCE]
    cdef size_t at = 0, n, i
    cdef uint64_t used
    text.data = NULL
    text.size = text.room = 0
    text.failed = False
    places.read(table)
    look.format = format
    look.columns = columns
    look.colour = colour
    look.least = list_kind(terminal)
    look.now_ns = tsf_now_ns(CLOCK_REALTIME)
    look.gpus = table.header.gpu_devices > 0 or places.gpus
    used = slots_in_use(table, places.places, places.n)
    if only is not None:
        places.keep(only)
    elif format == FORMAT_DEFAULT and places.n_arrays:
        places.collapse()
    try:
        list_head(&text, &look, used, table.header.slots)
        while True:
            n = min(<size_t> ROWS_AT_ONCE, places.n - at)
            for i in range(n):
                lines[i].id = places.places[at + i].id
                lines[i].array = NULL
                lines[i].allocating = False
                if places.places[at + i].array and format == FORMAT_DEFAULT and only is None:
                    lines[i].array = &places.arrays[places.places[at + i].array]
            with nogil:
                list_rows(&text, table, contexts, lines, n, &look, at == 0, 0)
            at += n
            if at == places.n:
                list_tail(&text, format)
            if text.failed:
                raise MemoryError
            write(text.data[:text.size])
            text.size = 0
            if at == places.n:
                return
    finally:
        text_free(&text)


cdef dict _as_dict(const Record *record, const char *base_cwd):
    cdef size_t i
    cdef const tsf_cold *cold = record.cold
    return {
        "id": record.id,
        "running": record.hot.state == TSF_STARTING or record.hot.state == TSF_RUNNING,
        "argv": record_argv(record)[:cold.argv_len].split(b"\0")[:cold.argc],
        "label": record_label(record)[:cold.label_len],
        "prefix": record_prefix(record)[:cold.prefix_len],
        "cwd": record_cwd(record)[:cold.cwd_len] if cold.cwd_len else (b"/" if base_cwd == NULL else <bytes> base_cwd),
        "after": [record_after(record, i) for i in range(cold.n_after)],
        "after_ok": [record_after_ok(record, i) for i in range(cold.n_after_ok)],
        "slots": cold.slots,
        "gpus": cold.gpus,
        "gpu_share": cold.gpu_share,
        "vram": cold.vram,
        "gpu_exact": record_exact(record)[:cold.gpu_exact_len],
        "no_output": bool(cold.flags & TSF_JOB_NO_OUTPUT),
        "split_stderr": bool(cold.flags & TSF_JOB_SPLIT_STDERR),
        "mail": bool(cold.flags & TSF_JOB_MAIL),
        "gzip": bool(cold.flags & TSF_JOB_GZIP),
        "log": bool(cold.flags & TSF_JOB_LOG),
        "append": bool(cold.flags & TSF_JOB_APPEND),
        "truncate": bool(cold.flags & TSF_JOB_TRUNCATE),
        "array": _array(record),
    }


cdef dict _array(const Record *record):
    """Of an element: its index, the most that may run at once, and the words of all of them. None: it is in none."""
    cdef const tsf_cold *cold = record.cold
    if not cold.flags & TSF_JOB_ARRAY:
        return None
    return {
        "first": record.id - cold.batch_index,
        "index": cold.array_first + cold.batch_index,
        "limit": cold.array_limit,
        "argv": record_argv(record)[:cold.argv_len].split(b"\0")[cold.argc:2 * cold.argc],
    }


def gpu_free_percent(int dir_fd) -> int:
    """--set_gpu_free_perc of the queue; 0: not set. dir_fd: of the state directory, taken over. Raises TableError."""
    return Table(dir_fd, False).header.gpu_free_percent


def live_jobs(int dir_fd):
    """The jobs of the table in the state directory `dir_fd` (taken over) that have not ended, in the order of the
    list, with all that it takes to queue them again. Those whose record is damaged are left out. Raises OSError,
    TableError."""
    cdef Table table = Table(dir_fd, False)
    cdef Contexts contexts = Contexts(dir_fd)
    cdef _Places places = _Places()
    cdef Record record
    cdef tsf_hot hot
    cdef tsf_cold cold
    cdef size_t i
    jobs = []
    places.read(table)
    for i in range(places.n):
        if places.places[i].part == 2:
            break
        if table.read_record(places.places[i].id, &record, &hot, &cold) == 0:
            jobs.append(_as_dict(&record, contexts.directory(cold.ctx)))
    return jobs


cdef bytes _output(const Record *record):
    """The path of the output file; empty if there is none (yet)."""
    cdef Text text
    text.data = NULL
    text.size = text.room = 0
    text.failed = False
    try:
        output_path(&text, record)
        if text.failed:
            raise MemoryError
        return text.data[:text.size] if text.size else b""
    finally:
        text_free(&text)


cdef list _granted(const Record *record):
    """The GPUs that it has or had: index and UUID."""
    cdef uint32_t i
    if record.grant == NULL:
        return []
    return [
        (record_granted(record)[i].index, <bytes> record_granted(record)[i].uuid) for i in range(record.grant.count)
    ]


cdef dict _all_of(const Record *record, const char *base_cwd):
    cdef const tsf_hot *hot = record.hot
    cdef const tsf_cold *cold = record.cold
    cdef bint counted = was_waited_for(hot)
    cdef int code = error_level(hot), number = end_signal(hot)
    return _as_dict(record, base_cwd) | {
        "state": hot.state,
        "end": hot.end,
        "exit_code": code if code >= 0 else None,
        "signal": number if number else None,
        "status": hot.status,
        "pid": hot.pid,
        "attempt": hot.attempt,
        "stage": hot.stage,
        "cause": hot.cause,
        "notes": hot.notes,
        "order": hot.order,
        "enqueue_ns": cold.enqueue_ns,
        "start_ns": hot.start_ns,
        "duration_ns": hot.duration_ns,
        "utime_ms": tsf_hot_utime_ms(hot) if counted else 0,
        "stime_ms": tsf_hot_stime_ms(hot) if counted else 0,
        "maxrss_kb": hot.maxrss_kb if counted else 0,
        "output": _output(record),
        "granted": _granted(record),
        "env_text": record_env_text(record)[:cold.env_text_len],
        "foreground": bool(cold.flags & TSF_JOB_FOREGROUND),
        "volatile": bool(cold.flags & TSF_JOB_VOLATILE),
        "hook": bool(cold.flags & TSF_JOB_HOOK),
        "batch_index": cold.batch_index,
        "batch_count": cold.batch_count,
    }


cdef dict read_job(int dir_fd, uint64_t id):
    cdef Table table = Table(os.dup(dir_fd), False)
    cdef Record record
    cdef tsf_hot hot
    cdef tsf_cold cold
    if table.read_record(id, &record, &hot, &cold) < 0 or not is_there(hot.state):
        return None
    return _all_of(&record, Contexts(dir_fd).directory(cold.ctx))
