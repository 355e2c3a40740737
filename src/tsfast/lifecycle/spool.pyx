# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See spool.pxd."""
cimport cython
from libc.stddef cimport size_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy, memmove, memset, strerror

from tsfast.lifecycle.arrays cimport Arrays
from tsfast.store.contexts cimport Contexts
from tsfast.lifecycle.events cimport Events
from tsfast.resources.allocator cimport Grants
from tsfast.lifecycle.hooks cimport Hooks
from tsfast.base.idmap cimport idmap_free
from tsfast.scheduler.scheduler cimport (
    ADD_SKIPPED, FLAG_BAD, FLAG_DUE, FLAG_FORGET, FLAG_HOOKED, FLAG_SKIPPED, FLAG_VOLATILE, FLAG_WAITED, JOB_BLOCKED,
    JOB_ENDED, JOB_RUNNING, JOB_SKIPPING, JOB_STARTING, Job, Queue, FLAG_CANCEL, JOB_READY,
)
from tsfast.layout.structs cimport (
    TSF_DUE_HOOK, TSF_DUE_MAIL, TSF_FAILED, TSF_FINISHED, TSF_FORGOTTEN, TSF_JOB_ARRAY, TSF_JOB_FOREGROUND,
    TSF_JOB_HOOK, TSF_JOB_MAIL, TSF_JOB_NO_OUTPUT, TSF_JOB_VOLATILE, TSF_KILLED, TSF_LOST, TSF_NOT_STARTABLE,
    TSF_QUEUED, TSF_REMOVED,
    TSF_RUNNING, TSF_SKIPPED, TSF_STAGE_EXEC, TSF_STAGE_NONE, TSF_STAGE_OUTPUT, TSF_STAGE_RECORD, TSF_STAGE_SPAWN,
    TSF_STARTING, tsf_cold, tsf_fault,
    tsf_hot, tsf_run, tsf_run_gen, tsf_run_load, TSF_CANCELLED, TSF_NOTE_CANCEL,
)
from tsfast.base.loop cimport Loop
from tsfast.engine.outcome cimport Outcome, wants
from tsfast.lifecycle.pauses cimport STAGE_MEMORY, STAGE_RUNNER, STAGE_TABLE, Pauses
from tsfast.store.record cimport Row
from tsfast.engine.local cimport Runners
from tsfast.engine.runner_process cimport Handover
from tsfast.store.staging cimport Staged, Staging, Submission
from tsfast.base.system cimport EAGAIN, EDQUOT, ENOMEM, ENOSPC, errno, pid_t, set_errno, tsf_log
from tsfast.store.table cimport Table
from tsfast.lifecycle.idempotency cimport tokens_find, tokens_remember
from tsfast.lifecycle.unreadable cimport Unreadable


cdef void run_started(void *owner, uint64_t job, const tsf_run *run) noexcept nogil:
    (<Spool> owner)._started(job, run)


cdef int run_ended(void *owner, uint64_t job, const Outcome *outcome) noexcept nogil:
    return (<Spool> owner)._ended(job, outcome)


cdef void run_revoked(void *owner, uint64_t job) noexcept nogil:
    (<Spool> owner)._not_taken(job)


cdef void child_reaped(void *owner, pid_t pid, int status) noexcept nogil:
    (<Spool> owner).hooks.reaped(pid)
    (<Spool> owner).grants.poller.reaped(pid, status)


cdef void hook_begun(void *owner, uint64_t job, uint8_t left) noexcept nogil:
    (<Spool> owner)._hook_begun(job, left)


cdef uint8_t job_flags(const tsf_cold *cold) noexcept nogil:
    return <uint8_t> ((FLAG_VOLATILE if cold.flags & TSF_JOB_VOLATILE else 0)
                      | (FLAG_HOOKED if cold.flags & (TSF_JOB_HOOK | TSF_JOB_MAIL) else 0))


