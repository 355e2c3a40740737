"""An array as a whole: the states of its elements, and what --why and -F say of all of them."""
from libc.stdint cimport uint32_t, uint64_t

from tsfast.lifecycle.arrays cimport Span
from tsfast.grammar.options cimport Command, IdRange
from tsfast.base.text cimport Text
from tsfast.lifecycle.spool cimport Spool
from tsfast.render.rows cimport ArrayCounts

# Adds its known elements to counts that begin as 0.
cdef void count_array(Spool spool, const Span *span, ArrayCounts *counts) noexcept nogil
# The array of which this range of ids is all elements, if they are more than one; else NULL.
cdef const Span *whole_array(Spool spool, const IdRange *named) noexcept nogil
# Appends the reply to --why or -F. NULL, or what is wrong, as the rest of a line that begins `ts: job 5 `. For the
# other two see tell() of describe.pyx.
cdef const char *tell_whole(Text *text, Spool spool, const Span *span, int action, uint64_t parked,
                            uint32_t tty) noexcept nogil
