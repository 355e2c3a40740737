# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See recovery.pxd."""
cimport cython
from libc.string cimport memset

from tsfast.lifecycle.absent_callers cimport AbsentCallers
from tsfast.scheduler.scheduler cimport (
    FLAG_CANCEL, FLAG_DUE, FLAG_SKIPPED, JOB_ENDED, JOB_READY, JOB_RUNNING, JOB_STARTING, Job,
)
from tsfast.layout.fault cimport tsf_fault
from tsfast.layout.table cimport (
    TSF_CANCELLED, TSF_DUE_HOOK, TSF_DUE_MAIL, TSF_FINISHED, TSF_FORGOTTEN, TSF_JOB_ARRAY, TSF_JOB_FOREGROUND,
    TSF_JOB_VOLATILE, TSF_NONE, TSF_NOTE_CANCEL, TSF_QUEUED, TSF_REMOVED, TSF_RUNNING, TSF_SEGMENT_BITS,
    TSF_SEGMENT_JOBS, TSF_SKIPPED, TSF_STARTING, tsf_cold, tsf_hot, tsf_hot_check,
)
from tsfast.base.limits cimport HOLES_SEARCHED, TOKENS_KEPT
from tsfast.store.record cimport Record, record_exact
from tsfast.engine.outcome cimport Outcome
from tsfast.engine.engine cimport ADOPT_NO_MEMORY, ADOPT_NOT_STARTED, ADOPT_WATCHED, Adoption
from tsfast.lifecycle cimport changes, finish, retention
from tsfast.lifecycle.finish cimport due_at_end
from tsfast.lifecycle.retention cimport removed_token
from tsfast.lifecycle.spool cimport Spool
from tsfast.lifecycle.submission cimport job_flags
from tsfast.base.system cimport CLOCK_REALTIME, errno, tsf_now_ns
from tsfast.store.table cimport GROUP
from tsfast.lifecycle.idempotency cimport tokens_remember


