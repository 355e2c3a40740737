"""The records in which the monitor says how GPUs are (native/gpus.h)."""
from libc.stdint cimport int32_t, uint32_t, uint64_t

cdef extern from "tsfast/native/gpus.h" nogil:
    enum:
        TSF_GPUS
        TSF_GPU_WORDS
        TSF_GPU_WHOLE
    const uint32_t TSF_GPU_NONE

    cdef enum tsf_gpu_kind:
        TSF_GPU_ASKING
        TSF_GPU_DEVICE
        TSF_GPU_ROUND
        TSF_GPU_FAILED

    cdef enum tsf_gpu_flag:
        TSF_GPU_VISIBLE
        TSF_GPU_ANSWERS
        TSF_GPU_FOREIGN
        TSF_GPU_EXCLUSIVE
        TSF_GPU_PROHIBITED
        TSF_GPU_MIG
        TSF_GPU_DIVIDED
        TSF_GPU_BUSY
        TSF_GPU_UNSEEN

    cdef struct tsf_gpu:
        uint32_t kind
        uint32_t index
        uint32_t flags
        int32_t numa
        uint32_t link
        uint32_t foreign_uid
        int32_t foreign_pid
        uint64_t measured_ns
        uint64_t memory_total
        uint64_t memory_free
        char uuid[64]
        char bus[24]
        char name[48]
        char why[64]