cdef uint8_t due_at_end(const tsf_cold *cold) noexcept nogil:
    return <uint8_t> ((TSF_DUE_HOOK if cold.flags & TSF_JOB_HOOK else 0)
                      | (TSF_DUE_MAIL if cold.flags & TSF_JOB_MAIL else 0))


cdef const uint64_t *removed_token(const tsf_hot *hot) noexcept nogil:
    if hot.state == TSF_REMOVED or (hot.state == TSF_FORGOTTEN and hot.start_ns | hot.duration_ns):
        return &hot.start_ns
    return NULL


@cython.final
cdef class Spool:
    def __init__(self, Loop loop, Table table, Contexts contexts, Runners runners, uint32_t gpu_timeout):
        self.loop = loop
        self.table = table
        self.contexts = contexts
        self.queue = Queue()
        self.arrays = Arrays(self.queue)
        self.runners = runners
        self.next_end = 1
        self.given_up = set()
        self.pauses = Pauses(loop, self.queue)
        self.unreadable = Unreadable(self.queue, table)
        runners.owner = <void *> self
        runners.on_started = run_started
        runners.on_ended = run_ended
        runners.on_revoked = run_revoked
        runners.on_stranger = child_reaped
        self.hooks = Hooks(loop, table, contexts, runners.program, runners.state_dir)
        self.hooks.owner = <void *> self
        self.hooks.on_begun = hook_begun
        self.grants = Grants(loop, table, gpu_timeout)
        self.events = Events()
        self.staging = Staging(table, contexts)

    def __dealloc__(self):
        idmap_free(&self.tokens.places)
        free(self.forgettable)

    # ---- SUBMIT ------------------------------------------------------------------------------------------------
    cdef SubmitResult begin_jobs(self, const tsf_request *request, const char *cwd, const char *env,
                                 const char *affinity, uint64_t *first) noexcept nogil:
        cdef uint64_t known = tokens_find(&self.tokens, request.token)
        if known:
            first[0] = known - 1
            return SUBMIT_KNOWN
        if self.table.gone:
            return SUBMIT_GONE
        first[0] = self.table.header.committed
        return SUBMIT_OK if self.staging.begin(request, cwd, env, affinity) == 0 else SUBMIT_FAILED

    cdef SubmitResult add_job(self, const Submission *job) noexcept nogil:
        cdef uint64_t id = self.staging.first + self.staging.n
        cdef int32_t gpu_class
        cdef size_t i
        for i in range(job.n_after + job.n_after_ok):
            self.bad_id = job.after[i] if i < job.n_after else job.after_ok[i - job.n_after]
            if self.bad_id >= id:
                return SUBMIT_UNKNOWN_ID
        if self.staging.add(job, self._skipped_from_birth(job)) < 0:
            return SUBMIT_FAILED
        if job.gpus:
            gpu_class = self.grants.class_of(&self.staging.cold[self.staging.n - 1], job.gpu_exact)
            if gpu_class == -1:
                set_errno(ENOMEM)
            if gpu_class < 0:
                return SUBMIT_BAD_GPUS if gpu_class == -2 else SUBMIT_FAILED
            self.staging.staged[self.staging.n - 1].gpu_class = gpu_class
        return SUBMIT_OK

    cdef void drop_jobs(self) noexcept nogil:
        cdef uint32_t i
        for i in range(self.staging.n):
            self.grants.release_class(self.staging.staged[i].gpu_class)
        self.staging.drop()

    cdef SubmitResult queue_jobs(self) noexcept nogil:
        cdef const tsf_cold *cold
        cdef const Staged *staged
        cdef const uint64_t *after
        cdef uint32_t i, group = 0
        cdef bint skipped = False
        cdef int added
        if self.staging.write() < 0:
            self.drop_jobs()
            return SUBMIT_FAILED
        for i in range(self.staging.n):
            self.gpu_jobs += self.staging.cold[i].gpus > 0
        cold = &self.staging.cold[0]
        if cold.flags & TSF_JOB_ARRAY:
            if self.arrays.add(self.staging.first, self.staging.n, cold.array_first) < 0:
                return self._take_back(0, 0)
            if cold.array_limit:
                group = self.queue.new_array(cold.array_limit, cold.slots,
                                             <uint32_t> self.staging.staged[0].gpu_class)
                if group == 0:
                    return self._take_back(0, 0)
        for i in range(self.staging.n):
            cold = &self.staging.cold[i]
            after = self.staging.after(i)
            staged = &self.staging.staged[i]
            added = self.queue.add(self.staging.first + i, cold.slots,
                                   group if group else <uint32_t> staged.gpu_class, after, cold.n_after,
                                   after + cold.n_after, cold.n_after_ok, staged.holds)
            if added < 0:
                return self._take_back(i, group)
            self.queue.get(self.staging.first + i).flags |= job_flags(cold)
            self.events.add(self.staging.first + i, TSF_QUEUED)
            skipped = skipped or added == ADD_SKIPPED
        tokens_remember(&self.tokens, self.staging.token, self.staging.first)
        self.staging.end()
        if skipped:
            self.skip_dependents()
        return SUBMIT_OK

    cdef SubmitResult _take_back(self, uint32_t queued, uint32_t group) noexcept nogil:
        """There was no memory for more of the frame's jobs, which are in the table: then for none of them."""
        cdef uint32_t i
        for i in range(self.staging.n):
            if i < queued:
                self.remove(self.staging.first + i, NULL)
            else:
                self.forget_removed(self.staging.first + i)
                self.grants.release_class(self.staging.staged[i].gpu_class)
        self.queue.drop_array(group)
        self.staging.end()
        set_errno(ENOMEM)
        return SUBMIT_FAILED

    cdef bint _skipped_from_birth(self, const Submission *job) noexcept nogil:
        """A job of after_ok has ended badly or is forgotten. It must stand in the table as skipped from its first
        write: at a recovery a forgotten dependency counts as ended well."""
        cdef size_t i
        cdef Job *other
        for i in range(job.n_after_ok):
            if job.after_ok[i] >= self.staging.first:
                if self.staging.hot[job.after_ok[i] - self.staging.first].state == TSF_SKIPPED:
                    return True
                continue
            other = self.queue.get(job.after_ok[i])
            if other == NULL or other.state == JOB_SKIPPING or (other.state == JOB_ENDED and other.flags & FLAG_BAD):
                return True
        return False

    # ---- START -------------------------------------------------------------------------------------------------
    cdef void dispatch(self) noexcept nogil:
        cdef uint64_t id
        self.grants.refresh(self.queue)
        while self.pauses.may_start() and self.queue.next_start(&id):
            self._start(id)
            if self.queue.gpu_ready:
                self.grants.refresh(self.queue)
        if self.hooks.n_due:
            self.hooks.start_due()

    cdef void _start(self, uint64_t id) noexcept nogil:
        cdef Job *job = self.queue.get(id)
        cdef tsf_hot hot
        cdef tsf_cold cold
        cdef Outcome outcome
        cdef uint32_t entry
        cdef uint64_t gen
        cdef Handover handover
        cdef int sent = -1, stage = TSF_STAGE_SPAWN, cause = EAGAIN, _try
        if self.table.read_cold(id, &cold) < 0:
            memset(&outcome, 0, sizeof(outcome))
            outcome.stage = TSF_STAGE_RECORD
            outcome.cause = <uint16_t> errno
            outcome.status = 126 << 8
            if self._ended(id, &outcome) < 0:
                self._put_off(id, STAGE_TABLE, errno)
            return
        if self.pauses.n_places and not self._has_room(id, &cold):
            return
        if not self._hand_over(job, &cold, &handover):
            return
        for _try in range(8):
            if self.runners.prepare(&entry, &gen) < 0:
                cause = errno
                break
            job.attempt += 1
            memset(&hot, 0, sizeof(hot))
            hot.state = TSF_STARTING
            hot.attempt = job.attempt
            hot.run = entry
            hot.gen = <uint32_t> gen
            hot.order = job.order
            if ((self.queue.gpu_class(job) and self.grants.record(id, job.attempt, &cold) < 0)
                    or self.table.write_hot(id, &hot) < 0):
                stage = STAGE_TABLE
                cause = errno
                break
            job.run = entry
            tsf_fault(b"start-recorded")
            sent = self.runners.assign(entry, gen, id, job.attempt, &cold, &handover)
            if sent == 0:
                break
        if self.queue.gpu_class(job):
            self.grants.sent(sent == 0)
        if sent != 0:
            self._put_off(id, stage, cause)

    cdef bint _has_room(self, uint64_t id, const tsf_cold *cold) noexcept nogil:
        """False: its output would go where there was no room a moment ago."""
        cdef Row row
        cdef tsf_hot hot
        cdef tsf_cold whole
        cdef int cause
        if (cold.prefix_len == 0 or cold.flags & TSF_JOB_NO_OUTPUT
                or self.table.read_row(id, &row, &hot, &whole) < 0 or not self.pauses.has_no_room(id, &row, &cause)):
            return True
        self.queue.requeue(id)
        if self.pauses.no_room(id, &row, cause) < 0:
            self.pauses.all_starts(STAGE_MEMORY, errno)    # or it would be the next one to start, for ever
        return False

    cdef bint _hand_over(self, Job *job, const tsf_cold *cold, Handover *handover) noexcept nogil:
        """Have ready what the runner gets beside the record. False: it does not start now."""
        memset(handover, 0, sizeof(Handover))
        if cold.flags & TSF_JOB_FOREGROUND:
            handover.n_fds = self.take_descriptors(self.owner, job.id, handover.fds)
            if handover.n_fds == 0:            # its caller left after it had been handed out once
                self.queue.requeue(job.id)
                if self.remove(job.id, NULL) < 0:
                    self.pauses.all_starts(STAGE_TABLE, errno)     # or it would be the next one to start, for ever
                return False
        handover.hide_gpus = self.queue.gpu_class(job) == 0 and (self.grants.hides or self.grants.machine_has_gpus())
        if self.queue.gpu_class(job):
            if self.grants.take(job.id, <int32_t> self.queue.gpu_class(job)) < 0:
                self.queue.requeue(job.id)     # another queue has them: its class is closed by the next refresh
                if self.grants.gpus.fits(<int32_t> self.queue.gpu_class(job)):
                    self.pauses.all_starts(STAGE_MEMORY, 0)        # likewise
                return False
            handover.leases = self.grants.leases.fds
            handover.n_leases = self.grants.leases.count
            handover.shared = self.grants.leases.shared
        return True

    cdef bint allocating(self, const Job *job) noexcept nogil:
        return (job.state == JOB_READY and self.queue.gpu_class(job) and job.slots <= self.queue.max_slots
                and self.queue.held_back(job) == 0 and self.queue.used_slots + job.slots <= self.queue.max_slots)

    cdef void _put_off(self, uint64_t id, int stage, int cause) noexcept nogil:
        """No process, no entry or no disk now: later."""
        self._revoked(id)
        self.pauses.all_starts(stage, cause)

    cdef void _want(self, uint64_t id, const Outcome *outcome) noexcept nogil:
        """The start failed for want of something."""
        cdef Row row
        cdef tsf_hot hot
        cdef tsf_cold cold
        self._revoked(id)
        if (outcome.stage == TSF_STAGE_OUTPUT and (outcome.cause == ENOSPC or outcome.cause == EDQUOT)
                and self.table.read_row(id, &row, &hot, &cold) == 0
                and self.pauses.no_room(id, &row, outcome.cause) == 0):
            return
        self.runners.dismiss_idle()
        self.pauses.all_starts(outcome.stage, outcome.cause)

    cdef void _not_taken(self, uint64_t id) noexcept nogil:
        """Its runner died before it took the job. An idle one may leave just when it gets a job; two in a row are no
        such chance: something is wrong with the program or the machine, and trying without a pause would be a spin."""
        self._revoked(id)
        self.revoked_in_row += 1
        if self.revoked_in_row > 1:
            self.pauses.all_starts(STAGE_RUNNER, 0)

    cdef void _revoked(self, uint64_t id) noexcept nogil:
        """It was handed out but surely not started: back to its place."""
        cdef Job *job = self.queue.get(id)
        cdef bint recorded
        if job == NULL:
            return
        recorded = job.run != 0
        job.run = 0
        self.grants.give_back(id, False)
        self.queue.requeue(id)
        if not job.flags & FLAG_CANCEL or self.cancel_queued(id) < 0:
            self.write_queued(job)
            if recorded:
                self.events.add(id, TSF_QUEUED)      # whoever has read the table meanwhile takes it for running

    cdef int write_queued(self, const Job *job) noexcept nogil:
        cdef tsf_hot hot
        memset(&hot, 0, sizeof(hot))
        hot.state = TSF_QUEUED
        hot.attempt = job.attempt
        hot.order = job.order
        return self.table.write_hot(job.id, &hot)

    cdef void _started(self, uint64_t id, const tsf_run *run) noexcept nogil:
        cdef Job *job = self.queue.get(id)
        cdef tsf_hot hot
        if job == NULL:
            return
        self.revoked_in_row = 0
        if self.pauses.stage or self.pauses.n_places:
            self.pauses.went_on(id)
        memset(&hot, 0, sizeof(hot))
        hot.state = TSF_RUNNING
        hot.notes = <uint8_t> (run.notes | (TSF_NOTE_CANCEL if job.flags & FLAG_CANCEL else 0))
        hot.attempt = job.attempt
        hot.run = job.run
        hot.gen = <uint32_t> tsf_run_gen(tsf_run_load(run))
        hot.pid = run.pid
        hot.start_ns = run.start_ns
        hot.order = job.order
        memcpy(hot.suffix, run.suffix, sizeof(hot.suffix))
        self.table.write_hot(id, &hot)       # a refusal costs nothing: STARTING with this entry means the same
        tsf_fault(b"running-recorded")
        if self.queue.started(id) == 0:
            self.events.add(id, TSF_RUNNING)
        self.on_started(self.owner, id, &hot)

    # ---- FINISH ------------------------------------------------------------------------------------------------
    cdef int _ended(self, uint64_t id, const Outcome *outcome) noexcept nogil:
        cdef Job *job = self.queue.get(id)
        cdef tsf_hot hot
        cdef tsf_cold cold
        cdef uint8_t due = 0
        if job == NULL:
            return 0
        self.revoked_in_row = 0
        if wants(outcome) and job.state == JOB_STARTING:
            self._want(id, outcome)
            return 0
        if self.pauses.stage or self.pauses.n_places:
            self.pauses.went_on(id)
        if outcome.stage == TSF_STAGE_RECORD:
            self._say_unreadable(id, outcome.cause)
        self.final_record(&hot, job, outcome)
        if job.flags & FLAG_HOOKED and self.table.read_cold(id, &cold) == 0:
            due = due_at_end(&cold)
        hot.notes |= due
        tsf_fault(b"finish-reported")
        if self.table.write_hot(id, &hot) < 0:
            return -1
        tsf_fault(b"finish-recorded")
        self.next_end += 1
        job.run = 0
        self.grants.give_back(id, outcome.left)
        self.grants.release_class(<int32_t> self.queue.gpu_class(job))
        self.queue.finish(id, hot.state != TSF_FINISHED)
        if due:
            job.flags |= FLAG_DUE
            self.hooks.add(id, due)
        self._settled(id, &hot)
        return 0

    cdef void _say_unreadable(self, uint64_t id, int cause) noexcept nogil:
        cdef char line[160]
        snprintf(line, sizeof(line), b"job %llu: not started: its record cannot be read: %.80s",
                 <unsigned long long> id, strerror(cause))
        tsf_log(line)

    cdef void final_record(self, tsf_hot *hot, const Job *job, const Outcome *outcome) noexcept nogil:
        memset(hot, 0, sizeof(tsf_hot))
        if outcome.lost:
            hot.state = TSF_LOST
        elif outcome.stage != TSF_STAGE_NONE and outcome.stage != TSF_STAGE_EXEC and not outcome.status & 0x7f:
            hot.state = TSF_NOT_STARTABLE
        elif outcome.notes & TSF_NOTE_CANCEL:
            hot.state = TSF_CANCELLED
        elif outcome.status & 0x7f:
            hot.state = TSF_KILLED
        else:
            hot.state = TSF_FAILED if outcome.status else TSF_FINISHED
        hot.notes = <uint8_t> outcome.notes
        hot.attempt = job.attempt
        hot.utime_ms = outcome.utime_ms
        hot.stime_ms = outcome.stime_ms
        hot.status = outcome.status
        hot.pid = outcome.pid
        hot.cause = outcome.cause
        hot.stage = outcome.stage
        hot.start_ns = outcome.start_ns
        hot.duration_ns = outcome.duration_ns
        hot.order = self.next_end
        hot.maxrss_kb = outcome.maxrss_kb
        memcpy(hot.suffix, outcome.suffix, sizeof(hot.suffix))

    cdef void _settled(self, uint64_t id, const tsf_hot *hot) noexcept nogil:
        """The end stands in the table: tell those who wait, skip those who must not run, forget what is not kept."""
        self.events.ended(id, hot)
        self.on_final(self.owner, id, hot)
        self.skip_dependents()
        self._forget_volatile(id)

    cdef void _hook_begun(self, uint64_t id, uint8_t left) noexcept nogil:
        cdef Job *job = self.queue.get(id)
        if job == NULL or left:
            return
        job.flags &= <uint8_t> ~FLAG_DUE
        if job.flags & FLAG_FORGET:
            self._forget(id)

    cdef void skip_dependents(self) noexcept nogil:
        cdef uint64_t id
        cdef tsf_hot hot
        while self.queue.next_skipped(&id):
            memset(&hot, 0, sizeof(hot))
            hot.state = TSF_SKIPPED
            hot.order = self.next_end
            self.next_end += 1
            self.table.write_hot(id, &hot)   # refused: a recovery computes it again from its dependency
            self.queue.get(id).flags |= FLAG_SKIPPED
            self.grants.release_class(<int32_t> self.queue.get(id).group)
            self.events.ended(id, &hot)
            self.on_final(self.owner, id, &hot)
            self._forget_volatile(id)

    # ---- FORGET ------------------------------------------------------------------------------------------------
    cdef int _forget(self, uint64_t id) noexcept nogil:
        cdef tsf_cold cold
        cdef Job *job = self.queue.get(id)
        cdef bint known
        if job.flags & FLAG_DUE:
            job.flags |= FLAG_FORGET         # its hook needs the record until it was started
            return 0
        known = self.table.read_cold(id, &cold) == 0
        if self.table.forget(id, False) < 0:
            return -1
        if known:
            self.contexts.release(cold.ctx)
            self.gpu_jobs -= cold.gpus > 0
        self.queue.forget(id)
        self.events.add(id, TSF_FORGOTTEN)
        return 0

    cdef void _forget_volatile(self, uint64_t id) noexcept nogil:
        cdef Job *job = self.queue.get(id)
        if job != NULL and (job.flags & FLAG_WAITED or not self.in_grace):
            self.answered(id)

    cdef void answered(self, uint64_t id) noexcept nogil:
        cdef Job *job = self.queue.get(id)
        if job != NULL and job.flags & FLAG_VOLATILE:
            self._forget_soon(id)

    cdef void _forget_soon(self, uint64_t id) noexcept nogil:
        cdef size_t room = 2 * self.forgettable_room if self.forgettable_room else 64
        cdef uint64_t *grown
        if self.n_forgettable == self.forgettable_room:
            grown = <uint64_t *> realloc(self.forgettable, room * sizeof(uint64_t))
            if grown == NULL:
                return                         # the next recovery does it
            self.forgettable = grown
            self.forgettable_room = room
        self.forgettable[self.n_forgettable] = id
        self.n_forgettable += 1

    cdef bint untidy(self) noexcept nogil:
        return self.n_forgettable or self.queue.ended > self._kept()

    cdef uint64_t _kept(self) noexcept nogil:
        """How many of those that have ended. If a caller has to ask again for those that it waits for, because the
        server died, they are still there."""
        return self.table.header.max_finished + self.kept_longer + self.kept_for_waiters

    cdef void tidy(self, size_t n) noexcept nogil:
        cdef uint64_t id
        cdef size_t i
        cdef Job *job
        cdef tsf_hot hot
        for i in range(n):
            id = self.forgettable[i]
            job = self.queue.get(id)
            if job != NULL and job.state == JOB_ENDED:
                self._forget(id)
            elif job == NULL and self.table.read_hot(id, &hot) == 0 and removed_token(&hot) != NULL:
                self.forget_removed(id)
        if n:
            memmove(self.forgettable, self.forgettable + n, (self.n_forgettable - n) * sizeof(uint64_t))
            self.n_forgettable -= n
        self._trim()

    cdef void _trim(self) noexcept nogil:
        if self.queue.ended > self._kept():
            self._forget_oldest(self.queue.ended - self._kept())

    cdef int clear(self) noexcept nogil:
        return self._forget_oldest(self.queue.ended)

    cdef int _forget_oldest(self, uint64_t n) noexcept nogil:
        cdef Job *oldest = self.queue.first_ended()
        cdef Job *following
        while n and oldest != NULL:
            following = self.queue.following(oldest)
            if self._forget(oldest.id) < 0:
                return -1
            oldest = following
            n -= 1
        return 0

    cdef int drop_all(self) noexcept nogil:
        if self.table.drop_all() < 0:
            return -1
        self.runners.drop_jobs()
        return 0

    # ---- changes to the queue ----------------------------------------------------------------------------------
    cdef int remove(self, uint64_t id, const uint64_t *token) noexcept nogil:
        cdef Job *job = self.queue.get(id)
        cdef tsf_hot hot
        if job == NULL or job.state == JOB_STARTING or job.state == JOB_RUNNING:
            return -2
        if job.state == JOB_ENDED and (job.flags & FLAG_DUE or token == NULL or token[0] == 0):
            return self._forget(id)
        # First final, then its dependents, then forgotten: see _skipped_from_birth. The token stays until the answer is
        # sent: the same call, made again because the server died before that, must not remove another job.
        memset(&hot, 0, sizeof(hot))
        hot.state = TSF_FORGOTTEN if job.state == JOB_ENDED else TSF_REMOVED
        hot.order = self.next_end
        if token != NULL:
            hot.start_ns = token[0]
            hot.duration_ns = token[1]
        if self.table.write_hot(id, &hot) < 0:
            return -1
        tsf_fault(b"remove-recorded")
        if token != NULL:
            tokens_remember(&self.tokens, token, id)       # its answer can be lost while this server lives
        self._forget_soon(id)
        if job.state == JOB_ENDED:
            self.queue.forget(id)
            self.events.add(id, TSF_FORGOTTEN)
            return 0
        self.next_end += 1
        self.grants.release_class(<int32_t> self.queue.gpu_class(job))
        self.queue.remove(id)
        self.events.ended(id, &hot)
        self.on_final(self.owner, id, &hot)
        self.skip_dependents()
        return 0

    cdef void forget_removed(self, uint64_t id) noexcept nogil:
        cdef tsf_cold cold
        cdef tsf_hot hot
        cdef bint queued = self.table.read_hot(id, &hot) == 0 and hot.state == TSF_REMOVED
        if self.table.read_cold(id, &cold) == 0:
            self.contexts.release(cold.ctx)
            self.gpu_jobs -= cold.gpus > 0
        self.table.forget(id, queued)

    cdef int urgent(self, uint64_t id) noexcept nogil:
        if self.queue.urgent(id) < 0:
            return -2
        return self.write_queued(self.queue.get(id))

    cdef int swap(self, uint64_t a, uint64_t b, const uint64_t *token) noexcept nogil:
        cdef uint64_t *intent = self.table.header.intent
        cdef Job *one = self.queue.get(a)
        cdef Job *two = self.queue.get(b)
        cdef uint64_t before[2]
        if token[0] and memcmp(token, self.table.header.swap_token, 16) == 0:
            return 0             # the call is made again, because the server died before its answer: twice were undone
        if one == NULL or two == NULL or self.queue.swap(a, b) < 0:
            return -2
        # Two records change together: the places that they will have are written down first.
        intent[0] = 1
        intent[1] = a
        intent[2] = one.order
        intent[3] = b
        intent[4] = two.order
        memcpy(before, self.table.header.swap_token, 16)
        memcpy(self.table.header.swap_token, token, 16)
        if self.table.save_settings() < 0:
            return self._swap_back(one, two, before)
        tsf_fault(b"swap-intended")
        if self.write_queued(one) < 0:
            return self._swap_back(one, two, before)
        tsf_fault(b"swap-half")
        if self.write_queued(two) < 0:
            return self._swap_back(one, two, before)
        intent[0] = 0
        self.table.save_settings()
        return 0

    cdef int _swap_back(self, const Job *one, const Job *two, const uint64_t *token) noexcept nogil:
        """The disk refused a swap: as it was before, as far as the disk lets. -1, errno kept."""
        cdef int error = errno
        self.queue.swap(one.id, two.id)
        self.write_queued(one)
        self.write_queued(two)
        self.table.header.intent[0] = 0
        memcpy(self.table.header.swap_token, token, 16)
        self.table.save_settings()
        set_errno(error)
        return -1

    cdef int set_slots(self, uint32_t slots) noexcept nogil:
        cdef uint32_t before = self.table.header.slots
        self.table.header.slots = slots
        if self.table.save_settings() < 0:
            self.table.header.slots = before
            return -1
        self.queue.set_slots(slots)
        return 0

    cdef int cancel_queued(self, uint64_t id) noexcept nogil:
        cdef Job *job = self.queue.get(id)
        cdef tsf_hot hot
        if job == NULL or (job.state != JOB_BLOCKED and job.state != JOB_READY):
            return -2
        memset(&hot, 0, sizeof(hot))
        hot.state = TSF_CANCELLED
        hot.attempt = job.attempt
        hot.order = self.next_end
        if self.table.write_hot(id, &hot) < 0:
            return -1
        self.next_end += 1
        self.grants.release_class(<int32_t> self.queue.gpu_class(job))
        self.queue.cancel(id)
        job.flags |= FLAG_SKIPPED
        self._settled(id, &hot)
        return 0

    cdef int signal(self, uint64_t id, int number) noexcept nogil:
        cdef Job *job = self.queue.get(id)
        if job == NULL or not (job.state == JOB_STARTING or job.state == JOB_RUNNING):
            return -2
        return self.runners.signal(job.run, <uint32_t> number)
