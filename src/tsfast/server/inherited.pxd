"""What a server inherits from the client that started it, and cannot lift: limits on what any job can get."""
from libc.stdint cimport int32_t, uint64_t

from tsfast.layout.wire cimport tsf_request
from tsfast.base.text cimport Text

# The most that a job of this server can get.
cdef struct Bounds:
    uint64_t limits[16]               # hard ones; UINT64_MAX: any
    int32_t nice                      # the lowest value

cdef void bounds_find(Bounds *bounds) noexcept nogil
# Append a line for stderr if the client has more. by_unit: a service manager has started the server.
cdef void bounds_warning(Text *text, const Bounds *bounds, const tsf_request *head, bint by_unit) noexcept nogil
