"""What a request does about GPUs: -g, the settings, and the warning for what the machine does not have."""
from tsfast._conns cimport Conn
from tsfast._grammar cimport Command
from tsfast._quote cimport Text
from tsfast._replies cimport Replies
from tsfast._spool cimport Spool

cdef bint is_gpu_action(int action) noexcept nogil
cdef int gpu_action(Replies reply, Spool spool, Conn *conn, const Command *command) noexcept nogil
# Append a line for stderr if the machine does not have what the job asks for.
cdef void gpu_warning(Text *text, Spool spool, const Command *command) noexcept nogil
