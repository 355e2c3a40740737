"""RECOVER: take up a queue as its table and `runs` have it (docs/reliability.md), once, before the server listens."""
from libc.stdint cimport int32_t, uint32_t, uint64_t

from tsfast.lifecycle.absent_callers cimport AbsentCallers
from tsfast.store.contexts cimport Contexts
from tsfast.scheduler.scheduler cimport Scheduler
from tsfast.layout.table cimport tsf_cold, tsf_hot
from tsfast.engine.engine cimport Engine
from tsfast.lifecycle.spool cimport Spool
from tsfast.store.table cimport Table

cdef class Recovery:
    cdef Spool spool
    cdef Table table
    cdef Contexts contexts
    cdef Scheduler scheduler
    cdef Engine engine
    cdef AbsentCallers absent
    cdef list running_since           # (start time, id) of the running jobs
    cdef dict limited                 # arrays that allow only so many at once: (first id, class of GPUs) -> number
    cdef readonly list lost           # ids of jobs whose end nobody knows
    cdef list removal_tokens          # (key, key, id) of removals whose clients may ask again

    # private
    cdef list _jobs(self, list damaged, list removed)
    cdef _hold_damaged(self, uint64_t id, uint32_t slots)
    cdef _hold(self, uint64_t id)
    cdef int _job(self, uint64_t id, tsf_hot *hot, const tsf_cold *cold) except -1
    cdef int32_t _gpu_class(self, uint64_t id, const tsf_cold *cold, bint runs) except -1
    cdef uint32_t _waits_in(self, uint64_t id, const tsf_cold *cold, int32_t gpu_class) except? 0
    cdef void _apply_intent(self, uint64_t id, tsf_hot *hot) noexcept nogil
    cdef _dependencies(self, list queued, list damaged)
    cdef _tokens(self)
