"""Which GPUs the jobs of the queue have: chosen, leased and recorded at their start, given back at their end
(docs/gpus.md)."""
from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t

from tsfast.resources.gpus cimport Device, Gpus
from tsfast.base.idmap cimport IdMap
from tsfast.scheduler.scheduler cimport Scheduler
from tsfast.layout.gpus cimport TSF_GPUS, TSF_GPU_WORDS, tsf_gpu
from tsfast.layout.table cimport tsf_cold
from tsfast.base.loop cimport Loop
from tsfast.resources.monitor cimport Monitor
from tsfast.base.text cimport Text
from tsfast.store.record cimport Record
from tsfast.store.table cimport Table

cdef struct Held:                 # by a job that is starting or runs; malloc'ed, owned by Allocator.held
    int32_t gpu_class
    uint64_t mask[TSF_GPU_WORDS]

# A GPU that does not answer.
cdef struct Silence:
    uint64_t since_ns             # CLOCK_MONOTONIC
    char why[64]

# What goes to the runner of the job that is being started.
cdef struct Leases:
    int fds[TSF_GPUS]
    uint32_t count
    bint shared                   # the queue's locks: the descriptors stay the server's own

cdef class Allocator:
    cdef Loop loop
    cdef Table table
    cdef Gpus gpus
    cdef Monitor monitor
    cdef IdMap held               # job -> Held *
    cdef Leases leases
    cdef int queue_fd[TSF_GPUS]   # by slot: the queue's own lock on a GPU that several of its jobs have, -1: none
    cdef uint64_t heard_ns        # CLOCK_MONOTONIC: when the monitor last told of a device
    cdef bint pausing             # --set_gpu_wait: not yet the next one
    cdef int pause_timer
    cdef Text text                # a line for the log, or a grant under construction
    cdef char trouble[80]         # why NVML does not answer; empty: it does, or was not asked
    cdef uint64_t silent[TSF_GPU_WORDS]     # by index: the log says that it is not available
    cdef Silence *silences        # by index, TSF_GPUS of them, owned; NULL before the first
    cdef bint complete            # all devices have been told since NVML was asked first, or again
    cdef bint known               # all devices have been told since the server's start
    cdef bint hides               # jobs without GPUs are to see none: the machine may have some
    cdef bint answered            # some device has, in this round

    # The class of what the job needs, with a reference for it; 0: no GPUs, -1: no memory, -2: not a list of GPUs.
    cdef int32_t class_of(self, const tsf_cold *cold, const char *exact) noexcept nogil
    cdef void release_class(self, int32_t gpu_class) noexcept nogil
    # Before jobs are started: say which classes are open, and have NVML asked if a job waits for GPUs.
    cdef void refresh(self, Scheduler scheduler) noexcept nogil
    # Take GPUs for a job, and their leases. 0, or -1: not now (another queue has them), the class may not be open now.
    cdef int take(self, uint64_t job, int32_t gpu_class) noexcept nogil
    # Write down what was taken, for this attempt. 0, or -1 with errno.
    cdef int record(self, uint64_t job, uint16_t attempt, const tsf_cold *cold) noexcept nogil
    cdef void sent(self, bint started) noexcept nogil     # the runner has the leases, or will not get them
    # The job has ended, or was not started after all. left: processes of it may still be there.
    cdef void give_back(self, uint64_t job, bint left) noexcept nogil
    # Recovery: a job that runs has what this record says it was granted.
    cdef int restore(self, const Record *record, int32_t gpu_class) noexcept nogil
    cdef void resume(self) noexcept nogil   # --set_gpu_wait has changed
    cdef bint machine_has_gpus(self) noexcept nogil
    # "GPU 2 has not answered for 12 s: GPU is lost", each between `before` and `after`, the first `most` of those that
    # do not answer now; how many there are.
    cdef uint32_t tell_silent(self, Text *text, uint32_t most, const char *before, const char *after) noexcept nogil

    # private
    cdef bint _may_start(self, int32_t gpu_class, bint fresh) noexcept nogil
    cdef int _lease(self, int32_t gpu_class, const uint64_t *mask) noexcept nogil
    cdef int _take_lease(self, const Device *device) noexcept nogil
    cdef void _drop_leases(self) noexcept nogil
    cdef void _settle_leases(self, const uint64_t *mask, bint left) noexcept nogil
    cdef void _record_came(self, const tsf_gpu *record) noexcept nogil
    cdef void _device_came(self, const tsf_gpu *record) noexcept nogil
    cdef void _forget_silent(self, uint32_t devices) noexcept nogil
    cdef void _unavailable(self, uint32_t index, const char *why) noexcept nogil
    cdef void _trouble(self, uint32_t index, const char *why) noexcept nogil
