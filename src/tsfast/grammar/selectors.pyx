# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See selectors.pxd."""
from libc.stdint cimport int64_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memchr, memcmp, memset, strchr, strlen

from tsfast.base.text cimport tsf_show
from tsfast.grammar.field_table cimport (
    FIELD_TABLE, FIELDS, KIND_DURATION, KIND_NUMBER, KIND_SIZE, KIND_SPAN, KIND_STATE, KIND_TEXT, KIND_TIME,
    field_named, states_of,
)
from tsfast.grammar.numbers cimport read_number, read_size
from tsfast.grammar.times cimport read_duration, read_moment

cdef enum:
    SHOWN = 40                # bytes of a wrong value that an error repeats

cdef const uint64_t MAX_NUMBER = 0x7fffffffffffffff


cdef size_t name_length(const char *word) noexcept nogil:
    cdef size_t i = 0
    while c"a" <= word[i] <= c"z" or c"A" <= word[i] <= c"Z" or word[i] == c"_" or (i and word[i] == c"-"):
        i += 1
    return i


cdef size_t operator_at(const char *text, int *compare) noexcept nogil:
    """How long it is, 0: there is none."""
    cdef bint equals = text[0] != 0 and text[1] == c"="
    if text[0] == c"=":
        compare[0] = EQUAL
        return 1
    if text[0] == c"~":
        compare[0] = CONTAINS
        return 1
    if text[0] == c"!" and equals:
        compare[0] = UNEQUAL
        return 2
    if text[0] == c"<":
        compare[0] = AT_MOST if equals else LESS
        return 1 + equals
    if text[0] == c">":
        compare[0] = AT_LEAST if equals else GREATER
        return 1 + equals
    return 0


cdef bint is_filter(const char *word) noexcept nogil:
    cdef size_t size = name_length(word)
    cdef int compare
    return size > 0 and operator_at(word + size, &compare) > 0


cdef int wrong(char *error, size_t room, const char *value, size_t size, const char *what) noexcept nogil:
    cdef char[SHOWN + 4] word
    word[tsf_show(word, SHOWN, value, size)] = 0
    snprintf(error, room, "'%s' %s", <char *>word, what)
    return -1


cdef int unknown_field(char *error, size_t room, const char *word, size_t size) noexcept nogil:
    cdef size_t used
    cdef int i
    wrong(error, room, word, size, b"is not a field:")
    used = strlen(error)
    for i in range(<int> FIELDS):
        if used < room:
            used += <size_t>snprintf(error + used, room - used, " %s", FIELD_TABLE[i].name)
    return -1


cdef bint compares(int kind, int compare) noexcept nogil:
    """Whether fields of the kind can be compared so."""
    if kind == KIND_TEXT:
        return compare == EQUAL or compare == UNEQUAL or compare == CONTAINS
    if kind == KIND_STATE:
        return compare == EQUAL or compare == UNEQUAL
    if kind == KIND_SPAN:
        return compare == EQUAL
    return compare != CONTAINS


cdef unsigned int read_states(const Filter *filter) noexcept nogil:
    """`failed,killed`; 0: one of the words is none."""
    cdef unsigned int states = 0, more
    cdef const char *word = filter.value
    cdef const char *end
    while True:
        end = strchr(word, c",")
        more = states_of(filter.field, word, strlen(word) if end == NULL else <size_t>(end - word))
        if more == 0:
            return 0
        states |= more
        if end == NULL:
            return states
        word = end + 1


