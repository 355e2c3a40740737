"""A job in memory, and its links to others: chunks that never move, lists, edges. Inline helpers of scheduler.pyx."""
from libc.stdint cimport int8_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    NIL = 0xFFFFFFFF
    CHUNK_BITS = 12                     # of the slab and of the edge pool
    CHUNK = 1 << CHUNK_BITS

# At most 80 bytes, asserted in scheduler.pyx. What is marked with * is 0 so far: its place is kept.
cdef struct Job:
    uint64_t id
    uint64_t order        # place in the queue, smallest first; once ended: place in the order of ending
    uint8_t state         # JobState
    int8_t priority       # * -100 to 100
    uint16_t flags        # JobFlag
    uint16_t attempt      # for the owner's use
    uint8_t tries         # * for the owner's use: that have ended and were followed by another one
    uint8_t named_group   # * of --waits_in: its number in the table, 0: the default waits_in
    uint32_t slots
    uint32_t pending      # unresolved edges that point at it, plus holds
    uint32_t edges        # head of the list of the jobs that wait for it (edge pool)
    uint32_t place        # READY: position in its heap; SKIPPING: next in the FIFO
    uint32_t run          # for the owner's use: entry of `runs`, 0 if none
    uint32_t prev_known   # all known jobs by id
    uint32_t next_known
    uint32_t prev         # STARTING, RUNNING: by time of start; ENDED: by order of ending
    uint32_t next         # FREE: the next free one
    uint32_t holds        # BLOCKED: how many of `pending` are holds
    uint32_t waits_in        # what else it waits for: a class of GPUs, or an array (Scheduler.new_array); 0: nothing
    uint32_t resources    # * the class of cores and memory that it needs, 0: none
    uint32_t timer        # * for the owner's use: of the moment before which it must not start, 0: none
    uint32_t label_hash   # * for the owner's use: tsf_cold.label_hash

cdef struct Edge:
    uint32_t waiter       # slab index of the job that waits, shifted left by one; lowest bit: it waits for a good end
    uint32_t next         # the same job's next waiter; in the pool: the next free edge

cdef struct Chain:        # a list through Job.prev and Job.next, or through Job.place
    uint32_t first
    uint32_t last


cdef inline Job *job_at(Job **jobs, uint32_t i) noexcept nogil:
    return &jobs[i >> CHUNK_BITS][i & (CHUNK - 1)]


cdef inline Edge *edge_at(Edge **edges, uint32_t e) noexcept nogil:
    return &edges[e >> CHUNK_BITS][e & (CHUNK - 1)]


cdef inline void append(Job **jobs, Chain *chain, uint32_t i) noexcept nogil:
    job_at(jobs, i).prev = chain.last
    job_at(jobs, i).next = NIL
    if chain.last != NIL:
        job_at(jobs, chain.last).next = i
    else:
        chain.first = i
    chain.last = i


cdef inline void unlink(Job **jobs, Chain *chain, uint32_t i) noexcept nogil:
    cdef Job *job = job_at(jobs, i)
    if job.prev != NIL:
        job_at(jobs, job.prev).next = job.next
    else:
        chain.first = job.next
    if job.next != NIL:
        job_at(jobs, job.next).prev = job.prev
    else:
        chain.last = job.prev
