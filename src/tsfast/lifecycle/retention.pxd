"""FORGET: which ended jobs are kept, and how the others leave the table.

A job is forgotten after the replies are sent: a client that has to ask again, because the server died first, still
finds its job. A job whose hook is due is kept until the hook has started.
"""
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

from tsfast.layout.table cimport tsf_hot
from tsfast.lifecycle.spool cimport Spool

# Forget what is not to be kept: ended -nf jobs, and the oldest ended ones beyond the number to be kept. Called when all
# replies are sent.
cdef bint untidy(Spool spool) noexcept nogil                # there is something to forget
# Forgets the first n of `forgettable`, and surplus ended jobs.
cdef void tidy(Spool spool, size_t n) noexcept nogil

# 0, or -1 with errno.
cdef int clear(Spool spool) noexcept nogil                  # -C: all ended jobs
cdef int drop_all(Spool spool) noexcept nogil               # -K
cdef int forget(Spool spool, uint64_t id) noexcept nogil    # an ended job

# A client waits for its end: a job of -nf need not be kept for a client that may come back.
cdef void client_waits(Spool spool, uint64_t id) noexcept nogil
# The client of an ended foreground job has its reply.
cdef void answered(Spool spool, uint64_t id) noexcept nogil
cdef void forget_volatile(Spool spool, uint64_t id) noexcept nogil  # it has ended: soon, if it is a job of -nf
cdef void forget_soon(Spool spool, uint64_t id) noexcept nogil      # with the next tidy()
cdef void forget_removed(Spool spool, uint64_t id) noexcept nogil   # its storage: the queue does not know it any more
# Its hook was started; `left`: the bits of tsf_due that still wait.
cdef void hook_begun(Spool spool, uint64_t id, uint8_t left) noexcept nogil

# Token of the request that removed the job, of a record whose storage is still to be given back; else NULL.
cdef const uint64_t *removed_token(const tsf_hot *hot) noexcept nogil
