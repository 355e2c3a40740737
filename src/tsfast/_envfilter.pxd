"""TS_ENV_KEEP and TS_ENV_DROP: which variables of the caller's environment are stored with a job. Pure."""
from tsfast._layout cimport tsf_request

# Take out of `env`, the strings of the request whose head is `head`, what those two variables in it say. Neither is
# there: nothing is touched. 0, or -1 without memory (then nothing is changed, and must not be stored).
cdef int filter_environment(char *env, tsf_request *head) noexcept nogil
