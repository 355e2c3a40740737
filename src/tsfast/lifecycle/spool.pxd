"""A queue: its table, its jobs in memory, the engine that runs them, and what the transitions share.

The transitions are functions over it, one module for each step of a job's life: submission, start, finish, changes,
retention. `wiring` connects the reports of the engine to them. The Spool knows no clients: the owner sets the handlers
to hear of a job's start or end.
"""
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from tsfast.base.loop cimport Loop
from tsfast.engine.local cimport Runners
from tsfast.layout.structs cimport tsf_hot
from tsfast.lifecycle.arrays cimport Arrays
from tsfast.lifecycle.events cimport Events
from tsfast.lifecycle.hooks cimport Hooks
from tsfast.lifecycle.idempotency cimport Tokens
from tsfast.lifecycle.pauses cimport Pauses
from tsfast.lifecycle.unreadable cimport Unreadable
from tsfast.resources.allocator cimport Grants
from tsfast.scheduler.scheduler cimport Job, Queue
from tsfast.store.contexts cimport Contexts
from tsfast.store.staging cimport Staging
from tsfast.store.table cimport Table

ctypedef void (*JobHandler)(void *owner, uint64_t job, const tsf_hot *hot) noexcept nogil
# The descriptors 0..2 of the client of a foreground job, lent for the call; returns 3, or 0 if there are none.
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

    # A queued job that waits for nothing but its GPUs.
    cdef bint allocating(self, const Job *job) noexcept nogil
