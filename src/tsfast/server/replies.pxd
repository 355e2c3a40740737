"""Answers to a client in the forms that all actions share: text and exit code 0, or one line on stderr and 255."""
from libc.stdint cimport int32_t, uint32_t, uint64_t

from tsfast.server.connections cimport Conn, Conns
from tsfast.base.text cimport Text

cdef class Replies:
    cdef Conns conns
    cdef Text text                    # the answer under construction
    cdef Text line                    # the same, as it is shown

    # All return 0, as frame handlers do, and close the connection once the answer is sent.
    cdef int exit(self, Conn *conn, int32_t code) noexcept nogil
    cdef void note(self, Conn *conn) noexcept nogil       # self.text is a line on stderr beside the answer
    cdef int answer(self, Conn *conn) noexcept nogil                              # self.text on stdout, exit code 0
    # -i: what info() has written, where times of day may be marked.
    cdef int answer_info(self, Conn *conn, int32_t code) noexcept nogil
    cdef int answer_value(self, Conn *conn) noexcept nogil        # one foreign value; a terminal gets it as it is shown
    cdef int fail(self, Conn *conn, const char *message) noexcept nogil           # `ts: message`
    cdef int fail_job(self, Conn *conn, uint64_t id, const char *what) noexcept nogil     # `ts: job 5 what`
    cdef int fail_errno(self, Conn *conn, const char *what) noexcept nogil        # `ts: what: strerror(errno)`
    cdef int no_memory(self, Conn *conn) noexcept nogil
    cdef int elsewhere_with_text(self, Conn *conn) noexcept nogil     # likewise; self.text tells it what it needs
    cdef int elsewhere(self, Conn *conn) noexcept nogil                           # the Python command line does it

    # private
    cdef int _send_line(self, Conn *conn, uint32_t frame, int32_t code) noexcept nogil
    cdef int _error_line(self, Conn *conn) noexcept nogil
