# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See rows.pxd. Foreign bytes reach a text only through `Text`: a row is one line whatever they are."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcpy, memset, strlen

from tsfast.layout.structs cimport (
    TSF_CANCELLED,
    TSF_GPU_WHOLE,
    TSF_JOB_ARRAY, TSF_JOB_LOG,
    TSF_NOTE_GZIP,
    TSF_STAGE_GZIP,
    TSF_JOB_NO_OUTPUT,
    TSF_LOSS_BOOT, TSF_LOSS_DAMAGE, TSF_LOST,
    TSF_MOMENT_FORMAT,
    TSF_NOT_STARTABLE,
    TSF_NOTE_AFFINITY,
    TSF_NOTE_LIMIT,
    TSF_NOTE_NICE,
    TSF_QUEUED,
    TSF_SKIPPED,
    TSF_STAGE_CHDIR,
    TSF_STAGE_EXEC,
    TSF_STAGE_OUTPUT,
    TSF_STAGE_RECORD,
    TSF_STAGE_SPAWN,
    tsf_cold,
    tsf_grant,
    tsf_granted,
    tsf_hot,
)
from tsfast.base.text cimport (
    MOMENT_MARK, TSF_CONTROL, TSF_DIRECTION, TSF_HIDDEN, bytes_of_columns, display_columns, text_cut, text_pad,
)
from tsfast.store.record cimport (
    beyond,
    clipped,
    end_signal,
    end_time,
    has_level,
    memory_text,
    row_dependencies,
    row_env_text,
    row_exact,
    row_gpu_ids,
    row_gpus,
    row_granted,
    row_ids,
    row_pattern,
    row_prefix,
    row_words,
    suffix_length,
    time_taken,
    was_waited_for,
)
from tsfast.base.system cimport localtime_r, strftime, time_t, tm

cdef extern from *:
    """
    #include <string.h>
    /* Both kinds of strerror_r: glibc returns the text, others fill the room. */
    static const char *error_text(int error, char *room, size_t size)
    {
    #ifdef __GLIBC__
        return strerror_r(error, room, size);
    #else
        return strerror_r(error, room, size) == 0 ? room : "unknown error";
    #endif
    }
    """
    const char *error_text(int error, char *room, size_t size) noexcept nogil

cdef enum:
    OUTPUT_COLUMNS = 20       # a longer path is cut to OUTPUT_KEPT columns and "..."
    OUTPUT_KEPT = 15
    COLOUR_COLUMNS = 32       # a narrower terminal gets no colours: the cut could fall into one
    BYTES_PER_COLUMN = 16     # more of a text is not looked at for a line that is cut anyway

cdef const uint64_t MILLION = 1000000
cdef const uint64_t BILLION = 1000000000


# --- List

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


cdef void add_output(Text *text, const Row *row, tsf_kind least) noexcept nogil:
    """What the list shows in place of a path, or the path."""
    cdef Text path
    if row.hot.state == TSF_SKIPPED:
        text_str(text, b"(no output)")
    elif row.cold.flags & TSF_JOB_NO_OUTPUT:
        text_str(text, b"stdout")
    elif suffix_length(row) == 0:
        text_str(text, b"(no output)" if has_level(row.hot) else b"(file)")
    else:
        memset(&path, 0, sizeof(path))
        output_path(&path, row)
        text_oneline(text, path.data, path.size, least)
        text.failed = text.failed or path.failed
        text_free(&path)


cdef void add_level(Text *text, const Row *row) noexcept nogil:
    if has_level(row.hot):
        text_i64(text, error_level(row.hot))


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


