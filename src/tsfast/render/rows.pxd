"""The rows of a list: for people (-l), in the formats default and tab.

Pure formatting into a growing buffer. The formats are those of docs/cli.md (golden files in tests/render).
"""
from libc.stdint cimport uint32_t, uint64_t

from tsfast.base.text cimport Text, tsf_kind
from tsfast.store.record cimport Record

# How a list is to look.
cdef struct Look:
    int format               # ListFormat of grammar/options.pxd
    uint32_t columns         # width to cut lines to, 0: never cut
    bint colour              # of the state, by escape sequences of a terminal
    bint gpus                # with a column for them
    tsf_kind least           # which characters of foreign texts are escaped, see list_kind
    uint64_t now_ns          # CLOCK_REALTIME, for the time of running jobs

# For a list that is read by people, on a terminal, or goes to a program or a file, to be looked at later.
cdef tsf_kind list_kind(bint terminal) noexcept nogil

# The known elements of an array, for its row in a list.
cdef struct ArrayCounts:
    uint64_t first           # id of the first element, known or not
    uint32_t count           # of all elements
    uint32_t index           # of the first one
    uint32_t queued, running, ok, failed, skipped, unreadable
    uint32_t removed         # by -r, before they ran; all others are forgotten
    bint shown               # for the code that makes the list

# used: slots in use.
cdef void list_header(Text *text, const Look *look, uint64_t used, uint32_t slots) noexcept nogil
cdef void list_row(Text *text, const Record *record, const Look *look) noexcept nogil
# `(3 queued, 1 running)`, of those that are not 0.
cdef void array_counts(Text *text, const ArrayCounts *counts) noexcept nogil
# One row for all of an array; `record`: one of its elements.
cdef void array_row(Text *text, const Record *record, const ArrayCounts *counts, const Look *look) noexcept nogil
cdef void tab_row(Text *text, const Record *record, const Look *look) noexcept nogil
# Of a job whose record cannot be read: the columns of every other one, and nothing in them.
cdef void unreadable_row(Text *text, uint64_t id) noexcept nogil
cdef void unreadable_tab(Text *text, uint64_t id, const Look *look) noexcept nogil
