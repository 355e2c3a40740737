"""The objects of a list in JSON (-M json)."""
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from tsfast.base.text cimport Text
from tsfast.render.rows cimport Look
from tsfast.store.record cimport Record

# One object, without what separates it from the next. cwd: of the base context, counts where the job has none.
cdef void json_object(Text *text, const Record *record, const char *cwd, size_t cwd_len,
                      const Look *look) noexcept nogil
# Of a job whose record cannot be read: the keys of every other one, and nothing in them.
cdef void unreadable_json(Text *text, uint64_t id) noexcept nogil
