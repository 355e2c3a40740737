# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See info.pxd."""
from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memchr, memset

from tsfast.base.system cimport localtime_r, strftime, time_t, tm
from tsfast.base.text cimport (
    MOMENT_MARK, TSF_HIDDEN, Text, text_add, text_char, text_free, text_i64, text_oneline, text_str, text_u64,
)
from tsfast.layout.table cimport (
    TSF_CANCELLED, TSF_JOB_ARRAY, TSF_JOB_LOG, TSF_LOSS_BOOT, TSF_LOSS_DAMAGE, TSF_LOST, TSF_NOTE_AFFINITY,
    TSF_NOTE_GZIP, TSF_NOTE_LIMIT, TSF_NOTE_NICE, TSF_NOT_STARTABLE, TSF_SKIPPED, TSF_STAGE_CHDIR, TSF_STAGE_EXEC,
    TSF_STAGE_GZIP, TSF_STAGE_OUTPUT, TSF_STAGE_RECORD, TSF_STAGE_SPAWN, tsf_cold, tsf_hot, tsf_hot_stime_ms,
    tsf_hot_utime_ms,
)
from tsfast.layout.wire cimport TSF_MOMENT_FORMAT
from tsfast.render.fields cimport (
    command_words, memory_text, output_path, record_dependencies, record_gpu_ids, record_gpus,
)
from tsfast.store.record cimport (
    Record, end_signal, end_time, error_level, has_level, record_cwd, record_env_text, record_exact, record_label,
    record_prefix, time_taken, was_waited_for,
)

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

cdef const uint64_t MILLION = 1000000
cdef const uint64_t BILLION = 1000000000


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


cdef void info_status(Text *text, const Record *record) noexcept nogil:
    cdef const tsf_hot *hot = record.hot
    if hot.state == TSF_SKIPPED:
        text_str(text, b"Exit status: skipped: a job of -W failed\n")
    elif hot.state == TSF_LOST:
        text_str(text, b"Exit status: lost: ")
        if hot.cause == TSF_LOSS_BOOT:
            text_str(text, b"the machine stopped while it ran\n")
        elif hot.cause == TSF_LOSS_DAMAGE:
            text_str(text, b"the record of its end is damaged\n")
        else:
            text_str(text, b"the runner died and no process could wait for the job\n")
    elif hot.state == TSF_NOT_STARTABLE:
        text_str(text, b"Exit status: not started: ")
        text_str(text, stage_text(hot.stage))
        if hot.stage == TSF_STAGE_OUTPUT:
            text_char(text, c" ")
            text_oneline(text, record_prefix(record), record.cold.prefix_len, TSF_HIDDEN)
            if not record.cold.flags & TSF_JOB_LOG:
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


cdef void info_array(Text *text, const Record *record) noexcept nogil:
    cdef const tsf_cold *cold = record.cold
    if not cold.flags & TSF_JOB_ARRAY:
        return
    text_str(text, b"Array: ")
    text_u64(text, record.id - cold.batch_index)
    text_char(text, c"[")
    text_u64(text, <uint64_t> cold.array_first + cold.batch_index)
    text_str(text, b"] of ")
    text_u64(text, cold.batch_count)
    if cold.array_limit:
        text_str(text, b", at most ")
        text_u64(text, cold.array_limit)
        text_str(text, b" at once")
    text_char(text, c"\n")


cdef void info_gpus(Text *text, const Record *record) noexcept nogil:
    if record.cold.gpus == 0:
        return
    text_str(text, b"GPUs required: ")
    record_gpus(text, record)
    text_char(text, c"\n")
    info_foreign(text, b"GPUs named: ", record_exact(record), record.cold.gpu_exact_len)
    if record.cold.gpu_share and record.cold.vram:
        text_str(text, b"GPU memory required: ")
        memory_text(text, record.cold.vram)
        text_char(text, c"\n")
    if record.grant != NULL:
        text_str(text, b"GPU IDs: ")
        record_gpu_ids(text, record, c",")
        text_char(text, c"\n")


cdef void info(Text *text, const Record *record, const char *cwd, size_t cwd_len, uint64_t now_ns,
               bint marked) noexcept nogil:
    cdef const tsf_hot *hot = record.hot
    cdef Text path
    cdef uint64_t taken = 0
    info_environment(text, record_env_text(record), record.cold.env_text_len)
    info_status(text, record)
    text_str(text, b"Command: ")
    record_dependencies(text, record, 0)
    command_words(text, record, TSF_HIDDEN)
    text_char(text, c"\n")
    info_foreign(text, b"Label: ", record_label(record), record.cold.label_len)
    info_array(text, record)
    text_str(text, b"Slots required: ")
    text_u64(text, record.cold.slots)
    text_char(text, c"\n")
    info_gpus(text, record)
    info_time(text, b"Enqueue time: ", record.cold.enqueue_ns, marked)
    info_time(text, b"Start time: ", hot.start_ns, marked)
    info_time(text, b"End time: ", end_time(hot), marked)
    if time_taken(hot, now_ns, &taken):
        info_seconds(text, b"Time run: " if has_level(hot) else b"Time running: ", taken)
    if record.cold.cwd_len:
        info_foreign(text, b"Working directory: ", record_cwd(record), record.cold.cwd_len)
    else:
        info_foreign(text, b"Working directory: ", cwd, cwd_len)
    if hot.pid > 0:
        text_str(text, b"Pid: ")
        text_i64(text, hot.pid)
        text_char(text, c"\n")
    memset(&path, 0, sizeof(path))
    output_path(&path, record)
    info_foreign(text, b"Output: ", path.data, path.size)
    text.failed = text.failed or path.failed
    text_free(&path)
    if was_waited_for(hot):
        info_seconds(text, b"User time: ", tsf_hot_utime_ms(hot) * MILLION)
        info_seconds(text, b"System time: ", tsf_hot_stime_ms(hot) * MILLION)
        text_str(text, b"Peak memory: ")
        text_u64(text, hot.maxrss_kb)
        text_str(text, b" KiB\n")
    info_notes(text, hot.notes)
    if hot.notes & TSF_NOTE_GZIP and has_level(hot):
        text_str(text, b"Output incomplete: gzip failed, or had not finished 10 s after the job's end\n")
