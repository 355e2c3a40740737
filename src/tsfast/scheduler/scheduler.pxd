"""Which job starts next: a pure state machine of order, slots and dependencies. No I/O, no clock, no Python objects.

The scheduler knows what GPUs a job needs only as a number, the class of the job; its owner says which classes could
have their GPUs now. Of an array only as many jobs start or run as the array allows: the others do not count as ready.

The owner calls a transition when something has happened, then asks `next_start` and `next_skipped` for what follows
from it until they return 0. Every transition is O(1) or O(log n) plus the edges that it resolves; nothing recurses,
nothing scans the jobs.
"""
cimport cython
from libc.stdint cimport uint32_t, uint64_t

from tsfast.scheduler.heap cimport Heap
from tsfast.base.idmap cimport IdMap
from tsfast.scheduler.slab cimport NIL, Chain, Edge, Job

#   add, restore
#       |
#       |-- it waits for nothing ---------------------------.
#       v                                                    v
#   BLOCKED -- the last dependency ended, or release ---> READY <--- requeue ---.
#       |  <------------- link, hold ------------------------ |                  |
#       |                                                     '-- next_start --> STARTING -- started --> RUNNING
#       |-- a job of after_ok ended badly --> SKIPPING                           |                         |
#       |                                        '-- next_skipped --> ENDED <----'------- finish ----------'
#       '-- cancel (also from READY) -------------------------------> ENDED -- forget --> gone
#       '-- remove (also from READY) --> gone
#
# A job that is gone while an edge still points at it is a GHOST until its last dependency has ended.
cdef enum JobState:
    JOB_FREE = 0          # slab slot not in use
    JOB_BLOCKED = 1       # pending > 0
    JOB_READY = 2         # in one of the heaps
    JOB_STARTING = 3      # slots taken, handed to a runner
    JOB_RUNNING = 4
    JOB_SKIPPING = 5      # in the skip FIFO, not yet pulled
    JOB_ENDED = 6
    JOB_GHOST = 7         # forgotten or removed, edges still point at it

cdef enum JobFlag:
    FLAG_BAD = 1          # ENDED: did not end well (error level other than 0, signal, skipped, lost)
    FLAG_WAITED = 2       # for the owner's use: a client waits for its end
    FLAG_VOLATILE = 4     # for the owner's use: to be forgotten as soon as it has ended
    FLAG_SKIPPED = 8      # for the owner's use: ENDED without having run
    FLAG_HOOKED = 16      # for the owner's use: something is to run when it has ended
    FLAG_DUE = 32         # for the owner's use: it has ended and that has not been started yet
    FLAG_FORGET = 64      # for the owner's use: to be forgotten once that was started
    FLAG_CANCEL = 128     # for the owner's use: it is to be ended

cdef enum AddResult:
    ADD_REFUSED = -2      # nothing has changed: the id or the state makes no sense here (see each call)
    ADD_NO_MEMORY = -1    # nothing has changed
    ADD_QUEUED = 0
    ADD_SKIPPED = 1       # a job of after_ok had ended badly or is forgotten: it is in the skip FIFO

cdef enum:
    PAGE_BITS = 12
    ARRAY_BIT = 0x80000000    # of Job.waits_in: the rest is the number of an array, else of a class of GPUs

cdef struct ResourceClass:          # the ready jobs that need the same GPUs; owned by Scheduler.classes
    Heap slotted
    Heap slotless
    uint32_t room                       # of each heap
    uint32_t members                    # jobs of this class that have not ended: at most `room`
    bint open                           # their GPUs are there

# Jobs of which at most `limit` are STARTING or RUNNING; owned by Scheduler.arrays. Of its READY members only the first
# in the order of the queue is in one of the scheduler's heaps, where it takes part like any other job,
# and only while one more may start: so the search for the next job never looks at arrays.
cdef struct JobArray:
    Heap waiting                        # the other READY members
    uint32_t room                       # of `waiting`
    uint32_t limit                      # 0: this entry is free
    uint32_t active                     # members that are STARTING or RUNNING
    uint32_t members                    # that have not ended: at most `room`
    uint32_t first                      # slab index, NIL: none; of a free entry: the next free one
    uint32_t slots                      # of each member
    uint32_t gpu_class                  # likewise

