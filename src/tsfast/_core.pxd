"""The composition root: builds the parts of a server, joins them, and runs the loop."""
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from tsfast.server.dispatcher cimport Dispatcher
from tsfast.server.connections cimport Conns
from tsfast.store.journal cimport Journal
from tsfast.base.loop cimport Loop, Source
from tsfast.engine.local cimport LocalEngine
from tsfast.lifecycle.spool cimport Spool
from tsfast.server.listener cimport Listener
from tsfast.server.services cimport Services

cdef class Server:
    cdef Loop loop
    cdef Conns conns
    cdef LocalEngine engine
    cdef Spool spool
    cdef Services services
    cdef Dispatcher dispatcher
    cdef Listener listener
    cdef Journal journal              # None but with TS_DURABLE
    cdef bint had_journal             # this queue's last server had one
    cdef readonly object damaged      # places of its journal, if it had to be replayed; else None
    cdef readonly bint migrated       # the table was of an earlier format until this start
    cdef readonly list lost           # ids of jobs that recovery found lost
    cdef Source signals               # SIGCHLD, SIGTERM
    cdef bint terminated
    cdef bint tidying                 # tidy_count jobs are to be forgotten once `tidy_barrier` is synced
    cdef size_t tidy_count
    cdef uint64_t tidy_barrier
    cdef readonly bint gave_way       # run() has ended because a client of a later release starts the next server

    # private
    cdef void _tidy(self) noexcept nogil
    cdef _journal_begins(self)
