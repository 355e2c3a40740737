# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""A timer with a descriptor, for Python before 3.13: one wait covers it and other descriptors."""
from libc.string cimport memset, strerror

from tsfast.base.system cimport (
    CLOCK_MONOTONIC, TFD_CLOEXEC, TFD_NONBLOCK, errno, itimerspec, timerfd_create, timerfd_settime,
)


def create() -> int:
    """A new descriptor, readable once the time is over. Raises OSError."""
    cdef int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)
    if fd < 0:
        raise OSError(errno, strerror(errno).decode(), "timerfd_create")
    return fd


def start(int fd, double seconds):
    """From now on; 0: never. The descriptor is not readable until then. Raises OSError."""
    cdef itimerspec when
    memset(&when, 0, sizeof(when))
    when.it_value.tv_sec = <long> seconds
    when.it_value.tv_nsec = <long> ((seconds - <double> when.it_value.tv_sec) * 1e9)
    if timerfd_settime(fd, 0, &when, NULL) < 0:
        raise OSError(errno, strerror(errno).decode(), "timerfd_settime")
