"""Whole pieces of files: as many calls as it takes. 0, or -1 with errno; a piece that is not all there is EIO."""
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from tsfast.base.system cimport EINTR, EIO, errno, off_t, pread, pwrite, set_errno, ssize_t


cdef inline int write_all(int fd, const void *data, size_t size, uint64_t offset) noexcept nogil:
    cdef ssize_t wrote
    cdef const char *p = <const char *> data
    while size > 0:
        wrote = pwrite(fd, p, size, <off_t> offset)
        if wrote < 0:
            if errno == EINTR:
                continue
            return -1
        p += wrote
        offset += <uint64_t> wrote
        size -= <size_t> wrote
    return 0


cdef inline int read_all(int fd, void *data, size_t size, uint64_t offset) noexcept nogil:
    cdef ssize_t got
    cdef char *p = <char *> data
    while size > 0:
        got = pread(fd, p, size, <off_t> offset)
        if got < 0:
            if errno == EINTR:
                continue
            return -1
        if got == 0:
            set_errno(EIO)
            return -1
        p += got
        offset += <uint64_t> got
        size -= <size_t> got
    return 0
