# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See record.pxd."""
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from tsfast.layout.structs cimport (
    TSF_CANCELLED, TSF_FINISHED, TSF_KILLED, TSF_LOST, TSF_RUNNING, TSF_STARTING, tsf_granted, tsf_hot,
)

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char *string, size_t most)

cdef extern from "<sys/wait.h>" nogil:
    bint WIFEXITED(int status)
    int WEXITSTATUS(int status)
    bint WIFSIGNALED(int status)
    int WTERMSIG(int status)


cdef const char *row_argv(const Row *row) noexcept nogil:
    return row.blob + (<size_t>row.cold.n_after + row.cold.n_after_ok) * sizeof(uint64_t)


cdef const char *row_label(const Row *row) noexcept nogil:
    return row_argv(row) + row.cold.argv_len


cdef const char *row_exact(const Row *row) noexcept nogil:
    return row_label(row) + row.cold.label_len


cdef const char *row_prefix(const Row *row) noexcept nogil:
    return row_exact(row) + row.cold.gpu_exact_len


cdef const char *row_cwd(const Row *row) noexcept nogil:
    return row_prefix(row) + row.cold.prefix_len


cdef const char *row_diff(const Row *row) noexcept nogil:
    return row_cwd(row) + row.cold.cwd_len


cdef const char *row_env_text(const Row *row) noexcept nogil:
    return row_diff(row) + row.cold.diff_len


cdef uint64_t row_after(const Row *row, size_t i) noexcept nogil:
    cdef uint64_t id
    memcpy(&id, row.blob + i * sizeof(uint64_t), sizeof(uint64_t))
    return id


cdef uint64_t row_after_ok(const Row *row, size_t i) noexcept nogil:
    return row_after(row, row.cold.n_after + i)


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


cdef size_t suffix_length(const Row *row) noexcept nogil:
    return strnlen(row.hot.suffix, sizeof(row.hot.suffix)) if row.cold.prefix_len else 0


cdef const tsf_granted *row_granted(const Row *row) noexcept nogil:
    return <const tsf_granted *> (row.grant + 1)