cdef int read_filter(const char *word, Filter *filter, char *error, size_t room) noexcept nogil:
    cdef size_t name = name_length(word), size
    cdef int compare = EQUAL, kind
    cdef int64_t begin, end
    memset(filter, 0, sizeof(Filter))
    filter.value = word + name + operator_at(word + name, &compare)
    filter.compare = compare
    filter.field = field_named(word, name)
    if filter.field < 0:
        return unknown_field(error, room, word, name)
    kind = FIELD_TABLE[filter.field].kind
    size = strlen(filter.value)
    if not compares(kind, compare):
        return wrong(error, room, word, strlen(word),
                     b"cannot be compared so (texts: = != ~, states: = !=, since and until: =)")
    if kind == KIND_NUMBER:
        if not read_number(filter.value, size, MAX_NUMBER, &filter.number):
            return wrong(error, room, filter.value, size, b"is not a whole number")
    elif kind == KIND_SIZE:
        if not read_size(filter.value, &filter.number):
            return wrong(error, room, filter.value, size, b"is not a size of memory (such as 20G or 512M)")
    elif kind == KIND_DURATION:
        if not read_duration(filter.value, size, &filter.number):
            return wrong(error, room, filter.value, size, b"is not a duration (such as 90s, 1h30m or 1-12:00:00)")
    elif kind == KIND_STATE:
        filter.states = read_states(filter)
        if filter.states == 0:
            return wrong(error, room, filter.value, size,
                         b"is not a state (queued running finished done failed killed cancelled skipped lost "
                         b"not-startable)")
    elif kind == KIND_TIME or kind == KIND_SPAN:
        if not read_moment(filter.value, size, 0, &begin, &end):
            return wrong(error, room, filter.value, size,
                         b"is not a time (such as now, today, -2h, 14:00, 2026-11-30 or 2026-11-30T14:00)")
    return 0


cdef bint number_fits(const Filter *filter, uint64_t number) noexcept nogil:
    if filter.compare == EQUAL:
        return number == filter.number
    if filter.compare == UNEQUAL:
        return number != filter.number
    if filter.compare == LESS:
        return number < filter.number
    if filter.compare == GREATER:
        return number > filter.number
    return number <= filter.number if filter.compare == AT_MOST else number >= filter.number


cdef bint time_fits(const Filter *filter, int64_t at, int64_t begin, int64_t end) noexcept nogil:
    """A day is compared as a whole: later than it is after its end."""
    cdef bint within = begin <= at < end or at == begin
    if filter.compare == EQUAL:
        return within
    if filter.compare == UNEQUAL:
        return not within
    if filter.compare == LESS:
        return at < begin
    if filter.compare == AT_LEAST:
        return at >= begin
    if filter.compare == GREATER:
        return at >= end and not within
    return at < end or within


cdef const char *found(const char *text, size_t size, const char *part, size_t length) noexcept nogil:
    """Where `part` begins in `text`, NULL: nowhere."""
    cdef const char *at = text
    cdef const char *last
    if length == 0:
        return text
    if length > size:
        return NULL
    last = text + (size - length)
    while at <= last:
        at = <const char *>memchr(at, part[0], <size_t>(last - at) + 1)
        if at == NULL:
            return NULL
        if memcmp(at, part, length) == 0:
            return at
        at += 1
    return NULL


cdef bint pattern_fits(const char *pattern, const char *text, size_t size) noexcept nogil:
    """`*` stands for any characters; the pattern has one at least."""
    cdef const char *star = strchr(pattern, c"*")
    cdef const char *at
    cdef size_t part = <size_t>(star - pattern)
    if part > size or memcmp(pattern, text, part) != 0:
        return False
    text += part
    size -= part
    pattern = star + 1
    star = strchr(pattern, c"*")
    while star != NULL:
        part = <size_t>(star - pattern)
        at = found(text, size, pattern, part)
        if at == NULL:
            return False
        size -= <size_t>(at - text) + part
        text = at + part
        pattern = star + 1
        star = strchr(pattern, c"*")
    part = strlen(pattern)
    return part <= size and memcmp(pattern, text + (size - part), part) == 0


cdef bint text_fits(const Filter *filter, const char *text, size_t size) noexcept nogil:
    cdef size_t length = strlen(filter.value)
    cdef bint fits
    if filter.compare == CONTAINS:
        return found(text, size, filter.value, length) != NULL
    if strchr(filter.value, c"*") != NULL:
        fits = pattern_fits(filter.value, text, size)
    else:
        fits = length == size and memcmp(filter.value, text, size) == 0
    return fits == (filter.compare == EQUAL)
