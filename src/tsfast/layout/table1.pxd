"""The records of format 1, for the migration (native/table1.h)."""
from libc.stdint cimport uint32_t, uint64_t

from tsfast.layout.table cimport tsf_cold, tsf_hot

cdef extern from "tsfast/native/table1.h" nogil:
    cdef struct tsf_hot1:
        uint32_t check

    cdef struct tsf_cold1:
        uint32_t check

    cdef struct tsf_header1:
        uint64_t magic
        uint32_t format
        uint64_t committed
        uint64_t floor
        uint32_t slots
        uint32_t max_finished
        uint64_t intent[5]
        uint64_t swap_token[2]
        uint32_t logdir_len
        char logdir[2984]
        uint32_t gpu_free_percent
        uint32_t gpu_wait_s
        uint32_t gpu_devices
        uint32_t check

    void tsf_hot_from1(tsf_hot *hot, const tsf_hot1 *old, uint64_t id) noexcept
    void tsf_cold_from1(tsf_cold *cold, const tsf_cold1 *old, uint64_t id) noexcept
    bint tsf_ids_fit1(const tsf_header1 *old) noexcept
    uint32_t tsf_settings_check1(const tsf_header1 *old) noexcept
