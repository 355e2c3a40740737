"""--why: in words, what a job waits for, or why it ended as it did."""
from libc.stdint cimport uint64_t

from tsfast._jobs cimport Job
from tsfast._quote cimport Text
from tsfast._spool cimport Spool

cdef void why(Text *text, Spool spool, const Job *job, uint64_t parked) noexcept nogil
