"""Replies to a client in the forms that all actions share: text and exit code 0, or one line on stderr and 255."""
from libc.stdint cimport int32_t, uint32_t, uint64_t

from tsfast.server.connections cimport Conn, Conns
from tsfast.base.text cimport Text

cdef class Replies:
    cdef Conns conns
    cdef Text text                    # the reply under construction
    cdef Text line                    # the same, as it is shown

    # Those that return an int return 0, as frame handlers do, and close the connection once the reply is sent.
    cdef int exit(self, Conn *conn, int32_t code) noexcept nogil
    cdef void note(self, Conn *conn) noexcept nogil       # self.text is a line on stderr beside the rest
    cdef int answer(self, Conn *conn, int32_t code=*) noexcept nogil              # self.text on stdout, exit code 0
    cdef int answer_number(self, Conn *conn, uint64_t number) noexcept nogil      # likewise, a number in one line
    # -i: what info() has written, where times of day may be marked.
    cdef int answer_info(self, Conn *conn, int32_t code) noexcept nogil
    cdef int answer_value(self, Conn *conn) noexcept nogil        # one foreign value; on a terminal as it can be shown
    cdef int fail(self, Conn *conn, const char *message) noexcept nogil           # `ts: message`
    cdef int fail_job(self, Conn *conn, uint64_t id, const char *what) noexcept nogil     # `ts: job 5 what`
    # The same; if the request names more than one job, it says what was done to none of them: `ts: job 5 what; undone`.
    cdef int refuse(self, Conn *conn, bint one, uint64_t id, const char *what, const char *undone) noexcept nogil
    # The job cannot run: its own record, or that of another job for which it waits, cannot be read.
    cdef int fail_unreadable(self, Conn *conn, uint64_t id, uint64_t culprit) noexcept nogil
    cdef int fail_errno(self, Conn *conn, const char *what) noexcept nogil        # `ts: what: strerror(errno)`
    cdef int no_memory(self, Conn *conn) noexcept nogil
    cdef int fail_table(self, Conn *conn) noexcept nogil                          # the disk refused a change
    # The Python command line does it, in the client's place; with_text: self.text says what it needs to know.
    cdef int delegate(self, Conn *conn) noexcept nogil
    cdef int delegate_with_text(self, Conn *conn) noexcept nogil

    # private
    cdef int _send_line(self, Conn *conn, uint32_t frame, int32_t code) noexcept nogil
    cdef int _error_line(self, Conn *conn) noexcept nogil
