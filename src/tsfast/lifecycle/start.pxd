"""START: hand over the jobs that can start now, and what the engine reports of them until they run.

A start that fails for want of something (a process, memory, room on a disk) is taken back: the job is queued again, in
its place.
"""
from libc.stdint cimport uint64_t

from tsfast.engine.outcome cimport Outcome, Started
from tsfast.lifecycle.spool cimport Spool

# Start what can start now, jobs and hooks.
cdef void dispatch(Spool spool) noexcept nogil

# A foreground job that waited for its client's descriptors: they are here. Nothing happens the second time.
cdef void descriptors_came(Spool spool, uint64_t id) noexcept nogil

# What the engine reports.
cdef void started(Spool spool, uint64_t id, const Started *facts) noexcept nogil
# Its runner died before it took the job.
cdef void not_taken(Spool spool, uint64_t id) noexcept nogil
# Its process has ended, or there was none. 0, or -1 with errno: the disk refused the record, call it again later.
cdef int ended(Spool spool, uint64_t id, const Outcome *outcome) noexcept nogil
