# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See pauses.pxd."""
cimport cython
from libc.stddef cimport size_t
from libc.stdlib cimport free, realloc
from libc.string cimport strerror

from tsfast.scheduler.scheduler cimport JOB_BLOCKED, JOB_READY, JOB_STARTING
from tsfast.layout.check cimport tsf_hash64
from tsfast.layout.table cimport (
    TSF_STAGE_CHDIR, TSF_STAGE_EXEC, TSF_STAGE_GZIP, TSF_STAGE_OUTPUT, TSF_STAGE_RECORD, TSF_STAGE_SPAWN,
)
from tsfast.base.limits cimport CAREFUL_MS, CAREFUL_START_MS, PAUSE_MAX_MS, PAUSE_MS, TOLD_AGAIN_MS
from tsfast.base.text cimport TSF_HIDDEN, text_char, text_free, text_oneline, text_str
from tsfast.store.record cimport record_prefix
from tsfast.base.system cimport CLOCK_MONOTONIC, tsf_log, tsf_now_ns

cdef enum:
    MS = 1000000


cdef void pause_over(void *owner) noexcept nogil:
    (<Pauses> owner).pausing = False


cdef void room_due(void *owner) noexcept nogil:
    (<Pauses> owner)._look_for_room()


cdef const char *words(int stage) noexcept nogil:
    if stage == TSF_STAGE_SPAWN:
        return b"no process can be created"
    if stage == TSF_STAGE_EXEC:
        return b"no program can be executed"
    if stage == TSF_STAGE_OUTPUT:
        return b"no output file can be created"
    if stage == TSF_STAGE_GZIP:
        return b"gzip cannot be started"
    if stage == TSF_STAGE_CHDIR:
        return b"no directory can be entered"
    if stage == TSF_STAGE_RECORD:
        return b"no record can be read"
    if stage == STAGE_TABLE:
        return b"the job table cannot be written"
    if stage == STAGE_MEMORY:
        return b"no memory is left for a start"
    return b"the process that starts jobs ends too soon"


cdef void add_cause(Text *text, int cause) noexcept nogil:
    if cause:
        text_str(text, b" (")
        text_str(text, strerror(cause))
        text_char(text, c")")


cdef void add_line(Text *text, int stage, int cause, const char *where, size_t size) noexcept nogil:
    text_str(text, b"jobs wait: " if stage == TSF_STAGE_OUTPUT else b"starts wait: ")
    text_str(text, words(stage))
    if size:
        text_str(text, b" in ")
        text_oneline(text, where, size, TSF_HIDDEN)
    add_cause(text, cause)
    text_str(text, b"; the server tries again")


cdef size_t directory_size(const Record *record) noexcept nogil:
    cdef const char *path = record_prefix(record)
    cdef size_t size = record.cold.prefix_len
    while size and path[size - 1] != c"/":
        size -= 1
    return size


cdef uint64_t place_name(const Record *record) noexcept nogil:
    return tsf_hash64(record_prefix(record), directory_size(record), 0)


cdef uint32_t longer(uint32_t wait_ms) noexcept nogil:
    return min(2 * wait_ms, <uint32_t> PAUSE_MAX_MS) if wait_ms else <uint32_t> PAUSE_MS


