"""--why: in words, what a job waits for, or why it ended as it did."""
from libc.stdint cimport uint64_t

from tsfast.scheduler.scheduler cimport Job
from tsfast.base.text cimport Text
from tsfast.lifecycle.spool cimport Spool

cdef void why(Text *text, Spool spool, const Job *job, uint64_t parked) noexcept nogil
