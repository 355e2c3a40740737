# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See _replies.pxd."""
cimport cython
from libc.string cimport strerror

from tsfast._conns cimport Conn, Conns
from tsfast._layout cimport TSF_EXIT_ERROR, TSF_FRAME_ERR, TSF_FRAME_EXEC, TSF_FRAME_EXIT, TSF_FRAME_OUT
from tsfast._quote cimport text_char, text_free, text_str, text_u64
from tsfast._sys cimport errno


@cython.final
cdef class Replies:
    def __init__(self, Conns conns):
        self.conns = conns

    def __dealloc__(self):
        text_free(&self.text)

    cdef int exit(self, Conn *conn, int32_t code) noexcept nogil:
        self.conns.send_code(conn, TSF_FRAME_EXIT, code)
        self.conns.finish(conn)
        return 0

    cdef int answer(self, Conn *conn) noexcept nogil:
        if self.text.failed:
            return self.no_memory(conn)
        if self.text.size:
            self.conns.send(conn, TSF_FRAME_OUT, self.text.data, self.text.size)
        return self.exit(conn, 0)

    cdef int _error_line(self, Conn *conn) noexcept nogil:
        text_char(&self.text, c'\n')
        self.conns.send(conn, TSF_FRAME_ERR, self.text.data, self.text.size)
        return self.exit(conn, TSF_EXIT_ERROR)

    cdef int fail(self, Conn *conn, const char *message) noexcept nogil:
        self.text.size = 0
        text_str(&self.text, b"ts: ")
        text_str(&self.text, message)
        return self._error_line(conn)

    cdef int fail_job(self, Conn *conn, uint64_t id, const char *what) noexcept nogil:
        self.text.size = 0
        text_str(&self.text, b"ts: job ")
        text_u64(&self.text, id)
        text_char(&self.text, c' ')
        text_str(&self.text, what)
        return self._error_line(conn)

    cdef int fail_errno(self, Conn *conn, const char *what) noexcept nogil:
        cdef const char *reason = strerror(errno)
        self.text.size = 0
        text_str(&self.text, b"ts: ")
        text_str(&self.text, what)
        text_str(&self.text, b": ")
        text_str(&self.text, reason)
        return self._error_line(conn)

    cdef int no_memory(self, Conn *conn) noexcept nogil:
        self.text.failed = False
        return self.fail(conn, b"the server is out of memory")

    cdef int elsewhere_with_text(self, Conn *conn) noexcept nogil:
        if self.text.failed:
            return self.no_memory(conn)
        self.conns.send(conn, TSF_FRAME_EXEC, self.text.data, self.text.size)
        self.conns.finish(conn)
        return 0

    cdef int elsewhere(self, Conn *conn) noexcept nogil:
        self.conns.send(conn, TSF_FRAME_EXEC, NULL, 0)
        self.conns.finish(conn)
        return 0
