# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See rows.pxd. Foreign bytes reach a text only through `Text`: a row is one line whatever they are."""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memset, strlen

from tsfast.base.text cimport (
    TSF_DIRECTION, TSF_HIDDEN, Text, bytes_of_columns, display_columns, text_char, text_cut, text_free, text_i64,
    text_oneline, text_pad, text_str, text_u64, tsf_kind,
)
from tsfast.layout.table cimport TSF_JOB_NO_OUTPUT, TSF_QUEUED, TSF_SKIPPED, tsf_hot
from tsfast.render.fields cimport (
    beyond, clipped, command_words, output_path, record_dependencies, record_gpus, record_ids, record_pattern,
    record_words, state_name,
)
from tsfast.store.record cimport Record, error_level, has_level, record_label, suffix_length, time_taken

cdef enum:
    OUTPUT_COLUMNS = 20       # a longer path is cut to OUTPUT_KEPT columns and "..."
    OUTPUT_KEPT = 15
    COLOUR_COLUMNS = 32       # a narrower terminal gets no colours: the cut could fall into one
    BYTES_PER_COLUMN = 16     # more of a text is not looked at for a line that is cut anyway


cdef char scaled(uint64_t taken_ns, double *value) noexcept nogil:
    """The time in the largest unit of which it is more than one, and that unit."""
    cdef double seconds = <double>taken_ns / 1e9
    if seconds <= 60:
        value[0] = seconds
        return c"s"
    if seconds <= 3600:
        value[0] = seconds / 60
        return c"m"
    if seconds <= 86400:
        value[0] = seconds / 3600
        return c"h"
    value[0] = seconds / 86400
    return c"d"


cdef void pad_from(Text *text, size_t start, size_t columns) noexcept nogil:
    """Fills what was added since `start` up to that width, and adds the space between two fields."""
    cdef size_t used = display_columns(text.data + start, text.size - start) if text.size > start else 0
    text_pad(text, (columns - used if used < columns else 0) + 1)


cdef tsf_kind list_kind(bint terminal) noexcept nogil:
    return TSF_HIDDEN if terminal else TSF_DIRECTION


cdef void add_output(Text *text, const Record *record, tsf_kind least) noexcept nogil:
    """What the list shows in place of a path, or the path."""
    cdef Text path
    if record.hot.state == TSF_SKIPPED:
        text_str(text, b"(no output)")
    elif record.cold.flags & TSF_JOB_NO_OUTPUT:
        text_str(text, b"stdout")
    elif suffix_length(record) == 0:
        text_str(text, b"(no output)" if has_level(record.hot) else b"(file)")
    else:
        memset(&path, 0, sizeof(path))
        output_path(&path, record)
        text_oneline(text, path.data, path.size, least)
        text.failed = text.failed or path.failed
        text_free(&path)


cdef void add_level(Text *text, const Record *record) noexcept nogil:
    if has_level(record.hot):
        text_i64(text, error_level(record.hot))


cdef void cut_line(Text *text, size_t start, size_t columns, bint forced) noexcept nogil:
    """Makes the text from `start` on fit; `forced`: it goes on beyond what was written."""
    cdef size_t size
    if text.size <= start:
        return
    size = text.size - start
    if not forced and bytes_of_columns(text.data + start, size, columns) == size:
        return
    if columns > 3:
        text_cut(text, start + bytes_of_columns(text.data + start, size, columns - 3))
        text_str(text, b"...")
    else:
        text_cut(text, start + bytes_of_columns(text.data + start, size, columns))


cdef void list_header(Text *text, const Look *look, uint64_t used, uint32_t slots) noexcept nogil:
    cdef size_t start = text.size
    cdef char[128] line
    snprintf(line, sizeof(line), "%-4s %-10s %-20s %-8s %-6s %s%s [run=", b"ID", b"State", b"Output", b"E-Level",
             b"Time", <const char *> (b"GPUs  " if look.gpus else b""), b"Command")
    text_str(text, line)
    text_u64(text, used)
    text_char(text, c"/")
    text_u64(text, slots)
    text_str(text, b"]")
    if look.columns:
        cut_line(text, start, look.columns, False)
    text_char(text, c"\n")


cdef const char *state_colour(const tsf_hot *hot) noexcept nogil:
    if hot.state == TSF_QUEUED:
        return b"\x1b[2m"         # dim
    if has_level(hot):
        return b"\x1b[32m" if error_level(hot) == 0 else b"\x1b[31m"
    return b"\x1b[31m" if hot.state == TSF_SKIPPED else b"\x1b[33m"


cdef size_t add_state(Text *text, size_t *start, const char *name, const char *colour, const Look *look) noexcept nogil:
    """How many columns of the line lie before its new start: escapes take no columns, so what is cut and counted begins
    after them."""
    cdef size_t field = text.size, used
    if look.colour and (look.columns == 0 or look.columns >= <uint32_t> COLOUR_COLUMNS):
        used = text.size - start[0] + 11
        text_str(text, colour)
        text_str(text, name)
        text_str(text, b"\x1b[0m")
        text_pad(text, 11 - strlen(name))
        start[0] = text.size
        return used
    text_str(text, name)
    pad_from(text, field, 10)
    return 0


