"""What a client's request does: each action of the grammar, its answer, and who waits for what."""
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from tsfast.server.handlers.submit cimport Adding
from tsfast.server.handlers.cancel cimport Cancel
from tsfast.server.connections cimport Conn, Conns
from tsfast.grammar.options cimport Command
from tsfast.scheduler.scheduler cimport Job
from tsfast.layout.structs cimport tsf_hot
from tsfast.server.handlers.several cimport Many
from tsfast.server.replies cimport Replies
from tsfast.server.request cimport Request
from tsfast.store.record cimport Row
from tsfast.lifecycle.spool cimport Spool
from tsfast.server.waiters cimport Waiters
from tsfast.server.subscribers cimport Watchers

cdef class Commands:
    cdef Conns conns
    cdef Spool spool
    cdef Replies reply
    cdef Waiters waiters
    cdef Watchers watchers
    cdef Many many
    cdef Cancel cancel
    cdef Adding adding
    cdef bytes version
    cdef const char *version_text
    cdef uint32_t release             # of this server, see tsf_release
    cdef bint giving_way              # a caller of a later release is ready to start the next server
    cdef bint stopping                # -K or SIGTERM
    cdef bint stirred                 # a caller's end has changed the queue
    cdef bint admitting               # the next call has waited for room and has its turn
    cdef Conn *last_caller            # of -K: hears of the end by the end of its connection

    cdef void answer_all(self, const char *why) noexcept nogil    # the server ends: tell everybody who waits
    cdef void admit_parked(self) noexcept nogil

    # private
    cdef int _call(self, Conn *conn, uint32_t type, char *payload, uint32_t size) noexcept nogil
    cdef int _request(self, Conn *conn, char *payload, uint32_t size) noexcept nogil
    cdef void _perform(self, Conn *conn, const Request *request, Command *command) noexcept nogil
    cdef bint _must_wait(self, uint64_t jobs) noexcept nogil
    cdef int _batch(self, Conn *conn, char *payload, uint32_t size) noexcept nogil
    cdef int _foreground(self, Conn *conn, uint64_t id) noexcept nogil
    cdef int _attach(self, Conn *conn) noexcept nogil
    cdef int _give_descriptors(self, uint64_t id, int *fds) noexcept nogil
    cdef void _foreground_signal(self, Conn *conn, int32_t number) noexcept nogil
    cdef void _hung_up(self, Conn *conn) noexcept nogil
    cdef int _wait_for(self, Conn *conn, uint64_t id, int role) noexcept nogil
    cdef void _job_started(self, uint64_t id) noexcept nogil
    cdef void _job_final(self, uint64_t id, const tsf_hot *hot) noexcept nogil
    cdef int _slots(self, Conn *conn, const Command *command) noexcept nogil
    cdef int _kill_server(self, Conn *conn, bint is_seen) noexcept nogil
    cdef int _kill_all(self, Conn *conn) noexcept nogil
    cdef int _swap(self, Conn *conn, const Request *request, const Command *command) noexcept nogil
    cdef int _last_id(self, Conn *conn) noexcept nogil
    cdef int _set_logdir(self, Conn *conn, const Request *request, const Command *command) noexcept nogil
    cdef Job *_find(self, Conn *conn, uint64_t id) noexcept nogil
    cdef Job *_last_run(self) noexcept nogil
    cdef int _job_action(self, Conn *conn, const Request *request, const Command *command) noexcept nogil
    cdef int _fail_stuck(self, Conn *conn, uint64_t id, uint64_t culprit) noexcept nogil
    cdef int _wait(self, Conn *conn, Job *job) noexcept nogil
    cdef int _remove(self, Conn *conn, Job *job, const uint64_t *token) noexcept nogil
    cdef int _kill(self, Conn *conn, Job *job) noexcept nogil
    cdef int _urgent(self, Conn *conn, Job *job) noexcept nogil
    cdef int _tell(self, Conn *conn, const Job *job, int action) noexcept nogil
    cdef int _output(self, Conn *conn, const Job *job, int action) noexcept nogil
    cdef void _follow(self, Conn *conn, const Row *row, int32_t lines) noexcept nogil
    cdef int _send_follow(self, Conn *conn, uint64_t id, int32_t lines) noexcept nogil
