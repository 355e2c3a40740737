# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See leases.pxd."""
from libc.stdio cimport snprintf
from libc.string cimport strchr

from tsfast.base.limits cimport PATH_BYTES
from tsfast.base.system cimport (
    EACCES, EINTR, ELOOP, ENOENT, ENOTDIR, EPERM, O_CLOEXEC, O_NOFOLLOW, O_RDONLY, close, errno, fstat, open_, stat_,
    stat_t,
)

cdef extern from "<fcntl.h>" nogil:
    int O_NONBLOCK

cdef extern from "<sys/stat.h>" nogil:
    bint S_ISREG(unsigned int mode)


cdef bint names_one_file(const char *name) noexcept nogil:
    """What a driver says becomes part of a path."""
    return name[0] != 0 and name[0] != c"." and strchr(name, c"/") == NULL


cdef bint is_none() noexcept nogil:
    """errno says that there is no file for us; anything else may pass."""
    return errno == ENOENT or errno == ENOTDIR or errno == EACCES or errno == EPERM or errno == ELOOP


cdef int lock(const char *path) noexcept nogil:
    """-1: there is no such file, or none that can be locked. An error that may pass counts as held by others."""
    cdef stat_t opened, named
    cdef int fd = open_(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    cdef int done
    if fd < 0:
        return -1 if is_none() else <int> LEASE_HELD
    if fstat(fd, &opened) == 0 and not S_ISREG(opened.st_mode):
        close(fd)
        return -1
    done = flock(fd, LOCK_EX | LOCK_NB)
    while done < 0 and errno == EINTR:
        done = flock(fd, LOCK_EX | LOCK_NB)
    # Another file may be there meanwhile, which the next queue would lock.
    if (done < 0 or fstat(fd, &opened) < 0 or stat_(path, &named) < 0
            or named.st_ino != opened.st_ino or named.st_dev != opened.st_dev):
        close(fd)
        return LEASE_HELD
    return fd


cdef bint lease_path(int number, const char *directory, const char *uuid, const char *bus, bint mig,
                     char *path) noexcept nogil:
    """The candidates for a GPU's lease file, from 0 on, into path[PATH_BYTES]; the first that is there counts. False:
    there is no such candidate."""
    if directory != NULL and directory[0]:
        if number > 0 or not names_one_file(uuid):
            return False
        snprintf(path, PATH_BYTES, "%s/%s", directory, uuid)
        return True
    if mig or not names_one_file(bus):
        number += 1                            # an instance has no file of its own in sysfs
    if number == 0:
        snprintf(path, PATH_BYTES, "/sys/bus/pci/devices/%s/vendor", bus)
        return True
    if number > 1 or not names_one_file(uuid):
        return False
    snprintf(path, PATH_BYTES, "/var/lib/tsfast/leases/%s", uuid)
    return True


cdef int lease_take(const char *directory, const char *uuid, const char *bus, bint mig) noexcept nogil:
    cdef char path[PATH_BYTES]
    cdef int number = 0, fd
    while lease_path(number, directory, uuid, bus, mig, path):
        fd = lock(path)
        if fd != -1:
            return fd
        number += 1
    return <int> LEASE_MISSING if directory != NULL and directory[0] else <int> LEASE_NONE


def lease_paths(bytes uuid not None, bytes bus not None, bint mig, bytes directory not None) -> list[bytes]:
    """The candidates for a GPU's lease file, the first that is there counts. directory: TS_LEASE_DIR, may be empty."""
    cdef char path[PATH_BYTES]
    found: list[bytes] = []
    while lease_path(<int> len(found), directory, uuid, bus, mig, path):
        found.append(<bytes> path)
    return found
