"""What -i says of one job, and why a job ended as it did."""
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from tsfast.base.text cimport Text
from tsfast.store.record cimport Record

# `Exit status: ...`, why a job ended as it did; nothing before its end.
cdef void info_status(Text *text, const Record *record) noexcept nogil
# cwd: of the base context, counts where the job has none. marked: times of day are a MOMENT_MARK, the seconds since
# 1970 and a newline, for a reader who has the time zone; else they are in the time zone of the process.
cdef void info(Text *text, const Record *record, const char *cwd, size_t cwd_len, uint64_t now_ns,
               bint marked) noexcept nogil
