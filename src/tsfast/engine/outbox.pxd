"""Packets to runners that wait until the journal is synced: what runs has been recorded to run on the disk before."""
from libc.stdint cimport uint32_t, uint64_t

from tsfast.store.journal cimport Journal
from tsfast.layout.runs cimport tsf_assign

cdef struct Packet:
    Packet *next
    uint32_t entry            # of the runner
    tsf_assign message
    int fds[3]                # owned
    int n_fds
    uint64_t barrier

cdef class Outbox:
    cdef Journal journal
    cdef Packet *first        # owned, in the order of their barriers
    cdef Packet **last

    # The descriptors are duplicated. 0, or -1 with errno.
    cdef int add(self, uint32_t entry, const tsf_assign *message, const int *fds, int n_fds) noexcept nogil
    # The next one that may be sent, NULL if there is none; for packet_free().
    cdef Packet *take(self) noexcept nogil

cdef void packet_free(Packet *packet) noexcept nogil
