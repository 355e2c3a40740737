"""A job's record as a reader sees it: the parts of its blob, and facts that follow from its state.

Code that shows or reports a job asks for the facts; nothing here changes one. render/fields.pxd makes text of them.
"""
from libc.stdint cimport uint64_t

from tsfast.layout.table cimport (
    TSF_CANCELLED, TSF_QUEUED, TSF_SKIPPED, tsf_cold, tsf_extra, tsf_grant, tsf_granted, tsf_hot,
)

# One job as the table holds it; `blob` points at its cold.blob_len checked bytes, into which the parts fit.
cdef struct Record:
    uint64_t id
    const tsf_hot *hot
    const tsf_cold *cold
    const char *blob
    const tsf_extra *extra        # its optional part, checked; NULL: it has none
    const tsf_grant *grant        # the GPUs that it has or had; NULL: none, or it has not started

# Where the parts of a job's blob are (table.h: struct tsf_cold).
cdef const char *record_argv(const Record *record) noexcept nogil
cdef const char *record_label(const Record *record) noexcept nogil
cdef const char *record_exact(const Record *record) noexcept nogil              # the list of -g
cdef const char *record_prefix(const Record *record) noexcept nogil
cdef const char *record_cwd(const Record *record) noexcept nogil
cdef const char *record_diff(const Record *record) noexcept nogil
cdef const char *record_env_text(const Record *record) noexcept nogil
cdef uint64_t record_after(const Record *record, size_t i) noexcept nogil      # i < n_after
cdef uint64_t record_after_ok(const Record *record, size_t i) noexcept nogil   # i < n_after_ok

# Whether the table has a job of this state: not forgotten, nor about to be because of -r.
cdef inline bint is_there(int state) noexcept nogil:
    return TSF_QUEUED <= state <= TSF_SKIPPED or state == TSF_CANCELLED

cdef bint has_level(const tsf_hot *hot) noexcept nogil                # it has ended, and not by being skipped
cdef bint was_waited_for(const tsf_hot *hot) noexcept nogil           # hot.status is from wait(2)
# 0..255, or -1 when a signal ended it, it was cancelled, or nobody knows
cdef int error_level(const tsf_hot *hot) noexcept nogil
cdef int end_signal(const tsf_hot *hot) noexcept nogil                # 0: none ended it
# How long it has run; False if it has not, or nobody knows.
cdef bint time_taken(const tsf_hot *hot, uint64_t now_ns, uint64_t *taken_ns) noexcept nogil
cdef uint64_t end_time(const tsf_hot *hot) noexcept nogil             # 0: it has not ended, or nobody knows when
cdef size_t suffix_length(const Record *record) noexcept nogil              # 0: there is no output file (yet)

cdef const tsf_granted *record_granted(const Record *record) noexcept nogil    # grant.count of them; grant is not NULL
