"""What happens to a job: each transition in its order of memory and disk (docs/reliability.md).

The Spool joins the table, the contexts, the queue and the runners. It knows no clients: whoever wants to hear of a
job's start or end sets the handlers.
"""
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from tsfast.lifecycle.arrays cimport Arrays
from tsfast.store.contexts cimport Contexts
from tsfast.lifecycle.events cimport Events
from tsfast.resources.allocator cimport Grants
from tsfast.lifecycle.hooks cimport Hooks
from tsfast.scheduler.scheduler cimport Job, Queue
from tsfast.layout.structs cimport tsf_cold, tsf_hot, tsf_request, tsf_run
from tsfast.base.loop cimport Loop
from tsfast.lifecycle.pauses cimport Pauses
from tsfast.engine.local cimport Runners
from tsfast.engine.outcome cimport Outcome
from tsfast.engine.runner_process cimport Handover
from tsfast.store.staging cimport Staging, Submission
from tsfast.store.table cimport Table
from tsfast.lifecycle.idempotency cimport Tokens
from tsfast.lifecycle.unreadable cimport Unreadable

cdef enum SubmitResult:
    SUBMIT_KNOWN = 1                # the token had queued it before: its id again
    SUBMIT_OK = 0
    SUBMIT_UNKNOWN_ID = -1          # a dependency on an id never given out (in `bad_id`)
    SUBMIT_FAILED = -2              # a system call failed: errno
    SUBMIT_BAD_GPUS = -3            # gpu_exact is no list of GPUs
    SUBMIT_GONE = -4                # the table's files were deleted: nothing that is written now is kept

ctypedef void (*JobHandler)(void *owner, uint64_t job, const tsf_hot *hot) noexcept nogil
# The descriptors 0..2 of the caller of a foreground job, lent for the call; returns 3, or 0 if there are none.
ctypedef int (*DescriptorsHandler)(void *owner, uint64_t job, int *fds) noexcept nogil