cdef void list_row(Text *text, const Row *row, const Look *look) noexcept nogil:
    cdef size_t start = text.size, field, limit = 0, length, used = 0
    cdef uint32_t columns = look.columns
    cdef uint64_t taken = 0
    cdef double value = 0
    cdef char[64] number
    cdef char unit
    text_u64(text, row.id)
    pad_from(text, start, 4)

    used = add_state(text, &start, state_name(row.hot.state), state_colour(row.hot), look)

    field = text.size
    add_output(text, row, look.least)
    length = text.size - field
    if length and display_columns(text.data + field, length) > OUTPUT_COLUMNS:
        text_cut(text, field + bytes_of_columns(text.data + field, length, OUTPUT_KEPT))
        text_str(text, b"...")
    pad_from(text, field, OUTPUT_COLUMNS)

    field = text.size
    add_level(text, row)
    pad_from(text, field, 8)

    if time_taken(row.hot, look.now_ns, &taken):
        unit = scaled(taken, &value)
        snprintf(number, sizeof(number), "%5.2f%c ", value, <int>unit)
        text_str(text, number)
    else:
        text_pad(text, 7)

    if look.gpus:
        field = text.size
        row_gpus(text, row)
        pad_from(text, field, 5)

    if columns:
        limit = text.size + <size_t>columns * BYTES_PER_COLUMN
    row_dependencies(text, row, limit)
    if row.cold.label_len:
        text_char(text, c"[")
        text_oneline(text, row_label(row), clipped(text, row_label(row), row.cold.label_len, limit), look.least)
        text_str(text, b"]")
    row_words(text, row, limit, look.least)
    if columns:
        cut_line(text, start, columns - used, beyond(text, limit))
    text_char(text, c"\n")


include "array_rows.pxi"


cdef void unreadable_row(Text *text, uint64_t id) noexcept nogil:
    text_u64(text, id)
    text_str(text, b"    unreadable\n")


cdef void unreadable_tab(Text *text, uint64_t id, const Look *look) noexcept nogil:
    text_u64(text, id)
    text_str(text, b"\tunreadable\t\t\t\t\t\t\t")
    text_str(text, b"\t\n" if look.gpus else b"\n")


cdef void unreadable_json(Text *text, uint64_t id) noexcept nogil:
    text_str(text, b'{"ID":')
    text_u64(text, id)
    text_str(text, b',"State":"unreadable","Output":null,"E-Level":null,"Time_ms":null,"GPUs":null,"Command":null,'
             b'"Label":null,"Slots":null,"GPU_IDs":null,"GPU_UUIDs":null,"GPU_Memory":null,"Depends_On":null,'
             b'"Enqueue_Time":null,"Start_Time":null,"End_Time":null,"PID":null,"Signal":null,"Workdir":null}')


cdef void tab_row(Text *text, const Row *row, const Look *look) noexcept nogil:
    cdef uint64_t taken = 0
    cdef double value = 0
    cdef char[64] number
    cdef char unit
    text_u64(text, row.id)
    text_char(text, c"\t")
    text_str(text, state_name(row.hot.state))
    text_char(text, c"\t")
    add_output(text, row, look.least)
    text_char(text, c"\t")
    add_level(text, row)
    text_char(text, c"\t")
    if time_taken(row.hot, look.now_ns, &taken):
        unit = scaled(taken, &value)
        snprintf(number, sizeof(number), "%.2f\t%c\t", value, <int>unit)
        text_str(text, number)
    else:
        text_str(text, b"\t\t")
    if look.gpus:
        row_gpus(text, row)
        text_char(text, c"\t")
    row_ids(text, row, 0)
    text_char(text, c"\t")
    text_oneline(text, row_label(row), row.cold.label_len, look.least)
    text_char(text, c"\t")
    command_words(text, row, look.least)
    text_char(text, c"\n")


# --- JSON

cdef void key(Text *text, const char *name) noexcept nogil:
    text_str(text, b',"')
    text_str(text, name)
    text_str(text, b'":')


cdef void json_text(Text *text, Text *value, bint known, tsf_kind least) noexcept nogil:
    """Writes and frees `value`; null if it is not known."""
    if known:
        text_json(text, value.data, value.size, least)
    else:
        text_str(text, b"null")
    text.failed = text.failed or value.failed
    text_free(value)


