"""What a request does about GPUs: -g, the settings, and the warning for what the machine does not have."""
from tsfast.server.connections cimport Conn
from tsfast.grammar.options cimport Command
from tsfast.base.text cimport Text
from tsfast.server.replies cimport Replies
from tsfast.lifecycle.spool cimport Spool

cdef bint is_gpu_action(int action) noexcept nogil
cdef int gpu_action(Replies reply, Spool spool, Conn *conn, const Command *command) noexcept nogil
# Append a line for stderr if the machine does not have what the job asks for.
cdef void gpu_warning(Text *text, Spool spool, const Command *command) noexcept nogil
