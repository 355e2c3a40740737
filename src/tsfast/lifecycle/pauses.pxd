"""Starts that wait because the system is short of something, through no fault of the jobs: which, why, how long.

Without processes, memory or descriptors all starts pause, longer each time, until a job starts or ends. A directory
that takes no more files concerns only the jobs that write there: one of them is tried from time to time, the others are
held aside in their places, and jobs with output elsewhere pass them. Nothing of this is on the disk.
"""
from libc.stdint cimport uint32_t, uint64_t

from tsfast.scheduler.scheduler cimport Job, Scheduler
from tsfast.base.loop cimport Loop
from tsfast.base.text cimport Text
from tsfast.store.record cimport Record

cdef enum:
    # Beside enum tsf_stage.
    STAGE_TABLE = 100     # the job table could not be written
    STAGE_MEMORY = 101
    STAGE_RUNNER = 102    # runners end before they take a job

cdef struct Place:        # a directory that takes no more files
    uint64_t name         # hash of its path
    int cause
    bint probed
    uint64_t probe        # if `probed`: the job that is tried

cdef struct Held:
    uint64_t id
    uint64_t place

cdef class Pauses:
    cdef Loop loop
    cdef Scheduler scheduler
    cdef int stage, cause             # of the newest shortage that concerns all; 0: a job has started or ended since
    cdef size_t n_places

    # A start failed, and the next ones would.
    cdef void all_starts(self, int stage, int cause) noexcept nogil
    cdef bint may_start(self) noexcept nogil
    # There was no room for the output file of a READY job. -1: no memory.
    cdef int no_room(self, uint64_t id, const Record *record, int cause) noexcept nogil
    # A job that is about to start would write to such a directory: it is held back too, once it is READY again.
    cdef bint has_no_room(self, uint64_t id, const Record *record, int *cause) noexcept nogil
    # This job has started or ended: there was all that it needed, and now there is what it had.
    cdef void went_on(self, uint64_t id) noexcept nogil
    cdef bint holds(self, uint64_t id) noexcept nogil
    # "no process can be created (Resource temporarily unavailable)"; False, if this job waits for no such thing.
    cdef bint reason(self, Text *text, const Job *job) noexcept nogil

    # There are jobs whose start waits for what the system is short of.
    cdef bint jobs_wait(self) noexcept nogil
    # The newest shortage, as the log has it.
    cdef void summary(self, Text *text) noexcept nogil

    # private
    cdef bint pausing
    cdef uint32_t wait_ms, room_wait_ms
    cdef int timer, room_timer
    cdef uint64_t careful_until_ns    # CLOCK_MONOTONIC, like the following; 0: not careful
    cdef uint64_t latest_start_ns
    cdef uint64_t told, told_ns       # hash of what the log has, and when it happened last
    cdef Place *places                # owned, likewise the following
    cdef Held *held
    cdef size_t places_room, n_held, held_room
    cdef void _say(self, int stage, int cause, const char *where, size_t size) noexcept nogil
    cdef Place *_place(self, uint64_t name) noexcept nogil
    cdef void _open(self, Place *place) noexcept nogil
    cdef bint _probe(self, Place *place) noexcept nogil
    cdef bint _is_next(self, const Job *job) noexcept nogil
    cdef void _look_for_room(self) noexcept nogil
