"""Connects what the engine and the hooks report to the transitions."""
from tsfast.lifecycle.spool cimport Spool

# Once, before the recovery.
cdef void connect(Spool spool) noexcept
