# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See selection.pxd."""
cimport cython
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport strlen

from tsfast.base.system cimport CLOCK_REALTIME, tsf_now_ns
from tsfast.base.text cimport TSF_CONTROL, text_free
from tsfast.grammar.field_table cimport (
    FIELD_COMMAND, FIELD_CWD, FIELD_END, FIELD_ENDED, FIELD_EXIT, FIELD_GPUS, FIELD_ID, FIELD_LABEL,
    FIELD_PEAK, FIELD_SIGNAL, FIELD_SINCE, FIELD_SLOTS, FIELD_STARTED, FIELD_STATE, FIELD_SUBMITTED, FIELD_TABLE,
    FIELD_TIME, FIELD_UNTIL, FIELD_WAIT, KIND_SPAN, KIND_TIME,
)
from tsfast.grammar.options cimport IdRange, command_free, parse
from tsfast.grammar.selectors cimport EQUAL, Filter, number_fits, text_fits, time_fits
from tsfast.grammar.times cimport read_moment
from tsfast.layout.table cimport TSF_JOB_ARRAY, TSF_QUEUED, TSF_SEGMENT_BITS, tsf_cold, tsf_hot
from tsfast.render.fields cimport output_path, record_words
from tsfast.store.contexts cimport Contexts
from tsfast.store.record cimport (
    Record, end_signal, end_time, error_level, is_there, record_cwd, record_label, time_taken, was_waited_for,
)
from tsfast.store.table cimport GROUP, Table

cdef const uint64_t SECOND = 1000000000
cdef const char *NOTHING = b""


