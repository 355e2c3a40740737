# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See fields.pxd."""
from libc.stdint cimport uint32_t, uint64_t

from tsfast.base.text cimport Text, text_add, text_char, text_quoted, text_str, text_u64, tsf_kind
from tsfast.layout.gpus cimport TSF_GPU_WHOLE
from tsfast.layout.table cimport (
    TSF_ALLOCATING, TSF_CANCELLED, TSF_JOB_GZIP, TSF_JOB_LOG, TSF_QUEUED, TSF_RUNNING, TSF_SKIPPED, TSF_STARTING,
    tsf_cold,
)
from tsfast.store.record cimport Record, record_after, record_argv, record_granted, record_prefix, suffix_length

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char *string, size_t most)

cdef enum:
    LONG_RUN = 5              # ids that follow each other, as those of an array, are shown as 3-7


cdef const char *state_name(int state) noexcept nogil:
    if state == TSF_QUEUED:
        return b"queued"
    if state == TSF_ALLOCATING:
        return b"allocating"
    if state == TSF_STARTING or state == TSF_RUNNING:
        return b"running"
    if state == TSF_SKIPPED:
        return b"skipped"
    if state == TSF_CANCELLED:
        return b"cancelled"
    return b"finished"


cdef void record_gpu_ids(Text *text, const Record *record, char between) noexcept nogil:
    cdef uint32_t i
    if record.grant == NULL:
        return
    for i in range(record.grant.count):
        if i:
            text_char(text, between)
        text_u64(text, record_granted(record)[i].index)


cdef void part_text(Text *text, uint32_t thousandths) noexcept nogil:
    """A part of one: 0.5, 0.125."""
    cdef uint32_t digit = 100
    text_str(text, b"0.")
    while thousandths:
        text_char(text, <char> (c"0" + thousandths // digit))
        thousandths %= digit
        digit //= 10


cdef void memory_text(Text *text, uint64_t size) noexcept nogil:
    """In the largest unit of which it is a whole number."""
    cdef const char *unit = b"KMGT"
    size >>= 10
    while size and size % 1024 == 0 and unit[0] != c"T":
        size >>= 10
        unit += 1
    text_u64(text, size)
    text_char(text, unit[0])


cdef void record_gpus(Text *text, const Record *record) noexcept nogil:
    cdef const tsf_cold *cold = record.cold
    if cold.gpus and cold.gpu_share and cold.gpu_share < <uint32_t> TSF_GPU_WHOLE:
        part_text(text, cold.gpu_share)
    elif cold.gpus and cold.vram:
        if cold.gpus > 1:
            text_u64(text, cold.gpus)
            text_char(text, c"x")
        memory_text(text, cold.vram)
    else:
        text_u64(text, cold.gpus)


cdef void output_path(Text *text, const Record *record) noexcept nogil:
    cdef size_t length = suffix_length(record)
    if length:
        text_add(text, record_prefix(record), record.cold.prefix_len)
        if not record.cold.flags & TSF_JOB_LOG:
            text_char(text, c".")
            text_add(text, record.hot.suffix, length)
            if record.cold.flags & TSF_JOB_GZIP:
                text_str(text, b".gz")


cdef bint beyond(const Text *text, size_t limit) noexcept nogil:
    return limit != 0 and text.size > limit


cdef size_t clipped(const Text *text, const char *data, size_t size, size_t limit) noexcept nogil:
    cdef size_t most
    if limit == 0:
        return size
    # A character has up to 4 bytes: without its last one the text is beyond the limit nevertheless
    most = (limit - text.size if text.size < limit else 0) + 4
    if size <= most:
        return size
    while most > 1 and (<unsigned char>data[most] & 0xc0) == 0x80:
        most -= 1
    return most


cdef void words_from(Text *text, const Record *record, uint32_t first, size_t limit, tsf_kind least) noexcept nogil:
    """argc words, without those before the first."""
    cdef const char *word = record_argv(record)
    cdef const char *end = word + record.cold.argv_len
    cdef size_t length
    cdef uint32_t i, _before
    for _before in range(first):
        if word < end:
            word += strnlen(word, <size_t>(end - word)) + 1
    for i in range(record.cold.argc):
        if word >= end or beyond(text, limit):
            break
        length = strnlen(word, <size_t>(end - word))
        if i:
            text_char(text, c" ")
        text_quoted(text, word, clipped(text, word, length, limit), least)
        word += length + 1


cdef void record_words(Text *text, const Record *record, size_t limit, tsf_kind least) noexcept nogil:
    words_from(text, record, 0, limit, least)


cdef void record_pattern(Text *text, const Record *record, size_t limit, tsf_kind least) noexcept nogil:
    words_from(text, record, record.cold.argc, limit, least)


cdef void command_words(Text *text, const Record *record, tsf_kind least) noexcept nogil:
    record_words(text, record, 0, least)


cdef void record_ids(Text *text, const Record *record, size_t limit) noexcept nogil:
    cdef size_t i, count = <size_t>record.cold.n_after + record.cold.n_after_ok
    for i in range(count):
        if beyond(text, limit):
            break
        if i:
            text_char(text, c",")
        text_u64(text, record_after(record, i))


cdef size_t run_of_ids(const Record *record, size_t i, size_t count) noexcept nogil:
    """How many of them from this one on follow each other."""
    cdef size_t n = 1
    while i + n < count and record_after(record, i + n) == record_after(record, i) + n:
        n += 1
    return n


cdef void record_dependencies(Text *text, const Record *record, size_t limit) noexcept nogil:
    cdef size_t i = 0, count = <size_t>record.cold.n_after + record.cold.n_after_ok, n
    if count == 0:
        return
    text_char(text, c"[")
    while i < count and not beyond(text, limit):
        if i:
            text_char(text, c",")
        text_u64(text, record_after(record, i))
        n = run_of_ids(record, i, count)
        if n < LONG_RUN:
            i += 1
            continue
        text_char(text, c"-")
        text_u64(text, record_after(record, i + n - 1))
        i += n
    text_str(text, b"]&& ")
