# cython: language_level=3
from libc.string cimport strerror

from tsfast.base.system cimport errno, fstatfs, statfs_t, tsf_answers


def filesystem_type(int fd) -> int:
    """f_type of statfs(2) of the file system that `fd` is on. Raises OSError."""
    cdef statfs_t st
    if fstatfs(fd, &st) < 0:
        raise OSError(errno, strerror(errno).decode(), "statfs")
    return st.f_type & 0xffffffff


def answers(int directory, bytes name not None) -> bool:
    """Whether a server of this user listens at `name` in the directory open as `directory`."""
    return tsf_answers(directory, name)
