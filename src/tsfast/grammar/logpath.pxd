"""The path of --log: what its placeholders stand for, and whether the client has checked it. Pure, except for the time
zone."""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from tsfast.layout.wire cimport tsf_request
from tsfast.base.text cimport Text

cdef enum:
    DATE_LENGTH = 10      # YYYY-MM-DD

# Append the path that `template` means for a job: {id}, {label}, {date} (YYYY-MM-DD) filled in, other braces as they
# are, a `/` of the label as `_`; absolute, by `cwd`. label: NULL if it has none. index: {index}, -1: none.
# date: the client's; empty: of now_ns in the time zone of this process.
cdef void log_path(Text *text, const char *template, const char *cwd, uint64_t id, const char *label,
                   int64_t index, const char *date, uint64_t now_ns) noexcept nogil
# The client must still check whether the file exists (with {id} only the start of the job can), or which day it is in
# its time zone. After the check it sets a variable, which is taken out of `env`, the strings of the request whose head
# is `head`; date[DATE_LENGTH + 1] is set to what it says.
cdef bint log_unchecked(const char *template, uint32_t flags, char *env, tsf_request *head, char *date) noexcept nogil
