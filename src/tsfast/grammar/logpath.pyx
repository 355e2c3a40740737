# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See logpath.pxd."""
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, strlen, strncmp, strstr

from tsfast.layout.table cimport TSF_JOB_APPEND, TSF_JOB_ARRAY, TSF_JOB_TRUNCATE
from tsfast.layout.wire cimport tsf_request
from tsfast.base.text cimport text_char, text_free, text_str, text_u64
from tsfast.base.system cimport localtime_r, strftime, time_t, tm


cdef void add_label(Text *text, const char *label) noexcept nogil:
    if label == NULL:
        return
    while label[0]:
        text_char(text, c'_' if label[0] == c'/' else label[0])
        label += 1


cdef void add_date(Text *text, uint64_t now_ns) noexcept nogil:
    cdef time_t seconds = <time_t> (now_ns // 1000000000)
    cdef tm parts
    cdef char[16] date
    if localtime_r(&seconds, &parts) != NULL and strftime(date, sizeof(date), b"%Y-%m-%d", &parts):
        text_str(text, date)


cdef bint is_date(const char *text) noexcept nogil:
    cdef int i
    for i in range(DATE_LENGTH):
        if not (text[i] == c"-" if i == 4 or i == 7 else c"0" <= text[i] <= c"9"):
            return False
    return text[DATE_LENGTH] == 0


cdef bint take_checked(char *env, tsf_request *head, char *date) noexcept nogil:
    """Takes the variable of the client's check, with its day, out of the environment, because the job must not get it.
    False: it is not there."""
    cdef const char *name = b"TSFAST_LOG_CHECKED="
    cdef char *p = env
    cdef const char *end = env + head.env_len
    cdef size_t size
    while p < end:
        size = strlen(p) + 1
        if strncmp(p, name, strlen(name)) == 0:
            if is_date(p + strlen(name)):
                memcpy(date, p + strlen(name), DATE_LENGTH + 1)
            memmove(p, p + size, <size_t> (end - p) - size)
            head.env_len -= <uint32_t> size
            head.env_count -= 1
            return True
        p += size
    return False


cdef bint log_unchecked(const char *template, uint32_t flags, char *env, tsf_request *head, char *date) noexcept nogil:
    if take_checked(env, head, date):
        return False
    if strstr(template, b"{date}") != NULL:
        return True
    return not flags & (TSF_JOB_APPEND | TSF_JOB_TRUNCATE | TSF_JOB_ARRAY) and strstr(template, b"{id}") == NULL


cdef void log_path(Text *text, const char *template, const char *cwd, uint64_t id, const char *label,
                   int64_t index, const char *date, uint64_t now_ns) noexcept nogil:
    if template[0] != c'/':
        text_str(text, cwd)
        text_char(text, c'/')
    while template[0]:
        if strncmp(template, b"{id}", 4) == 0:
            text_u64(text, id)
            template += 4
        elif index >= 0 and strncmp(template, b"{index}", 7) == 0:
            text_u64(text, <uint64_t> index)
            template += 7
        elif strncmp(template, b"{label}", 7) == 0:
            add_label(text, label)
            template += 7
        elif strncmp(template, b"{date}", 6) == 0:
            if date[0]:
                text_str(text, date)
            else:
                add_date(text, now_ns)
            template += 6
        else:
            text_char(text, template[0])
            template += 1


def fill(bytes template not None, bytes cwd not None, uint64_t id, bytes label, uint64_t now_ns) -> bytes:
    """The path as the server computes it. label: None if the job has none."""
    cdef Text text
    cdef const char *label_text = NULL
    if label is not None:
        label_text = label
    text.data = NULL
    text.size = text.room = 0
    text.failed = False
    try:
        log_path(&text, template, cwd, id, label_text, -1, b"", now_ns)
        if text.failed:
            raise MemoryError
        return text.data[:text.size]
    finally:
        text_free(&text)
