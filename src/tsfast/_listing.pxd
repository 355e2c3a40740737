"""Lists of jobs, from the table: used by the server for short lists and by the Python command line for long ones."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from tsfast._contexts cimport Contexts
from tsfast._quote cimport Text
from tsfast._table cimport Table
from tsfast._text cimport Look

# used: slots in use.
cdef void list_head(Text *text, const Look *look, uint64_t used, uint32_t slots) noexcept nogil
# The rows of these jobs, `first` if none were written before. 0, or -1 when the text has become larger than `limit`
# (0: no limit). A job whose record is damaged has a row that says so. allocating: NULL, or for each of the jobs whether
# it is to be shown as such, which the table does not know.
cdef int list_rows(Text *text, Table table, Contexts contexts, const uint64_t *ids, const uint8_t *allocating, size_t n,
                   const Look *look, bint first, size_t limit) noexcept nogil
cdef void list_tail(Text *text, int format) noexcept nogil
# All of one job in the table of the state directory `dir_fd` (not taken over); None where it cannot be read.
cdef dict read_job(int dir_fd, uint64_t id)
