# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See runner_table.pxd."""
import os

from tsfast.base import trust

cimport cython
from libc.stddef cimport size_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset, strerror

from tsfast.base.system cimport (
    MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, close, errno, mmap, munmap, pid_t, tsf_allocate, tsf_lock_holder,
    tsf_process_lives,
)
from tsfast.engine.outcome cimport contradicts, from_nothing, from_result, wants
from tsfast.layout.runs cimport (
    TSF_RUNS, TSF_RUNS_BYTES, TSF_RUNS_MAGIC, TSF_RUNS_VERSION, TSF_RUN_ASSIGNED, TSF_RUN_CLAIMED, TSF_RUN_EXECING,
    TSF_RUN_EXITED, TSF_RUN_FREE, TSF_RUN_REVOKED, tsf_run, tsf_run_cas, tsf_run_gen, tsf_run_load, tsf_run_state,
    tsf_run_word, tsf_runs_header,
)
from tsfast.layout.table cimport TSF_LOSS_BOOT, TSF_LOSS_DAMAGE, TSF_LOSS_RUNNER, tsf_hot


@cython.final
cdef class RunnerTable:
    def __cinit__(self):
        self.file = -1

    def __init__(self, int state_dir, str boot_id):
        """Open `runs` in the state directory; it is made if it is not there. Raises OSError; ValueError when `runs` is
        not of the layout that this version knows."""
        cdef tsf_runs_header *header
        cdef uint32_t entry
        self.file = trust.open_file("runs", os.O_RDWR | os.O_CREAT, state_dir)
        # Allocated as a whole: a store into a hole of a mapped file on a full disk would be SIGBUS.
        if tsf_allocate(self.file, <long> TSF_RUNS_BYTES) < 0:
            raise OSError(errno, strerror(errno).decode(), "runs")
        if os.fstat(self.file).st_size != TSF_RUNS_BYTES:
            raise ValueError("the file `runs` has a wrong size")
        self.runs = <tsf_run *> mmap(NULL, TSF_RUNS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, self.file, 0)
        if self.runs == <tsf_run *> MAP_FAILED:
            self.runs = NULL
            raise OSError(errno, strerror(errno).decode(), "runs")
        header = <tsf_runs_header *> self.runs
        if header.magic == 0:
            header.version = TSF_RUNS_VERSION
            header.entries = TSF_RUNS
            header.magic = TSF_RUNS_MAGIC
        if header.magic != TSF_RUNS_MAGIC or header.version != TSF_RUNS_VERSION or header.entries != TSF_RUNS:
            raise ValueError("the file `runs` is of another layout")
        boot = boot_id.encode()[:39]
        self.same_boot = header.boot_id[:len(boot) + 1] == boot + b"\0"
        memset(header.boot_id, 0, sizeof(header.boot_id))
        memcpy(header.boot_id, <const char *> boot, <size_t> len(boot))
        for entry in range(TSF_RUNS, 0, -1):
            self.unreserve(entry)

    def __dealloc__(self):
        cdef uint32_t entry
        cdef Runner *runner
        for entry in range(1, TSF_RUNS + 1):
            runner = self.runners[entry]
            if runner != NULL and runner.socket.fd >= 0:
                close(runner.socket.fd)
            if runner != NULL and runner.pidfd.fd >= 0:
                close(runner.pidfd.fd)
            free(runner)
        if self.runs != NULL:
            munmap(self.runs, TSF_RUNS_BYTES)
        if self.file >= 0:
            close(self.file)

    # ---- entries and lists -------------------------------------------------------------------------------------
    cdef uint32_t reserve(self) noexcept nogil:
        cdef uint32_t entry, i = self.n_free
        while i > 0:
            i -= 1
            entry = self.free_entries[i]
            # A runner of an earlier server that is about to end may still hold its entry's lock.
            if self.holder(entry) == 0:
                self.n_free -= 1
                self.free_entries[i] = self.free_entries[self.n_free]
                return entry
        return 0

    cdef void unreserve(self, uint32_t entry) noexcept nogil:
        self.free_entries[self.n_free] = entry
        self.n_free += 1

    cdef Runner *add(self, uint32_t entry, uint8_t kind) noexcept nogil:
        cdef Runner *runner = <Runner *> calloc(1, sizeof(Runner))
        if runner == NULL:
            return NULL
        runner.entry = entry
        runner.socket.fd = -1
        runner.pidfd.fd = -1
        runner.socket.handler = self.on_socket
        runner.pidfd.handler = self.on_pidfd
        runner.socket.owner = runner.pidfd.owner = self.owner
        runner.socket.tag = runner.pidfd.tag = entry
        self.runners[entry] = runner
        self._link(runner, kind)
        return runner

    cdef Runner *add_found(self, uint32_t entry, uint8_t kind) noexcept nogil:
        cdef Runner *runner = self.add(entry, kind)
        cdef uint32_t i
        if runner != NULL:
            for i in range(self.n_free):
                if self.free_entries[i] == entry:
                    self.n_free -= 1
                    self.free_entries[i] = self.free_entries[self.n_free]
                    break
        return runner

    cdef void remove(self, Runner *runner) noexcept nogil:
        self._unlink(runner)
        self.runners[runner.entry] = NULL
        self.unreserve(runner.entry)
        free(runner)

    cdef void become(self, Runner *runner, uint8_t kind) noexcept nogil:
        self._unlink(runner)
        self._link(runner, kind)

    cdef void _link(self, Runner *runner, uint8_t kind) noexcept nogil:
        cdef Runner **head = &self.idle if kind == RUNNER_IDLE else &self.others
        runner.kind = kind
        runner.prev = NULL
        runner.next = head[0]
        if head[0] != NULL:
            head[0].prev = runner
        head[0] = runner

    cdef void _unlink(self, Runner *runner) noexcept nogil:
        cdef Runner **head = &self.idle if runner.kind == RUNNER_IDLE else &self.others
        if runner.prev != NULL:
            runner.prev.next = runner.next
        else:
            head[0] = runner.next
        if runner.next != NULL:
            runner.next.prev = runner.prev

    # ---- words -------------------------------------------------------------------------------------------------
    cdef uint64_t next_gen(self, uint32_t entry) noexcept nogil:
        return (tsf_run_gen(tsf_run_load(&self.runs[entry])) + 1) & <uint64_t> 0xffffffffffffff

    cdef bint assign(self, uint32_t entry, uint64_t gen, uint64_t job, uint16_t attempt) noexcept nogil:
        cdef tsf_run *run = &self.runs[entry]
        cdef uint64_t before = tsf_run_load(run)
        run.job = job
        run.attempt = attempt
        run.command = 0
        run.pid = 0
        run.spawn_errno = 0
        run.start_ticks = 0
        run.start_ns = 0
        run.notes = 0
        run.status = 0
        run.cause = run.stage = 0
        run.duration_ns = run.end_ns = 0
        run.utime_ms = run.stime_ms = run.maxrss_kb = 0
        memset(run.suffix, 0, sizeof(run.suffix))
        return tsf_run_cas(run, before, tsf_run_word(gen, TSF_RUN_ASSIGNED)) != 0

    cdef bint revoke(self, uint32_t entry, uint64_t gen) noexcept nogil:
        return tsf_run_cas(&self.runs[entry], tsf_run_word(gen, TSF_RUN_ASSIGNED),
                           tsf_run_word(gen, TSF_RUN_REVOKED)) != 0

    cdef bint revoke_dead(self, uint32_t entry, uint64_t gen) noexcept nogil:
        cdef tsf_run *run = &self.runs[entry]
        cdef uint64_t word
        while True:
            word = tsf_run_load(run)
            if tsf_run_state(word) != TSF_RUN_ASSIGNED and tsf_run_state(word) != TSF_RUN_CLAIMED:
                return False
            if tsf_run_cas(run, word, tsf_run_word(gen, TSF_RUN_REVOKED)):
                return True

    cdef void set_free(self, uint32_t entry) noexcept nogil:
        cdef tsf_run *run = &self.runs[entry]
        cdef uint64_t word = tsf_run_load(run)
        tsf_run_cas(run, word, tsf_run_word(tsf_run_gen(word), TSF_RUN_FREE))

    cdef bint is_in(self, uint32_t entry, uint64_t gen, int state) noexcept nogil:
        return tsf_run_load(&self.runs[entry]) == tsf_run_word(gen, state)

    # ---- what an entry says ------------------------------------------------------------------------------------
    cdef pid_t holder(self, uint32_t entry) noexcept nogil:
        return tsf_lock_holder(self.file, entry)

    cdef bint leader_lives(self, uint32_t entry) noexcept nogil:
        return self.same_boot and tsf_process_lives(self.runs[entry].pid, self.runs[entry].start_ticks)

    cdef pid_t _alive(self, uint32_t entry, uint64_t *word) noexcept nogil:
        """Pid of the entry's runner or 0, and the word, consistent with each other: a runner that ends between two
        looks has changed the word before."""
        cdef tsf_run *run = &self.runs[entry]
        cdef pid_t holder
        while True:
            word[0] = tsf_run_load(run)
            holder = self.holder(entry)
            if tsf_run_load(run) == word[0]:
                return holder

    cdef Finding look(self, uint64_t job, const tsf_hot *hot, pid_t *pid, Outcome *outcome) noexcept nogil:
        cdef tsf_run *run
        cdef bint damaged
        cdef uint64_t word
        cdef int state
        memset(outcome, 0, sizeof(Outcome))
        outcome.lost = True
        if hot.run < 1 or hot.run > TSF_RUNS:
            return FOUND_ENDED
        run = &self.runs[hot.run]
        while True:
            pid[0] = self._alive(hot.run, &word)
            state = tsf_run_state(word)
            damaged = contradicts(run, word, job, hot)
            if damaged or (self.outdated and word != tsf_run_word(hot.gen, TSF_RUN_EXITED)):
                outcome.cause = TSF_LOSS_DAMAGE if damaged and self.same_boot else TSF_LOSS_BOOT
                return FOUND_ENDED
            if <uint32_t> tsf_run_gen(word) != hot.gen:
                return FOUND_NOT_STARTED          # the server died before it filled the entry
            if state == TSF_RUN_REVOKED or state == TSF_RUN_FREE:
                return FOUND_NOT_STARTED
            if state == TSF_RUN_EXITED:
                from_result(outcome, run)
                return FOUND_NOT_STARTED if wants(outcome) else FOUND_ENDED
            if state == TSF_RUN_ASSIGNED or (state == TSF_RUN_CLAIMED and pid[0] == 0):
                if tsf_run_cas(run, word, tsf_run_word(tsf_run_gen(word), TSF_RUN_REVOKED)):
                    return FOUND_NOT_STARTED
                continue
            if pid[0] != 0:                       # CLAIMED or EXECING
                return FOUND_RUNNER
            if self.leader_lives(hot.run):        # EXECING
                return FOUND_LEADER
            from_nothing(outcome, run)
            outcome.cause = TSF_LOSS_RUNNER if self.same_boot else TSF_LOSS_BOOT
            return FOUND_ENDED

    cdef pid_t look_unclaimed(self, uint32_t entry) noexcept nogil:
        cdef tsf_run *run = &self.runs[entry]
        cdef uint64_t word
        cdef pid_t pid
        while tsf_run_state(tsf_run_load(run)) != TSF_RUN_FREE:
            pid = self._alive(entry, &word)
            if pid != 0 and (tsf_run_state(word) == TSF_RUN_CLAIMED or tsf_run_state(word) == TSF_RUN_EXECING):
                return pid
            tsf_run_cas(run, word, tsf_run_word(tsf_run_gen(word), TSF_RUN_FREE))
        return 0
