"""What is to run when a job has ended: the program of its TS_ONFINISH, and its mail.

Each is a process of its own (native/runner/hook.c), without a slot; no job waits for it. The job's record says,
together with the final state, that it is due, until its process was started: so it runs at least once, and if the
server dies before, the next one starts it.
"""
from libc.stdint cimport uint8_t, uint64_t

from tsfast.store.contexts cimport Contexts
from tsfast.layout.table cimport tsf_cold, tsf_hot
from tsfast.base.limits cimport HOOKS_MAX
from tsfast.base.loop cimport Loop, Source
from tsfast.base.text cimport Text
from tsfast.store.record cimport Record
from tsfast.base.system cimport pid_t
from tsfast.store.table cimport Table

cdef enum:
    WORDS_MAX = 16

cdef struct Due:
    uint64_t job
    uint8_t what          # one of enum tsf_due

cdef struct Hook:
    Due due
    pid_t pid             # 0: reaped
    bint settled          # its program was executed, or why not stands in the log
    Source socket         # fd -1: closed

# It is started; `left`: the bits of tsf_due that still wait.
ctypedef void (*BegunHandler)(void *owner, uint64_t job, uint8_t left) noexcept nogil

cdef class Hooks:
    cdef Loop loop
    cdef Table table
    cdef Contexts contexts
    cdef int program, state_dir       # borrowed from Runners
    cdef Hook hooks[HOOKS_MAX]
    cdef Due *due                     # owned: a ring of those that wait
    cdef size_t first, n_due, room    # room: 0 or a power of two
    cdef bint pausing
    cdef int retry_timer
    cdef bytes python, packages
    cdef const char *python_text
    cdef const char *packages_text
    cdef Text text, word              # of the words of a program
    cdef size_t words[WORDS_MAX]      # where each begins in `text`
    cdef int n_words
    cdef void *owner
    cdef BegunHandler on_begun

    # `what`: of enum tsf_due, a bit set; they stand in the job's record already.
    cdef void add(self, uint64_t job, uint8_t what) noexcept nogil
    cdef void start_due(self) noexcept nogil
    cdef void reaped(self, pid_t pid) noexcept nogil

    # private
    cdef int _enqueue(self, uint64_t job, uint8_t what) noexcept nogil
    cdef int _launch(self, Hook *hook) noexcept nogil
    cdef int _spawn(self, Hook *hook) noexcept nogil
    cdef void _word(self, const char *data, size_t size) noexcept nogil
    cdef void _number(self, long long value) noexcept nogil
    cdef void _compose(self, const Record *record, uint8_t what) noexcept nogil
    cdef void _pause(self) noexcept nogil
    cdef void _ready(self, Hook *hook) noexcept nogil
    cdef void _begun(self, const Due *due) noexcept nogil
