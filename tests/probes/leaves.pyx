# cython: language_level=3, auto_pickle=False
"""Leaves of the compiled code that nothing in Python calls, as tests see them. support/probes.py compiles this file."""
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from tsfast.base.idmap cimport IdMap, idmap_del, idmap_free, idmap_get, idmap_home, idmap_put, not_there
from tsfast.base.limits cimport EVENTS_KEPT
from tsfast.base.text cimport Text, text_free
from tsfast.grammar.logpath cimport DATE_LENGTH, log_path, log_unchecked
from tsfast.grammar.options cimport Command, command_free, parse
from tsfast.layout.wire cimport tsf_event, tsf_request
from tsfast.lifecycle.arrays cimport Arrays, Span, element_env, element_words
from tsfast.lifecycle.events cimport Events
from tsfast.scheduler.scheduler cimport Scheduler

KEPT = EVENTS_KEPT


cdef class IdMapProbe:
    """A map as the scheduler and the contexts have it."""
    cdef IdMap map

    def __dealloc__(self):
        idmap_free(&self.map)

    def __len__(self):
        return self.map.used

    def room(self) -> int:
        return self.map.room

    def put(self, uint64_t key, uint64_t value):
        if idmap_put(&self.map, key, value) < 0:
            raise MemoryError

    def get(self, uint64_t key):
        cdef uint64_t value = idmap_get(&self.map, key)
        return None if value == not_there() else value

    def delete(self, uint64_t key):
        idmap_del(&self.map, key)

    def home(self, uint64_t key) -> int:
        """Where the map looks for it first."""
        return idmap_home(&self.map, key)


def filled_log_path(bytes template not None, bytes cwd not None, uint64_t id, bytes label, index, bytes date not None,
                    uint64_t now_ns) -> bytes:
    cdef Text text
    cdef const char *label_text = NULL
    if label is not None:
        label_text = label
    text.data = NULL
    text.size = text.room = 0
    text.failed = False
    try:
        log_path(&text, template, cwd, id, label_text, -1 if index is None else index, date, now_ns)
        if text.failed:
            raise MemoryError
        return text.data[:text.size]
    finally:
        text_free(&text)


def looked_at(bytes template not None, uint32_t flags, list variables not None):
    """Whether the path is still to be looked at, what is left of the variables, and the day."""
    cdef tsf_request head
    cdef bytes given = b"".join(text + b"\0" for text in variables)
    cdef char *block = <char *> malloc(len(given) + 1)
    cdef char[DATE_LENGTH + 1] date
    cdef bint unchecked
    if block == NULL:
        raise MemoryError
    try:
        memcpy(block, <const char *> given, len(given))
        head.env_len = <uint32_t> len(given)
        head.env_count = <uint32_t> len(variables)
        date[0] = 0
        unchecked = log_unchecked(template, flags, block, &head, date)
        left = block[:head.env_len].split(b"\0")[:-1]
        if len(left) != head.env_count:
            raise AssertionError(f"{head.env_count} variables are said to be left of {left}")
        return bool(unchecked), left, <bytes> date
    finally:
        free(block)


cdef class ArraysProbe:
    """The arrays of a queue whose jobs wait."""
    cdef Scheduler scheduler
    cdef Arrays arrays

    def __init__(self):
        self.scheduler = Scheduler(1)
        self.arrays = Arrays(self.scheduler)

    def job(self, uint64_t id):
        if self.scheduler.add(id, 1, 0, NULL, 0, NULL, 0, 0) != 0:
            raise AssertionError(f"job {id} was not added")

    def array(self, uint64_t first, uint32_t count, uint32_t index=1, bint jobs=True):
        if self.arrays.add(first, count, index) < 0:
            raise MemoryError
        if jobs:
            for id in range(first, first + count):
                self.job(id)

    def remove(self, uint64_t id):
        if self.scheduler.remove(id) < 0:
            raise AssertionError(f"job {id} was not removed")

    def spans(self) -> int:
        """How many are kept."""
        return self.arrays.n

    def of(self, uint64_t id):
        cdef const Span *span = self.arrays.of(id)
        return None if span == NULL else (span.first, span.count, span.index)

    def resolve(self, *words):
        """The ranges of ids that a command line means, and the one id if it is one."""
        cdef const char *argv[16]
        cdef Command command
        cdef list kept = [word.encode() for word in words]
        cdef int i
        for i in range(len(kept)):
            argv[i] = <bytes> kept[i]
        if parse(argv, len(kept), &command) < 0:
            raise ValueError(command.error.decode())
        try:
            if self.arrays.resolve(&command) < 0:
                raise LookupError(command.error.decode())
            ranges = [(command.ranges[i].first, command.ranges[i].last) for i in range(command.n_ranges)]
            return ranges, command.id if command.has_id else None
        finally:
            command_free(&command)

    def expand(self, ids):
        cdef size_t n = len(ids), i
        cdef uint64_t *all_ids = <uint64_t *> malloc((n + 1) * sizeof(uint64_t))
        if all_ids == NULL:
            raise MemoryError
        for i in range(n):
            all_ids[i] = ids[i]
        try:
            if self.arrays.expand(&all_ids, &n) < 0:
                raise MemoryError
            return [all_ids[i] for i in range(n)]
        finally:
            free(all_ids)


def words_of_element(list words not None, uint32_t index):
    """The words of an element, and behind them those that were typed."""
    cdef Text text
    cdef uint32_t size = 0
    cdef bytes given = b"".join(word + b"\0" for word in words)
    text.data = NULL
    text.size = text.room = 0
    text.failed = False
    try:
        element_words(&text, given, <uint32_t> len(words), index, &size)
        if text.failed or size != text.size:
            raise AssertionError("the size is not that of the text")
        return (<bytes> text.data[:text.size]).split(b"\0")[:-1]
    finally:
        text_free(&text)


def variables_of_element(uint64_t array, uint32_t index):
    cdef Text text
    cdef uint32_t size = 0
    text.data = NULL
    text.size = text.room = 0
    text.failed = False
    try:
        element_env(&text, array, index, &size)
        if text.failed or size != text.size:
            raise AssertionError("the size is not that of the text")
        return (<bytes> text.data[:text.size]).split(b"\0")[:-1]
    finally:
        text_free(&text)


cdef class RingProbe:
    """The newest changes of jobs."""
    cdef Events events

    def __init__(self):
        self.events = Events()

    def add(self, uint64_t id, int state):
        self.events.add(id, state)

    def base(self) -> int:
        return self.events.base

    def last(self) -> int:
        return self.events.last

    def lost(self) -> int:
        return self.events.lost()

    def copy(self, uint64_t since, size_t room):
        """(number, id, state) of the events after `since`."""
        cdef tsf_event *to = <tsf_event *> malloc((room + 1) * sizeof(tsf_event))
        cdef size_t n, i
        if to == NULL:
            raise MemoryError
        try:
            n = self.events.copy(since, to, room)
            return [(to[i].seq, to[i].id, to[i].state) for i in range(n)]
        finally:
            free(to)
