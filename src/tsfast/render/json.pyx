# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See json.pxd."""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memset, strlen

from tsfast.base.text cimport TSF_CONTROL, Text, text_char, text_free, text_i64, text_json, text_str, text_u64, tsf_kind
from tsfast.layout.gpus cimport TSF_GPU_WHOLE
from tsfast.layout.table cimport TSF_JOB_ARRAY, tsf_cold, tsf_hot
from tsfast.render.fields cimport command_words, output_path, record_gpu_ids, record_ids, state_name
from tsfast.render.rows cimport Look
from tsfast.store.record cimport (
    Record, end_signal, end_time, error_level, has_level, record_cwd, record_granted, record_label, time_taken,
)

cdef const uint64_t MILLION = 1000000
cdef const uint64_t BILLION = 1000000000


cdef void unreadable_json(Text *text, uint64_t id) noexcept nogil:
    text_str(text, b'{"ID":')
    text_u64(text, id)
    text_str(text, b',"State":"unreadable","Output":null,"E-Level":null,"Time_ms":null,"GPUs":null,"Command":null,'
             b'"Label":null,"Slots":null,"GPU_IDs":null,"GPU_UUIDs":null,"GPU_Memory":null,"Depends_On":null,'
             b'"Enqueue_Time":null,"Start_Time":null,"End_Time":null,"PID":null,"Signal":null,"Workdir":null}')


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


cdef void json_uuids(Text *text, const Record *record, tsf_kind least) noexcept nogil:
    cdef uint32_t i
    text_char(text, c"[")
    if record.grant != NULL:
        for i in range(record.grant.count):
            if i:
                text_char(text, c",")
            text_json(text, record_granted(record)[i].uuid, strlen(record_granted(record)[i].uuid), least)
    text_char(text, c"]")


cdef void json_array(Text *text, const Record *record) noexcept nogil:
    """Only elements of an array have these."""
    if record.cold.flags & TSF_JOB_ARRAY:
        key(text, b"Array")
        text_u64(text, record.id - record.cold.batch_index)
        key(text, b"Index")
        text_u64(text, <uint64_t> record.cold.array_first + record.cold.batch_index)


cdef void json_object(Text *text, const Record *record, const char *cwd, size_t cwd_len,
                      const Look *look) noexcept nogil:
    cdef const tsf_hot *hot = record.hot
    cdef Text value
    cdef uint64_t taken = 0
    cdef bint known
    memset(&value, 0, sizeof(value))
    text_str(text, b'{"ID":')
    text_u64(text, record.id)
    key(text, b"State")
    text_char(text, c'"')
    text_str(text, state_name(hot.state))
    text_char(text, c'"')
    key(text, b"Output")
    output_path(&value, record)
    json_text(text, &value, value.size != 0, look.least)
    key(text, b"E-Level")
    json_number(text, has_level(hot), error_level(hot))
    key(text, b"Time_ms")
    known = time_taken(hot, look.now_ns, &taken)
    json_number(text, known, <long long>(taken // MILLION))
    key(text, b"GPUs")
    json_gpus(text, record.cold)
    key(text, b"Command")
    command_words(&value, record, TSF_CONTROL)
    json_text(text, &value, True, look.least)
    key(text, b"Label")
    if record.cold.label_len:
        text_json(text, record_label(record), record.cold.label_len, look.least)
    else:
        text_str(text, b"null")
    key(text, b"Slots")
    text_u64(text, record.cold.slots)
    key(text, b"GPU_IDs")
    text_char(text, c"[")
    record_gpu_ids(text, record, c",")
    text_char(text, c"]")
    key(text, b"GPU_UUIDs")
    json_uuids(text, record, look.least)
    key(text, b"GPU_Memory")
    json_number(text, record.cold.vram != 0, <long long>record.cold.vram)
    key(text, b"Depends_On")
    text_char(text, c"[")
    record_ids(text, record, 0)
    text_char(text, c"]")
    key(text, b"Enqueue_Time")
    json_time(text, record.cold.enqueue_ns)
    key(text, b"Start_Time")
    json_time(text, hot.start_ns)
    key(text, b"End_Time")
    json_time(text, end_time(hot))
    key(text, b"PID")
    json_number(text, hot.pid > 0, hot.pid)
    key(text, b"Signal")
    json_number(text, end_signal(hot) != 0, end_signal(hot))
    key(text, b"Workdir")
    if record.cold.cwd_len:
        text_json(text, record_cwd(record), record.cold.cwd_len, look.least)
    else:
        text_json(text, cwd, cwd_len, look.least)
    json_array(text, record)
    text_char(text, c"}")