@cython.final
cdef class Pauses:
    def __init__(self, Loop loop, Scheduler scheduler):
        self.loop = loop
        self.scheduler = scheduler
        self.timer = loop.new_timer(pause_over, <void *> self)
        self.room_timer = loop.new_timer(room_due, <void *> self)

    def __dealloc__(self):
        free(self.places)
        free(self.held)

    # ---- all starts --------------------------------------------------------------------------------------------
    cdef void all_starts(self, int stage, int cause) noexcept nogil:
        self.stage = stage
        self.cause = cause
        self._say(stage, cause, b"", 0)
        self.careful_until_ns = tsf_now_ns(CLOCK_MONOTONIC) + <uint64_t> CAREFUL_MS * MS
        if self.pausing:
            return                     # other starts of the same moment
        self.pausing = True
        self.wait_ms = longer(self.wait_ms)
        self.loop.set_timer(self.timer, self.wait_ms)

    cdef bint may_start(self) noexcept nogil:
        """After a shortage one start at a time: or the runners of many would leave no processes for their jobs."""
        cdef uint64_t now
        if self.pausing:
            return False
        if self.careful_until_ns == 0:
            return True
        now = tsf_now_ns(CLOCK_MONOTONIC)
        if now >= self.careful_until_ns:
            self.careful_until_ns = 0
            return True
        if self.scheduler.starting and now < self.latest_start_ns + <uint64_t> CAREFUL_START_MS * MS:
            self.loop.set_timer(self.timer, CAREFUL_START_MS)      # one that hangs does not hold up the others
            return False
        self.latest_start_ns = now
        return True

    cdef void _say(self, int stage, int cause, const char *where, size_t size) noexcept nogil:
        """In the log, and not each time."""
        cdef uint64_t now = tsf_now_ns(CLOCK_MONOTONIC)
        cdef uint64_t what = tsf_hash64(where, size, (<uint64_t> stage << 16) + <uint64_t> cause)
        cdef bint told = self.told == what and now < self.told_ns + <uint64_t> TOLD_AGAIN_MS * MS
        cdef Text text
        self.told = what
        self.told_ns = now
        if told:
            return
        text.data = NULL
        text.size = text.room = 0
        text.failed = False
        add_line(&text, stage, cause, where, size)
        text_char(&text, 0)
        if not text.failed:
            tsf_log(text.data)
        text_free(&text)

    # ---- directories without room ------------------------------------------------------------------------------
    cdef Place *_place(self, uint64_t name) noexcept nogil:
        cdef size_t i
        for i in range(self.n_places):
            if self.places[i].name == name:
                return &self.places[i]
        return NULL

    cdef int no_room(self, uint64_t id, const Record *record, int cause) noexcept nogil:
        cdef uint64_t name = place_name(record)
        cdef Place *place = self._place(name)
        cdef size_t room = 2 * self.places_room if self.places_room else 4
        cdef void *grown
        if self.n_held == self.held_room:
            grown = realloc(self.held, (2 * self.held_room + 16) * sizeof(Held))
            if grown == NULL:
                return -1
            self.held = <Held *> grown
            self.held_room = 2 * self.held_room + 16
        if place == NULL:
            if self.n_places == self.places_room:
                grown = realloc(self.places, room * sizeof(Place))
                if grown == NULL:
                    return -1
                self.places = <Place *> grown
                self.places_room = room
            place = &self.places[self.n_places]
            place.name = name
            place.probed = False
            self.n_places += 1
            self._say(TSF_STAGE_OUTPUT, cause, record_prefix(record), directory_size(record))
            if self.n_places == 1:
                self.room_wait_ms = longer(0)
                self.loop.set_timer(self.room_timer, self.room_wait_ms)
        place.cause = cause
        if place.probed and place.probe == id:
            place.probed = False
        if self.scheduler.hold(id) == 0:
            self.held[self.n_held].id = id
            self.held[self.n_held].place = name
            self.n_held += 1
        return 0

    cdef bint has_no_room(self, uint64_t id, const Record *record, int *cause) noexcept nogil:
        cdef Place *place = self._place(place_name(record))
        if place == NULL or (place.probed and place.probe == id):
            return False
        cause[0] = place.cause
        return True

    cdef void _look_for_room(self) noexcept nogil:
        cdef size_t i = 0
        while i < self.n_places:
            if self._probe(&self.places[i]):
                i += 1
                continue
            self.n_places -= 1         # no job is left that writes there
            self.places[i] = self.places[self.n_places]
        if self.n_places:
            self.room_wait_ms = longer(self.room_wait_ms)
            self.loop.set_timer(self.room_timer, self.room_wait_ms)

    cdef bint _probe(self, Place *place) noexcept nogil:
        """The first of its jobs is tried; if that one waits for something else now, as for GPUs, the next one too."""
        cdef Job *job = self.scheduler.get(place.probe) if place.probed else NULL
        cdef Job *first = NULL
        cdef size_t i, kept = 0, chosen = 0
        cdef bint tried = job != NULL and (job.state == JOB_READY or job.state == JOB_STARTING)
        if tried and (job.state == JOB_STARTING or self._is_next(job)):
            return True
        for i in range(self.n_held):
            job = self.scheduler.get(self.held[i].id)
            if job == NULL or job.state != JOB_BLOCKED:
                continue               # removed or cancelled meanwhile
            self.held[kept] = self.held[i]
            if self.held[i].place == place.name and (first == NULL or job.order < first.order):
                first = job
                chosen = kept
            kept += 1
        self.n_held = kept
        if first == NULL:
            return tried
        self.n_held -= 1
        self.held[chosen] = self.held[self.n_held]
        place.probed = True
        place.probe = first.id
        self.scheduler.release(first.id)
        return True

    cdef bint _is_next(self, const Job *job) noexcept nogil:
        """A READY job that waits for nothing but slots, like all behind it."""
        return (not self.scheduler.gpu_class(job) and job.slots <= self.scheduler.max_slots
                and not self.scheduler.held_back(job))

    cdef void _open(self, Place *place) noexcept nogil:
        cdef size_t i, kept = 0
        for i in range(self.n_held):
            if self.held[i].place == place.name:
                self.scheduler.release(self.held[i].id)
            else:
                self.held[kept] = self.held[i]
                kept += 1
        self.n_held = kept
        self.n_places -= 1
        place[0] = self.places[self.n_places]

    # ---- both --------------------------------------------------------------------------------------------------
    cdef void went_on(self, uint64_t id) noexcept nogil:
        cdef size_t i
        self.stage = 0
        self.wait_ms = 0
        self.pausing = False
        for i in range(self.n_places):
            if self.places[i].probed and self.places[i].probe == id:
                self._open(&self.places[i])
                return

    cdef bint holds(self, uint64_t id) noexcept nogil:
        cdef size_t i
        for i in range(self.n_held):
            if self.held[i].id == id:
                return True
        return False

    cdef bint jobs_wait(self) noexcept nogil:
        return (self.stage and self.scheduler.ready) or self.n_places

    cdef void summary(self, Text *text) noexcept nogil:
        if self.stage:
            add_line(text, self.stage, self.cause, b"", 0)
        elif self.n_places:
            add_line(text, TSF_STAGE_OUTPUT, self.places[0].cause, b"", 0)

    cdef bint reason(self, Text *text, const Job *job) noexcept nogil:
        cdef Place *place
        cdef size_t i
        for i in range(self.n_held if job.state == JOB_BLOCKED else 0):
            if self.held[i].id == job.id:
                place = self._place(self.held[i].place)
                text_str(text, words(TSF_STAGE_OUTPUT))
                add_cause(text, place.cause if place != NULL else 0)
                return True
        for i in range(self.n_places if job.state == JOB_READY else 0):
            if self.places[i].probed and self.places[i].probe == job.id:
                text_str(text, words(TSF_STAGE_OUTPUT))
                add_cause(text, self.places[i].cause)
                return True
        if self.stage == 0 or job.state != JOB_READY:
            return False
        text_str(text, words(self.stage))
        add_cause(text, self.cause)
        return True
