# Included at the end of scheduler.pyx in builds for tests.
from tsfast.scheduler.heap cimport heap_key

from tsfast.scheduler.heap cimport heap_key

# ---- checks ---------------------------------------------------------------------------------------------------------

def _check(condition, text, *values):
    if not condition:
        raise AssertionError(text % values)


cdef bytes _ids(ids):
    from array import array  # not on the way of a server's start

    return array("Q", ids).tobytes()


cdef inline Job *job_of(Scheduler s, uint32_t i):
    return job_at(s.chunks, i)


cdef check_slab(Scheduler s):
    cdef uint32_t i
    cdef uint32_t k
    cdef size_t at
    cdef Page *page
    free_ones = set()
    i = s.slab_free
    while i != NIL:
        _check(i < s.slab_top and i not in free_ones, "free list of the slab is broken at %d", i)
        free_ones.add(i)
        i = job_of(s, i).next
    _check(s.slab_top <= s.slab_room <= s.index_room, "slab: %d > %d > %d", s.slab_top, s.slab_room, s.index_room)
    found = [0] * (JOB_GHOST + 1)
    slots = 0
    keys = set()
    for i in range(s.slab_top):
        job = job_of(s, i)
        found[job.state] += 1
        _check((job.state == JOB_FREE) == (i in free_ones), "slab %d: state %d and free list differ", i, job.state)
        if job.state == JOB_FREE:
            continue
        _check((find(s, job.id) == i) == (job.state != JOB_GHOST), "job %d: directory is wrong", job.id)
        _check(job.id < s.least_id, "job %d: id not below the next, %d", job.id, s.least_id)
        _check(job.holds == 0 or job.state == JOB_BLOCKED, "job %d: holds in state %d", job.id, job.state)
        if job.state in (JOB_STARTING, JOB_RUNNING):
            slots += job.slots
        if JOB_BLOCKED <= job.state <= JOB_RUNNING:
            _check(job.order not in keys, "job %d: order key %d is taken", job.id, job.order)
            _check(job.order >= s.first_key, "job %d: order key %d is before the first", job.id, job.order)
            keys.add(job.order)
    found[JOB_FREE] += s.slab_room - s.slab_top
    counted = [s.unused, s.blocked, s.ready, s.starting, s.running, s.skipping, s.ended, s.ghosts]
    _check(found == counted, "counts: found %r, counted %r", found, counted)
    _check(s.known == sum(counted[JOB_BLOCKED:JOB_GHOST]), "known: %d of %r", s.known, counted)
    _check(s.used_slots == slots, "slots in use: %d, found %d", s.used_slots, slots)
    entries = 0
    for at in range(s.pages.room):
        if s.pages.values[at] != not_there():
            page = <Page *> <size_t> s.pages.values[at]
            used = 0
            for k in range(<uint32_t> PAGE):
                used += page.places[k] != NIL
            _check(used == page.used > 0, "page %d: %d used, found %d", s.pages.keys[at], page.used, used)
            entries += used
    _check(entries == s.known, "directory: %d entries for %d jobs", entries, s.known)


cdef list chain_of(Scheduler s, const Chain *chain, str name):
    cdef uint32_t i = chain.first
    cdef uint32_t last = NIL
    members = []
    while i != NIL:
        _check(len(members) < s.slab_top, "%s: goes round in circles", name)
        _check(job_of(s, i).prev == last, "%s: wrong link back from job %d", name, job_of(s, i).id)
        members.append(i)
        last = i
        i = job_of(s, i).next
    _check(chain.last == last, "%s: wrong end", name)
    return members


