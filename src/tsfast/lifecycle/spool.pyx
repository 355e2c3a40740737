# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See spool.pxd."""
cimport cython
from libc.stdlib cimport free

from tsfast.base.idmap cimport idmap_free
from tsfast.scheduler.scheduler cimport JOB_READY


@cython.final
cdef class Spool:
    def __init__(self, Loop loop, Table table, Contexts contexts, Engine engine, Hooks hooks,
                 uint32_t gpu_timeout):
        self.loop = loop
        self.table = table
        self.contexts = contexts
        self.scheduler = Scheduler()
        self.arrays = Arrays(self.scheduler)
        self.engine = engine
        self.hooks = hooks
        self.next_end = 1
        self.given_up = set()
        self.pauses = Pauses(loop, self.scheduler)
        self.unreadable = Unreadable(self.scheduler, table)
        self.allocator = Allocator(loop, table, gpu_timeout)
        self.events = Events()
        self.staging = Staging(table, contexts)

    def __dealloc__(self):
        idmap_free(&self.tokens.places)
        free(self.forgettable)

    cdef bint allocating(self, const Job *job) noexcept nogil:
        return (job.state == JOB_READY and self.scheduler.gpu_class(job) and job.slots <= self.scheduler.max_slots
                and self.scheduler.held_back(job) == 0
                and self.scheduler.used_slots + job.slots <= self.scheduler.max_slots)
