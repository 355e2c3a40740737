# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See replies.pxd."""
cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport int64_t
from libc.stdlib cimport strtoull
from libc.string cimport memchr, strerror, strlen

from tsfast.server.connections cimport Conn, Conns
from tsfast.layout.wire cimport (
    TSF_EXIT_ERROR, TSF_FRAME_ERR, TSF_FRAME_EXEC, TSF_FRAME_EXIT, TSF_FRAME_MOMENT, TSF_FRAME_OUT, TSF_TTY_STDOUT,
    tsf_moment,
)
from tsfast.base.text cimport MOMENT_MARK, TSF_HIDDEN, text_char, text_free, text_oneline, text_str, text_u64
from tsfast.base.system cimport errno


cdef const char *NO_MEMORY = b"ts: the server is out of memory\n"


@cython.final
cdef class Replies:
    def __init__(self, Conns conns):
        self.conns = conns

    def __dealloc__(self):
        text_free(&self.text)
        text_free(&self.line)

    cdef int exit(self, Conn *conn, int32_t code) noexcept nogil:
        self.conns.send_code(conn, TSF_FRAME_EXIT, code)
        self.conns.finish(conn)
        return 0

    cdef int answer(self, Conn *conn, int32_t code=0) noexcept nogil:
        if self.text.failed:
            return self.no_memory(conn)
        if self.text.size:
            self.conns.send(conn, TSF_FRAME_OUT, self.text.data, self.text.size)
        return self.exit(conn, code)

    cdef int answer_number(self, Conn *conn, uint64_t number) noexcept nogil:
        self.text.size = 0
        text_u64(&self.text, number)
        text_char(&self.text, c'\n')
        return self.answer(conn)

    cdef int answer_info(self, Conn *conn, int32_t code) noexcept nogil:
        cdef const char *at = self.text.data
        cdef const char *end = at + self.text.size
        cdef const char *mark
        cdef char *rest
        cdef tsf_moment moment
        if self.text.failed:
            return self.no_memory(conn)
        while at < end:
            mark = <const char *> memchr(at, MOMENT_MARK, <size_t> (end - at))
            if mark == NULL:
                mark = end
            if mark > at:
                self.conns.send(conn, TSF_FRAME_OUT, at, <size_t> (mark - at))
            if mark == end:
                break
            moment.seconds = <int64_t> strtoull(mark + 1, &rest, 10)     # to the newline, which is part of the moment
            self.conns.send(conn, TSF_FRAME_MOMENT, &moment, sizeof(moment))
            at = rest + 1
        return self.exit(conn, code)

    cdef void note(self, Conn *conn) noexcept nogil:
        text_char(&self.text, c'\n')
        self.conns.send(conn, TSF_FRAME_ERR, self.text.data, self.text.size)
        self.text.size = 0

    cdef int answer_value(self, Conn *conn) noexcept nogil:
        if conn.tty & TSF_TTY_STDOUT:
            return self._send_line(conn, TSF_FRAME_OUT, 0)
        text_char(&self.text, c'\n')
        return self.answer(conn)

    cdef int _send_line(self, Conn *conn, uint32_t frame, int32_t code) noexcept nogil:
        """The text in one line, whatever is in it."""
        self.line.size = 0
        text_oneline(&self.line, self.text.data, self.text.size, TSF_HIDDEN)
        text_char(&self.line, c'\n')
        if self.text.failed or self.line.failed:
            self.line.failed = self.text.failed = False
            self.conns.send(conn, TSF_FRAME_ERR, NO_MEMORY, strlen(NO_MEMORY))
            return self.exit(conn, TSF_EXIT_ERROR)
        self.conns.send(conn, frame, self.line.data, self.line.size)
        return self.exit(conn, code)

    cdef int _error_line(self, Conn *conn) noexcept nogil:
        return self._send_line(conn, TSF_FRAME_ERR, TSF_EXIT_ERROR)

    cdef int fail(self, Conn *conn, const char *message) noexcept nogil:
        self.text.size = 0
        text_str(&self.text, b"ts: ")
        text_str(&self.text, message)
        return self._error_line(conn)

    cdef int fail_job(self, Conn *conn, uint64_t id, const char *what) noexcept nogil:
        return self.refuse(conn, True, id, what, NULL)

    cdef int refuse(self, Conn *conn, bint one, uint64_t id, const char *what, const char *undone) noexcept nogil:
        self.text.size = 0
        text_str(&self.text, b"ts: job ")
        text_u64(&self.text, id)
        text_char(&self.text, c' ')
        text_str(&self.text, what)
        if not one:
            text_str(&self.text, b"; ")
            text_str(&self.text, undone)
        return self._error_line(conn)

    cdef int fail_unreadable(self, Conn *conn, uint64_t id, uint64_t culprit) noexcept nogil:
        self.text.size = 0
        text_str(&self.text, b"ts: job ")
        text_u64(&self.text, id)
        if id != culprit:
            text_str(&self.text, b" waits for job ")
            text_u64(&self.text, culprit)
            text_str(&self.text, b", which")
        text_str(&self.text, b" has a record that cannot be read and does not run (`ts -r ")
        text_u64(&self.text, culprit)
        text_str(&self.text, b"` removes it)")
        return self._error_line(conn)

    cdef int fail_table(self, Conn *conn) noexcept nogil:
        return self.fail_errno(conn, b"the job table could not be written")

    cdef int fail_errno(self, Conn *conn, const char *what) noexcept nogil:
        cdef const char *reason = strerror(errno)
        self.text.size = 0
        text_str(&self.text, b"ts: ")
        text_str(&self.text, what)
        text_str(&self.text, b": ")
        text_str(&self.text, reason)
        return self._error_line(conn)

    cdef int no_memory(self, Conn *conn) noexcept nogil:
        self.text.failed = True
        return self._error_line(conn)

    cdef int delegate_with_text(self, Conn *conn) noexcept nogil:
        if self.text.failed:
            return self.no_memory(conn)
        self.conns.send(conn, TSF_FRAME_EXEC, self.text.data, self.text.size)
        self.conns.finish(conn)
        return 0

    cdef int delegate(self, Conn *conn) noexcept nogil:
        self.conns.send(conn, TSF_FRAME_EXEC, NULL, 0)
        self.conns.finish(conn)
        return 0