cdef void json_time(Text *text, uint64_t time_ns) noexcept nogil:
    cdef char[48] number
    if time_ns == 0:
        text_str(text, b"null")
        return
    snprintf(number, sizeof(number), "%llu.%03u", <unsigned long long>(time_ns // BILLION),
             <unsigned int>(time_ns % BILLION // MILLION))
    text_str(text, number)


cdef void json_number(Text *text, bint known, long long value) noexcept nogil:
    if known:
        text_i64(text, value)
    else:
        text_str(text, b"null")


cdef void json_gpus(Text *text, const tsf_cold *cold) noexcept nogil:
    """How many; a part of one is a fraction."""
    cdef char[16] number
    if cold.gpus and cold.gpu_share and cold.gpu_share < <uint32_t> TSF_GPU_WHOLE:
        snprintf(number, sizeof(number), "0.%03u", <unsigned int>cold.gpu_share)
        text_str(text, number)
    else:
        text_u64(text, cold.gpus)


cdef void json_uuids(Text *text, const Row *row, tsf_kind least) noexcept nogil:
    cdef uint32_t i
    text_char(text, c"[")
    if row.grant != NULL:
        for i in range(row.grant.count):
            if i:
                text_char(text, c",")
            text_json(text, row_granted(row)[i].uuid, strlen(row_granted(row)[i].uuid), least)
    text_char(text, c"]")


cdef void json_array(Text *text, const Row *row) noexcept nogil:
    """Only elements of an array have these."""
    if row.cold.flags & TSF_JOB_ARRAY:
        key(text, b"Array")
        text_u64(text, row.id - row.cold.batch_index)
        key(text, b"Index")
        text_u64(text, <uint64_t> row.cold.array_first + row.cold.batch_index)


cdef void json_row(Text *text, const Row *row, const char *cwd, size_t cwd_len, const Look *look) noexcept nogil:
    cdef const tsf_hot *hot = row.hot
    cdef Text value
    cdef uint64_t taken = 0
    cdef bint known
    memset(&value, 0, sizeof(value))
    text_str(text, b'{"ID":')
    text_u64(text, row.id)
    key(text, b"State")
    text_char(text, c'"')
    text_str(text, state_name(hot.state))
    text_char(text, c'"')
    key(text, b"Output")
    output_path(&value, row)
    json_text(text, &value, value.size != 0, look.least)
    key(text, b"E-Level")
    json_number(text, has_level(hot), error_level(hot))
    key(text, b"Time_ms")
    known = time_taken(hot, look.now_ns, &taken)
    json_number(text, known, <long long>(taken // MILLION))
    key(text, b"GPUs")
    json_gpus(text, row.cold)
    key(text, b"Command")
    command_words(&value, row, TSF_CONTROL)
    json_text(text, &value, True, look.least)
    key(text, b"Label")
    if row.cold.label_len:
        text_json(text, row_label(row), row.cold.label_len, look.least)
    else:
        text_str(text, b"null")
    key(text, b"Slots")
    text_u64(text, row.cold.slots)
    key(text, b"GPU_IDs")
    text_char(text, c"[")
    row_gpu_ids(text, row, c",")
    text_char(text, c"]")
    key(text, b"GPU_UUIDs")
    json_uuids(text, row, look.least)
    key(text, b"GPU_Memory")
    json_number(text, row.cold.vram != 0, <long long>row.cold.vram)
    key(text, b"Depends_On")
    text_char(text, c"[")
    row_ids(text, row, 0)
    text_char(text, c"]")
    key(text, b"Enqueue_Time")
    json_time(text, row.cold.enqueue_ns)
    key(text, b"Start_Time")
    json_time(text, hot.start_ns)
    key(text, b"End_Time")
    json_time(text, end_time(hot))
    key(text, b"PID")
    json_number(text, hot.pid > 0, hot.pid)
    key(text, b"Signal")
    json_number(text, end_signal(hot) != 0, end_signal(hot))
    key(text, b"Workdir")
    if row.cold.cwd_len:
        text_json(text, row_cwd(row), row.cold.cwd_len, look.least)
    else:
        text_json(text, cwd, cwd_len, look.least)
    json_array(text, row)
    text_char(text, c"}")


# --- Information on one job

cdef const char *stage_text(int stage) noexcept nogil:
    if stage == TSF_STAGE_RECORD:
        return b"cannot read its record"
    if stage == TSF_STAGE_OUTPUT:
        return b"cannot create the output file"
    if stage == TSF_STAGE_CHDIR:
        return b"cannot enter the working directory"
    if stage == TSF_STAGE_SPAWN:
        return b"cannot create a process"
    if stage == TSF_STAGE_GZIP:
        return b"cannot run gzip"
    if stage == TSF_STAGE_EXEC:
        return b"cannot execute the command"
    return b"unknown reason"


cdef void add_error(Text *text, int error) noexcept nogil:
    cdef char[128] room
    text_str(text, error_text(error, room, sizeof(room)))


cdef void info_status(Text *text, const Row *row) noexcept nogil:
    cdef const tsf_hot *hot = row.hot
    if hot.state == TSF_SKIPPED:
        text_str(text, b"Exit status: skipped: a job of -W ended badly\n")
    elif hot.state == TSF_LOST:
        text_str(text, b"Exit status: lost: ")
        if hot.cause == TSF_LOSS_BOOT:
            text_str(text, b"the machine stopped while it ran\n")
        elif hot.cause == TSF_LOSS_DAMAGE:
            text_str(text, b"the record of its end is damaged\n")
        else:
            text_str(text, b"the runner died and nobody could wait for the job\n")
    elif hot.state == TSF_NOT_STARTABLE:
        text_str(text, b"Exit status: not started: ")
        text_str(text, stage_text(hot.stage))
        if hot.stage == TSF_STAGE_OUTPUT:
            text_char(text, c" ")
            text_oneline(text, row_prefix(row), row.cold.prefix_len, TSF_HIDDEN)
            if not row.cold.flags & TSF_JOB_LOG:
                text_str(text, b".XXXXXX")
        if hot.cause:
            text_str(text, b": ")
            add_error(text, hot.cause)
        text_char(text, c"\n")
    elif hot.state == TSF_CANCELLED:
        text_str(text, b"Exit status: cancelled")
        if end_signal(hot):
            text_str(text, b", killed by signal ")
            text_i64(text, end_signal(hot))
        elif was_waited_for(hot):
            text_str(text, b", died with exit code ")
            text_i64(text, hot.status >> 8 & 0xff)
        text_char(text, c"\n")
    elif end_signal(hot):
        text_str(text, b"Exit status: killed by signal ")
        text_i64(text, end_signal(hot))
        text_str(text, b" before it was executed\n" if hot.stage == TSF_STAGE_SPAWN else b"\n")
    elif has_level(hot):
        text_str(text, b"Exit status: died with exit code ")
        text_i64(text, error_level(hot))
        text_char(text, c"\n")
    if was_waited_for(hot) and hot.stage == TSF_STAGE_EXEC:
        text_str(text, b"Exec failed: ")
        add_error(text, hot.cause)
        text_char(text, c"\n")


cdef void info_time(Text *text, const char *name, uint64_t time_ns, bint marked) noexcept nogil:
    cdef time_t seconds = <time_t>(time_ns // BILLION)
    cdef tm parts
    cdef char[64] line
    if time_ns and marked:
        text_str(text, name)
        text_char(text, MOMENT_MARK)
        text_u64(text, time_ns // BILLION)
        text_char(text, c"\n")
    elif time_ns and localtime_r(&seconds, &parts) != NULL and strftime(line, sizeof(line), TSF_MOMENT_FORMAT, &parts):
        text_str(text, name)
        text_str(text, line)


cdef void info_seconds(Text *text, const char *name, uint64_t time_ns) noexcept nogil:
    """As many decimals as are not 0, at least one and at most six."""
    cdef char[64] line
    cdef int size = snprintf(line, sizeof(line), "%llu.%06u", <unsigned long long>(time_ns // BILLION),
                             <unsigned int>(time_ns % BILLION // 1000))
    while line[size - 1] == c"0" and line[size - 2] != c".":
        size -= 1
    text_str(text, name)
    text_add(text, line, <size_t>size)
    text_str(text, b"s\n")


cdef void info_foreign(Text *text, const char *name, const char *data, size_t size) noexcept nogil:
    if size:
        text_str(text, name)
        text_oneline(text, data, size, TSF_HIDDEN)
        text_char(text, c"\n")


cdef void info_notes(Text *text, int notes) noexcept nogil:
    cdef const char *between = b"Not applied: "
    if notes & TSF_NOTE_LIMIT:
        text_str(text, between)
        text_str(text, b"resource limits")
        between = b", "
    if notes & TSF_NOTE_NICE:
        text_str(text, between)
        text_str(text, b"nice value")
        between = b", "
    if notes & TSF_NOTE_AFFINITY:
        text_str(text, between)
        text_str(text, b"processor affinity")
    if notes & (TSF_NOTE_LIMIT | TSF_NOTE_NICE | TSF_NOTE_AFFINITY):
        text_char(text, c"\n")


cdef void info_environment(Text *text, const char *data, size_t size) noexcept nogil:
    """Its lines as they are, but for characters that are escaped."""
    cdef const char *end = data + size
    cdef const char *line_end
    if size == 0:
        return
    text_str(text, b"Environment:\n")
    while data < end:
        line_end = <const char *> memchr(data, c"\n", <size_t> (end - data))
        if line_end == NULL:
            line_end = end
        text_oneline(text, data, <size_t> (line_end - data), TSF_HIDDEN)
        text_char(text, c"\n")
        data = line_end + 1


cdef void info_gpus(Text *text, const Row *row) noexcept nogil:
    if row.cold.gpus == 0:
        return
    text_str(text, b"GPUs required: ")
    row_gpus(text, row)
    text_char(text, c"\n")
    info_foreign(text, b"GPUs named: ", row_exact(row), row.cold.gpu_exact_len)
    if row.cold.gpu_share and row.cold.vram:
        text_str(text, b"GPU memory required: ")
        memory_text(text, row.cold.vram)
        text_char(text, c"\n")
    if row.grant != NULL:
        text_str(text, b"GPU IDs: ")
        row_gpu_ids(text, row, c",")
        text_char(text, c"\n")


cdef void info(Text *text, const Row *row, const char *cwd, size_t cwd_len, uint64_t now_ns,
               bint marked) noexcept nogil:
    cdef const tsf_hot *hot = row.hot
    cdef Text path
    cdef uint64_t taken = 0
    info_environment(text, row_env_text(row), row.cold.env_text_len)
    info_status(text, row)
    text_str(text, b"Command: ")
    row_dependencies(text, row, 0)
    command_words(text, row, TSF_HIDDEN)
    text_char(text, c"\n")
    info_foreign(text, b"Label: ", row_label(row), row.cold.label_len)
    info_array(text, row)
    text_str(text, b"Slots required: ")
    text_u64(text, row.cold.slots)
    text_char(text, c"\n")
    info_gpus(text, row)
    info_time(text, b"Enqueue time: ", row.cold.enqueue_ns, marked)
    info_time(text, b"Start time: ", hot.start_ns, marked)
    info_time(text, b"End time: ", end_time(hot), marked)
    if time_taken(hot, now_ns, &taken):
        info_seconds(text, b"Time run: " if has_level(hot) else b"Time running: ", taken)
    if row.cold.cwd_len:
        info_foreign(text, b"Working directory: ", row_cwd(row), row.cold.cwd_len)
    else:
        info_foreign(text, b"Working directory: ", cwd, cwd_len)
    if hot.pid > 0:
        text_str(text, b"Pid: ")
        text_i64(text, hot.pid)
        text_char(text, c"\n")
    memset(&path, 0, sizeof(path))
    output_path(&path, row)
    info_foreign(text, b"Output: ", path.data, path.size)
    text.failed = text.failed or path.failed
    text_free(&path)
    if was_waited_for(hot):
        info_seconds(text, b"User time: ", hot.utime_ms * MILLION)
        info_seconds(text, b"System time: ", hot.stime_ms * MILLION)
        text_str(text, b"Peak memory: ")
        text_u64(text, hot.maxrss_kb)
        text_str(text, b" KiB\n")
    info_notes(text, hot.notes)
    if hot.notes & TSF_NOTE_GZIP and has_level(hot):
        text_str(text, b"Output incomplete: gzip failed, or had not finished 10 s after the job's end\n")


include "probe.pxi"
