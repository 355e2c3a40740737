"""Connections of clients: accepting, peer check, frames in, frames out. It knows no jobs.

Frames are buffered until they are whole; nothing here ever waits for a client. Replies are collected and sent at the
end of the loop's turn; what a client does not take at once is kept for it, and sent as it takes it.
"""
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from tsfast.store.journal cimport Journal
from tsfast.base.limits cimport READ_CHUNK
from tsfast.base.links cimport Link
from tsfast.base.loop cimport Loop, Source

# What a connection waits for; its role says which member counts.
cdef union Awaited:
    uint64_t job          # the end or the start of this job
    uint64_t room         # room in the queue for so many jobs
    uint64_t event        # events after this one, the last that it was sent
    void *wait            # struct Wait of waiters.pxd: the end of several jobs

cdef struct Conn:
    Source source
    char *input           # owned; the beginning of a frame whose rest has not come yet
    size_t input_size, input_room
    char *output          # owned
    size_t output_size, output_sent, output_room
    int fds[3]            # descriptors that came with a frame, owned
    int n_fds
    bint closing          # closed as soon as the output is sent
    bint failed           # out of memory for its output: closed without more
    bint blocked          # it takes no more output now
    bint owed_alive       # it gets ALIVE, if it has to wait
    bint paused           # its next frame is kept until the owner can take it
    Link in_all           # of Conns.all
    Link in_unsent        # of Conns.unsent, while it has output to send
    uint32_t release      # tsf_release of the client, 0: not told
    uint64_t barrier      # nothing is sent before this much of the journal is synced
    # for the owner of the connections
    int role              # enum Role of waiters.pxd
    Awaited awaited
    Link in_waiting       # of those with the same role: for the same job, for room, for events
    int action            # of the request that waits for the start of its job (ActionKind)
    uint32_t tty          # enum tsf_tty: which of the client's descriptors are terminals

cdef enum:
    FRAME_LATER = 1       # not now: keep the frame, and read no more of this connection before resume()

# A whole frame; `payload` is valid for the call. Returns 0, FRAME_LATER, or -1 to close the connection.
ctypedef int (*FrameHandler)(void *owner, Conn *conn, uint32_t type, char *payload, uint32_t size) noexcept nogil
ctypedef void (*CloseHandler)(void *owner, Conn *conn) noexcept nogil

cdef inline Conn *conn_of(const Link *link) noexcept nogil:
    """NULL for the end of a list."""
    return NULL if link == NULL else <Conn *> link.owner

cdef class Conns:
    cdef Loop loop
    cdef Source listening         # fd -1: none
    cdef bint full                # out of descriptors or memory: not accepting
    cdef int accept_timer, alive_timer
    cdef Link *all                # Conn.in_all
    cdef Link *unsent             # Conn.in_unsent: sent at the end of a turn
    cdef Journal journal          # None but with TS_DURABLE
    cdef uint64_t uid
    cdef void *owner
    cdef FrameHandler on_frame
    cdef CloseHandler on_close
    cdef char chunk[READ_CHUNK]   # what was just received; most requests are whole in it and are never copied

    cdef int listen(self, int sock) noexcept nogil                # takes over a listening socket
    # Append a frame to the reply. Never blocks, never fails visibly (`failed` closes the connection later).
    cdef void send(self, Conn *conn, uint32_t type, const void *data, size_t size) noexcept nogil
    cdef void send_code(self, Conn *conn, uint32_t type, int32_t code) noexcept nogil
    cdef void finish(self, Conn *conn) noexcept nogil             # close it once all is sent
    cdef void owe_alive(self, Conn *conn) noexcept nogil          # it gets ALIVE, if it is still there in a second
    cdef void resume(self, Conn *conn) noexcept nogil             # the kept frame comes again; it may be closed by it
    cdef void close(self, Conn *conn) noexcept nogil
    cdef void flush(self) noexcept nogil                          # at the end of a turn

    # private
    cdef void _accept(self) noexcept nogil
    cdef void _accept_again(self) noexcept nogil
    cdef void _say_alive(self) noexcept nogil
    cdef int _read(self, Conn *conn) noexcept nogil
    cdef int _frames(self, Conn *conn, char *data, size_t size) noexcept nogil
    cdef int _keep(self, Conn *conn, const char *rest, size_t size) noexcept nogil
    cdef int _no_memory(self, Conn *conn) noexcept nogil
    cdef int _listen_to(self, Conn *conn) noexcept nogil
    cdef void _mark(self, Conn *conn) noexcept nogil
    cdef bint _write(self, Conn *conn) noexcept nogil
    cdef void _drop(self, Conn *conn) noexcept nogil
