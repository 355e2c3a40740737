# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See services.pxd."""
cimport cython

from tsfast.lifecycle cimport retention
from tsfast.lifecycle.spool cimport Spool
from tsfast.server.connections cimport Conns


@cython.final
cdef class Services:
    def __init__(self, Conns conns, Spool spool, bytes version not None, uint64_t max_unfinished,
                 uint32_t cancel_grace_s):
        self.loop = spool.loop
        self.conns = conns
        self.spool = spool
        self.reply = Replies(conns)
        self.waiters = Waiters()
        self.waiters.ended_jobs = &spool.kept_for_waiters
        self.version = version
        self.version_text = self.version
        self.submitter = Submitter(conns, self.reply, spool, version)
        self.max_unfinished = max_unfinished
        self.cancel_grace_s = cancel_grace_s

    cdef int wait_for_job(self, Conn *conn, uint64_t id, int role) noexcept nogil:
        retention.client_waits(self.spool, id)
        return self.waiters.add(conn, id, role)

    cdef int wait_for_start(self, Conn *conn, uint64_t id, int role, int action) noexcept nogil:
        conn.action = action
        return self.reply.no_memory(conn) if self.wait_for_job(conn, id, role) < 0 else 0
