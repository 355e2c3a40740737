# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See connections.pxd."""
cimport cython
from libc.stddef cimport size_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memmove, strlen

from tsfast.layout.wire cimport (
    TSF_EXIT_ERROR, TSF_FRAME_ALIVE, TSF_FRAME_ERR, TSF_FRAME_EXIT, TSF_FRAME_MAX, TSF_WIRE_VERSION, tsf_code,
    tsf_frame,
)
from tsfast.base.limits cimport ACCEPT_RETRY_MS, ALIVE_AFTER_MS, READ_CHUNK
from tsfast.base.links cimport Link, is_linked, links_append, links_prepend, links_remove
from tsfast.base.loop cimport Loop, Source
from tsfast.base.system cimport (
    EAGAIN, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, MSG_DONTWAIT,
    MSG_NOSIGNAL, SOCK_CLOEXEC, SOCK_NONBLOCK, accept4, close, errno, geteuid, send, ssize_t, tsf_peer_uid,
    tsf_recv_fds,
)

cdef enum:
    OUTPUT_KEPT = 65536        # output buffers up to this size are kept for the next reply


cdef void accept_ready(void *owner, Source *source, uint32_t events) noexcept nogil:
    (<Conns> owner)._accept()


cdef void accept_due(void *owner) noexcept nogil:
    (<Conns> owner)._accept_again()


cdef void alive_due(void *owner) noexcept nogil:
    (<Conns> owner)._say_alive()


cdef void conn_ready(void *owner, Source *source, uint32_t events) noexcept nogil:
    cdef Conn *conn = <Conn *> source          # its first member
    # What is in the list of the unsent is written at the end of the turn, if it may be.
    if events & EPOLLOUT and not is_linked(&conn.in_unsent) and not (<Conns> owner)._write(conn):
        return
    if events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP):
        (<Conns> owner)._read(conn)


