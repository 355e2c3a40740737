"""The runners of a queue, and their entries of `runs`, the file by which a server knows the runners of earlier servers.

The protocol of the entries, and what each state means after a crash, is in native/runs.h and docs/reliability.md. This
module reads and moves the words of the entries, and says what an entry means at a recovery. It starts, signals and
watches nothing: that is tsfast.engine.local.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from tsfast.base.loop cimport Handler, Source
from tsfast.base.system cimport pid_t, rusage
from tsfast.engine.outcome cimport Outcome
from tsfast.layout.runs cimport TSF_RUNS, tsf_run
from tsfast.layout.table cimport tsf_hot

cdef enum RunnerKind:
    RUNNER_IDLE = 0       # our child, waits for a job
    RUNNER_BUSY = 1       # our child, has a job
    RUNNER_LEAVING = 2    # our child, ends now
    RUNNER_ADOPTED = 3    # of an earlier server, has a job; watched through its pidfd, or polled where there is none
    RUNNER_ORPHAN = 4     # the runner is dead, its job lives: our child, or watched through its pidfd

cdef struct Runner:
    uint32_t entry
    uint8_t kind          # RunnerKind
    bint has_job          # false for a runner whose job was dropped by -K
    bint leader_ours      # RUNNER_ORPHAN: we are the parent of the job's leader
    bint leader_reaped    # the leader's status came before the death of its runner did
    bint unrecorded       # its job has ended, but the disk refused the record: to be tried again
    bint unannounced      # RUNNER_ADOPTED: the owner has not heard of the start of its job
    pid_t pid
    int leader_status
    rusage leader_usage
    uint64_t job
    uint64_t gen
    uint64_t kill_ns      # for the owner's use; 0 at the start of each job
    Source socket         # fd -1: closed
    Source pidfd          # likewise
    Runner *prev          # idle list, or list of all others
    Runner *next

# What the entry says of a job that the table says was started.
cdef enum Finding:
    FOUND_NOT_STARTED = 0     # it surely never began, and cannot begin any more
    FOUND_ENDED = 1           # the outcome is known, or nobody can know it any more
    FOUND_RUNNER = 2          # its runner lives
    FOUND_LEADER = 3          # its runner is dead, its own first process lives

cdef class RunnerTable:
    cdef int file                              # owned
    cdef tsf_run *runs                         # [1 .. TSF_RUNS], mapped
    cdef Runner *runners[TSF_RUNS + 1]         # by entry; NULL: none
    cdef Runner *idle
    cdef Runner *others
    cdef bint same_boot
    cdef void *owner              # of these handlers, which each runner's descriptors get
    cdef Handler on_socket, on_pidfd
    cdef bint outdated            # power was lost: entries may be those of long before, and say nothing of a job

    # An entry for a new runner. 0: all are taken.
    cdef uint32_t reserve(self) noexcept nogil
    cdef void unreserve(self, uint32_t entry) noexcept nogil
    # The runner of a reserved entry, or of a free one that a runner of an earlier server has. NULL: no memory.
    cdef Runner *add(self, uint32_t entry, uint8_t kind) noexcept nogil
    cdef Runner *add_found(self, uint32_t entry, uint8_t kind) noexcept nogil
    # Its descriptors are closed already. The entry is free for another one.
    cdef void remove(self, Runner *runner) noexcept nogil
    cdef void become(self, Runner *runner, uint8_t kind) noexcept nogil

    # Moves of an entry's word.
    cdef uint64_t next_gen(self, uint32_t entry) noexcept nogil          # of the next start
    # FREE -> ASSIGNED. False: the word moved meanwhile.
    cdef bint assign(self, uint32_t entry, uint64_t gen, uint64_t job, uint16_t attempt) noexcept nogil
    # ASSIGNED -> REVOKED; of a dead runner CLAIMED -> REVOKED too. False: it is past that.
    cdef bint revoke(self, uint32_t entry, uint64_t gen) noexcept nogil
    cdef bint revoke_dead(self, uint32_t entry, uint64_t gen) noexcept nogil
    cdef void set_free(self, uint32_t entry) noexcept nogil
    cdef bint is_in(self, uint32_t entry, uint64_t gen, int state) noexcept nogil

    # Pid of the process that holds the entry's lock, its living runner; 0: none.
    cdef pid_t holder(self, uint32_t entry) noexcept nogil
    cdef bint leader_lives(self, uint32_t entry) noexcept nogil
    # Recovery: what became of the job that its record says was started? FOUND_RUNNER: *pid is set, FOUND_ENDED:
    # *outcome. If it was not started it is revoked.
    cdef Finding look(self, uint64_t job, const tsf_hot *hot, pid_t *pid, Outcome *outcome) noexcept nogil
    # Likewise of an entry that no job claims: pid of its runner, which has a job that -K dropped; 0: the entry is free.
    cdef pid_t look_unclaimed(self, uint32_t entry) noexcept nogil

    # private
    cdef uint32_t free_entries[TSF_RUNS + 1]
    cdef uint32_t n_free
    cdef void _link(self, Runner *runner, uint8_t kind) noexcept nogil
    cdef void _unlink(self, Runner *runner) noexcept nogil
    cdef pid_t _alive(self, uint32_t entry, uint64_t *word) noexcept nogil
