# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See scheduler.pxd for the rules and the states.

Where a job is found:

    id --> directory (pages of 4096 ids) --> index --> slab (chunks of 4096 jobs that never move)
                                               |
    READY: in one of the heaps   --------------'-- others: in a list threaded through the slab

A job that others wait for heads a list of edges, one for each wait; they come from a pool and go back to it when the
job ends. add() reserves whatever the life of the job can need, so every later transition works without memory.

Order keys: a new job gets ORDER_BASE + id, an urgent one the smallest key so far less one. Only the relation counts, so
no other job is touched.
"""
cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport UINT64_MAX, uint8_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memset

from tsfast.scheduler.heap cimport pull, push, settle, sort_by_order
from tsfast.base.idmap cimport idmap_del, idmap_free, idmap_get, idmap_put, not_there
from tsfast.scheduler.slab cimport CHUNK, CHUNK_BITS, append, edge_at, job_at, unlink

cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t alignment, size_t size)

cdef extern from * nogil:
    """
    #define TSFAST_JOB_BOUND(job) _Static_assert(sizeof(*(job)) <= 80, "a job takes more memory than it may")
    #define TSFAST_ORDER_BASE (UINT64_C(1) << 63)
    """
    const uint64_t ORDER_BASE "TSFAST_ORDER_BASE"
    void assert_job_bound "TSFAST_JOB_BOUND" (Job *job)

cdef enum:
    CACHE_LINE = 64
    PAGE = 1 << PAGE_BITS
    JOBS_MAX = 0x7FFFF000               # an edge has 31 bits for the index of a job
    EDGES_MAX = 0xFFFFF000

# ---- states ---------------------------------------------------------------------------------------------------------

cdef inline uint64_t *counter(Scheduler s, uint8_t state) noexcept nogil:
    if state == JOB_BLOCKED:
        return &s.blocked
    if state == JOB_READY:
        return &s.ready
    if state == JOB_STARTING:
        return &s.starting
    if state == JOB_RUNNING:
        return &s.running
    if state == JOB_SKIPPING:
        return &s.skipping
    if state == JOB_ENDED:
        return &s.ended
    if state == JOB_GHOST:
        return &s.ghosts
    return &s.unused


# The only place where a job's state changes. Its caller moves it to the heap or the list of the new state.
cdef inline void set_state(Scheduler s, Job *job, JobState state) noexcept nogil:
    counter(s, job.state)[0] -= 1
    counter(s, <uint8_t> state)[0] += 1
    job.state = <uint8_t> state


include "storage.pxi"


# ---- known jobs -----------------------------------------------------------------------------------------------------

# A new known job; everything is reserved. It has a state only when its caller has set one.
cdef uint32_t enter(Scheduler s, uint64_t id, uint32_t slots, uint32_t waits_in, uint64_t order) noexcept nogil:
    cdef uint32_t i = take_job(s)
    cdef Job *job = job_at(s.chunks, i)
    cdef Page *page = page_of(s, id)
    job.id = id
    job.order = order
    job.slots = slots
    job.waits_in = waits_in
    count_member(s, job)
    job.edges = NIL
    job.prev_known = s.known_jobs.last
    job.next_known = NIL
    if s.known_jobs.last != NIL:
        job_at(s.chunks, s.known_jobs.last).next_known = i
    else:
        s.known_jobs.first = i
    s.known_jobs.last = i
    s.known += 1
    page.places[id & (PAGE - 1)] = i
    page.used += 1
    s.least_id = id + 1
    return i


# No longer known. It is in no heap and no other list any more.
cdef void leave(Scheduler s, uint32_t i) noexcept nogil:
    cdef Job *job = job_at(s.chunks, i)
    cdef Page *page = page_of(s, job.id)
    if job.prev_known != NIL:
        job_at(s.chunks, job.prev_known).next_known = job.next_known
    else:
        s.known_jobs.first = job.next_known
    if job.next_known != NIL:
        job_at(s.chunks, job.next_known).prev_known = job.prev_known
    else:
        s.known_jobs.last = job.prev_known
    s.known -= 1
    page.places[job.id & (PAGE - 1)] = NIL
    page.used -= 1
    if page.used == 0:
        idmap_del(&s.pages, job.id >> PAGE_BITS)
        free(page)
    if job.pending:
        set_state(s, job, JOB_GHOST)
    else:
        give_job(s, i)


include "transitions.pxi"


cdef void sort_ended(Scheduler s) noexcept nogil:
    cdef uint32_t n = 0
    cdef uint32_t k
    cdef uint32_t i = s.ended_jobs.first
    cdef uint32_t *sorted_jobs
    while i != NIL:
        s.scratch[n] = i
        n += 1
        i = job_at(s.chunks, i).next
    sorted_jobs = sort_by_order(s.chunks, s.scratch, s.scratch + s.index_room, n)
    s.ended_jobs.first = s.ended_jobs.last = NIL
    for k in range(n):
        append(s.chunks, &s.ended_jobs, sorted_jobs[k])
    s.ended_unsorted = False


# ---- the scheduler --------------------------------------------------------------------------------------------------

@cython.final
cdef class Scheduler:
    def __cinit__(self, uint32_t max_slots=1):
        assert_job_bound(NULL if self.chunks == NULL else self.chunks[0])
        self.max_slots = max_slots
        self.first_key = ORDER_BASE
        self.slab_free = self.edge_free = NIL
        self.known_jobs.first = self.known_jobs.last = NIL
        self.running_jobs.first = self.running_jobs.last = NIL
        self.ended_jobs.first = self.ended_jobs.last = NIL
        self.skips.first = self.skips.last = NIL
        self.arrays_free = NIL
        self.oversize.by_slots = True

    def __dealloc__(self):
        cdef uint32_t k
        cdef size_t at
        for k in range(1, self.n_classes + 1):
            free(self.classes[k].slotted.items)
            free(self.classes[k].slotless.items)
        free(self.classes)
        for k in range(self.arrays_top):
            free(self.arrays[k].waiting.items)
        free(self.arrays)
        for k in range(self.slab_room >> CHUNK_BITS):
            free(self.chunks[k])
        for k in range(self.edge_room >> CHUNK_BITS):
            free(self.edge_chunks[k])
        for at in range(self.pages.room):
            if self.pages.values[at] != not_there():
                free(<void *> <size_t> self.pages.values[at])
        idmap_free(&self.pages)
        free(self.chunks)
        free(self.edge_chunks)
        free(self.slotted.items)
        free(self.slotless.items)
        free(self.oversize.items)
        free(self.scratch)

    cdef int add(self, uint64_t id, uint32_t slots, uint32_t waits_in, const uint64_t *after, size_t n_after,
                 const uint64_t *after_ok, size_t n_after_ok, uint32_t holds) noexcept nogil:
        cdef uint64_t edges = 0
        cdef uint32_t i
        cdef bint bad
        if id < self.least_id or id >= ORDER_BASE or not fits_array(self, waits_in, slots):
            return ADD_REFUSED
        survey(self, id, after, n_after, False, &edges)
        bad = survey(self, id, after_ok, n_after_ok, True, &edges)
        if bad:
            edges = 0
        # The page comes last: only it would be visible if something after it failed.
        if (edges + holds > NIL or reserve_edges(self, edges) or reserve_job(self) or reserve_member(self, waits_in)
                or reserve_page(self, id)):
            return ADD_NO_MEMORY
        i = enter(self, id, slots, waits_in, ORDER_BASE + id)
        if bad:
            to_skipping(self, i)
            return ADD_SKIPPED
        tie(self, i, after, n_after, False)
        tie(self, i, after_ok, n_after_ok, True)
        job_at(self.chunks, i).holds = holds
        job_at(self.chunks, i).pending += holds
        if job_at(self.chunks, i).pending:
            set_state(self, job_at(self.chunks, i), JOB_BLOCKED)
        else:
            to_ready(self, i)
        return ADD_QUEUED

    cdef int restore(self, uint64_t id, uint32_t slots, uint32_t waits_in, uint64_t order, JobState state,
                     bint bad) noexcept nogil:
        cdef uint32_t i
        if id < self.least_id or id >= ORDER_BASE or not fits_array(self, waits_in, slots):
            return ADD_REFUSED
        if state != JOB_READY and state != JOB_STARTING and state != JOB_RUNNING and state != JOB_ENDED:
            return ADD_REFUSED
        if state == JOB_ENDED:
            waits_in = 0
        if reserve_job(self) or reserve_member(self, waits_in) or reserve_page(self, id):
            return ADD_NO_MEMORY
        i = enter(self, id, slots, waits_in, order)
        if state == JOB_ENDED:
            set_state(self, job_at(self.chunks, i), state)
            if bad:
                job_at(self.chunks, i).flags |= FLAG_BAD
            if order < self.end_key:
                self.ended_unsorted = True
            self.end_key = max(self.end_key, order)
            append(self.chunks, &self.ended_jobs, i)
            return ADD_QUEUED
        self.first_key = min(self.first_key, order)
        if state == JOB_READY:
            to_ready(self, i)
        else:
            set_state(self, job_at(self.chunks, i), state)
            occupy(self, i)
        return ADD_QUEUED

    cdef int link(self, uint64_t id, const uint64_t *after, size_t n_after,
                  const uint64_t *after_ok, size_t n_after_ok, uint32_t holds) noexcept nogil:
        cdef uint64_t edges = 0
        cdef uint32_t i = find_in(self, id, JOB_BLOCKED, JOB_READY)
        cdef Job *job
        if i == NIL:
            return ADD_REFUSED
        job = job_at(self.chunks, i)
        survey(self, id, after, n_after, False, &edges)
        if survey(self, id, after_ok, n_after_ok, False, &edges):
            to_skipping(self, i)
            return ADD_SKIPPED
        if job.pending + edges + holds > NIL or reserve_edges(self, edges):
            return ADD_NO_MEMORY
        tie(self, i, after, n_after, False)
        tie(self, i, after_ok, n_after_ok, True)
        job.holds += holds
        job.pending += holds
        if job.pending and job.state == JOB_READY:
            leave_ready(self, i)
            set_state(self, job, JOB_BLOCKED)
        return ADD_QUEUED

    cdef void ends_after(self, uint64_t order) noexcept nogil:
        self.end_key = max(self.end_key, order)

    cdef int latest_start(self, uint64_t id) noexcept nogil:
        cdef uint32_t i = find_in(self, id, JOB_STARTING, JOB_RUNNING)
        if i == NIL:
            return -1
        unlink(self.chunks, &self.running_jobs, i)
        append(self.chunks, &self.running_jobs, i)
        return 0

    cdef bint next_start(self, uint64_t *id) noexcept nogil:
        cdef uint32_t i = first_of(self, &self.slotted)
        cdef uint32_t slotless = first_of(self, &self.slotless)
        cdef uint32_t k
        cdef Job *job
        if self.gpu_ready:
            for k in range(1, self.n_classes + 1):
                if self.classes[k].open:
                    i = earlier(self, i, first_of(self, &self.classes[k].slotted))
                    slotless = earlier(self, slotless, first_of(self, &self.classes[k].slotless))
        if i != NIL and self.used_slots + job_at(self.chunks, i).slots > self.max_slots:
            i = NIL
        i = earlier(self, i, slotless)
        if i == NIL:
            return False
        job = job_at(self.chunks, i)
        leave_ready(self, i)
        set_state(self, job, JOB_STARTING)
        occupy(self, i)
        id[0] = job.id
        return True

    cdef bint next_skipped(self, uint64_t *id) noexcept nogil:
        cdef uint32_t i = self.skips.first
        if i == NIL:
            return False
        self.skips.first = job_at(self.chunks, i).place
        if self.skips.first == NIL:
            self.skips.last = NIL
        id[0] = job_at(self.chunks, i).id
        to_ended(self, i, True)
        return True

    cdef int started(self, uint64_t id) noexcept nogil:
        cdef uint32_t i = find_in(self, id, JOB_STARTING, JOB_STARTING)
        if i == NIL:
            return -1
        set_state(self, job_at(self.chunks, i), JOB_RUNNING)
        return 0

    cdef int requeue(self, uint64_t id) noexcept nogil:
        cdef uint32_t i = find_in(self, id, JOB_STARTING, JOB_STARTING)
        if i == NIL:
            return -1
        vacate(self, i)
        to_ready(self, i)
        return 0

    cdef int finish(self, uint64_t id, bint bad) noexcept nogil:
        cdef uint32_t i = find_in(self, id, JOB_STARTING, JOB_RUNNING)
        if i == NIL:
            return -1
        vacate(self, i)
        to_ended(self, i, bad)
        return 0

    cdef int remove(self, uint64_t id) noexcept nogil:
        cdef uint32_t i = find_in(self, id, JOB_BLOCKED, JOB_READY)
        if i == NIL:
            return -1
        take_out(self, i)
        drop_member(self, job_at(self.chunks, i))
        self.end_key += 1                      # its end has a place in their order, as in the table
        resolve(self, i, True)
        leave(self, i)
        return 0

    cdef int cancel(self, uint64_t id) noexcept nogil:
        cdef uint32_t i = find_in(self, id, JOB_BLOCKED, JOB_READY)
        if i == NIL:
            return -1
        take_out(self, i)
        to_ended(self, i, True)
        return 0

    cdef int forget(self, uint64_t id) noexcept nogil:
        cdef uint32_t i = find_in(self, id, JOB_ENDED, JOB_ENDED)
        if i == NIL:
            return -1
        unlink(self.chunks, &self.ended_jobs, i)
        leave(self, i)
        return 0

    cdef int hold(self, uint64_t id) noexcept nogil:
        cdef uint32_t i = find_in(self, id, JOB_BLOCKED, JOB_READY)
        cdef Job *job
        if i == NIL or job_at(self.chunks, i).pending == NIL:
            return -1
        job = job_at(self.chunks, i)
        if job.state == JOB_READY:
            leave_ready(self, i)
            set_state(self, job, JOB_BLOCKED)
        job.holds += 1
        job.pending += 1
        return 0

    cdef int release(self, uint64_t id) noexcept nogil:
        cdef uint32_t i = find_in(self, id, JOB_BLOCKED, JOB_BLOCKED)
        cdef Job *job
        if i == NIL or job_at(self.chunks, i).holds == 0:
            return -1
        job = job_at(self.chunks, i)
        job.holds -= 1
        job.pending -= 1
        if job.pending == 0:
            to_ready(self, i)
        return 0

    cdef int urgent(self, uint64_t id) noexcept nogil:
        cdef uint32_t i = find_in(self, id, JOB_BLOCKED, JOB_READY)
        if i == NIL or self.first_key == 0:
            return -1
        self.first_key -= 1
        job_at(self.chunks, i).order = self.first_key
        if job_at(self.chunks, i).state == JOB_READY:
            settle(self.chunks, heap_of(self, i), i)
            choose_first(self, job_at(self.chunks, i).waits_in)
        return 0

    cdef int swap(self, uint64_t a, uint64_t b) noexcept nogil:
        cdef uint32_t i = find_in(self, a, JOB_BLOCKED, JOB_READY)
        cdef uint32_t j = find_in(self, b, JOB_BLOCKED, JOB_READY)
        cdef uint64_t order
        if i == NIL or j == NIL or i == j:
            return -1
        # One key at a time, each outside of any heap, so that a heap is never out of order at two places.
        if job_at(self.chunks, i).state == JOB_READY:
            leave_ready(self, i)
        if job_at(self.chunks, j).state == JOB_READY:
            leave_ready(self, j)
        order = job_at(self.chunks, i).order
        job_at(self.chunks, i).order = job_at(self.chunks, j).order
        job_at(self.chunks, j).order = order
        if job_at(self.chunks, i).state == JOB_READY:
            enter_ready(self, i)
        if job_at(self.chunks, j).state == JOB_READY:
            enter_ready(self, j)
        return 0

    cdef void set_slots(self, uint32_t max_slots) noexcept nogil:
        cdef uint32_t i
        self.max_slots = max_slots
        while self.oversize.size and job_at(self.chunks, self.oversize.items[0]).slots <= max_slots:
            i = self.oversize.items[0]
            take_from(self, &self.oversize, i)
            put_in(self, home_of(self, job_at(self.chunks, i)), i)

    cdef uint32_t new_array(self, uint32_t limit, uint32_t slots, uint32_t gpu_class) noexcept nogil:
        cdef uint32_t number = free_array(self)
        cdef JobArray *array
        if number == NIL:
            return 0
        array = &self.arrays[number]
        memset(array, 0, sizeof(JobArray))
        array.limit = limit
        array.slots = slots
        array.gpu_class = gpu_class
        array.first = NIL
        return <uint32_t> ARRAY_BIT | number

    cdef void drop_array(self, uint32_t waits_in) noexcept nogil:
        if waits_in & <uint32_t> ARRAY_BIT and array_at(self, waits_in).limit and array_at(self, waits_in).members == 0:
            give_array(self, waits_in)

    cdef void open_class(self, uint32_t gpu_class, bint open) noexcept nogil:
        if 0 < gpu_class <= self.n_classes:
            self.classes[gpu_class].open = open

    cdef bint class_waits(self, uint32_t gpu_class) noexcept nogil:
        cdef ResourceClass *jobs = &self.classes[gpu_class]
        return gpu_class <= self.n_classes and jobs.slotted.size + jobs.slotless.size > 0

    cdef uint32_t gpu_class(self, const Job *job) noexcept nogil:
        return gpus_of(self, job.waits_in)

    cdef uint32_t held_back(self, const Job *job) noexcept nogil:
        cdef JobArray *array
        if job.state != JOB_READY or not job.waits_in & <uint32_t> ARRAY_BIT:
            return 0
        array = array_at(self, job.waits_in)
        return array.limit if array.active >= array.limit else 0

    cdef Job *get(self, uint64_t id) noexcept nogil:
        cdef uint32_t i = find(self, id)
        return NULL if i == NIL else job_at(self.chunks, i)

    cdef bint next_id(self, uint64_t after, uint64_t *id) noexcept nogil:
        cdef uint32_t i = NIL
        cdef uint64_t number
        cdef size_t k
        if after == UINT64_MAX:
            i = self.known_jobs.first
        elif find(self, after) != NIL:
            i = job_at(self.chunks, find(self, after)).next_known
        else:
            # `after` itself is gone: the rest of its page, then the nearest page behind it.
            if (after + 1) & (PAGE - 1):
                i = first_in_page(page_of(self, after), after + 1)
            if i == NIL:
                number = UINT64_MAX
                for k in range(self.pages.room):
                    if self.pages.values[k] != not_there() and self.pages.keys[k] > after >> PAGE_BITS:
                        number = min(number, self.pages.keys[k])
                if number != UINT64_MAX:
                    i = first_in_page(page_of(self, number << PAGE_BITS), 0)
        if i == NIL:
            return False
        id[0] = job_at(self.chunks, i).id
        return True

    cdef Job *last_added(self) noexcept nogil:
        return NULL if self.known_jobs.last == NIL else job_at(self.chunks, self.known_jobs.last)

    cdef Job *first_running(self) noexcept nogil:
        return NULL if self.running_jobs.first == NIL else job_at(self.chunks, self.running_jobs.first)

    cdef Job *first_ended(self) noexcept nogil:
        if self.ended_unsorted:
            sort_ended(self)
        return NULL if self.ended_jobs.first == NIL else job_at(self.chunks, self.ended_jobs.first)

    cdef Job *last_ended(self) noexcept nogil:
        if self.ended_unsorted:
            sort_ended(self)
        return NULL if self.ended_jobs.last == NIL else job_at(self.chunks, self.ended_jobs.last)

    cdef Job *following(self, Job *job) noexcept nogil:
        return NULL if job.next == NIL else job_at(self.chunks, job.next)

    cdef Job *preceding(self, Job *job) noexcept nogil:
        return NULL if job.prev == NIL else job_at(self.chunks, job.prev)

    cdef size_t live(self, uint64_t *ids, size_t room) noexcept nogil:
        cdef uint32_t n = 0
        cdef uint32_t i = self.known_jobs.first
        cdef uint32_t *jobs
        cdef size_t k
        while i != NIL:
            if JOB_BLOCKED <= job_at(self.chunks, i).state <= JOB_RUNNING:
                self.scratch[n] = i
                n += 1
            i = job_at(self.chunks, i).next_known
        room = min(room, <size_t> n)
        jobs = sort_by_order(self.chunks, self.scratch, self.scratch + self.index_room, n)
        for k in range(room):
            ids[k] = job_at(self.chunks, jobs[k]).id
        return room


include "scheduler_probe.pxi"  # of tests/probes; empty in a wheel
