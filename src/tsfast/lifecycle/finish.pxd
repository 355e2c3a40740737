"""FINISH: a job has ended. Its final record stands in the table before anybody hears of it."""
from libc.stdint cimport uint8_t, uint64_t

from tsfast.engine.outcome cimport Outcome
from tsfast.layout.table cimport tsf_cold, tsf_hot
from tsfast.lifecycle.spool cimport Spool
from tsfast.scheduler.scheduler cimport Job

# A job that was started has ended. 0, or -1 with errno: the disk refused the record and nothing has changed.
cdef int finish(Spool spool, Job *job, const Outcome *outcome) noexcept nogil
# The final record of a job that was started.
cdef void final_record(Spool spool, tsf_hot *hot, const Job *job, const Outcome *outcome) noexcept nogil
# The end stands in the table: report it, skip the jobs that must not run now, forget the job if it is not kept.
cdef void settled(Spool spool, uint64_t id, const tsf_hot *hot) noexcept nogil
# The jobs that must not run because a dependency of theirs ended badly have ended as skipped.
cdef void skip_dependents(Spool spool) noexcept nogil
# What is to run when the job has ended (enum tsf_due).
cdef uint8_t due_at_end(const tsf_cold *cold) noexcept nogil
