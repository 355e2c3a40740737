"""-l and -M: the list that the server writes itself; longer ones are left to the caller's side."""
from tsfast.server.connections cimport Conn
from tsfast.grammar.options cimport Command
from tsfast.server.replies cimport Replies
from tsfast.server.request cimport Request
from tsfast.lifecycle.spool cimport Spool

cdef int list_jobs(Replies reply, Spool spool, Conn *conn, const Request *request,
                   const Command *command) noexcept nogil
