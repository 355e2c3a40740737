"""The server's own environment, which --setenv changes. It lives as long as the server does."""

# The value of a variable, NULL if it is not set. Valid until the next change.
cdef const char *environ_value(const char *name) noexcept nogil
# `NAME=VALUE`, or a name. 0, or -1 with errno.
cdef int set_environ(const char *assignment) noexcept nogil
cdef int unset_environ(const char *name) noexcept nogil
# Where output files go without --set_logdir: TMPDIR of the server, else /tmp. Valid until the next change.
cdef const char *default_logdir() noexcept nogil
