"""Which jobs the words behind an action choose: matched over the table, in the client's process.

The server never matches a filter: it would have to read the records of all jobs in its loop.
"""
from libc.stdint cimport int64_t, uint64_t

from tsfast.base.text cimport Text
from tsfast.grammar.options cimport Command
from tsfast.grammar.selectors cimport Filter
from tsfast.layout.table cimport tsf_cold, tsf_hot
from tsfast.store.contexts cimport Contexts
from tsfast.store.record cimport Record
from tsfast.store.table cimport Table

cdef enum:
    FILTERS_MAX = 64

# The ids and filters of one command line, and the table that they are matched with.
cdef class Selection:
    cdef Command command
    cdef bint parsed
    cdef list words                          # what the command points into
    cdef Table table
    cdef Contexts contexts
    cdef Text text
    cdef uint64_t now_ns
    cdef int64_t begin[FILTERS_MAX]          # of the filters that are times
    cdef int64_t end[FILTERS_MAX]
    cdef bint of_states                      # nothing but states and ids is asked for: hot records are enough
    cdef unsigned int states                 # what all filters of states leave

    # All ids that match, in their order, as pairs: the first and the last of those that follow each other.
    cdef list runs(self)

    # private
    cdef bint _chosen(self, uint64_t id, const tsf_hot *seen) noexcept nogil
    cdef bint _in_ranges(self, uint64_t id, const tsf_cold *cold) noexcept nogil
    cdef bint _fits(self, const Record *record, size_t i) noexcept nogil
    cdef uint64_t _since(self, int64_t moment) noexcept nogil
    cdef bint _text_fits(self, const Filter *filter, const Record *record) noexcept nogil
