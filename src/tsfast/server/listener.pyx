# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See listener.pxd."""
import os

cimport cython
from libc.stdint cimport uint32_t

from tsfast.base.limits cimport LISTEN_BACKLOG, REBIND_RETRY_MS
from tsfast.base.system cimport (
    AT_SYMLINK_NOFOLLOW, EPOLLIN, IN_ATTRIB, IN_CLOEXEC, IN_DELETE_SELF, IN_MOVE_SELF, IN_NONBLOCK, O_CLOEXEC,
    O_DIRECTORY, O_PATH, close, fstatat, inotify_add_watch, inotify_init1, inotify_rm_watch, mkdirat, open_, read,
    stat_t, tsf_listen, unlinkat,
)


cdef void files_changed(void *owner, Source *source, uint32_t events) noexcept nogil:
    cdef char buffer[4096]
    while read(source.fd, buffer, sizeof(buffer)) > 0:
        pass
    (<Listener> owner)._check_name()
    (<Listener> owner).table.look()


cdef void rebind_due(void *owner) noexcept nogil:
    (<Listener> owner)._check_name()


@cython.final
cdef class Listener:
    def __init__(self, Loop loop, Conns conns, Table table, bytes path not None):
        self.loop = loop
        self.conns = conns
        self.table = table
        self.socket_dir = self.watched = self.watched_directory = -1
        self.path = path
        self.directory, self.name = os.path.split(path)
        self.path_text = self.path
        self.directory_text = self.directory
        self.name_text = self.name
        self.rebind_timer = loop.new_timer(rebind_due, <void *> self)
        self.watch.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC)
        self.watch.handler = files_changed
        self.watch.owner = <void *> self
        # Without inotify (its limit is reached) nothing is missing but these two discoveries.
        if self.watch.fd >= 0:
            loop.watch(&self.watch, EPOLLIN)
            header = b"/proc/self/fd/%d" % table.header_fd
            inotify_add_watch(self.watch.fd, <const char *> header, <uint32_t> IN_ATTRIB)

    def __dealloc__(self):
        for fd in (self.watch.fd, self.socket_dir):
            if fd >= 0:
                close(fd)

    cdef int bind(self) noexcept nogil:
        cdef stat_t st
        cdef int sock
        if self.socket_dir >= 0:
            close(self.socket_dir)
        mkdirat(-1, self.directory_text, 0o700)            # removed under us, or there already
        self.socket_dir = open_(self.directory_text, O_PATH | O_DIRECTORY | O_CLOEXEC)
        if self.socket_dir < 0:
            return -1
        sock = tsf_listen(self.socket_dir, self.name_text, LISTEN_BACKLOG)
        if sock < 0:
            return -1
        if fstatat(self.socket_dir, self.name_text, &st, AT_SYMLINK_NOFOLLOW) == 0:
            self.inode = st.st_ino
        if self.watch.fd >= 0:
            self._watch_name()
        return self.conns.listen(sock)

    cdef void _watch_name(self) noexcept nogil:
        if self.watched >= 0:
            inotify_rm_watch(self.watch.fd, self.watched)
        if self.watched_directory >= 0:
            inotify_rm_watch(self.watch.fd, self.watched_directory)
        self.watched = inotify_add_watch(self.watch.fd, self.path_text,
                                         <uint32_t> (IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF))
        # A rename of its directory is no event of the socket.
        self.watched_directory = inotify_add_watch(self.watch.fd, self.directory_text, <uint32_t> IN_MOVE_SELF)

    cdef bint _name_is_ours(self) noexcept nogil:
        cdef stat_t st
        cdef int directory = open_(self.directory_text, O_PATH | O_DIRECTORY | O_CLOEXEC)
        cdef bint ours = False
        if directory >= 0:
            ours = (fstatat(directory, self.name_text, &st, AT_SYMLINK_NOFOLLOW) == 0 and st.st_ino == self.inode)
            close(directory)
        return ours

    cdef void _check_name(self) noexcept nogil:
        """Without the name, the next client would start a second server, which the lock would stop."""
        if not self._name_is_ours() and self.bind() < 0:
            self.loop.set_timer(self.rebind_timer, REBIND_RETRY_MS)

    cdef void unbind(self) noexcept nogil:
        if self._name_is_ours():
            unlinkat(self.socket_dir, self.name_text, 0)
