"""What tells a whole record from a hole and from a damaged one, and the checks of the header."""
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memset

from tsfast.base.limits cimport BLOB_MAX
from tsfast.layout.check cimport tsf_check32
from tsfast.layout.gpus cimport TSF_GPUS
from tsfast.layout.table cimport TSF_TABLE_FORMAT, TSF_TABLE_MAGIC, tsf_cold, tsf_header


cdef inline uint32_t settings_check(const tsf_header *header) noexcept nogil:
    cdef const char *start = <const char *> &header.slots
    return tsf_check32(start, <size_t> (<const char *> &header.check - start), 0)


cdef inline uint32_t ids_check(const tsf_header *header) noexcept nogil:
    return tsf_check32(&header.committed, sizeof(header.committed) + sizeof(header.floor), 0)


cdef inline void seal_header(tsf_header *header) noexcept nogil:
    """Its checks, after it was filled in."""
    header.ids_check = ids_check(header)
    header.check = settings_check(header)


cdef inline void fill_fresh(tsf_header *header) noexcept nogil:
    """The header of a table without jobs."""
    memset(header, 0, sizeof(tsf_header))
    header.magic = TSF_TABLE_MAGIC
    header.format = TSF_TABLE_FORMAT
    header.not_features = ~header.features
    seal_header(header)


cdef inline bint is_hole(const void *record, size_t size) noexcept nogil:
    """Whether there is nothing: all bytes are zero if the first one is and each equals its successor. size: 1 at
    least."""
    return (<const char *> record)[0] == 0 and memcmp(record, <const char *> record + 1, size - 1) == 0


cdef inline bint is_sized(const tsf_cold *cold) noexcept nogil:
    """The parts of the blob, as the record has their lengths, are the whole of it."""
    return cold.blob_len <= BLOB_MAX and cold.gpus <= <uint32_t> TSF_GPUS and cold.blob_len == (
        8 * (<uint64_t> cold.n_after + cold.n_after_ok) + cold.argv_len + cold.label_len + cold.gpu_exact_len
        + cold.prefix_len + cold.cwd_len + cold.diff_len + cold.env_text_len)
