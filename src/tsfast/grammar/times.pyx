# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See times.pxd."""
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from tsfast.base.system cimport localtime_r, mktime, time_t, tm
from tsfast.grammar.words cimport is_word

cdef enum:
    MINUTE = 60
    HOUR = 3600
    DAY = 86400

cdef const uint64_t LONGEST = 36525 * 86400
cdef const int64_t SECOND = 1000000000


cdef bint digits(const char *text, size_t size, int *number) noexcept nogil:
    """Exactly `size` digits."""
    cdef size_t i
    number[0] = 0
    for i in range(size):
        if not c"0" <= text[i] <= c"9":
            return False
        number[0] = 10 * number[0] + text[i] - c"0"
    return True


cdef uint64_t unit_of(char letter) noexcept nogil:
    if letter == c"d":
        return DAY
    if letter == c"h":
        return HOUR
    if letter == c"m":
        return MINUTE
    return letter == c"s"


cdef bint read_units(const char *text, size_t size, uint64_t *seconds) noexcept nogil:
    """`1d12h`: each unit once, large ones first."""
    cdef uint64_t number, unit, before = LONGEST
    cdef size_t i = 0, start
    seconds[0] = 0
    while i < size:
        number = 0
        start = i
        while i < size and c"0" <= text[i] <= c"9" and number <= LONGEST:
            number = 10 * number + <uint64_t> (text[i] - c"0")
            i += 1
        if i == start or i == size:
            return False
        unit = unit_of(text[i])
        if unit == 0 or unit >= before or number > LONGEST // unit:
            return False
        before = unit
        seconds[0] += number * unit
        i += 1
    return size > 0 and seconds[0] <= LONGEST


cdef bint read_clock(const char *text, size_t size, int *hour, int *minute, int *second) noexcept nogil:
    """`HH:MM` or `HH:MM:SS`."""
    second[0] = 0
    if size != 5 and size != 8:
        return False
    if not (digits(text, 2, hour) and text[2] == c":" and digits(text + 3, 2, minute)):
        return False
    if size == 8 and not (text[5] == c":" and digits(text + 6, 2, second)):
        return False
    return hour[0] < 24 and minute[0] < 60 and second[0] < 60


cdef bint read_duration(const char *text, size_t size, uint64_t *seconds) noexcept nogil:
    cdef size_t dash = 0
    cdef int days = 0, hour = 0, minute = 0, second = 0
    while dash < size and text[dash] != c"-":
        dash += 1
    if dash == size:
        return read_units(text, size, seconds)
    if dash == 0 or dash > 5 or not digits(text, dash, &days) or size - dash - 1 != 8:
        return False
    if not read_clock(text + dash + 1, 8, &hour, &minute, &second):
        return False
    seconds[0] = <uint64_t> days * DAY + <uint64_t> (hour * HOUR + minute * MINUTE + second)
    return seconds[0] <= LONGEST


cdef bint moment_of(tm *time, int64_t *moment) noexcept nogil:
    """mktime moves days that a month does not have into the next one: such a date is refused."""
    cdef int day = time.tm_mday
    time.tm_isdst = -1
    moment[0] = <int64_t> mktime(time) * SECOND
    return time.tm_mday == day


cdef bint day_of(tm *time, int64_t *begin, int64_t *end) noexcept nogil:
    """From this midnight to the next, which can be 23 or 25 hours later."""
    cdef tm next_day
    time.tm_hour = time.tm_min = time.tm_sec = 0
    next_day = time[0]
    if not moment_of(time, begin):
        return False
    next_day.tm_mday += 1
    next_day.tm_isdst = -1
    end[0] = <int64_t> mktime(&next_day) * SECOND
    return True


cdef bint read_date(const char *text, tm *time) noexcept nogil:
    """`2026-11-30`; the rest of `time` is zero."""
    cdef int year = 0, month = 0, day = 0
    memset(time, 0, sizeof(tm))
    if not (digits(text, 4, &year) and text[4] == c"-" and digits(text + 5, 2, &month) and text[7] == c"-"
            and digits(text + 8, 2, &day)):
        return False
    time.tm_year = year - 1900
    time.tm_mon = month - 1
    time.tm_mday = day
    return year >= 1970 and 1 <= month <= 12 and 1 <= day <= 31


cdef bint read_moment(const char *text, size_t size, uint64_t now_ns, int64_t *begin, int64_t *end) noexcept nogil:
    cdef time_t now = <time_t> (now_ns // <uint64_t> SECOND)
    cdef tm today
    cdef tm time
    cdef uint64_t back = 0
    localtime_r(&now, &today)
    if is_word(text, size, b"now"):
        begin[0] = end[0] = <int64_t> now_ns
        return True
    if is_word(text, size, b"today"):
        return day_of(&today, begin, end)
    if is_word(text, size, b"yesterday"):
        if not day_of(&today, begin, end):
            return False
        now = <time_t> (begin[0] // SECOND) - HOUR
        localtime_r(&now, &time)
        return day_of(&time, begin, end)
    if size > 1 and text[0] == c"-":
        if not read_units(text + 1, size - 1, &back):
            return False
        begin[0] = end[0] = <int64_t> now_ns - <int64_t> back * SECOND
        return True
    if size == 5:
        if not read_clock(text, size, &today.tm_hour, &today.tm_min, &today.tm_sec):
            return False
        if not moment_of(&today, begin):
            return False
        end[0] = begin[0]
        return True
    if size < 10 or not read_date(text, &time):
        return False
    if size == 10:
        return day_of(&time, begin, end)
    if text[10] != c"T" or not read_clock(text + 11, size - 11, &time.tm_hour, &time.tm_min, &time.tm_sec):
        return False
    if not moment_of(&time, begin):
        return False
    end[0] = begin[0]
    return True


def duration(bytes text not None) -> int | None:
    """Seconds, or None if it is not a duration."""
    cdef uint64_t seconds = 0
    return seconds if read_duration(text, <size_t> len(text), &seconds) else None


def moment(bytes text not None, uint64_t now_ns) -> tuple[int, int] | None:
    """Begin and end in nanoseconds since 1970, or None if it is not a moment."""
    cdef int64_t begin = 0, end = 0
    return (begin, end) if read_moment(text, <size_t> len(text), now_ns, &begin, &end) else None
