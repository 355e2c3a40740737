"""-l and -M: the list that the server writes itself; longer ones are left to the caller's side."""
from tsfast._conns cimport Conn
from tsfast._grammar cimport Command
from tsfast._replies cimport Replies
from tsfast._request cimport Request
from tsfast._spool cimport Spool

cdef int list_jobs(Replies reply, Spool spool, Conn *conn, const Request *request,
                   const Command *command) noexcept nogil