@cython.final
cdef class Selection:
    def __init__(self, int dir_fd, list words not None):
        cdef const char *argv[256]
        cdef size_t i
        cdef const Filter *filter
        self.table = Table(dir_fd, False)
        self.contexts = Contexts(dir_fd)
        self.words = words
        if len(words) > 256:
            raise ValueError("too many words")
        for i in range(<size_t> len(words)):
            argv[i] = words[i]
        if parse(argv, <int> len(words), &self.command) < 0:
            raise ValueError((<bytes> self.command.error).decode(errors="replace"))
        self.parsed = True
        self.now_ns = tsf_now_ns(CLOCK_REALTIME)
        self.states = 0xffffffff
        self.of_states = True
        for i in range(self.command.n_filters):
            filter = &self.command.filters[i]
            if filter.field == FIELD_STATE or filter.field == FIELD_END:
                self.states &= filter.states if filter.compare == EQUAL else ~filter.states
            elif filter.field != FIELD_ID:
                self.of_states = False
            if FIELD_TABLE[filter.field].kind == KIND_TIME or FIELD_TABLE[filter.field].kind == KIND_SPAN:
                read_moment(filter.value, strlen(filter.value), self.now_ns, &self.begin[i], &self.end[i])
        for i in range(self.command.n_ranges):
            if self.command.ranges[i].element:
                self.of_states = False

    def __dealloc__(self):
        text_free(&self.text)
        if self.parsed:
            command_free(&self.command)

    cdef list runs(self):
        """All ids that match, in their order, as pairs: the first and the last of those that follow each other."""
        cdef tsf_hot hot[GROUP]
        cdef uint64_t first = self.table.header.floor & ~<uint64_t> (GROUP - 1), id, begun = 0
        cdef uint64_t wanted_next
        cdef int i
        cdef bint open = False
        found = []
        self.table.start_records()
        while first < self.table.header.committed:
            if not self.table.has_segment(first >> TSF_SEGMENT_BITS):
                wanted_next = ((first >> TSF_SEGMENT_BITS) + 1) << TSF_SEGMENT_BITS
                if open:
                    found.append((begun, first - 1))
                    open = False
                first = wanted_next
                continue
            if self.table.read_group(first, hot) < 0:
                for i in range(GROUP):
                    hot[i].state = 0
            for i in range(GROUP):
                id = first + <uint64_t> i
                if self._chosen(id, &hot[i]):
                    if not open:
                        begun = id
                        open = True
                elif open:
                    found.append((begun, id - 1))
                    open = False
            first += GROUP
        if open:
            found.append((begun, first - 1))
        return found

    cdef bint _chosen(self, uint64_t id, const tsf_hot *seen) noexcept nogil:
        cdef Record record
        cdef tsf_hot hot
        cdef tsf_cold cold
        cdef size_t i
        if id < self.table.header.floor or id >= self.table.header.committed or not is_there(seen.state):
            return False
        if self.command.n_ranges and self.of_states and not self._in_ranges(id, NULL):
            return False
        if not self.states >> seen.state & 1:
            return False
        if self.of_states and self.command.n_ranges == 0:
            for i in range(self.command.n_filters):
                if self.command.filters[i].field == FIELD_ID and not number_fits(&self.command.filters[i], id):
                    return False
            return True
        if self.table.next_record(id, &record, &hot, &cold) < 0:
            return self.command.n_filters == 0 and self._in_ranges(id, NULL)       # damaged: it has its id
        if self.command.n_ranges and not self._in_ranges(id, &cold):
            return False
        for i in range(self.command.n_filters):
            if not self._fits(&record, i):
                return False
        return True

    cdef bint _in_ranges(self, uint64_t id, const tsf_cold *cold) noexcept nogil:
        """cold: NULL where nothing but the id is known."""
        cdef const IdRange *one
        cdef size_t i
        for i in range(self.command.n_ranges):
            one = &self.command.ranges[i]
            if not one.element:
                if one.first <= id <= one.last:
                    return True
            elif (cold != NULL and cold.flags & TSF_JOB_ARRAY and id - cold.batch_index == one.first
                    and one.index <= cold.array_first + cold.batch_index <= one.last_index):
                return True
        return False

    cdef bint _fits(self, const Record *record, size_t i) noexcept nogil:
        cdef const Filter *filter = &self.command.filters[i]
        cdef int field = filter.field
        cdef int64_t submitted = <int64_t> record.cold.enqueue_ns, started = <int64_t> record.hot.start_ns
        cdef uint64_t taken = 0
        cdef int number
        if field == FIELD_STATE or field == FIELD_END:
            return (filter.states >> record.hot.state & 1) == (filter.compare == EQUAL)
        if field == FIELD_ID:
            return number_fits(filter, record.id)
        if field == FIELD_SLOTS:
            return number_fits(filter, record.cold.slots)
        if field == FIELD_GPUS:
            return number_fits(filter, record.cold.gpus)
        if field == FIELD_SUBMITTED:
            return time_fits(filter, submitted, self.begin[i], self.end[i])
        if field == FIELD_STARTED:
            return started != 0 and time_fits(filter, started, self.begin[i], self.end[i])
        if field == FIELD_ENDED:
            taken = end_time(record.hot)
            return taken != 0 and time_fits(filter, <int64_t> taken, self.begin[i], self.end[i])
        if field == FIELD_SINCE:
            taken = end_time(record.hot)
            return taken == 0 or <int64_t> taken >= self.begin[i]
        if field == FIELD_UNTIL:
            return submitted <= self.end[i]
        if field == FIELD_WAIT:
            if started == 0:
                return record.hot.state == TSF_QUEUED and number_fits(filter, self._since(submitted))
            return number_fits(filter, <uint64_t> max(started - submitted, 0) // SECOND)
        if field == FIELD_TIME:
            return time_taken(record.hot, self.now_ns, &taken) and number_fits(filter, taken // SECOND)
        if field == FIELD_EXIT:
            number = error_level(record.hot)
            return number >= 0 and number_fits(filter, <uint64_t> number)
        if field == FIELD_SIGNAL:
            number = end_signal(record.hot)
            return number > 0 and number_fits(filter, <uint64_t> number)
        if field == FIELD_PEAK:
            return was_waited_for(record.hot) and number_fits(filter, <uint64_t> record.hot.maxrss_kb << 10)
        return self._text_fits(filter, record)

    cdef uint64_t _since(self, int64_t moment) noexcept nogil:
        return <uint64_t> max(<int64_t> self.now_ns - moment, 0) // SECOND

    cdef bint _text_fits(self, const Filter *filter, const Record *record) noexcept nogil:
        cdef const char *directory
        if filter.field == FIELD_LABEL:
            return text_fits(filter, record_label(record), record.cold.label_len)
        if filter.field == FIELD_CWD:
            if record.cold.cwd_len:
                return text_fits(filter, record_cwd(record), record.cold.cwd_len)
            directory = self.contexts.directory(record.cold.ctx)
            return directory != NULL and text_fits(filter, directory, strlen(directory))
        self.text.size = 0
        if filter.field == FIELD_COMMAND:
            record_words(&self.text, record, 0, TSF_CONTROL)
        else:
            output_path(&self.text, record)
        if self.text.failed:
            return False
        return text_fits(filter, NOTHING if self.text.size == 0 else self.text.data, self.text.size)


def select(dir_fd: int, words: list[bytes]) -> list[tuple[int, int]]:
    """The jobs in the table of the state directory `dir_fd` (taken over) that the words of a command line choose, by
    their ids: pairs of the first and the last of those that follow each other, in their order. Raises ValueError (a
    wrong command line), OSError, TableError."""
    return Selection(dir_fd, words).runs()
