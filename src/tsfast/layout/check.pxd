"""Checksums of records (native/check.h)."""
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

cdef extern from "tsfast/native/check.h" nogil:
    uint64_t tsf_hash64(const void *data, size_t size, uint64_t seed) noexcept
    uint32_t tsf_check32(const void *data, size_t size, uint64_t seed) noexcept
