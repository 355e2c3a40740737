"""The interface of an engine: the part that starts, signals and watches the processes of jobs.

The lifecycle calls these functions and no others, and hears of its jobs through the callbacks. docs/engines.md says who
calls what when, what each engine promises, and how one that hands jobs over in batches fits.

An entry is the engine's own record of one start, which outlives the server; its number and generation stand in the
job's record before the job can begin. No function blocks. Only end_adoption() and reaped() call back before they
return.
"""
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from tsfast.base.system cimport pid_t, rusage
from tsfast.engine.outcome cimport Outcome, Started
from tsfast.layout.table cimport tsf_cold, tsf_hot

# What a job gets beside its record; descriptors are lent for the call.
cdef struct Handover:
    int fds[3]            # of the client of a foreground job
    int n_fds             # 3, or 0: there are none
    const int *leases     # locks on the job's GPUs
    uint32_t n_leases
    bint shared           # they are the queue's and not the job's own
    bint hide_gpus        # the job is to see none of the machine's

cdef enum Adoption:
    ADOPT_NO_MEMORY = -1
    ADOPT_NOT_STARTED = 0     # it never began, and cannot begin any more: back in the queue
    ADOPT_WATCHED = 1         # it runs, or may begin: the callbacks say what becomes of it
    ADOPT_ENDED = 2           # *outcome; release() the entry once that is recorded

# The job's processes exist. It may be called twice.
ctypedef void (*StartedHandler)(void *owner, uint64_t job, const Started *started) noexcept nogil
# The job has ended, or is lost. 0: its outcome stands in the table, and the engine may forget the job. -1: the engine
# keeps the outcome and calls again later.
ctypedef int (*EndedHandler)(void *owner, uint64_t job, const Outcome *outcome) noexcept nogil
# The job never began, and cannot begin any more with this entry: back in the queue.
ctypedef void (*RevokedHandler)(void *owner, uint64_t job) noexcept nogil

cdef class Engine:
    cdef void *owner                      # of the callbacks; borrowed
    cdef StartedHandler on_started
    cdef EndedHandler on_ended
    cdef RevokedHandler on_revoked

    # ---- a start: prepare(), the job's record says STARTING with what that gave, start() -----------------------
    # The entry and generation that the next start would have. 0, or -1 with errno: no start is possible now (EAGAIN: no
    # process, no entry, or the batch is full). Until start() is called the engine has promised nothing.
    cdef int prepare(self, uint32_t *entry, uint64_t *gen) noexcept nogil
    # Hand the job over. 0: it is the engine's, and one of on_started, on_ended and on_revoked will come. -1: it was
    # not, and never will be under this generation: prepare() anew.
    cdef int start(self, uint32_t entry, uint64_t gen, uint64_t job, uint16_t attempt, const tsf_cold *cold,
                   const Handover *handover) noexcept nogil
    # Once in each turn of the server, when all starts of the turn are made and before their clients have a reply: what
    # was collected goes out.
    cdef void flush(self) noexcept nogil

    # ---- a job in hand -----------------------------------------------------------------------------------------
    # A signal for its process group. 0: it is on its way; the engine does not say whether it arrives. -1: not running.
    cdef int signal(self, uint32_t entry, int number) noexcept nogil
    # SIGTERM and SIGCONT now, SIGKILL to all of its processes `grace_s` seconds later. Its outcome then has
    # TSF_NOTE_CANCEL. A second call changes nothing; after a recovery the lifecycle calls again. 0 or -1 as above.
    cdef int cancel(self, uint32_t entry, uint32_t grace_s) noexcept nogil
    # The outcome stands in the table: the entry is free. Only after ADOPT_ENDED; after on_ended the engine does it.
    cdef void release(self, uint32_t entry) noexcept nogil
    # The queue was dropped: what has not begun is revoked, what runs runs on, and no callback comes for either.
    cdef void drop_jobs(self) noexcept nogil
    # The server has reaped a child. True: it was the engine's. All children of the server are asked about.
    cdef bint reaped(self, pid_t pid, int status, const rusage *usage) noexcept nogil

    # ---- after a start of the server ---------------------------------------------------------------------------
    # What became of a job whose record says STARTING or RUNNING? *outcome is set for ADOPT_ENDED; for ADOPT_WATCHED its
    # start_ns is, as far as it is known.
    cdef Adoption adopt(self, uint64_t job, const tsf_hot *hot, Outcome *outcome) noexcept nogil
    # All such jobs were asked for: entries that no job claims are freed, and callbacks may come, also in this call.
    cdef void end_adoption(self) noexcept nogil
