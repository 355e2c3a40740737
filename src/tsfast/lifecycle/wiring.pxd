"""Connects what the engine and the hooks report to the transitions."""
from tsfast.lifecycle.spool cimport Spool

# Once, before the recovery.
cdef void connect(Spool spool) noexcept
# SIGCHLD: take the status of every dead child, and give it to the part that started it.
cdef void reap(Spool spool) noexcept nogil
