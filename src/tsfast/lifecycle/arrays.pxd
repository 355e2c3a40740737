"""Arrays: which jobs are the elements of which, what the words of an element are, and what `5[7]` means.

The elements of an array have ids in a row, so a list of the arrays, sorted by their first ids, answers for any job.
"""
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from tsfast.grammar.options cimport Command, IdRange
from tsfast.scheduler.scheduler cimport Scheduler
from tsfast.base.text cimport Text

cdef struct Span:
    uint64_t first                # id of the first element
    uint32_t count
    uint32_t index                # of the first element

cdef class Arrays:
    cdef Scheduler scheduler
    cdef Span *spans              # owned; by `first`
    cdef size_t n, room

    # The next array; one that is the last already is not added twice. 0, or -1 without memory.
    cdef int add(self, uint64_t first, uint32_t count, uint32_t index) noexcept nogil
    # The array that this job is an element of, known or not; NULL if it is in none, or none of its jobs is known any
    # more. Valid until the next add().
    cdef const Span *of(self, uint64_t id) noexcept nogil
    # The jobs that are meant: where an array is named it is all of its elements, where no job is named and the job
    # added last is meant, all of its array (-a, -o and -p tell of one element only). 0, or -1 with command.error.
    cdef int resolve(self, Command *command) noexcept nogil
    # Ids of -D or -W, malloc'ed: all elements in the place of an array. 0, or -1 without memory.
    cdef int expand(self, uint64_t **ids, size_t *n) noexcept nogil

    # private
    cdef void _drop_unknown(self) noexcept nogil
    cdef int _last_added(self, Command *command) noexcept nogil
    cdef int _one_named(self, Command *command) noexcept nogil
    cdef int _name_whole(self, Command *command, const Span *span) noexcept nogil
    cdef int _element(self, Command *command, size_t i) noexcept nogil

# Behind the text: the words with the index in the place of {}, then as they are (see struct tsf_cold), and the
# variables of the element. Sizes of the two parts; the text's `failed` is set without memory.
cdef void element_words(Text *text, const char *words, uint32_t argc, uint32_t index, uint32_t *argv_len) noexcept nogil
cdef void element_env(Text *text, uint64_t array, uint32_t index, uint32_t *env_len) noexcept nogil
