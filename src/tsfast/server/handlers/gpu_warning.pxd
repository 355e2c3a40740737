"""The warning of a submission for what the machine does not have."""
from tsfast.base.text cimport Text
from tsfast.grammar.options cimport Command
from tsfast.lifecycle.spool cimport Spool

# Append a line for stderr if the machine does not have what the job asks for.
cdef void gpu_warning(Text *text, Spool spool, const Command *command) noexcept nogil
