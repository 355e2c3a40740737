"""The table of a queue for other programs: states, results and whole tables, read without the server.

Python programs use the class Reader through its methods; Cython programs may call its functions without the GIL. Then a
Reader is for one thread at a time, except for snapshot(), which shares nothing with the rest.
"""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from tsfast.layout.table cimport tsf_header, tsf_hot

cdef enum:
    STATE_DAMAGED = 255       # beside enum tsf_state: the record's checksum does not fit
    SEGMENTS_MAPPED = 256     # hot parts that are mapped at a time, of 4 MiB each
    READ_TOGETHER = 64        # hot records, where they are not mapped; a power of two

# A row of snapshot(); JOB_DTYPE in arrays.py is the same for numpy.
cdef struct JobRow:
    uint64_t id
    uint64_t enqueue_ns       # CLOCK_REALTIME
    uint64_t start_ns         # likewise; 0: it has not started
    uint64_t duration_ns      # once it has ended
    uint64_t order            # place in the queue; once it has ended: in the order of ending
    uint64_t vram             # bytes of each GPU's memory; 0: not said
    uint32_t utime_ms         # the job's own process, once it has ended and was waited for; UINT32_MAX: that or more
    uint32_t stime_ms
    uint32_t maxrss_kb
    uint32_t slots
    uint32_t gpus
    uint32_t flags            # enum tsf_job_flag
    uint32_t batch_index
    uint32_t batch_count
    int32_t status            # once it has ended: as from wait(2)
    int32_t exit_code         # 0..255; -1: none
    int32_t pid               # 0: none
    uint16_t attempt
    uint16_t gpu_share        # thousandths of each GPU
    uint16_t stage            # NOT_STARTABLE: enum tsf_stage
    uint16_t cause            # NOT_STARTABLE: errno; LOST: enum tsf_loss
    uint8_t state             # enum tsf_state
    uint8_t signal            # that ended it; 0: none
    uint8_t notes             # enum tsf_note
    uint8_t end               # enum tsf_end

# The hot records of one segment.
cdef struct Hots:
    uint64_t number
    const char *data          # owned, a mapping; NULL: they are read through `fd`
    int fd                    # owned; -1: none
    size_t size               # present bytes; 0: this place is free
    uint64_t inode

cdef class Reader:
    cdef int dir_fd                       # owned
    cdef const tsf_header *header         # owned, a mapping; NULL until there is one
    cdef uint64_t known_committed         # as they were read last
    cdef uint64_t known_floor
    cdef bint mapping                     # segments may be mapped
    cdef uint64_t newest                  # segment that was opened: vanished ones are dropped when a newer one comes
    cdef Hots hots[SEGMENTS_MAPPED]       # segment N is at N modulo their number
    cdef bint many                        # those that are not mapped are read by groups:
    cdef uint64_t group_first
    cdef tsf_hot group[READ_TOGETHER]
    cdef readonly uint64_t damaged        # jobs that the latest snapshot() left out

    # The jobs of the table have ids from `floor` to below `committed`, some of which are forgotten.
    cdef void ids(self, uint64_t *floor, uint64_t *committed) noexcept nogil
    # The job's state: of enum tsf_state, with the record as it is in `hot`; TSF_NONE for a job that is not there (any
    # more) and for one that is being removed; or STATE_DAMAGED.
    cdef int read_hot(self, uint64_t id, tsf_hot *hot) noexcept nogil

    # private
    cdef int _map_header(self) noexcept nogil
    cdef bint _fetch(self, uint64_t id, tsf_hot *hot) noexcept nogil
    cdef bint _open(self, Hots *hots, uint64_t number) noexcept nogil
    cdef void _drop_vanished(self) noexcept nogil
    cdef size_t _room(self, uint64_t floor, uint64_t committed) noexcept nogil
    cdef size_t _fill(self, uint64_t floor, uint64_t committed, JobRow *rows, size_t room,
                      uint64_t *damaged) except? 0 nogil
