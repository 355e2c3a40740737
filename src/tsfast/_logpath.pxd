"""The path of --log: what its placeholders stand for, and whether it was looked at. Pure, but for the time zone."""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from tsfast._layout cimport tsf_request
from tsfast._quote cimport Text

# Append the path that `template` means for a job: {id}, {label}, {date} (YYYY-MM-DD, local) filled in, other braces as
# they are, a `/` of the label as `_`; absolute, by `cwd`. label: NULL if it has none. index: {index}, -1: none.
cdef void log_path(Text *text, const char *template, const char *cwd, uint64_t id, const char *label,
                   int64_t index, uint64_t now_ns) noexcept nogil
# The file must not be there, and the caller's side has yet to look whether it is. Where it has looked it has left a
# variable, which is taken out of `env`, the strings of the request whose head is `head`; with {id} only the start of
# the job can tell.
cdef bint log_unchecked(const char *template, uint32_t flags, char *env, tsf_request *head) noexcept nogil
