# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See outbox.pxd."""
cimport cython
from libc.stdlib cimport calloc, free

from tsfast.base.system cimport ENOMEM, F_DUPFD_CLOEXEC, close, fcntl, set_errno


cdef void packet_free(Packet *packet) noexcept nogil:
    cdef int i
    for i in range(packet.n_fds):
        close(packet.fds[i])
    free(packet)


@cython.final
cdef class Outbox:
    def __init__(self, Journal journal not None):
        self.journal = journal
        self.last = &self.first

    def __dealloc__(self):
        cdef Packet *following
        while self.first != NULL:
            following = self.first.next
            packet_free(self.first)
            self.first = following

    cdef int add(self, uint32_t entry, const tsf_assign *message, const int *fds, int n_fds) noexcept nogil:
        cdef Packet *packet = <Packet *> calloc(1, sizeof(Packet))
        cdef int i
        if packet == NULL:
            set_errno(ENOMEM)
            return -1
        packet.entry = entry
        packet.message = message[0]
        packet.barrier = self.journal.end
        for i in range(n_fds):
            packet.fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0)
            if packet.fds[i] < 0:
                packet_free(packet)
                return -1
            packet.n_fds += 1
        self.last[0] = packet
        self.last = &packet.next
        self.journal.wanted = True
        return 0

    cdef Packet *take(self) noexcept nogil:
        cdef Packet *packet = self.first
        if packet == NULL:
            return NULL
        if packet.barrier > self.journal.synced:
            self.journal.wanted = True
            return NULL
        self.first = packet.next
        if self.first == NULL:
            self.last = &self.first
        return packet
