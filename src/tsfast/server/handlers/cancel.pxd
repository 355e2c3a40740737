"""--cancel: queued jobs end as cancelled, running ones with all their processes, in one call.

A running job's runner does it by its own clock: SIGTERM to the job's process group, after a grace time SIGKILL to all
that is left. That it is to be done stands in the job's record before, so that the next server goes on with it. Where
the runner is dead, the server signals the process group itself.
"""
from libc.stdint cimport uint32_t, uint64_t

from tsfast.server.connections cimport Conn
from tsfast.grammar.options cimport Command
from tsfast.scheduler.scheduler cimport Job
from tsfast.base.loop cimport Loop
from tsfast.server.handlers.several cimport Many
from tsfast.server.replies cimport Replies
from tsfast.lifecycle.spool cimport Spool

cdef class Cancel:
    cdef Loop loop
    cdef Replies reply
    cdef Many many
    cdef Spool spool
    cdef int timer
    cdef uint32_t grace_s             # TS_CANCEL_GRACE

    cdef int perform(self, Conn *conn, const Command *command) noexcept nogil
    cdef void resume(self) noexcept nogil         # after a recovery: those that are still to be ended

    # private
    cdef int _check(self, Conn *conn, const Command *command, uint64_t *ids, size_t n) noexcept nogil
    cdef int _cancel(self, Job *job) noexcept nogil
    cdef void _order(self, const Job *job) noexcept nogil
    cdef void _orphans(self) noexcept nogil
