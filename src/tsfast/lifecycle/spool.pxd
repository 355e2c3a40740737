"""A queue: its table, its jobs in memory, the engine that runs them, and what the transitions share.

The transitions are functions over it, one module for each step of a job's life: submission, start, finish, changes,
retention. `wiring` connects the reports of the engine to them. The Spool knows no clients: the owner sets the handlers
to hear of a job's start or end.
"""
cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from tsfast.base.loop cimport Loop
from tsfast.engine.engine cimport Engine
from tsfast.layout.table cimport tsf_cold, tsf_header, tsf_hot
from tsfast.lifecycle.arrays cimport Arrays
from tsfast.lifecycle.events cimport Events
from tsfast.lifecycle.hooks cimport Hooks
from tsfast.lifecycle.idempotency cimport Tokens, tokens_find
from tsfast.lifecycle.pauses cimport Pauses
from tsfast.lifecycle.unreadable cimport Unreadable
from tsfast.resources.allocator cimport Allocator
from tsfast.scheduler.scheduler cimport Job, Scheduler
from tsfast.store.contexts cimport Contexts
from tsfast.store.record cimport Record
from tsfast.store.staging cimport Staging
from tsfast.store.table cimport Table

ctypedef void (*JobHandler)(void *owner, uint64_t job, const tsf_hot *hot) noexcept nogil
# The descriptors 0..2 of the client of a foreground job, lent for the call; returns 3, or 0 if there are none.
ctypedef int (*DescriptorsHandler)(void *owner, uint64_t job, int *fds) noexcept nogil

@cython.final
cdef class Spool:
    cdef Loop loop
    cdef Table table
    cdef Contexts contexts
    cdef Scheduler scheduler
    cdef Arrays arrays
    cdef Engine engine
    cdef Hooks hooks
    cdef Allocator allocator
    cdef Events events                # each change of a job, from its submission to its removal
    cdef Staging staging              # the jobs of the request that is being queued
    cdef Pauses pauses                # starts that wait for what the system is short of
    cdef Unreadable unreadable        # queued jobs that are held
    cdef Tokens tokens                # of the newest submissions, and after a restart of the newest removals
    cdef uint64_t gpu_jobs            # known ones that need GPUs, ended ones too
    cdef uint64_t bad_id              # after SUBMIT_UNKNOWN_ID
    cdef uint64_t next_end            # place of the next job in the order of ending
    cdef uint32_t revoked_in_row      # starts that no runner took, since the last that one did
    cdef bint in_grace                # after a restart: clients may still come back for what they wait for
    cdef uint64_t kept_longer         # after a restart: so many more ended jobs are kept, whose clients may come back
    cdef uint64_t kept_for_waiters    # likewise for clients that wait for others too
    cdef object absent_callers        # of _absent, for its life: after a restart
    cdef set given_up                 # ids of foreground jobs that were removed: their clients did not come back
    cdef uint64_t *forgettable        # owned: ids to be forgotten once their clients have the reply
    cdef size_t n_forgettable, forgettable_room
    cdef void *owner
    cdef JobHandler on_started        # RUNNING stands in the table
    cdef JobHandler on_final          # a final state stands in the table
    cdef DescriptorsHandler take_descriptors

    # ---- what the server asks; nothing here changes anything ---------------------------------------------------
    # Jobs in memory. NULL: there is none, or it is not known (any more).
    cdef inline const Job *job(self, uint64_t id) noexcept nogil:
        return self.scheduler.get(id)

    cdef inline bint next_id(self, uint64_t after, uint64_t *id) noexcept nogil:
        """The smallest known id > after; UINT64_MAX: of all."""
        return self.scheduler.next_id(after, id)

    cdef inline const Job *last_added(self) noexcept nogil:
        return self.scheduler.last_added()

    cdef inline const Job *first_running(self) noexcept nogil:
        """The one that started first, STARTING or RUNNING."""
        return self.scheduler.first_running()

    cdef inline const Job *first_ended(self) noexcept nogil:
        return self.scheduler.first_ended()

    cdef inline const Job *last_ended(self) noexcept nogil:
        return self.scheduler.last_ended()

    cdef inline const Job *following(self, const Job *job) noexcept nogil:
        """In the list of running jobs, or in that of ended ones; NULL at its end."""
        return self.scheduler.following(<Job *> job)

    cdef inline const Job *preceding(self, const Job *job) noexcept nogil:
        return self.scheduler.preceding(<Job *> job)

    cdef inline size_t unfinished_ids(self, uint64_t *ids, size_t room) noexcept nogil:
        """The first `room` ids of the jobs that have not ended, in the order of the queue. How many were written."""
        return self.scheduler.live(ids, room)

    # How many jobs are known, have not ended, are starting or running.
    cdef inline uint64_t known(self) noexcept nogil:
        return self.scheduler.known

    cdef inline uint64_t unfinished(self) noexcept nogil:
        return self.scheduler.known - self.scheduler.ended

    cdef inline uint64_t running(self) noexcept nogil:
        return self.scheduler.starting + self.scheduler.running

    cdef inline uint64_t used_slots(self) noexcept nogil:
        return self.scheduler.used_slots

    cdef inline uint32_t slots(self) noexcept nogil:
        return self.scheduler.max_slots

    cdef inline uint32_t gpu_class(self, const Job *job) noexcept nogil:
        """What GPUs it needs; 0: none."""
        return self.scheduler.gpu_class(job)

    cdef inline uint32_t held_back(self, const Job *job) noexcept nogil:
        """It waits only for one of its array to end: the limit of that array. Else 0."""
        return self.scheduler.held_back(job)

    # A queued job that waits for nothing but its GPUs.
    cdef bint allocating(self, const Job *job) noexcept nogil

    # The table: settings and counters; records. 0, or -1 with errno.
    cdef inline const tsf_header *header(self) noexcept nogil:
        return &self.table.header

    cdef inline int read_hot(self, uint64_t id, tsf_hot *hot) noexcept nogil:
        return self.table.read_hot(id, hot)

    cdef inline int read_record(self, uint64_t id, Record *record, tsf_hot *hot, tsf_cold *cold) noexcept nogil:
        """All of a job; valid until the next read_record."""
        return self.table.read_record(id, record, hot, cold)

    cdef inline uint64_t removed_ones(self, uint64_t first, uint64_t last) noexcept nogil:
        """How many of these ids -r removed, as far as that is still known; 0 for very many ids."""
        return self.table.removed_ones(first, last)

    cdef inline size_t staged_bytes(self) noexcept nogil:
        """What the jobs of the request that is being queued need in the table so far."""
        return self.staging.size

    cdef inline const char *directory(self, uint64_t context) noexcept nogil:
        """The directory of the client that submitted a job; NULL if it cannot be read."""
        return self.contexts.directory(context)

    cdef inline bint knows_request(self, const uint64_t *token) noexcept nogil:
        """The request was carried out before, and its reply may be lost."""
        return tokens_find(&self.tokens, token) != 0
