"""What the handlers of all actions work with: the queue, the clients, the replies."""
from libc.stdint cimport uint32_t, uint64_t

from tsfast.base.loop cimport Loop
from tsfast.lifecycle.spool cimport Spool
from tsfast.server.connections cimport Conn, Conns
from tsfast.server.replies cimport Replies
from tsfast.server.submitter cimport Submitter
from tsfast.server.waiters cimport Waiters

cdef class Services:
    cdef Loop loop
    cdef Conns conns
    cdef Spool spool
    cdef Replies reply
    cdef Waiters waiters
    cdef Submitter submitter
    cdef bytes version
    cdef const char *version_text
    cdef uint64_t max_unfinished      # TS_MAXCONN, 0: no limit
    cdef bint admitting               # the next request has waited for room and has its turn
    cdef int progress_timer           # of the progress lines of -w
    cdef uint32_t cancel_grace_s      # TS_CANCEL_GRACE
    cdef bint stopping                # -K or SIGTERM
    cdef Conn *last_client            # of -K: it learns that the server has ended when its connection closes

    # The client waits for a job with this role: 0, or -1 without memory.
    cdef int wait_for_job(self, Conn *conn, uint64_t id, int role) noexcept nogil
    # A request right after a submission means the process and the output that the job is about to have: the action is
    # carried out when it has started. Returns 0, as handlers do.
    cdef int wait_for_start(self, Conn *conn, uint64_t id, int role, int action) noexcept nogil