cdef struct Page:         # of the directory: 4096 consecutive ids; owned by Scheduler.pages
    uint32_t used
    uint32_t places[1 << PAGE_BITS]     # slab index by id, NIL where there is none

@cython.final
cdef class Scheduler:
    # The number of jobs in each state; `known` = all but FREE and GHOST.
    cdef readonly uint64_t known, blocked, ready, starting, running, skipping, ended, ghosts
    cdef readonly uint32_t max_slots
    cdef readonly uint64_t used_slots

    # ---- private -----------------------------------------------------------------------------------------------
    # Memory, all of it owned here. Chunks and edge chunks never move, so a Job * stays valid until the job is gone.
    cdef Job **chunks
    cdef Edge **edge_chunks
    cdef IdMap pages              # the directory: id >> PAGE_BITS -> Page *
    cdef uint32_t *scratch        # for sorting: twice index_room
    cdef uint32_t slab_room, slab_top, slab_free        # jobs allocated, ever used, head of the list of free ones
    cdef uint32_t index_room                            # of each heap, >= slab_room, so that no push can fail
    cdef uint32_t edge_room, edge_top, edge_free        # likewise for edges
    cdef uint32_t edges_used
    cdef uint64_t unused          # JOB_FREE, never used ones included
    # READY jobs: those that could run, those of no slots, those that need more slots than there are.
    cdef Heap slotted, slotless, oversize
    cdef ResourceClass *classes   # [1 .. n_classes]: ready jobs that need GPUs are in there, not in the first two
    cdef uint32_t n_classes
    cdef readonly uint64_t gpu_ready                    # jobs in the heaps of the classes
    cdef JobArray *arrays
    cdef uint32_t arrays_room, arrays_top, arrays_free  # entries allocated, ever used, head of the list of free ones
    cdef Chain known_jobs, running_jobs, ended_jobs, skips
    cdef uint64_t least_id        # the next id must not be smaller
    cdef uint64_t first_key       # smallest order key given out so far
    cdef uint64_t end_key         # largest place in the order of ending
    cdef bint ended_unsorted      # restore() came across ended jobs out of order; sorted when first asked for

    # ---- transitions -------------------------------------------------------------------------------------------
    # A new job at the end of the queue. `after`: ids that must have ended, `after_ok`: ids that must have ended well;
    # ids unknown here were forgotten and count as ended for `after` and as bad for `after_ok`. Repeated ids are
    # allowed. `holds` further conditions must be lifted by release(). ids must grow from call to call (gaps allowed)
    # and stay below 2**63, else ADD_REFUSED. waits_in: 0, a class of GPUs (a small number of the owner's choice), or an
    # array, whose slots it must have.
    cdef int add(self, uint64_t id, uint32_t slots, uint32_t waits_in, const uint64_t *after, size_t n_after,
                 const uint64_t *after_ok, size_t n_after_ok, uint32_t holds) noexcept nogil
    # Recovery: a job as it stands in the table. First all jobs, in id order, then link() for the dependencies of
    # those that are queued; then the other transitions. state: JOB_READY (queued), JOB_STARTING, JOB_RUNNING or
    # JOB_ENDED (then `bad`). Jobs are put in the order of their order keys (running list: the order of the calls; see
    # latest_start). ADD_REFUSED: the id did not grow, or another state.
    cdef int restore(self, uint64_t id, uint32_t slots, uint32_t waits_in, uint64_t order, JobState state,
                     bint bad) noexcept nogil
    # Recovery: the dependencies of a restored queued job. An id unknown here counts as ended well: by the write order
    # of the table, all jobs that were to be skipped because of it already are. So does an id that is not smaller than
    # its own: there can be no circle. ADD_REFUSED: the job is not BLOCKED or READY.
    cdef int link(self, uint64_t id, const uint64_t *after, size_t n_after,
                  const uint64_t *after_ok, size_t n_after_ok, uint32_t holds) noexcept nogil
    # Recovery: makes a running job the last of the running list. restore() gets the jobs by id; call this for each
    # running one in the order of their start. -1: it does not run.
    cdef int latest_start(self, uint64_t id) noexcept nogil
    # Recovery: whoever ends from now on has a place in the order of ending behind this one.
    cdef void ends_after(self, uint64_t order) noexcept nogil
    # The next job to start now, or 0. It is then STARTING and has its slots. Rule: strictly in the order of the queue,
    # so that small jobs do not overtake a job of many slots for ever: the first ready job that could run at all
    # (slots <= max_slots) starts if its slots are free, else no job behind it does, except jobs of 0 slots, which
    # always start. Jobs with slots > max_slots wait aside and hold up no other job; so do those of a class that is not
    # open.
    cdef bint next_start(self, uint64_t *id) noexcept nogil
    # The next job that is to be skipped, or 0. It is then ENDED and bad, and its own dependents are resolved.
    cdef bint next_skipped(self, uint64_t *id) noexcept nogil
    # The following return 0, or -1 if the id is unknown or in a state where this makes no sense (nothing changes).
    cdef int started(self, uint64_t id) noexcept nogil            # STARTING -> RUNNING
    cdef int requeue(self, uint64_t id) noexcept nogil            # STARTING -> READY, slots given back, same order
    cdef int finish(self, uint64_t id, bint bad) noexcept nogil   # STARTING|RUNNING -> ENDED
    cdef int remove(self, uint64_t id) noexcept nogil             # BLOCKED|READY -> gone; counts as bad for dependents
    cdef int cancel(self, uint64_t id) noexcept nogil             # BLOCKED|READY -> ENDED, bad
    cdef int forget(self, uint64_t id) noexcept nogil             # ENDED -> gone
    cdef int hold(self, uint64_t id) noexcept nogil               # BLOCKED|READY: one more condition
    cdef int release(self, uint64_t id) noexcept nogil            # one condition (hold) less
    cdef int urgent(self, uint64_t id) noexcept nogil             # BLOCKED|READY: before all others
    cdef int swap(self, uint64_t a, uint64_t b) noexcept nogil    # BLOCKED|READY both: exchange their places
    cdef void set_slots(self, uint32_t max_slots) noexcept nogil
    # An array of jobs of which at most `limit` (1 or more) run at once, all of them with these slots and GPUs. Its
    # number; 0: no memory. It is gone when its last member has ended, or by drop_array() while it has none.
    cdef uint32_t new_array(self, uint32_t limit, uint32_t slots, uint32_t gpu_class) noexcept nogil
    cdef void drop_array(self, uint32_t waits_in) noexcept nogil
    # Whether the GPUs of this class are there now. A class that has not been used yet is unknown and not opened.
    cdef void open_class(self, uint32_t gpu_class, bint open) noexcept nogil
    cdef bint class_waits(self, uint32_t gpu_class) noexcept nogil    # it has ready jobs

    # ---- questions ---------------------------------------------------------------------------------------------
    cdef uint32_t gpu_class(self, const Job *job) noexcept nogil  # 0: it needs no GPUs
    # It waits for nothing but for one of its array to end: as many run as the array allows. Then that limit, else 0.
    cdef uint32_t held_back(self, const Job *job) noexcept nogil
    cdef Job *get(self, uint64_t id) noexcept nogil               # NULL if unknown (or GHOST)
    cdef bint next_id(self, uint64_t after, uint64_t *id) noexcept nogil    # smallest known id > after; all known
                                                                            # ids: begin with after = UINT64_MAX
    cdef Job *last_added(self) noexcept nogil                     # newest known, NULL if none
    cdef Job *first_running(self) noexcept nogil                  # STARTING or RUNNING that started first
    cdef Job *first_ended(self) noexcept nogil                    # oldest ended
    cdef Job *last_ended(self) noexcept nogil
    cdef Job *following(self, Job *job) noexcept nogil            # in the running or the ended list; NULL at its end
    cdef Job *preceding(self, Job *job) noexcept nogil            # likewise, the other way
    # Ids of all jobs that have not ended (BLOCKED, READY, STARTING, RUNNING) in queue order; returns how many were
    # written: the first `room` of them.
    cdef size_t live(self, uint64_t *ids, size_t room) noexcept nogil