cdef check_lists(Scheduler s):
    cdef uint32_t i
    cdef uint32_t last = NIL
    number = 0
    i = s.known_jobs.first
    while i != NIL:
        _check(job_of(s, i).prev_known == last, "known: wrong link back from job %d", job_of(s, i).id)
        _check(last == NIL or job_of(s, last).id < job_of(s, i).id, "known: job %d out of order", job_of(s, i).id)
        last = i
        i = job_of(s, i).next_known
        number += 1
    _check(s.known_jobs.last == last and number == s.known, "known: %d in the list of %d", number, s.known)
    members = chain_of(s, &s.running_jobs, "running")
    number = len(members)
    _check(number == s.starting + s.running, "running: %d in the list", number)
    for i in members:
        _check(job_of(s, i).state in (JOB_STARTING, JOB_RUNNING), "running: job %d is not", job_of(s, i).id)
    members = chain_of(s, &s.ended_jobs, "ended")
    number = len(members)
    _check(number == s.ended, "ended: %d in the list", number)
    order = 0
    for i in members:
        _check(job_of(s, i).state == JOB_ENDED, "ended: job %d is not", job_of(s, i).id)
        _check(s.ended_unsorted or job_of(s, i).order >= order, "ended: job %d out of order", job_of(s, i).id)
        order = job_of(s, i).order
    _check(s.ended_unsorted or order <= s.end_key, "ended: place %d after the last, %d", order, s.end_key)
    number = 0
    last = NIL
    i = s.skips.first
    while i != NIL:
        _check(job_of(s, i).state == JOB_SKIPPING, "skips: job %d is not skipping", job_of(s, i).id)
        number += 1
        last = i
        i = job_of(s, i).place
    _check(s.skips.last == last and number == s.skipping, "skips: %d in the list of %d", number, s.skipping)


