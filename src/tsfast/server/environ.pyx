# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See environ.pxd."""
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, strchr, strcmp

from tsfast.base.system cimport ENOMEM, getenv, set_errno

cdef extern from "<stdlib.h>" nogil:
    int c_setenv "setenv"(const char *name, const char *value, int overwrite)
    int c_unsetenv "unsetenv"(const char *name)


cdef const char *kept_as(const char *name) noexcept nogil:
    """A time zone is kept under another name: the C library would open the file that it names, perhaps a FIFO, whenever
    the server writes a date."""
    if strcmp(name, b"TZ") == 0:
        return b"TZ of --setenv"
    return name


cdef int set_environ(const char *assignment) noexcept nogil:
    cdef const char *value = strchr(assignment, c"=") + 1
    cdef size_t size = <size_t> (value - assignment)
    cdef char *name = <char *> malloc(size)
    cdef int done
    if name == NULL:
        set_errno(ENOMEM)
        return -1
    memcpy(name, assignment, size - 1)
    name[size - 1] = 0
    done = c_setenv(kept_as(name), value, 1)
    free(name)
    return done


cdef int unset_environ(const char *name) noexcept nogil:
    return c_unsetenv(kept_as(name))


cdef const char *environ_value(const char *name) noexcept nogil:
    return getenv(kept_as(name))


cdef const char *default_logdir() noexcept nogil:
    cdef const char *value = getenv(b"TMPDIR")
    if value == NULL or value[0] == 0:
        return b"/tmp"
    return value


def variable(bytes name not None) -> bytes | None:
    """A variable of this process as --setenv may have left it, which os.environ does not know."""
    cdef const char *value = getenv(name)
    return None if value == NULL else <bytes> value
