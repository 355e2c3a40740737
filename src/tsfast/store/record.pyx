# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See record.pxd."""
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from tsfast.layout.table cimport (
    TSF_CANCELLED, TSF_FINISHED, TSF_KILLED, TSF_LOST, TSF_RUNNING, TSF_STARTING, tsf_granted, tsf_hot,
)

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char *string, size_t most)

cdef extern from "<sys/wait.h>" nogil:
    bint WIFEXITED(int status)
    int WEXITSTATUS(int status)
    bint WIFSIGNALED(int status)
    int WTERMSIG(int status)


cdef const char *record_argv(const Record *record) noexcept nogil:
    return record.blob + (<size_t>record.cold.n_after + record.cold.n_after_ok) * sizeof(uint64_t)


cdef const char *record_label(const Record *record) noexcept nogil:
    return record_argv(record) + record.cold.argv_len


cdef const char *record_exact(const Record *record) noexcept nogil:
    return record_label(record) + record.cold.label_len


cdef const char *record_prefix(const Record *record) noexcept nogil:
    return record_exact(record) + record.cold.gpu_exact_len


cdef const char *record_cwd(const Record *record) noexcept nogil:
    return record_prefix(record) + record.cold.prefix_len


cdef const char *record_diff(const Record *record) noexcept nogil:
    return record_cwd(record) + record.cold.cwd_len


cdef const char *record_env_text(const Record *record) noexcept nogil:
    return record_diff(record) + record.cold.diff_len


cdef uint64_t record_after(const Record *record, size_t i) noexcept nogil:
    cdef uint64_t id
    memcpy(&id, record.blob + i * sizeof(uint64_t), sizeof(uint64_t))
    return id


cdef uint64_t record_after_ok(const Record *record, size_t i) noexcept nogil:
    return record_after(record, record.cold.n_after + i)


cdef bint has_level(const tsf_hot *hot) noexcept nogil:
    return TSF_FINISHED <= hot.state <= TSF_LOST or hot.state == TSF_CANCELLED


cdef bint was_waited_for(const tsf_hot *hot) noexcept nogil:
    return TSF_FINISHED <= hot.state <= TSF_KILLED or (hot.state == TSF_CANCELLED and hot.pid != 0)


cdef int error_level(const tsf_hot *hot) noexcept nogil:
    if hot.state != TSF_CANCELLED and was_waited_for(hot) and WIFEXITED(hot.status):
        return WEXITSTATUS(hot.status)
    return -1


cdef int end_signal(const tsf_hot *hot) noexcept nogil:
    return WTERMSIG(hot.status) if was_waited_for(hot) and WIFSIGNALED(hot.status) else 0


cdef bint time_taken(const tsf_hot *hot, uint64_t now_ns, uint64_t *taken_ns) noexcept nogil:
    if hot.start_ns == 0:
        return False
    if hot.state == TSF_RUNNING or hot.state == TSF_STARTING:
        taken_ns[0] = now_ns - hot.start_ns if now_ns > hot.start_ns else 0
        return True
    taken_ns[0] = hot.duration_ns
    return was_waited_for(hot) or (has_level(hot) and hot.duration_ns != 0)


cdef uint64_t end_time(const tsf_hot *hot) noexcept nogil:
    cdef uint64_t taken = 0
    if not has_level(hot) or not time_taken(hot, 0, &taken):
        return 0
    return hot.start_ns + taken


cdef size_t suffix_length(const Record *record) noexcept nogil:
    return strnlen(record.hot.suffix, sizeof(record.hot.suffix)) if record.cold.prefix_len else 0


cdef const tsf_granted *record_granted(const Record *record) noexcept nogil:
    return <const tsf_granted *> (record.grant + 1)
