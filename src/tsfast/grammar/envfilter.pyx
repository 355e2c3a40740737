# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See envfilter.pxd."""
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t
from libc.string cimport memchr, memcmp, memmove, memset, strlen, strncmp

from tsfast.layout.wire cimport tsf_request
from tsfast.base.text cimport text_add, text_char, text_free


cdef const char *closing(const char *p, const char *end) noexcept nogil:
    """The `]` of the set that begins behind `p`, a `[`; NULL if there is none: then it stands for itself."""
    p += 1
    if p < end and p[0] == c'!':
        p += 1
    if p < end and p[0] == c']':                # the first one is a member
        p += 1
    return <const char *> memchr(p, c']', <size_t> (end - p)) if p < end else NULL


cdef bint in_set(const char *p, const char *close, char c) noexcept nogil:
    """Of the characters between `p`, a `[`, and its `]`."""
    cdef unsigned char low, high, wanted = <unsigned char> c
    cdef bint negated = p[1] == c'!', found = False
    p += 2 if negated else 1
    while p < close:
        low = high = <unsigned char> p[0]
        if p + 2 < close and p[1] == c'-':
            high = <unsigned char> p[2]
            p += 2
        found = found or low <= wanted <= high
        p += 1
    return found != negated


cdef bint match_one(const char *p, const char *end, const char *name, const char *name_end) noexcept nogil:
    """One pattern: `*`, `?`, `[...]`, `[!...]`. Only the last `*` is ever gone back to, so the time is bounded by the
    product of the lengths: fnmatch(3) can be kept busy forever."""
    cdef const char *star = NULL
    cdef const char *close = NULL
    cdef const char *retry = NULL
    cdef const char *next_p
    while True:
        if p < end and p[0] == c'*':
            star = p
            retry = name
            p += 1
            continue
        next_p = NULL
        if name == name_end:
            if p == end:
                return True
        elif p < end:
            close = closing(p, end) if p[0] == c'[' else NULL
            if close != NULL:
                next_p = close + 1 if in_set(p, close, name[0]) else NULL
            elif p[0] == c'?' or p[0] == name[0]:
                next_p = p + 1
        if next_p != NULL:
            p = next_p
            name += 1
        elif star != NULL and retry < name_end:
            retry += 1
            name = retry
            p = star + 1
        else:
            return False


cdef bint match_any(const char *patterns, const char *name, size_t size) noexcept nogil:
    """One of the patterns between commas; blanks around them do not count."""
    cdef const char *end = patterns + strlen(patterns)
    cdef const char *begin
    cdef const char *comma
    cdef const char *last
    while patterns < end:
        comma = <const char *> memchr(patterns, c',', <size_t> (end - patterns))
        if comma == NULL:
            comma = end
        begin = patterns
        last = comma
        while begin < last and begin[0] == c' ':
            begin += 1
        while last > begin and (last - 1)[0] == c' ':
            last -= 1
        if begin < last and match_one(begin, last, name, name + size):
            return True
        patterns = comma + 1
    return False


cdef bint needed(const char *name, size_t size) noexcept nogil:
    """Jobs need these to run, or they are tsfast's own."""
    return ((size == 4 and memcmp(name, b"PATH", 4) == 0) or (size == 4 and memcmp(name, b"HOME", 4) == 0)
            or (size == 4 and memcmp(name, b"USER", 4) == 0) or (size > 3 and memcmp(name, b"TS_", 3) == 0))


cdef int patterns_read(EnvPatterns *patterns, const char *env, uint32_t size) noexcept nogil:
    cdef const char *keep = NULL
    cdef const char *drop = NULL
    cdef const char *end = env + size
    cdef const char *p = env
    memset(patterns, 0, sizeof(EnvPatterns))
    while p < end:
        if strncmp(p, b"TS_ENV_", 7) == 0:
            if strncmp(p + 7, b"KEEP=", 5) == 0 and p[12]:
                keep = p + 12
            elif strncmp(p + 7, b"DROP=", 5) == 0 and p[12]:
                drop = p + 12
        p += strlen(p) + 1
    patterns.keep = keep != NULL
    patterns.drop = drop != NULL
    if keep == NULL and drop == NULL:
        return 0
    if keep != NULL:
        text_add(&patterns.text, keep, strlen(keep))
    text_char(&patterns.text, 0)
    patterns.drop_at = patterns.text.size
    if drop != NULL:
        text_add(&patterns.text, drop, strlen(drop))
    text_char(&patterns.text, 0)
    if patterns.text.failed:
        text_free(&patterns.text)
        return -1
    return 0


cdef void patterns_apply(const EnvPatterns *patterns, char *env, uint32_t *size, uint32_t *count) noexcept nogil:
    cdef char *end = env + size[0]
    cdef char *p = env
    cdef char *to = env
    cdef const char *equals
    cdef size_t length, name
    if not (patterns.keep or patterns.drop):
        return
    while p < end:
        length = strlen(p) + 1
        equals = <const char *> memchr(p, c'=', length - 1)
        name = <size_t> (equals - p) if equals != NULL else length - 1
        if (match_any(patterns.text.data + patterns.drop_at, p, name)
                or not (not patterns.keep or needed(p, name) or match_any(patterns.text.data, p, name))):
            size[0] -= <uint32_t> length
            count[0] -= 1
        else:
            memmove(to, p, length)
            to += length
        p += length


cdef void patterns_free(EnvPatterns *patterns) noexcept nogil:
    text_free(&patterns.text)


cdef int filter_environment(char *env, tsf_request *head) noexcept nogil:
    cdef EnvPatterns patterns
    if patterns_read(&patterns, env, head.env_len) < 0:
        return -1
    patterns_apply(&patterns, env, &head.env_len, &head.env_count)
    patterns_free(&patterns)
    return 0


def matches(bytes patterns not None, bytes name not None) -> bool:
    """Does one of the comma-separated patterns match?"""
    return match_any(patterns, name, <size_t> len(name))