cdef check_heap(Scheduler s, Heap *heap, str name):
    cdef uint32_t at, i
    for at in range(heap.size):
        i = heap.items[at]
        _check(job_of(s, i).place == at, "%s: place of job %d", name, job_of(s, i).id)
        _check(job_of(s, i).state == JOB_READY, "%s: job %d is not ready", name, job_of(s, i).id)
        _check(heap_of(s, i) == heap, "%s: job %d belongs elsewhere", name, job_of(s, i).id)
        _check(heap != &s.oversize or job_of(s, i).slots > s.max_slots,
               "%s: job %d fits", name, job_of(s, i).id)
        _check(heap_key(s.chunks, heap, heap.items[(at - 1) // 4 if at else 0]) <= heap_key(s.chunks, heap, i),
               "%s: job %d is before its parent", name, job_of(s, i).id)


cdef check_heaps(Scheduler s):
    cdef uint32_t i, k
    check_heap(s, &s.slotted, "slotted")
    check_heap(s, &s.slotless, "slotless")
    check_heap(s, &s.oversize, "oversize")
    in_classes = 0
    for k in range(1, s.n_classes + 1):
        check_heap(s, &s.classes[k].slotted, "class")
        check_heap(s, &s.classes[k].slotless, "class, slotless")
        in_classes += s.classes[k].slotted.size + s.classes[k].slotless.size
        members = 0
        for i in range(s.slab_top):
            members += (gpus_of(s, job_of(s, i).waits_in) == k
                        and job_of(s, i).state not in (JOB_FREE, JOB_ENDED, JOB_GHOST))
        _check(members == s.classes[k].members <= s.classes[k].room, "class %d: %d members", k, members)
    _check(in_classes == s.gpu_ready, "classes: %d jobs, %d counted", in_classes, s.gpu_ready)
    in_heaps = s.slotted.size + s.slotless.size + s.oversize.size + in_classes
    for k in range(s.arrays_top):
        check_heap(s, &s.arrays[k].waiting, "array")
        in_heaps += s.arrays[k].waiting.size
    _check(in_heaps == s.ready, "heaps: %d jobs, %d ready", in_heaps, s.ready)


cdef check_arrays(Scheduler s):
    cdef uint32_t i, k, first
    cdef JobArray *array
    free_ones = set()
    k = s.arrays_free
    while k != NIL:
        _check(k < s.arrays_top and k not in free_ones, "free list of the arrays is broken at %d", k)
        free_ones.add(k)
        k = s.arrays[k].first
    _check(s.arrays_top <= s.arrays_room, "arrays: %d > %d", s.arrays_top, s.arrays_room)
    for k in range(s.arrays_top):
        array = &s.arrays[k]
        members = [i for i in range(s.slab_top) if job_of(s, i).waits_in == (ARRAY_BIT | k)
                   and job_of(s, i).state != JOB_FREE]
        _check((k in free_ones) == (array.limit == 0), "array %d: limit %d and free list differ", k, array.limit)
        if array.limit == 0:
            _check(not members, "array %d is free and has members", k)
            continue
        _check(len(members) == array.members <= array.room, "array %d: %d members", k, array.members)
        active = 0
        ready = []
        for i in members:
            active += job_of(s, i).state in (JOB_STARTING, JOB_RUNNING)
            if job_of(s, i).state == JOB_READY:
                ready.append((job_of(s, i).order, i))
            _check(job_of(s, i).state not in (JOB_ENDED, JOB_GHOST), "array %d: job %d has ended", k, job_of(s, i).id)
            _check(job_of(s, i).slots == array.slots, "array %d: slots of job %d", k, job_of(s, i).id)
        _check(active == array.active, "array %d: %d active, found %d", k, array.active, active)
        first = NIL
        if ready and active < array.limit:
            first = min(ready)[1]
        _check(array.first == first, "array %d: the first is %d and not %d", k, array.first, first)


cdef check_edges(Scheduler s):
    cdef uint32_t i, e
    edges = set()
    pointing = [0] * s.slab_top
    for i in range(s.slab_top):
        if job_of(s, i).state in (JOB_FREE, JOB_GHOST):
            continue
        e = job_of(s, i).edges
        _check(e == NIL or job_of(s, i).state != JOB_ENDED, "job %d has ended with edges", job_of(s, i).id)
        while e != NIL:
            _check(e < s.edge_top and e not in edges, "edge %d is in two lists", e)
            edges.add(e)
            pointing[edge_at(s.edge_chunks, e).waiter >> 1] += 1
            e = edge_at(s.edge_chunks, e).next
    used = len(edges)
    _check(used == s.edges_used, "edges: %d in use, %d found", s.edges_used, used)
    e = s.edge_free
    while e != NIL:
        _check(e < s.edge_top and e not in edges, "edge %d is free and in use", e)
        edges.add(e)
        e = edge_at(s.edge_chunks, e).next
    _check(len(edges) == s.edge_top <= s.edge_room, "edges: %d lost", s.edge_top - len(edges))
    for i in range(s.slab_top):
        job = job_of(s, i)
        if job.state == JOB_FREE:
            _check(pointing[i] == 0, "slab %d is free and waits", i)
            continue
        _check(job.pending == pointing[i] + job.holds,
               "job %d: pending %d, found %d and %d holds", job.id, job.pending, pointing[i], job.holds)
        if job.state in (JOB_BLOCKED, JOB_GHOST):
            _check(job.pending > 0, "job %d is in state %d and waits for nothing", job.id, job.state)
        elif job.state not in (JOB_SKIPPING, JOB_ENDED):
            _check(job.pending == 0, "job %d is in state %d and waits", job.id, job.state)


# ---- for tests ------------------------------------------------------------------------------------------------------

_STATES = {
    JOB_BLOCKED: "blocked", JOB_READY: "ready", JOB_STARTING: "starting", JOB_RUNNING: "running",
    JOB_SKIPPING: "skipping", JOB_ENDED: "ended",
}
_NUMBERS = {name: number for number, name in _STATES.items()}


cdef const uint64_t *ids_in(bytes packed):
    return <const uint64_t *> <const char *> packed


cdef bint checked(int result) except? -1:
    if result == ADD_NO_MEMORY:
        raise MemoryError
    if result == ADD_REFUSED:
        raise ValueError("refused")
    return result == ADD_QUEUED


@cython.final
cdef class SchedulerProbe:
    """A scheduler for Python, to test it. Slow, with the same rules.

    Transitions return whether they were possible; add() and link() whether the job was not skipped at once.
    """
    cdef readonly Scheduler scheduler

    def __cinit__(self, uint32_t max_slots=1):
        self.scheduler = Scheduler(max_slots)

    @staticmethod
    def fail_allocation(uint64_t number):
        """The allocation with this number from now on fails, once; 0: none. Returns what was left of the last."""
        global fail_in
        left = fail_in
        fail_in = number
        return left

    def add(self, uint64_t id, uint32_t slots=1, after=(), after_ok=(), uint32_t holds=0, uint32_t gpu_class=0,
            uint32_t array=0):
        cdef bytes a = _ids(after)
        cdef bytes b = _ids(after_ok)
        return checked(self.scheduler.add(id, slots, array or gpu_class, ids_in(a), len(after), ids_in(b),
                                          len(after_ok), holds))

    def restore(self, uint64_t id, uint32_t slots, uint64_t order, str state, bint bad=False, uint32_t gpu_class=0,
                uint32_t array=0):
        checked(self.scheduler.restore(id, slots, array or gpu_class, order, <JobState> <int> _NUMBERS[state], bad))

    def new_array(self, uint32_t limit, uint32_t slots=1, uint32_t gpu_class=0):
        """A number for add(array=...) and restore()."""
        number = self.scheduler.new_array(limit, slots, gpu_class)
        if number == 0:
            raise MemoryError
        return number

    def drop_array(self, uint32_t array):
        self.scheduler.drop_array(array)

    def link(self, uint64_t id, after=(), after_ok=(), uint32_t holds=0):
        cdef bytes a = _ids(after)
        cdef bytes b = _ids(after_ok)
        return checked(self.scheduler.link(id, ids_in(a), len(after), ids_in(b), len(after_ok), holds))

    def latest_start(self, uint64_t id):
        return self.scheduler.latest_start(id) == 0

    def next_start(self):
        cdef uint64_t id = 0
        return id if self.scheduler.next_start(&id) else None

    def next_skipped(self):
        cdef uint64_t id = 0
        return id if self.scheduler.next_skipped(&id) else None

    def started(self, uint64_t id):
        return self.scheduler.started(id) == 0

    def requeue(self, uint64_t id):
        return self.scheduler.requeue(id) == 0

    def finish(self, uint64_t id, bint bad=False):
        return self.scheduler.finish(id, bad) == 0

    def remove(self, uint64_t id):
        return self.scheduler.remove(id) == 0

    def cancel(self, uint64_t id):
        return self.scheduler.cancel(id) == 0

    def forget(self, uint64_t id):
        return self.scheduler.forget(id) == 0

    def hold(self, uint64_t id):
        return self.scheduler.hold(id) == 0

    def release(self, uint64_t id):
        return self.scheduler.release(id) == 0

    def urgent(self, uint64_t id):
        return self.scheduler.urgent(id) == 0

    def swap(self, uint64_t a, uint64_t b):
        return self.scheduler.swap(a, b) == 0

    def set_slots(self, uint32_t max_slots):
        self.scheduler.set_slots(max_slots)

    def open_class(self, uint32_t gpu_class, bint open):
        self.scheduler.open_class(gpu_class, open)

    def class_waits(self, uint32_t gpu_class):
        return bool(self.scheduler.class_waits(gpu_class))

    def get(self, uint64_t id):
        cdef Job *job = self.scheduler.get(id)
        if job == NULL:
            return None
        return {
            "id": job.id, "order": job.order, "state": _STATES[job.state], "bad": bool(job.flags & FLAG_BAD),
            "slots": job.slots, "pending": job.pending, "holds": job.holds,
            "held_back": self.scheduler.held_back(job),
        }

    def counts(self):
        cdef Scheduler s = self.scheduler
        return {
            "known": s.known, "blocked": s.blocked, "ready": s.ready, "starting": s.starting, "running": s.running,
            "skipping": s.skipping, "ended": s.ended, "ghosts": s.ghosts, "used_slots": s.used_slots,
        }

    def memory(self):
        """How much of each kind is allocated: jobs, edges, pages of the directory."""
        return {"jobs": self.scheduler.slab_room, "edges": self.scheduler.edge_room, "pages": self.scheduler.pages.used,
                "arrays": self.scheduler.arrays_room}

    def next_id(self, uint64_t after=UINT64_MAX):
        cdef uint64_t id = 0
        return id if self.scheduler.next_id(after, &id) else None

    def last_added(self):
        cdef Job *job = self.scheduler.last_added()
        return None if job == NULL else job.id

    def running(self):
        return self._ids_from(self.scheduler.first_running())

    def ended(self):
        cdef Job *last = self.scheduler.last_ended()
        cdef list ids = self._ids_from(self.scheduler.first_ended())
        _check(last == NULL or last.id == ids[len(ids) - 1], "last_ended is not the last")
        return ids

    cdef list _ids_from(self, Job *job):
        ids = []
        while job != NULL:
            ids.append(job.id)
            job = self.scheduler.following(job)
        return ids

    def live(self, room=None):
        cdef size_t n = self.scheduler.known if room is None else room
        cdef uint64_t *ids = <uint64_t *> malloc((n + 1) * sizeof(uint64_t))
        cdef size_t k
        if ids == NULL:
            raise MemoryError
        try:
            n = self.scheduler.live(ids, n)
            return [ids[k] for k in range(n)]
        finally:
            free(ids)

    def check_invariants(self):
        """Computes everything anew; AssertionError names what is wrong."""
        check_slab(self.scheduler)
        check_lists(self.scheduler)
        check_heaps(self.scheduler)
        check_arrays(self.scheduler)
        check_edges(self.scheduler)