cdef class Spool:
    cdef Loop loop
    cdef Table table
    cdef Contexts contexts
    cdef Queue queue
    cdef Arrays arrays
    cdef Runners runners
    cdef Hooks hooks
    cdef Grants grants
    cdef Events events                # each change of a job, from its submission to its removal
    cdef uint64_t gpu_jobs            # known ones that need GPUs, ended ones too
    cdef uint64_t bad_id
    cdef uint64_t next_end            # place of the next job in the order of ending
    cdef Pauses pauses                # starts that wait for what the system is short of
    cdef uint32_t revoked_in_row      # starts that no runner took, since the last that one did
    cdef bint in_grace                # after a restart: callers may still come back for what they wait for
    cdef uint64_t kept_longer         # after a restart: so many more ended jobs are kept, whose callers may come back
    cdef uint64_t kept_for_waiters    # likewise for callers that wait for others too
    cdef Unreadable unreadable        # queued jobs that are held
    cdef object absent_callers        # of _absent, for its life: after a restart
    cdef set given_up                 # ids of foreground jobs that were removed, because the callers did not come back
    cdef Tokens tokens                # of the newest submissions, and after a restart of the newest removals
    cdef uint64_t *forgettable        # owned: ids to be forgotten once their callers have the answer
    cdef size_t n_forgettable, forgettable_room
    cdef Staging staging
    cdef void *owner
    cdef JobHandler on_started        # RUNNING stands in the table
    cdef JobHandler on_final          # a final state stands in the table
    cdef DescriptorsHandler take_descriptors

    # A frame's jobs, which with TSF_JOB_ARRAY are one array: begin_jobs(), add_job() for each of them, queue_jobs(), or
    # drop_jobs(): then there is none.
    # SUBMIT_KNOWN: the token had queued them before; the id of the first one again, and no more is to be called.
    cdef SubmitResult begin_jobs(self, const tsf_request *request, const char *cwd, const char *env,
                                 const char *affinity, uint64_t *first) noexcept nogil
    cdef SubmitResult add_job(self, const Submission *job) noexcept nogil
    cdef SubmitResult queue_jobs(self) noexcept nogil
    cdef void drop_jobs(self) noexcept nogil
    # Start what can start now, jobs and hooks.
    cdef void dispatch(self) noexcept nogil
    # A queued job that waits for nothing but its GPUs.
    cdef bint allocating(self, const Job *job) noexcept nogil
    # The following: 0, or -1 with errno when the disk refused it (nothing changed), -2 when the job's state forbids it.
    cdef int remove(self, uint64_t id, const uint64_t *token) noexcept nogil     # token: of the call, NULL: no call's
    cdef int urgent(self, uint64_t id) noexcept nogil
    cdef int swap(self, uint64_t a, uint64_t b, const uint64_t *token) noexcept nogil
    cdef int set_slots(self, uint32_t slots) noexcept nogil
    # A queued job has ended now, as cancelled. 0, -1 with errno, -2: it is not queued.
    cdef int cancel_queued(self, uint64_t id) noexcept nogil
    cdef int signal(self, uint64_t id, int number) noexcept nogil
    cdef void answered(self, uint64_t id) noexcept nogil     # the caller of an ended foreground job has its answer
    cdef int clear(self) noexcept nogil
    cdef int drop_all(self) noexcept nogil        # -K
    # Forget what is not to be kept: ended -nf jobs, and the oldest ended ones beyond the number to be kept. Called when
    # all answers are sent: a caller who has to ask again, because the server died first, still finds its job.
    cdef bint untidy(self) noexcept nogil                # there is something to forget
    cdef void tidy(self, size_t n) noexcept nogil        # forgets the first n of `forgettable`, and surplus ended jobs

    # private
    cdef uint64_t _kept(self) noexcept nogil
    cdef void _trim(self) noexcept nogil
    cdef int _forget_oldest(self, uint64_t n) noexcept nogil
    cdef bint _skipped_from_birth(self, const Submission *job) noexcept nogil
    cdef SubmitResult _take_back(self, uint32_t queued, uint32_t group) noexcept nogil
    cdef void _start(self, uint64_t id) noexcept nogil
    cdef bint _hand_over(self, Job *job, const tsf_cold *cold, Handover *handover) noexcept nogil
    cdef bint _has_room(self, uint64_t id, const tsf_cold *cold) noexcept nogil
    cdef void _put_off(self, uint64_t id, int stage, int cause) noexcept nogil
    cdef void _not_taken(self, uint64_t id) noexcept nogil
    cdef void _want(self, uint64_t id, const Outcome *outcome) noexcept nogil
    cdef void _revoked(self, uint64_t id) noexcept nogil
    cdef int write_queued(self, const Job *job) noexcept nogil
    cdef void _started(self, uint64_t id, const tsf_run *run) noexcept nogil
    cdef int _ended(self, uint64_t id, const Outcome *outcome) noexcept nogil
    cdef void _say_unreadable(self, uint64_t id, int cause) noexcept nogil
    cdef void final_record(self, tsf_hot *hot, const Job *job, const Outcome *outcome) noexcept nogil
    cdef void _settled(self, uint64_t id, const tsf_hot *hot) noexcept nogil
    cdef void skip_dependents(self) noexcept nogil
    cdef void _hook_begun(self, uint64_t id, uint8_t left) noexcept nogil
    cdef int _forget(self, uint64_t id) noexcept nogil
    cdef void _forget_soon(self, uint64_t id) noexcept nogil
    cdef void _forget_volatile(self, uint64_t id) noexcept nogil
    cdef void forget_removed(self, uint64_t id) noexcept nogil
    cdef int _swap_back(self, const Job *one, const Job *two, const uint64_t *token) noexcept nogil

# What is kept in memory of how a job was submitted.
cdef uint8_t job_flags(const tsf_cold *cold) noexcept nogil
# What is to run when it has ended (enum tsf_due).
cdef uint8_t due_at_end(const tsf_cold *cold) noexcept nogil
# Token of the call that removed the job, of a record whose storage is still to be given back; else NULL.
cdef const uint64_t *removed_token(const tsf_hot *hot) noexcept nogil
