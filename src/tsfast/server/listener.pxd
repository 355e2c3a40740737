"""The name of the server's socket: binding it, and binding it again after it was removed or renamed.

The same inotify instance says when the files of the table are removed.
"""
from libc.stdint cimport uint64_t

from tsfast.base.loop cimport Loop, Source
from tsfast.server.connections cimport Conns
from tsfast.store.table cimport Table

cdef class Listener:
    cdef Loop loop
    cdef Conns conns
    cdef Table table
    cdef Source watch                 # inotify; fd -1: there is none
    cdef int watched, watched_directory, rebind_timer
    cdef int socket_dir               # owned
    cdef bytes directory, name, path
    cdef const char *directory_text
    cdef const char *name_text
    cdef const char *path_text
    cdef uint64_t inode               # of the socket's name

    # Listen under the name. 0, or -1 with errno.
    cdef int bind(self) noexcept nogil
    # Remove the name, if it is still that of this server.
    cdef void unbind(self) noexcept nogil

    # private
    cdef void _watch_name(self) noexcept nogil
    cdef bint _name_is_ours(self) noexcept nogil
    cdef void _check_name(self) noexcept nogil
