"""Actions on several jobs in one call: `-w -r -k -s -i -u` with lists and ranges of ids, --wait-all; `-F -c
-t` of an array.

A single id that is unknown is an error and nothing is done; of a range those count that are known, at least one.
"""
from libc.stdint cimport int32_t, uint64_t

from tsfast.server.connections cimport Conn
from tsfast.grammar.options cimport Command, IdRange
from tsfast.layout.structs cimport tsf_hot, tsf_request
from tsfast.base.loop cimport Loop
from tsfast.server.replies cimport Replies
from tsfast.lifecycle.spool cimport Spool
from tsfast.server.waiters cimport Group, Waiters

# Walks through the known jobs of a set of ids, in the order in which it was given.
cdef struct Cursor:
    const IdRange *ranges
    size_t n, at
    uint64_t next              # in ranges[at]
    bint begun

cdef class Many:
    cdef Loop loop
    cdef Replies reply
    cdef Waiters waiters
    cdef Spool spool
    cdef int timer                    # of the progress lines

    cdef int perform(self, Conn *conn, const Command *command, const tsf_request *head) noexcept nogil
    cdef int wait_all(self, Conn *conn, const tsf_request *head) noexcept nogil
    # All ended jobs are about to be forgotten: the callers that wait hear what was counted of them, so that they can
    # tell the next server.
    cdef void clearing(self) noexcept nogil
    # A job has ended: groups that wait for it count it, and answer when it was their last.
    cdef void ended(self, uint64_t id, const tsf_hot *hot) noexcept nogil

    # The next known job of a set; False at its end. How many a set has; 0 after an answer that one is unknown.
    cdef bint next_known(self, Cursor *cursor, uint64_t *id) noexcept nogil
    cdef uint64_t count_known(self, Conn *conn, const Command *command) noexcept nogil

    # private
    cdef uint64_t _forgotten(self, const Command *command, uint64_t known) noexcept nogil
    cdef void _say_forgotten(self, Conn *conn, uint64_t forgotten, uint64_t total) noexcept nogil
    cdef void _say_stuck(self, Conn *conn, const Group *group) noexcept nogil
    cdef int _wait_set(self, Conn *conn, const Command *command, const tsf_request *head) noexcept nogil
    cdef uint64_t _ended_since(self, uint64_t since) noexcept nogil
    cdef int _wait(self, Conn *conn, const IdRange *ranges, size_t n, Group *group) noexcept nogil
    cdef void _count_gone(self, Group *group) noexcept nogil
    cdef int _answer_group(self, Group *group) noexcept nogil
    cdef void _show_progress(self) noexcept nogil
    cdef void _progress_line(self, const Group *group, uint64_t now) noexcept nogil
    cdef int _tell(self, Conn *conn, const Command *command) noexcept nogil
    cdef int _tell_array(self, Conn *conn, const Command *command) noexcept nogil
    cdef int _remove(self, Conn *conn, const Command *command, uint64_t total, const uint64_t *token) noexcept nogil
    cdef int _kill(self, Conn *conn, const Command *command) noexcept nogil
    cdef int _urgent(self, Conn *conn, const Command *command, uint64_t total) noexcept nogil
