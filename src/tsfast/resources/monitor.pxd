"""The server's end of the process that asks NVML (tsfast.monitor): started while jobs need it, ended when it hangs.

What it says comes as records through a pipe (native/gpus.h). The server itself never calls the driver's library.
"""
from libc.stdint cimport uint32_t, uint64_t

from tsfast.layout.gpus cimport tsf_gpu
from tsfast.base.loop cimport Loop, Source
from tsfast.base.system cimport pid_t

cdef enum:
    SUSPECTS_MAX = 16

# A device that did not answer is left out until then. By index: it may never have told its UUID.
cdef struct Suspect:
    uint32_t index
    uint64_t until_ns

ctypedef void (*RecordHandler)(void *owner, const tsf_gpu *record) noexcept nogil
# The monitor hung or died while it asked this device, or TSF_GPU_NONE: while it asked for all.
ctypedef void (*TroubleHandler)(void *owner, uint32_t index, const char *why) noexcept nogil
ctypedef void (*StoppedHandler)(void *owner) noexcept nogil

cdef class Monitor:
    cdef Loop loop
    cdef Source pipe                 # fd -1: it does not run
    cdef pid_t pid                   # 0: it does not run
    cdef uint32_t asking             # the device it asks at the moment
    cdef char doing[32]              # while it asks for all: what for, as "while it initialised"
    cdef bint needed
    cdef bint backing_off            # it failed as a whole a moment ago
    cdef bint told_why               # the last that it said is why no device answers
    cdef int failures                # in a row
    cdef Suspect suspects[SUSPECTS_MAX]
    cdef int n_suspects
    cdef int timeout_ms              # how long a device may be silent, and how long it stays when no job needs it
    cdef int silence_timer, linger_timer, retry_timer
    cdef bytes python, packages
    cdef const char *python_text
    cdef char *packages_text
    cdef void *owner
    cdef RecordHandler on_record
    cdef TroubleHandler on_trouble
    cdef StoppedHandler on_stopped   # whenever it is not asked any more: what it said grows old from now on

    cdef void need(self, bint needed) noexcept nogil    # cheap if nothing changes
    cdef void reaped(self, pid_t pid, int status) noexcept nogil    # a child has ended that is not the engine's

    cdef void renew(self) noexcept nogil                # what its environment says has changed: the next one reads it

    # private
    cdef void _start(self) noexcept nogil
    cdef void _close(self) noexcept nogil
    cdef void _expect_more(self) noexcept nogil
    cdef void _give_up(self, const char *why) noexcept nogil
    cdef void _back_off(self) noexcept nogil
    cdef void _read(self) noexcept nogil
    cdef void _suspect(self, uint32_t index) noexcept nogil
    cdef void _forgive(self) noexcept nogil