@cython.final
cdef class Recovery:
    def __init__(self, Spool spool):
        self.spool = spool
        self.table = spool.table
        self.contexts = spool.contexts
        self.scheduler = spool.scheduler
        self.engine = spool.engine
        self.running_since = []
        self.removal_tokens = []
        self.lost = []
        self.limited = {}
        self.absent = spool.absent_callers = AbsentCallers(spool)

    def run(self, uint32_t slots, uint32_t max_finished):
        """Take up the queue as the table and `runs` have it. slots and max_finished are for a queue that has not
        chosen its own yet. Returns the ids whose records are damaged. Raises OSError, MemoryError."""
        if self.table.header.slots == 0:
            self.table.header.slots = slots
            self.table.header.max_finished = max_finished
            if self.table.save_settings() < 0:
                raise OSError(errno, "cannot write the job table's header")
        # Places in the order of ending are larger than those of earlier servers, whose jobs may be forgotten.
        self.spool.next_end = tsf_now_ns(CLOCK_REALTIME) // 1000
        self.scheduler.set_slots(self.table.header.slots)
        damaged = []
        removed = []
        queued = self._jobs(damaged, removed)
        self.scheduler.ends_after(self.spool.next_end - 1)
        if self.table.header.intent[0]:
            self.table.header.intent[0] = 0
            self.table.save_settings()
        self._dependencies(queued, damaged)
        self.engine.end_adoption()
        for id in removed:
            self.scheduler.forget(id)
            retention.forget_removed(self.spool, id)
        self._tokens()
        self.contexts.sweep()
        if self.scheduler.ended > self.table.header.max_finished:
            self.spool.kept_longer = self.scheduler.ended - self.table.header.max_finished
        for _start, id in sorted(self.running_since):
            self.scheduler.latest_start(id)
        if self.absent.ids or self.spool.kept_longer:
            self.absent.wait()
        return damaged

    cdef list _jobs(self, list damaged, list removed):
        cdef tsf_hot group[GROUP]
        cdef tsf_hot *hot
        cdef tsf_cold cold
        cdef uint64_t first = self.table.header.floor & ~<uint64_t> (GROUP - 1), id
        cdef int i, state
        cdef bint whole, readable
        queued = []
        self.table.start_records()
        while first < self.table.header.committed:
            if first & (TSF_SEGMENT_JOBS - 1) == 0:
                self.table.start_records()        # blobs of another file
            if not self.table.has_segment(first >> TSF_SEGMENT_BITS):
                first = ((first >> TSF_SEGMENT_BITS) + 1) << TSF_SEGMENT_BITS
                continue
            if self.table.read_group(first, group) < 0:
                raise OSError(errno, "cannot read the job table")
            for i in range(GROUP):
                id = first + i
                hot = &group[i]
                if id < self.table.header.floor or id >= self.table.header.committed:
                    continue
                if hot.state == TSF_NONE and hot.check == 0:
                    continue                   # a hole
                state = hot.state if tsf_hot_check(hot, id) == hot.check else <int> TSF_NONE
                if state == TSF_FORGOTTEN and removed_token(hot) == NULL:
                    continue
                whole = self.table.read_cold(id, &cold) == 0
                self.table.recovered(id)
                if whole and self.contexts.one_more(cold.ctx) < 0:
                    raise MemoryError
                readable = whole and self.table.blob_is_whole(id, &cold)
                if not whole:
                    memset(&cold, 0, sizeof(cold))
                    cold.slots = 1
                self.spool.gpu_jobs += cold.gpus > 0
                if state == TSF_FORGOTTEN or state == TSF_REMOVED:
                    self.removal_tokens.append((hot.start_ns, hot.duration_ns, id))
                if state == TSF_FORGOTTEN:
                    removed.append(id)
                    continue
                if cold.flags & TSF_JOB_ARRAY and self.spool.arrays.add(id - cold.batch_index, cold.batch_count,
                                                                        cold.array_first) < 0:
                    raise MemoryError
                if state == TSF_NONE or not readable:
                    damaged.append(id)
                if state == TSF_NONE or (state == TSF_QUEUED and not whole):
                    self._hold_damaged(id, cold.slots)
                    continue
                state = self._job(id, hot, &cold)
                if state == TSF_QUEUED and not readable:
                    self._hold(id)
                elif state == TSF_QUEUED:
                    queued.append(id)
                elif state == TSF_REMOVED:
                    removed.append(id)
            first += GROUP
        return queued

    cdef _hold_damaged(self, uint64_t id, uint32_t slots):
        """What it is, and what became of it, is lost. It stays in the list until the user removes it; it does not run,
        nor do the jobs that wait for it."""
        if self.scheduler.restore(id, slots, 0, (<uint64_t> 1 << 63) + id, JOB_READY, False) < 0:
            raise MemoryError
        self._hold(id)

    cdef _hold(self, uint64_t id):
        if self.spool.unreadable.add(id) < 0:
            raise MemoryError

    cdef int _job(self, uint64_t id, tsf_hot *hot, const tsf_cold *cold) except -1:
        """Put one job in the queue as it is; its state now."""
        cdef Outcome outcome
        cdef Adoption adoption
        cdef Job *job
        cdef Job shadow
        cdef uint32_t entry = hot.run
        cdef int32_t gpu_class
        cdef int added
        self._apply_intent(id, hot)
        if hot.state == TSF_STARTING or hot.state == TSF_RUNNING:
            adoption = self.engine.adopt(id, hot, &outcome)
            if adoption == ADOPT_NO_MEMORY:
                raise MemoryError
            if adoption == ADOPT_WATCHED:
                gpu_class = self._gpu_class(id, cold, True)
                # STARTING as long as its start may still be revoked.
                if self.scheduler.restore(id, cold.slots, self._waits_in(id, cold, gpu_class), hot.order,
                                          JOB_STARTING if hot.state == TSF_STARTING else JOB_RUNNING, False) < 0:
                    raise MemoryError
                job = self.scheduler.get(id)
                job.attempt = hot.attempt
                job.run = entry
                if hot.notes & TSF_NOTE_CANCEL:
                    job.flags |= FLAG_CANCEL
                if cold.flags & TSF_JOB_VOLATILE:
                    self.absent.ids.append(id)
                self.running_since.append((outcome.start_ns, id))
                job.flags |= job_flags(cold)
                return TSF_RUNNING
            shadow.id = id
            shadow.attempt = hot.attempt
            shadow.order = hot.order
            if adoption == ADOPT_NOT_STARTED and hot.notes & TSF_NOTE_CANCEL:
                memset(hot, 0, sizeof(tsf_hot))
                hot.state = TSF_CANCELLED
                hot.attempt = shadow.attempt
                hot.order = self.spool.next_end
                if self.spool.table.write_hot(id, hot) < 0:
                    raise OSError(errno, "cannot write the job table")
            elif adoption == ADOPT_NOT_STARTED:
                hot.state = TSF_QUEUED
                if changes.write_queued(self.spool, &shadow) < 0:
                    raise OSError(errno, "cannot write the job table")
            else:
                if outcome.lost:
                    self.lost.append(id)
                finish.final_record(self.spool, hot, &shadow, &outcome)
                hot.due = due_at_end(cold)
                hot.order = self.spool.next_end
                if self.table.write_hot(id, hot) < 0:
                    raise OSError(errno, "cannot write the job table")
                tsf_fault(b"recover-recorded")
                self.engine.release(entry)
        if hot.state == TSF_QUEUED:
            gpu_class = self._gpu_class(id, cold, False)
            added = self.scheduler.restore(id, cold.slots, self._waits_in(id, cold, gpu_class), hot.order, JOB_READY,
                                           False)
        else:
            self.spool.next_end = max(self.spool.next_end, hot.order + 1)
            if cold.flags & TSF_JOB_VOLATILE:
                self.absent.ids.append(id)
            added = self.scheduler.restore(id, cold.slots, 0, hot.order, JOB_ENDED, hot.state != TSF_FINISHED)
        if added < 0:
            raise MemoryError
        job = self.scheduler.get(id)
        job.attempt = hot.attempt
        job.flags |= job_flags(cold)
        if hot.due & (TSF_DUE_HOOK | TSF_DUE_MAIL):
            job.flags |= FLAG_DUE
            self.spool.hooks.add(id, hot.due & (TSF_DUE_HOOK | TSF_DUE_MAIL))
        if hot.state == TSF_SKIPPED or (hot.state == TSF_CANCELLED and hot.pid == 0):
            job.flags |= FLAG_SKIPPED
        return hot.state

    cdef int32_t _gpu_class(self, uint64_t id, const tsf_cold *cold, bint runs) except -1:
        """Of what it needs; a running one gets back what it had."""
        cdef Record record
        cdef tsf_hot hot
        cdef tsf_cold whole
        cdef int32_t gpu_class
        if cold.gpus == 0 or self.table.read_record(id, &record, &hot, &whole) < 0:
            return 0
        gpu_class = self.spool.allocator.class_of(cold, record_exact(&record))
        if gpu_class == -1 or (runs and gpu_class > 0 and self.spool.allocator.restore(&record, gpu_class) < 0):
            raise MemoryError
        return max(gpu_class, 0)

    cdef uint32_t _waits_in(self, uint64_t id, const tsf_cold *cold, int32_t gpu_class) except? 0:
        """That of its array, where only so many may run at once."""
        cdef uint32_t number
        if not cold.flags & TSF_JOB_ARRAY or cold.array_limit == 0:
            return <uint32_t> gpu_class
        # An element whose GPUs could not be read is not as the others are.
        key = (id - cold.batch_index, gpu_class)
        number = self.limited.get(key, 0)
        if number == 0:
            number = self.scheduler.new_array(cold.array_limit, cold.slots, <uint32_t> gpu_class)
            if number == 0:
                raise MemoryError
            self.limited[key] = number
        return number

    cdef void _apply_intent(self, uint64_t id, tsf_hot *hot) noexcept nogil:
        """A swap that was cut off in the middle is carried out: both jobs get the places they were to have."""
        cdef const uint64_t *intent = self.table.header.intent
        if intent[0] != 1 or hot.state != TSF_QUEUED or (id != intent[1] and id != intent[3]):
            return
        if hot.order != intent[2] and hot.order != intent[4]:
            return                             # moved since: the swap was done, only its intent could not be cleared
        hot.order = intent[2] if id == intent[1] else intent[4]
        self.table.write_hot(id, hot)

    cdef _dependencies(self, list queued, list damaged):
        cdef Record record
        cdef tsf_hot hot
        cdef tsf_cold cold
        cdef uint64_t id
        cdef uint32_t holds
        for id in queued:
            if self.table.read_cold(id, &cold) < 0:
                damaged.append(id)
                self._hold(id)
                continue
            holds = 1 if cold.flags & TSF_JOB_FOREGROUND else 0
            if holds:
                self.absent.ids.append(id)
            if cold.n_after + cold.n_after_ok == 0 and holds == 0:
                continue
            if self.table.read_record(id, &record, &hot, &cold) < 0:
                damaged.append(id)
                self._hold(id)
                continue
            if self.scheduler.link(id, <const uint64_t *> record.blob, cold.n_after,
                                   <const uint64_t *> record.blob + cold.n_after, cold.n_after_ok, holds) < 0:
                raise MemoryError
        finish.skip_dependents(self.spool)

    cdef _tokens(self):
        cdef tsf_cold cold
        cdef uint64_t token[2]
        cdef uint64_t id = self.table.header.committed, holes = 0
        newest = []
        while id > self.table.header.floor and len(newest) < TOKENS_KEPT and holes < HOLES_SEARCHED:
            id -= 1
            if self.table.read_cold(id, &cold) < 0 or cold.batch_index > id:
                holes += 1
                continue
            id -= cold.batch_index                         # one token for all jobs of a frame
            newest.append((cold.token[0], cold.token[1], id))
        for first, second, id in reversed(newest):
            token[0], token[1] = first, second
            tokens_remember(&self.spool.tokens, token, id)
        for first, second, removed in self.removal_tokens:
            token[0], token[1] = first, second
            tokens_remember(&self.spool.tokens, token, removed)