cdef void list_row(Text *text, const Record *record, const Look *look) noexcept nogil:
    cdef size_t start = text.size, field, limit = 0, length, used = 0
    cdef uint32_t columns = look.columns
    cdef uint64_t taken = 0
    cdef double value = 0
    cdef char[64] number
    cdef char unit
    text_u64(text, record.id)
    pad_from(text, start, 4)

    used = add_state(text, &start, state_name(record.hot.state), state_colour(record.hot), look)

    field = text.size
    add_output(text, record, look.least)
    length = text.size - field
    if length and display_columns(text.data + field, length) > OUTPUT_COLUMNS:
        text_cut(text, field + bytes_of_columns(text.data + field, length, OUTPUT_KEPT))
        text_str(text, b"...")
    pad_from(text, field, OUTPUT_COLUMNS)

    field = text.size
    add_level(text, record)
    pad_from(text, field, 8)

    if time_taken(record.hot, look.now_ns, &taken):
        unit = scaled(taken, &value)
        snprintf(number, sizeof(number), "%5.2f%c ", value, <int>unit)
        text_str(text, number)
    else:
        text_pad(text, 7)

    if look.gpus:
        field = text.size
        record_gpus(text, record)
        pad_from(text, field, 5)

    if columns:
        limit = text.size + <size_t>columns * BYTES_PER_COLUMN
    record_dependencies(text, record, limit)
    if record.cold.label_len:
        text_char(text, c"[")
        text_oneline(text, record_label(record), clipped(text, record_label(record), record.cold.label_len, limit),
                     look.least)
        text_str(text, b"]")
    record_words(text, record, limit, look.least)
    if columns:
        cut_line(text, start, columns - used, beyond(text, limit))
    text_char(text, c"\n")


cdef void array_counts(Text *text, const ArrayCounts *counts) noexcept nogil:
    cdef const char *between = b"("
    cdef const char *names[7]
    cdef uint32_t numbers[7]
    cdef uint32_t known = (counts.queued + counts.running + counts.ok + counts.failed + counts.skipped
                           + counts.unreadable + counts.removed)
    cdef int i
    names[:] = [b" queued", b" running", b" ok", b" failed", b" skipped", b" unreadable", b" forgotten"]
    numbers[:] = [counts.queued, counts.running, counts.ok, counts.failed, counts.skipped, counts.unreadable,
                  counts.count - known if counts.count > known else 0]
    for i in range(7):
        if numbers[i]:
            text_str(text, between)
            text_u64(text, numbers[i])
            text_str(text, names[i])
            between = b", "
    text_char(text, c")")


cdef void array_row(Text *text, const Record *record, const ArrayCounts *counts, const Look *look) noexcept nogil:
    cdef size_t start = text.size, field, limit = 0, used
    cdef const char *state = b"finished"
    cdef const char *colour = b"\x1b[32m"
    text_u64(text, counts.first)
    text_char(text, c"[")
    text_u64(text, counts.index)
    if counts.count > 1:
        text_char(text, c"-")
        text_u64(text, <uint64_t> counts.index + counts.count - 1)
    text_char(text, c"]")
    pad_from(text, start, 4)

    if counts.running:
        state = b"running"
        colour = b"\x1b[33m"
    elif counts.queued:
        state = b"queued"
        colour = b"\x1b[2m"
    elif counts.failed or counts.skipped:
        colour = b"\x1b[31m"
        if counts.ok + counts.failed == 0:
            state = b"skipped"
    used = add_state(text, &start, state, colour, look)

    field = text.size
    if record.cold.flags & TSF_JOB_NO_OUTPUT:
        text_str(text, b"stdout")
    else:
        text_str(text, b"(files)")
    pad_from(text, field, OUTPUT_COLUMNS)
    text_pad(text, 9 + 7)                    # neither error level nor time
    if look.gpus:
        field = text.size
        record_gpus(text, record)
        pad_from(text, field, 5)

    if look.columns:
        limit = text.size + <size_t> look.columns * BYTES_PER_COLUMN
    array_counts(text, counts)
    text_char(text, c" ")
    record_dependencies(text, record, limit)
    if record.cold.label_len:
        text_char(text, c"[")
        text_oneline(text, record_label(record), clipped(text, record_label(record), record.cold.label_len, limit),
                     look.least)
        text_str(text, b"]")
    record_pattern(text, record, limit, look.least)
    if look.columns:
        cut_line(text, start, look.columns - used, beyond(text, limit))
    text_char(text, c"\n")


cdef void unreadable_row(Text *text, uint64_t id) noexcept nogil:
    text_u64(text, id)
    text_str(text, b"    unreadable\n")


cdef void unreadable_tab(Text *text, uint64_t id, const Look *look) noexcept nogil:
    text_u64(text, id)
    text_str(text, b"\tunreadable\t\t\t\t\t\t\t")
    text_str(text, b"\t\n" if look.gpus else b"\n")


cdef void tab_row(Text *text, const Record *record, const Look *look) noexcept nogil:
    cdef uint64_t taken = 0
    cdef double value = 0
    cdef char[64] number
    cdef char unit
    text_u64(text, record.id)
    text_char(text, c"\t")
    text_str(text, state_name(record.hot.state))
    text_char(text, c"\t")
    add_output(text, record, look.least)
    text_char(text, c"\t")
    add_level(text, record)
    text_char(text, c"\t")
    if time_taken(record.hot, look.now_ns, &taken):
        unit = scaled(taken, &value)
        snprintf(number, sizeof(number), "%.2f\t%c\t", value, <int>unit)
        text_str(text, number)
    else:
        text_str(text, b"\t\t")
    if look.gpus:
        record_gpus(text, record)
        text_char(text, c"\t")
    record_ids(text, record, 0)
    text_char(text, c"\t")
    text_oneline(text, record_label(record), record.cold.label_len, look.least)
    text_char(text, c"\t")
    command_words(text, record, look.least)
    text_char(text, c"\n")
