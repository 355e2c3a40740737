"""What is told of one job: -s, -i, -a, -F, -p, --why, from its record in the table."""
from libc.stdint cimport uint32_t, uint64_t

from tsfast.scheduler.scheduler cimport Job
from tsfast.base.text cimport Text
from tsfast.lifecycle.spool cimport Spool

# Append the answer of the action. NULL, or what is wrong, as the rest of a line that begins `ts: job 5 `.
# parked: how many calls wait for room in the queue. tty: of the caller, enum tsf_tty: on a terminal people read it,
# while a program gets a value as it is; with TSF_SHOWS_MOMENTS times of day are marked, as info() has it.
cdef const char *tell(Text *text, Spool spool, const Job *job, int action, uint64_t parked,
                      uint32_t tty) noexcept nogil
