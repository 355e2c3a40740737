# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See arrays.pxd."""
cimport cython
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memset

from tsfast.grammar.options cimport (
    ACTION_CANCEL, ACTION_CAT, ACTION_FULL_COMMAND, ACTION_LABEL, ACTION_REMOVE, ACTION_STATE, ACTION_TAIL,
    ACTION_URGENT, ACTION_WAIT, ACTION_WHY, IdRange,
)
from tsfast.scheduler.scheduler cimport Job
from tsfast.base.text cimport text_add, text_char, text_str, text_u64


@cython.final
cdef class Arrays:
    def __init__(self, Scheduler scheduler not None):
        self.scheduler = scheduler

    def __dealloc__(self):
        free(self.spans)

    cdef int add(self, uint64_t first, uint32_t count, uint32_t index) noexcept nogil:
        cdef Span *grown
        cdef size_t room = 2 * self.room if self.room else 16
        if self.n and self.spans[self.n - 1].first == first:
            return 0
        if self.n == self.room:
            self._drop_unknown()
            # At least half of it is free then, so that looking for what is gone costs little for each array.
            if 2 * self.n >= self.room:
                grown = <Span *> realloc(self.spans, room * sizeof(Span))
                if grown == NULL:
                    return -1
                self.spans = grown
                self.room = room
        self.spans[self.n].first = first
        self.spans[self.n].count = count
        self.spans[self.n].index = index
        self.n += 1
        return 0

    cdef void _drop_unknown(self) noexcept nogil:
        cdef size_t i, kept = 0
        cdef uint64_t id
        for i in range(self.n):
            if (self.scheduler.next_id(self.spans[i].first - 1, &id)
                    and id - self.spans[i].first < self.spans[i].count):
                self.spans[kept] = self.spans[i]
                kept += 1
        self.n = kept

    cdef const Span *of(self, uint64_t id) noexcept nogil:
        cdef size_t low = 0, high = self.n, middle
        while low < high:                      # the last one that begins at or before it
            middle = (low + high) // 2
            if self.spans[middle].first <= id:
                low = middle + 1
            else:
                high = middle
        if low == 0 or id - self.spans[low - 1].first >= self.spans[low - 1].count:
            return NULL
        return &self.spans[low - 1]

    # ---- what is meant -----------------------------------------------------------------------------------------
    cdef int resolve(self, Command *command) noexcept nogil:
        cdef const Span *span
        cdef IdRange *named
        cdef size_t i
        if command.n_ranges == 0:
            if self.n == 0:
                return 0
            return self._one_named(command) if command.has_id else self._last_added(command)
        for i in range(command.n_ranges):
            named = &command.ranges[i]
            if named.element:
                if self._element(command, i) < 0:
                    return -1
            elif named.first == named.last:
                span = self.of(named.first)
                if span != NULL and span.first == named.first:
                    named.last = span.first + span.count - 1
        command.id = command.ranges[0].first
        command.has_id = command.n_ranges == 1 and command.ranges[0].last == command.id
        return 0

    cdef int _one_named(self, Command *command) noexcept nogil:
        """Where one job is asked for, and the id is that of an array."""
        cdef const Span *span = self.of(command.id)
        cdef int action = command.action
        cdef uint64_t id = command.id - 1
        if span == NULL or span.first != command.id or span.count == 1:
            return 0
        if action == ACTION_LABEL and self.scheduler.next_id(id, &id) and id - span.first < span.count:
            command.id = id                    # all of them have it
        if action == ACTION_FULL_COMMAND or action == ACTION_CAT or action == ACTION_TAIL:
            return self._name_whole(command, span)
        return 0

    cdef int _name_whole(self, Command *command, const Span *span) noexcept nogil:
        free(command.ranges)
        command.ranges = <IdRange *> malloc(sizeof(IdRange))
        if command.ranges == NULL:
            command.n_ranges = 0
            snprintf(command.error, sizeof(command.error), b"out of memory")
            return -1
        memset(command.ranges, 0, sizeof(IdRange))
        command.n_ranges = 1
        command.ranges.first = span.first
        command.ranges.last = span.first + span.count - 1
        command.id = span.first
        command.has_id = False
        return 0

    cdef int _element(self, Command *command, size_t i) noexcept nogil:
        cdef IdRange *named = &command.ranges[i]
        cdef uint64_t id = named.first
        cdef const Span *span = self.of(id)
        if span == NULL or span.first != id:
            snprintf(command.error, sizeof(command.error), b"job %llu is not an array, or none of it is known any more",
                     <unsigned long long> id)
            return -1
        if named.index < span.index or named.last_index - span.index >= span.count:
            snprintf(command.error, sizeof(command.error), b"array %llu has the elements %u to %u",
                     <unsigned long long> id, span.index, span.index + span.count - 1)
            return -1
        named.first = id + named.index - span.index
        named.last = id + named.last_index - span.index
        return 0

    cdef int _last_added(self, Command *command) noexcept nogil:
        cdef const Job *last = self.scheduler.last_added()
        cdef const Span *span = self.of(last.id) if last != NULL else NULL
        cdef int action = command.action
        if span == NULL or span.count == 1 or not (
                action == ACTION_WAIT or action == ACTION_REMOVE or action == ACTION_CANCEL
                or action == ACTION_URGENT or action == ACTION_STATE or action == ACTION_WHY):
            return 0
        return self._name_whole(command, span)

    cdef int expand(self, uint64_t **ids, size_t *n) noexcept nogil:
        cdef uint64_t *all_ids
        cdef const Span *span
        cdef size_t total = 0, i, k, at = 0
        if self.n == 0:
            return 0
        for i in range(n[0]):
            span = self.of(ids[0][i])
            total += span.count if span != NULL and span.first == ids[0][i] else 1
        if total == n[0]:
            return 0
        all_ids = <uint64_t *> malloc(total * sizeof(uint64_t))
        if all_ids == NULL:
            return -1
        for i in range(n[0]):
            span = self.of(ids[0][i])
            if span == NULL or span.first != ids[0][i]:
                all_ids[at] = ids[0][i]
                at += 1
                continue
            for k in range(span.count):
                all_ids[at] = span.first + k
                at += 1
        free(ids[0])
        ids[0] = all_ids
        n[0] = total
        return 0


# ---- elements -------------------------------------------------------------------------------------------------------

cdef void element_words(Text *text, const char *words, uint32_t argc, uint32_t index,
                        uint32_t *argv_len) noexcept nogil:
    cdef size_t start = text.size
    cdef const char *p = words
    cdef uint32_t left = argc
    while left:
        if p[0] == c'{' and p[1] == c'}':
            text_u64(text, index)
            p += 2
            continue
        if p[0] == 0:
            left -= 1
        text_char(text, p[0])
        p += 1
    text_add(text, words, <size_t> (p - words))
    argv_len[0] = <uint32_t> (text.size - start)


cdef void element_env(Text *text, uint64_t array, uint32_t index, uint32_t *env_len) noexcept nogil:
    cdef size_t start = text.size
    text_str(text, b"TS_ARRAY_ID=")
    text_u64(text, array)
    text_char(text, 0)
    text_str(text, b"TS_ARRAY_INDEX=")
    text_u64(text, index)
    text_char(text, 0)
    env_len[0] = <uint32_t> (text.size - start)
