"""Lists of jobs, from the table: used by the server for short lists and by the Python command line for long ones."""
from libc.stdint cimport uint32_t, uint64_t

from tsfast.store.contexts cimport Contexts
from tsfast.base.text cimport Text
from tsfast.store.table cimport Table
from tsfast.render.rows cimport ArrayCounts, Look

# used: slots in use.
cdef void list_head(Text *text, const Look *look, uint64_t used, uint32_t slots) noexcept nogil
# A row of a list.
cdef struct Line:
    uint64_t id                   # of the job, or of an element of the array
    ArrayCounts *array            # NULL: a job alone
    bint allocating               # to be shown as such, which the table does not know

# The rows of these jobs, `first` if none were written before. 0, or -1 when the text has become larger than `limit`
# (0: no limit). A job whose record is damaged has a row that says so.
cdef int list_rows(Text *text, Table table, Contexts contexts, const Line *lines, size_t n, const Look *look,
                   bint first, size_t limit) noexcept nogil
cdef void list_tail(Text *text, int format) noexcept nogil
# All of one job in the table of the state directory `dir_fd` (not taken over); None where it cannot be read.
cdef dict read_job(int dir_fd, uint64_t id)