@cython.final
cdef class Conns:
    def __init__(self, Loop loop):
        self.loop = loop
        self.listening.fd = -1
        self.listening.handler = accept_ready
        self.listening.owner = <void *> self
        self.uid = geteuid()
        self.accept_timer = loop.new_timer(accept_due, <void *> self)
        self.alive_timer = loop.new_timer(alive_due, <void *> self)

    def __dealloc__(self):
        while self.all != NULL:
            self._drop(conn_of(self.all))
        if self.listening.fd >= 0:
            close(self.listening.fd)

    cdef int listen(self, int sock) noexcept nogil:
        if self.listening.fd >= 0:
            self.loop.remove(&self.listening)
            close(self.listening.fd)
        self.listening.fd = sock
        self.full = False
        return self.loop.watch(&self.listening, EPOLLIN)

    cdef void _accept(self) noexcept nogil:
        """One client a turn: to learn that there is no other one costs as much as the next turn's epoll_wait, which
        tells it as well, and this client's reply goes out sooner."""
        cdef Conn *conn
        cdef int64_t peer
        cdef int fd = accept4(self.listening.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)
        if fd < 0:
            if errno == EMFILE or errno == ENFILE or errno == ENOBUFS or errno == ENOMEM:
                # Stop asking, or epoll would report the waiting clients for ever. close() asks again, and so does the
                # timer, because what was lacking need not be held by a client of ours.
                self.loop.remove(&self.listening)
                self.full = True
                self.loop.set_timer(self.accept_timer, ACCEPT_RETRY_MS)
            return
        peer = tsf_peer_uid(fd)
        if peer != <int64_t> self.uid and peer != 0:
            close(fd)
            return
        conn = <Conn *> calloc(1, sizeof(Conn))
        if conn == NULL:
            close(fd)
            return
        conn.source.fd = fd
        conn.source.handler = conn_ready
        conn.source.owner = <void *> self
        conn.in_all.owner = conn.in_unsent.owner = conn.in_waiting.owner = <void *> conn
        links_prepend(&self.all, &conn.in_all)
        # A client sends its request right after connecting: mostly it is here already, and the reply ends the
        # connection before epoll would have to know of it.
        if self._read(conn) == 0 and not conn.closing and self._listen_to(conn) < 0:
            self.close(conn)

    cdef int _listen_to(self, Conn *conn) noexcept nogil:
        """For what it sends, of a paused one only for its end; and for when it takes output again."""
        cdef int wanted = EPOLLRDHUP if conn.paused else EPOLLIN
        return self.loop.watch(&conn.source, <uint32_t> (wanted | EPOLLOUT if conn.blocked else wanted))

    # ---- input -------------------------------------------------------------------------------------------------
    cdef int _read(self, Conn *conn) noexcept nogil:
        """Take what has come. -1: the connection is closed and gone."""
        cdef char *buffer = self.chunk
        cdef size_t room = sizeof(self.chunk)
        cdef ssize_t got
        cdef int fds[3]
        cdef int n_fds = 0, i
        if conn.input_size:
            # The rest of a frame whose beginning came earlier.
            if conn.input_room - conn.input_size < <size_t> READ_CHUNK // 2:
                room = conn.input_room * 2
                buffer = <char *> realloc(conn.input, room)
                if buffer == NULL:
                    return self._no_memory(conn)
                conn.input = buffer
                conn.input_room = room
            buffer = conn.input + conn.input_size
            room = conn.input_room - conn.input_size
        got = tsf_recv_fds(conn.source.fd, buffer, room, fds, &n_fds)
        if n_fds:
            for i in range(conn.n_fds):
                close(conn.fds[i])
            for i in range(n_fds):
                conn.fds[i] = fds[i]
            conn.n_fds = n_fds
        if got < 0 and errno == EAGAIN:
            return 0
        if got <= 0:
            self.close(conn)
            return -1
        if conn.paused:
            self.close(conn)                   # it is listened to for its end alone
            return -1
        if conn.closing:
            return 0
        if conn.input_size:
            conn.input_size += <size_t> got
            return self._frames(conn, conn.input, conn.input_size)
        return self._frames(conn, self.chunk, <size_t> got)

    cdef int _frames(self, Conn *conn, char *data, size_t size) noexcept nogil:
        """Hand on the whole frames in `data`, which is conn.input or the common buffer, and keep the rest."""
        cdef tsf_frame frame               # a copy: what follows a frame of odd length is not aligned
        cdef size_t at = 0
        cdef int taken
        while size - at >= sizeof(tsf_frame):
            memcpy(&frame, data + at, sizeof(frame))
            if frame.version != TSF_WIRE_VERSION:
                # Any frame shows the client which version the server speaks.
                self.send_code(conn, TSF_FRAME_EXIT, TSF_EXIT_ERROR)
                self.finish(conn)
                return 0
            if frame.length > TSF_FRAME_MAX:
                self.close(conn)
                return -1
            if size - at - sizeof(tsf_frame) < frame.length:
                break
            conn.release = frame.release
            taken = self.on_frame(self.owner, conn, frame.type, data + at + sizeof(tsf_frame), frame.length)
            if taken < 0:
                self.close(conn)
                return -1
            if conn.closing:
                return 0
            if taken == FRAME_LATER:
                conn.paused = True
                if conn.source.events and self._listen_to(conn) < 0:     # else it is new, and about to be listened to
                    self.close(conn)
                    return -1
                break
            at += sizeof(tsf_frame) + frame.length
        return self._keep(conn, data + at, size - at)

    cdef void resume(self, Conn *conn) noexcept nogil:
        conn.paused = False
        if self._frames(conn, conn.input, conn.input_size) == 0 and not conn.closing and self._listen_to(conn) < 0:
            self.close(conn)

    cdef int _keep(self, Conn *conn, const char *rest, size_t size) noexcept nogil:
        cdef size_t room
        if size == 0:
            # Thousands of waiting clients should cost no more than their sockets.
            free(conn.input)
            conn.input = NULL
            conn.input_room = conn.input_size = 0
            return 0
        if conn.input == NULL:
            room = 2 * <size_t> READ_CHUNK
            conn.input = <char *> malloc(room)
            if conn.input == NULL:
                return self._no_memory(conn)
            conn.input_room = room
        if rest != conn.input:
            memmove(conn.input, rest, size)
        conn.input_size = size
        return 0

    cdef int _no_memory(self, Conn *conn) noexcept nogil:
        """There is no memory for the rest of the frame, so nothing was done. The reply needs no memory: without it the
        client would try again. -1: the connection is closed and gone."""
        cdef char reply[128]
        cdef const char *text = b"ts: the server is out of memory\n"
        cdef tsf_frame frame
        cdef tsf_code code
        cdef size_t size = sizeof(frame)
        if conn.output_size == 0:
            frame.version = TSF_WIRE_VERSION
            frame.type = TSF_FRAME_ERR
            frame.length = <uint32_t> strlen(text)
            frame.release = 0
            memcpy(reply, &frame, sizeof(frame))
            memcpy(reply + size, text, frame.length)
            size += frame.length
            frame.type = TSF_FRAME_EXIT
            frame.length = sizeof(code)
            code.code = TSF_EXIT_ERROR
            memcpy(reply + size, &frame, sizeof(frame))
            size += sizeof(frame)
            memcpy(reply + size, &code, sizeof(code))
            send(conn.source.fd, reply, size + sizeof(code), MSG_DONTWAIT | MSG_NOSIGNAL)
        self.close(conn)
        return -1

    # ---- output ------------------------------------------------------------------------------------------------
    cdef void send(self, Conn *conn, uint32_t type, const void *data, size_t size) noexcept nogil:  # no-cython-lint
        cdef tsf_frame frame
        cdef size_t part, room
        cdef char *grown
        cdef const char *p = <const char *> data
        while True:
            part = min(size, <size_t> TSF_FRAME_MAX)
            room = conn.output_size + sizeof(frame) + part
            if room > conn.output_room:
                room = max(room, 2 * conn.output_room)
                grown = <char *> realloc(conn.output, room)
                if grown == NULL:
                    conn.failed = True
                    break
                conn.output = grown
                conn.output_room = room
            frame.version = TSF_WIRE_VERSION
            frame.type = type
            frame.length = <uint32_t> part
            frame.release = 0
            memcpy(conn.output + conn.output_size, &frame, sizeof(frame))
            if part:                           # else p may be NULL, which memcpy must not see
                memcpy(conn.output + conn.output_size + sizeof(frame), p, part)
            conn.output_size += sizeof(frame) + part
            p += part
            size -= part
            if size == 0:
                break
        self._mark(conn)

    cdef void _mark(self, Conn *conn) noexcept nogil:
        if self.journal is not None:
            conn.barrier = self.journal.end    # what the reply says was written before
        if not is_linked(&conn.in_unsent):
            links_append(&self.unsent, &conn.in_unsent)

    cdef void send_code(self, Conn *conn, uint32_t type, int32_t code) noexcept nogil:
        cdef tsf_code payload
        payload.code = code
        self.send(conn, type, &payload, sizeof(payload))

    cdef void owe_alive(self, Conn *conn) noexcept nogil:
        conn.owed_alive = True
        self.loop.set_timer(self.alive_timer, ALIVE_AFTER_MS)

    cdef void _say_alive(self) noexcept nogil:
        """Before the reply, which can wait for the disk, but not into the middle of one that is being taken."""
        cdef Conn *conn = conn_of(self.all)
        cdef bint again = False
        cdef tsf_frame frame
        frame.version = TSF_WIRE_VERSION
        frame.type = TSF_FRAME_ALIVE
        frame.length = frame.release = 0
        while conn != NULL:
            if conn.owed_alive and conn.output_sent == 0:
                conn.owed_alive = False
                send(conn.source.fd, &frame, sizeof(frame), MSG_DONTWAIT | MSG_NOSIGNAL)
            again = again or conn.owed_alive
            conn = conn_of(conn.in_all.next)
        if again:
            self.loop.set_timer(self.alive_timer, ALIVE_AFTER_MS)

    cdef void finish(self, Conn *conn) noexcept nogil:
        conn.closing = True
        self._mark(conn)

    cdef void flush(self) noexcept nogil:
        cdef Link *link = self.unsent
        cdef Conn *conn
        while link != NULL:
            conn = conn_of(link)
            if self.journal is not None and conn.barrier > self.journal.synced:
                self.journal.wanted = True
                if conn.blocked:
                    conn.blocked = False
                    self._listen_to(conn)
                link = link.next
                continue
            links_remove(&self.unsent, &conn.in_unsent)
            self._write(conn)
            link = self.unsent                 # the end of a connection may have changed the list

    cdef bint _write(self, Conn *conn) noexcept nogil:
        """Send what the client takes; False if the connection was closed."""
        cdef ssize_t sent
        if conn.failed:
            self.close(conn)
            return False
        while conn.output_sent < conn.output_size:
            sent = send(conn.source.fd, conn.output + conn.output_sent, conn.output_size - conn.output_sent,
                        MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent < 0:
                if errno == EINTR:
                    continue
                conn.blocked = True
                if errno != EAGAIN or self._listen_to(conn) < 0:
                    self.close(conn)
                    return False
                return True
            conn.output_sent += <size_t> sent
        conn.output_sent = conn.output_size = 0
        conn.blocked = False
        if conn.output_room > <size_t> OUTPUT_KEPT:
            free(conn.output)
            conn.output = NULL
            conn.output_room = 0
        if conn.closing or self._listen_to(conn) < 0:
            self.close(conn)
            return False
        return True

    # ---- end ---------------------------------------------------------------------------------------------------
    cdef void close(self, Conn *conn) noexcept nogil:  # no-cython-lint
        self.on_close(self.owner, conn)
        self._drop(conn)
        self._accept_again()

    cdef void _accept_again(self) noexcept nogil:
        if not self.full or self.listening.fd < 0:
            return
        if self.loop.watch(&self.listening, EPOLLIN) == 0:
            self.full = False
            self.loop.set_timer(self.accept_timer, -1)
        else:
            self.loop.set_timer(self.accept_timer, ACCEPT_RETRY_MS)

    cdef void _drop(self, Conn *conn) noexcept nogil:
        cdef int i
        if is_linked(&conn.in_unsent):
            links_remove(&self.unsent, &conn.in_unsent)
        links_remove(&self.all, &conn.in_all)
        self.loop.remove(&conn.source)
        close(conn.source.fd)
        for i in range(conn.n_fds):
            close(conn.fds[i])
        free(conn.input)
        free(conn.output)
        free(conn)
