# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See local.pxd."""
import os

from tsfast.base import trust

cimport cython
from libc.stddef cimport size_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset, strerror

from tsfast.layout.structs cimport (
    TSF_COMMAND_CANCEL, TSF_NOTE_CANCEL, TSF_REPORT_ENDED, TSF_REPORT_STARTED, TSF_RUN_ASSIGNED, TSF_RUN_CLAIMED,
    TSF_LEASES_A_PACKET, TSF_LOSS_BOOT, TSF_LOSS_DAMAGE, TSF_LOSS_RUNNER, TSF_RUN_EXECING, TSF_RUN_EXITED, TSF_RUN_FREE,
    TSF_RUN_REVOKED, TSF_RUN_SIGNAL, TSF_RUNS, TSF_RUNS_BYTES, TSF_RUNS_MAGIC, TSF_RUNS_VERSION,
    tsf_assign, tsf_cold, tsf_fault, tsf_hot, tsf_leases, tsf_report, tsf_run, tsf_run_cas, tsf_run_command,
    tsf_run_gen, tsf_run_load, tsf_run_state, tsf_run_word, tsf_runs_header,
)
from tsfast.base.limits cimport ADOPTED_POLL_MS, RECORD_RETRY_MS
from tsfast.base.loop cimport Loop, Source
from tsfast.engine.outbox cimport Packet, packet_free
from tsfast.engine.outcome cimport contradicts, from_nothing, from_result, from_wait, wants
from tsfast.base.system cimport (
    AF_UNIX, EAGAIN, EINTR, EMFILE, ENOMEM, EPOLLIN, ESRCH, F_DUPFD_CLOEXEC, MAP_FAILED, MAP_SHARED, tsf_allocate,
    MSG_DONTWAIT, O_CLOEXEC, O_PATH, PROT_READ, PROT_WRITE, SOCK_CLOEXEC, SOCK_SEQPACKET,
    SIGCONT, WNOHANG, close, errno, fcntl, kill, mmap, munmap, open_, pid_t, recv, rusage,
    socketpair, ssize_t, tsf_lock_holder, tsf_pidfd_open, tsf_pidfd_signal, tsf_send_fds, tsf_spawn_runner,
    tsf_process_lives, wait4,
    set_errno,
)

cdef enum:
    FD_FLOOR = 10      # descriptors handed to runners lie above those that a runner is born with


# ---- handlers of the loop: owner is the Runners object ----------------------------------------------------------

cdef void socket_ready(void *owner, Source *source, uint32_t events) noexcept nogil:
    (<Runners> owner)._receive(<uint32_t> source.tag)


cdef void pidfd_ready(void *owner, Source *source, uint32_t events) noexcept nogil:
    (<Runners> owner)._watched_ended(<uint32_t> source.tag)


cdef void poll_due(void *owner) noexcept nogil:
    (<Runners> owner)._poll_adopted()


cdef void retry_due(void *owner) noexcept nogil:
    (<Runners> owner)._retry_unrecorded()


@cython.final
cdef class Runners:
    def __cinit__(self):
        self.state_dir = -1
        self.runs_fd = -1
        self.program = -1

    def __init__(self, Loop loop, int state_dir, str program, str boot_id, bytes fault):
        """Open `runs` in the state directory (made if it is not there) and the runner's program. Raises OSError;
        ValueError when `runs` is not of the layout that this version knows."""
        cdef tsf_runs_header *header
        cdef uint32_t entry
        cdef int fd
        self.loop = loop
        self.state_dir = fcntl(state_dir, F_DUPFD_CLOEXEC, <int> FD_FLOOR)
        self.fault = fault
        self.fault_name = self.fault
        path = os.fsencode(program)
        fd = open_(path, O_PATH | O_CLOEXEC)
        if fd < 0 or self.state_dir < 0:
            raise OSError(errno, strerror(errno).decode(), program)
        self.program = fcntl(fd, F_DUPFD_CLOEXEC, <int> FD_FLOOR)
        close(fd)
        if self.program < 0:
            raise OSError(errno, strerror(errno).decode(), program)
        self.runs_fd = trust.open_file("runs", os.O_RDWR | os.O_CREAT, state_dir)
        # Allocated as a whole: a store into a hole of a mapped file on a full disk would be SIGBUS.
        if tsf_allocate(self.runs_fd, <long> TSF_RUNS_BYTES) < 0:
            raise OSError(errno, strerror(errno).decode(), "runs")
        if os.fstat(self.runs_fd).st_size != TSF_RUNS_BYTES:
            raise ValueError("the file `runs` has a wrong size")
        self.runs = <tsf_run *> mmap(NULL, TSF_RUNS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, self.runs_fd, 0)
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
            self.free_entries[self.n_free] = entry
            self.n_free += 1
        self.poll_timer = loop.new_timer(poll_due, <void *> self)
        self.retry_timer = loop.new_timer(retry_due, <void *> self)

    def __dealloc__(self):
        cdef uint32_t entry
        for entry in range(1, TSF_RUNS + 1):
            if self.table[entry] != NULL:
                if self.table[entry].socket.fd >= 0:
                    close(self.table[entry].socket.fd)
                if self.table[entry].pidfd.fd >= 0:
                    close(self.table[entry].pidfd.fd)
                free(self.table[entry])
        if self.runs != NULL:
            munmap(self.runs, TSF_RUNS_BYTES)
        if self.runs_fd >= 0:
            close(self.runs_fd)
        for fd in (self.program, self.state_dir):
            if fd >= 0:
                close(fd)

    # ---- lists and entries -------------------------------------------------------------------------------------
    cdef const tsf_run *run(self, uint32_t entry) noexcept nogil:
        return &self.runs[entry]

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

    cdef void _become(self, Runner *runner, uint8_t kind) noexcept nogil:
        self._unlink(runner)
        self._link(runner, kind)

    cdef Runner *_new(self, uint32_t entry, uint8_t kind) noexcept nogil:
        cdef Runner *runner = <Runner *> calloc(1, sizeof(Runner))
        if runner == NULL:
            return NULL
        runner.entry = entry
        runner.socket.fd = -1
        runner.socket.handler = socket_ready
        runner.socket.owner = <void *> self
        runner.socket.tag = entry
        runner.pidfd.fd = -1
        runner.pidfd.handler = pidfd_ready
        runner.pidfd.owner = <void *> self
        runner.pidfd.tag = entry
        self.table[entry] = runner
        self._link(runner, kind)
        return runner

    cdef void _close(self, Source *source) noexcept nogil:
        if source.fd >= 0:
            self.loop.remove(source)
            close(source.fd)
            source.fd = -1

    cdef void _destroy(self, Runner *runner) noexcept nogil:
        self._close(&runner.socket)
        self._close(&runner.pidfd)
        self._unlink(runner)
        self.table[runner.entry] = NULL
        self.free_entries[self.n_free] = runner.entry
        self.n_free += 1
        free(runner)

    # ---- starting ----------------------------------------------------------------------------------------------
    cdef int prepare(self, uint32_t *entry, uint64_t *gen) noexcept nogil:
        cdef Runner *runner = self.idle
        if runner == NULL:
            runner = self._spawn()
            if runner == NULL:
                return -1
        entry[0] = runner.entry
        gen[0] = (tsf_run_gen(tsf_run_load(&self.runs[runner.entry])) + 1) & <uint64_t> 0xffffffffffffff
        return 0

    cdef Runner *_spawn(self) noexcept nogil:
        cdef int pair[2]
        cdef int ours, theirs, error
        cdef uint32_t i, entry = 0
        cdef Runner *runner
        cdef pid_t pid
        # A runner of an earlier server that is about to end may still hold its entry's lock.
        for i in range(self.n_free):
            entry = self.free_entries[self.n_free - 1 - i]
            if tsf_lock_holder(self.runs_fd, entry) == 0:
                self.free_entries[self.n_free - 1 - i] = self.free_entries[self.n_free - 1]
                self.n_free -= 1
                break
            entry = 0
        if entry == 0:
            set_errno(EAGAIN)
            return NULL
        if socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0:
            self.free_entries[self.n_free] = entry
            self.n_free += 1
            return NULL
        ours = fcntl(pair[0], F_DUPFD_CLOEXEC, <int> FD_FLOOR)
        theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, <int> FD_FLOOR)
        close(pair[0])
        close(pair[1])
        pid = -1
        runner = NULL
        if ours >= 0 and theirs >= 0:
            pid = tsf_spawn_runner(self.program, theirs, self.state_dir, entry, self.fault_name)
        error = errno
        if pid > 0:
            runner = self._new(entry, RUNNER_IDLE)
        if theirs >= 0:
            close(theirs)
        if runner != NULL:
            runner.pid = pid
            runner.socket.fd = ours
            if self.loop.watch(&runner.socket, EPOLLIN) == 0:
                return runner
            error = errno
            self._destroy(runner)          # it meets the end of its socket and leaves; reap() ignores it
        else:
            if ours >= 0:
                close(ours)
            self.free_entries[self.n_free] = entry
            self.n_free += 1
        set_errno(error)
        return NULL

    cdef int assign(self, uint32_t entry, uint64_t gen, uint64_t job, uint16_t attempt, const tsf_cold *cold,
                    const Handover *handover) noexcept nogil:
        cdef Runner *runner = self.table[entry]
        cdef tsf_run *run = &self.runs[entry]
        cdef tsf_assign message
        cdef uint64_t before = tsf_run_load(run), word = tsf_run_word(gen, TSF_RUN_ASSIGNED)
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
        if not tsf_run_cas(run, before, word):
            return -1
        tsf_fault(b"start-assigned")
        message.gen = gen
        message.job = job
        message.hide_gpus = handover.hide_gpus
        message.leases = handover.n_leases
        message.cold = cold[0]
        if not self._send(runner, &message, handover):
            # It has just left; nothing reads the entry any more but a dead runner's socket.
            tsf_run_cas(run, word, tsf_run_word(gen, TSF_RUN_REVOKED))
            tsf_run_cas(run, tsf_run_word(gen, TSF_RUN_REVOKED), tsf_run_word(gen, TSF_RUN_FREE))
            self._become(runner, RUNNER_LEAVING)
            return -1
        runner.job = job
        runner.gen = gen
        runner.has_job = True
        self._become(runner, RUNNER_BUSY)
        tsf_fault(b"start-sent")
        return 0

    cdef bint _send(self, Runner *runner, const tsf_assign *message, const Handover *handover) noexcept nogil:
        cdef tsf_leases packet
        cdef uint32_t at = 0
        packet.gen = message.gen
        packet.shared = handover.shared
        while at < handover.n_leases:
            packet.count = min(handover.n_leases - at, <uint32_t> TSF_LEASES_A_PACKET)
            if tsf_send_fds(runner.socket.fd, &packet, sizeof(packet), handover.leases + at,
                            <int> packet.count) != <ssize_t> sizeof(packet):
                return False
            at += packet.count
        # The leases alone start nothing.
        if self.outbox is not None:
            return self.outbox.add(runner.entry, message, handover.fds, handover.n_fds) == 0
        return tsf_send_fds(runner.socket.fd, message, sizeof(tsf_assign), handover.fds,
                            handover.n_fds) == <ssize_t> sizeof(tsf_assign)

    cdef void send_held(self) noexcept nogil:
        cdef Packet *packet = self.outbox.take()
        cdef Runner *runner
        while packet != NULL:
            runner = self.table[packet.entry]
            # One that has left since is settled when its death is certain.
            if (runner != NULL and runner.has_job and runner.gen == packet.message.gen and runner.socket.fd >= 0
                    and tsf_send_fds(runner.socket.fd, &packet.message, sizeof(tsf_assign), packet.fds,
                                     packet.n_fds) != <ssize_t> sizeof(tsf_assign)):
                self._close(&runner.socket)    # it leaves, and its death gives the job back
            packet_free(packet)
            packet = self.outbox.take()

    # ---- events ------------------------------------------------------------------------------------------------
    cdef void _receive(self, uint32_t entry) noexcept nogil:
        cdef Runner *runner = self.table[entry]
        cdef tsf_run *run = &self.runs[entry]
        cdef tsf_report report
        cdef Outcome outcome
        cdef ssize_t got
        if runner == NULL:
            return
        got = recv(runner.socket.fd, &report, sizeof(report), MSG_DONTWAIT)
        if got < 0 and (errno == EAGAIN or errno == EINTR):
            return
        if got <= 0:
            # It ends; what became of its job is looked at when its death is certain (reap).
            self._close(&runner.socket)
            if runner.kind == RUNNER_IDLE:
                self._become(runner, RUNNER_LEAVING)
            return
        if got != <ssize_t> sizeof(report) or not runner.has_job or report.gen != runner.gen:
            return
        if report.kind == TSF_REPORT_STARTED:
            if tsf_run_state(tsf_run_load(run)) == TSF_RUN_EXECING:
                self.on_started(self.owner, runner.job, run)
        elif report.kind == TSF_REPORT_ENDED:
            if tsf_run_load(run) != tsf_run_word(runner.gen, TSF_RUN_EXITED):
                return
            if report.retiring:
                self._become(runner, RUNNER_LEAVING)
            from_result(&outcome, run)
            outcome.left = report.retiring != 0
            self._ended(runner, &outcome)

    cdef void _ended(self, Runner *runner, const Outcome *outcome) noexcept nogil:
        if runner.has_job and self.on_ended(self.owner, runner.job, outcome) < 0:
            runner.unrecorded = True
            self.loop.set_timer(self.retry_timer, RECORD_RETRY_MS)
            return
        if wants(outcome) and (outcome.cause == EMFILE or outcome.cause == ENOMEM):
            self._close(&runner.socket)        # it leaves: a new one may have what this one lacks
        self.release(runner.entry)

    cdef void release(self, uint32_t entry) noexcept nogil:
        cdef Runner *runner = NULL
        cdef tsf_run *run = &self.runs[entry]
        cdef uint64_t word
        if entry < 1 or entry > TSF_RUNS:
            return                     # lost: its record named no entry
        word = tsf_run_load(run)
        tsf_run_cas(run, word, tsf_run_word(tsf_run_gen(word), TSF_RUN_FREE))
        tsf_fault(b"finish-freed")
        runner = self.table[entry]
        if runner == NULL:
            return
        runner.has_job = False
        runner.unrecorded = False
        runner.unannounced = False
        runner.leader_reaped = False
        runner.kill_ns = 0
        if runner.kind == RUNNER_BUSY and runner.socket.fd >= 0:
            self._become(runner, RUNNER_IDLE)
        elif runner.kind == RUNNER_BUSY:
            self._become(runner, RUNNER_LEAVING)
        elif runner.kind == RUNNER_ORPHAN or (runner.kind != RUNNER_LEAVING and runner.pid == 0):
            self._destroy(runner)

    cdef void _retry_unrecorded(self) noexcept nogil:
        cdef Runner *runner = self.others
        cdef Runner *following
        while runner != NULL:
            following = runner.next
            if runner.unrecorded:
                runner.unrecorded = False
                self._settle(runner)
            runner = following

    cdef void reap(self) noexcept nogil:
        cdef rusage usage
        cdef int status
        cdef pid_t pid
        while True:
            pid = wait4(-1, &status, WNOHANG, &usage)
            if pid <= 0:
                return
            self._reaped(pid, status, &usage)

    cdef void _reaped(self, pid_t pid, int status, const rusage *usage) noexcept nogil:
        cdef Runner *runner = self.idle
        while runner != NULL and runner.pid != pid:
            runner = runner.next
        if runner == NULL:
            runner = self.others
            while runner != NULL and not self._concerns(runner, pid):
                runner = runner.next
        if runner == NULL:
            self.on_stranger(self.owner, pid, status)      # a process that a job left behind, or a hook
            return
        if runner.pid == pid:
            runner.pid = 0
            self._settle(runner)
            return
        runner.leader_reaped = True
        runner.leader_status = status
        runner.leader_usage = usage[0]
        if runner.kind == RUNNER_ORPHAN:
            self._settle(runner)

    cdef bint _concerns(self, const Runner *runner, pid_t pid) noexcept nogil:
        if runner.pid == pid and runner.kind <= RUNNER_LEAVING:
            return True
        return (runner.has_job and self.runs[runner.entry].pid == pid
                and tsf_run_load(&self.runs[runner.entry]) == tsf_run_word(runner.gen, TSF_RUN_EXECING))

    cdef void _settle(self, Runner *runner) noexcept nogil:
        """The runner is dead (or the disk refused its job's end before): what became of its job?"""
        cdef tsf_run *run = &self.runs[runner.entry]
        cdef Outcome outcome
        cdef uint64_t word, job = runner.job
        cdef int status
        cdef rusage usage
        cdef pid_t got
        cdef bint had_job = runner.has_job
        if runner.pid != 0:                      # alive: only its record is to be tried again
            from_result(&outcome, run)
            self._ended(runner, &outcome)
            return
        self._close(&runner.socket)
        if not had_job:
            # An entry whose job was dropped, or an idle runner.
            word = tsf_run_load(run)
            tsf_run_cas(run, word, tsf_run_word(tsf_run_gen(word), TSF_RUN_FREE))
            self._destroy(runner)
            return
        while True:
            word = tsf_run_load(run)
            if tsf_run_state(word) == TSF_RUN_ASSIGNED or tsf_run_state(word) == TSF_RUN_CLAIMED:
                if tsf_run_cas(run, word, tsf_run_word(runner.gen, TSF_RUN_REVOKED)):
                    runner.has_job = False
                    self.on_revoked(self.owner, job)
                    tsf_run_cas(run, tsf_run_word(runner.gen, TSF_RUN_REVOKED),
                                tsf_run_word(runner.gen, TSF_RUN_FREE))
                    self._destroy(runner)
                    return
                continue
            break
        if runner.kind != RUNNER_ORPHAN:
            runner.leader_ours = runner.kind != RUNNER_ADOPTED
            self._become(runner, RUNNER_ORPHAN)
            if tsf_run_state(word) == TSF_RUN_EXECING:
                self.on_started(self.owner, job, run)      # it may have died before it could tell
        if tsf_run_state(word) == TSF_RUN_EXITED:
            from_result(&outcome, run)
        elif runner.leader_reaped:
            from_wait(&outcome, run, runner.leader_status, &runner.leader_usage)
        else:
            if runner.leader_ours:
                got = wait4(run.pid, &status, WNOHANG, &usage)
                if got == 0:
                    return                        # it lives: SIGCHLD will tell
                if got == run.pid:
                    runner.leader_reaped = True
                    runner.leader_status = status
                    runner.leader_usage = usage
                    from_wait(&outcome, run, status, &usage)
                    self._ended(runner, &outcome)
                    return
                runner.leader_ours = False        # somebody else is its parent: it can only be watched
            if self._leader_lives(run):
                self._watch(runner, run.pid)
                return
            from_nothing(&outcome, run)
        self._ended(runner, &outcome)

    cdef bint _leader_lives(self, const tsf_run *run) noexcept nogil:
        return self.same_boot and tsf_process_lives(run.pid, run.start_ticks)

    # ---- processes that are not our children -------------------------------------------------------------------
    cdef void _watch(self, Runner *runner, pid_t pid) noexcept nogil:
        self._close(&runner.pidfd)
        runner.pidfd.fd = tsf_pidfd_open(pid)
        if runner.pidfd.fd >= 0 and self.loop.watch(&runner.pidfd, EPOLLIN) == 0:
            return
        if runner.pidfd.fd >= 0:
            close(runner.pidfd.fd)
            runner.pidfd.fd = -1
        self.loop.set_timer(self.poll_timer, ADOPTED_POLL_MS)      # no pidfd here (before Linux 5.3, or denied)

    cdef void _watched_ended(self, uint32_t entry) noexcept nogil:
        cdef Runner *runner = self.table[entry]
        if runner == NULL:
            return
        self._close(&runner.pidfd)
        runner.pid = 0
        self._settle(runner)

    cdef void _poll_adopted(self) noexcept nogil:
        cdef Runner *runner = self.others
        cdef Runner *following
        cdef bint left = False
        while runner != NULL:
            following = runner.next
            if runner.unannounced:
                left = not self._announce(runner) or left
            if runner.pidfd.fd < 0 and not runner.unrecorded:
                if runner.kind == RUNNER_ADOPTED:
                    left = True
                    if tsf_lock_holder(self.runs_fd, runner.entry) == 0:
                        self._watched_ended(runner.entry)
                elif runner.kind == RUNNER_ORPHAN and not runner.leader_ours:
                    left = True
                    if not self._leader_lives(&self.runs[runner.entry]):
                        self._watched_ended(runner.entry)
            runner = following
        if left:
            self.loop.set_timer(self.poll_timer, ADOPTED_POLL_MS)

    cdef void await_start(self, uint32_t entry) noexcept nogil:
        cdef Runner *runner = self.table[entry]
        runner.unannounced = True
        if not self._announce(runner):
            self.loop.set_timer(self.poll_timer, ADOPTED_POLL_MS)

    cdef bint _announce(self, Runner *runner) noexcept nogil:
        """An adopted runner has no socket to report its job's start on: look. False: not yet."""
        cdef const tsf_run *run = &self.runs[runner.entry]
        if tsf_run_load(run) == tsf_run_word(runner.gen, TSF_RUN_CLAIMED):
            return False
        runner.unannounced = False
        if tsf_run_load(run) == tsf_run_word(runner.gen, TSF_RUN_EXECING):
            self.on_started(self.owner, runner.job, run)
        return True

    cdef void dismiss_idle(self) noexcept nogil:
        cdef Runner *runner = self.idle
        while runner != NULL:
            self._close(&runner.socket)
            self._become(runner, RUNNER_LEAVING)
            runner = self.idle

    # ---- signals -----------------------------------------------------------------------------------------------
    cdef int signal(self, uint32_t entry, uint32_t order) noexcept nogil:
        cdef Runner *runner = self.table[entry]
        cdef tsf_run *run = &self.runs[entry]
        cdef int done
        if runner == NULL or not runner.has_job:
            return -1
        if runner.kind == RUNNER_ORPHAN:
            # Our unreaped child keeps its pid; a stranger is asked through its pidfd whether it is still there. One
            # whose end the disk has refused so far has no process any more, or never had one.
            if runner.leader_reaped or tsf_run_state(tsf_run_load(run)) != TSF_RUN_EXECING or run.pid <= 1:
                return -1
            if (not runner.leader_ours and runner.pidfd.fd >= 0 and tsf_pidfd_signal(runner.pidfd.fd, 0) < 0
                    and (errno == ESRCH or not tsf_process_lives(run.pid, run.start_ticks))):
                return -1
            if order & TSF_COMMAND_CANCEL:
                run.notes |= TSF_NOTE_CANCEL
            done = kill(-run.pid, <int> (order & 0xff))
            if order & TSF_COMMAND_CANCEL:
                kill(-run.pid, SIGCONT)
            return done
        # An order to end the job that the runner has yet to see is not written over.
        if <uint32_t> (run.command >> 32) != <uint32_t> runner.gen or not run.command & TSF_COMMAND_CANCEL:
            tsf_run_command(run, runner.gen, order)
        if runner.pidfd.fd >= 0:
            if tsf_pidfd_signal(runner.pidfd.fd, TSF_RUN_SIGNAL) == 0:
                return 0
            if errno == ESRCH:                   # else the call is denied: as on kernels without pidfds
                return -1
        if runner.kind == RUNNER_ADOPTED and tsf_lock_holder(self.runs_fd, entry) != runner.pid:
            return -1
        return kill(runner.pid, TSF_RUN_SIGNAL) if runner.pid > 0 else -1

    cdef void drop_jobs(self) noexcept nogil:
        cdef Runner *runner = self.others
        while runner != NULL:
            if runner.has_job:
                tsf_run_cas(&self.runs[runner.entry], tsf_run_word(runner.gen, TSF_RUN_ASSIGNED),
                            tsf_run_word(runner.gen, TSF_RUN_REVOKED))
                runner.has_job = False
            runner = runner.next

    # ---- recovery ----------------------------------------------------------------------------------------------
    cdef pid_t _alive(self, uint32_t entry, uint64_t *word) noexcept nogil:
        """Pid of the entry's runner or 0, and the word, consistent with each other: a runner that ends between two
        looks has changed the word before."""
        cdef tsf_run *run = &self.runs[entry]
        cdef pid_t holder
        while True:
            word[0] = tsf_run_load(run)
            holder = tsf_lock_holder(self.runs_fd, entry)
            if tsf_run_load(run) == word[0]:
                return holder

    cdef Runner *_take(self, uint32_t entry, uint8_t kind) noexcept nogil:
        cdef uint32_t i
        for i in range(self.n_free):
            if self.free_entries[i] == entry:
                self.n_free -= 1
                self.free_entries[i] = self.free_entries[self.n_free]
                break
        return self._new(entry, kind)

    cdef int _adopt(self, uint32_t entry, pid_t pid, uint64_t job, uint64_t gen, bint has_job) noexcept nogil:
        """1: done. 0: it has ended meanwhile, look again. -1: no memory."""
        cdef Runner *runner = self._take(entry, RUNNER_ADOPTED)
        if runner == NULL:
            return -1
        runner.job = job
        runner.gen = gen
        runner.has_job = has_job
        runner.pid = pid
        self._watch(runner, pid)
        # The pid may have been given to another process between the look at the lock and the opening of the pidfd.
        if runner.pidfd.fd >= 0 and tsf_lock_holder(self.runs_fd, entry) != pid:
            self._destroy(runner)
            return 0
        return 1

    cdef Verdict recover(self, uint64_t job, const tsf_hot *hot, Outcome *outcome) noexcept nogil:
        cdef uint32_t entry = hot.run, gen = hot.gen
        cdef bint damaged
        cdef tsf_run *run
        cdef Runner *runner
        cdef uint64_t word
        cdef pid_t pid
        cdef int adopted
        if entry < 1 or entry > TSF_RUNS:
            memset(outcome, 0, sizeof(Outcome))
            outcome.lost = True
            return VERDICT_ENDED
        run = &self.runs[entry]
        while True:
            pid = self._alive(entry, &word)
            damaged = contradicts(run, word, job, hot)
            if damaged or (self.outdated and word != tsf_run_word(gen, TSF_RUN_EXITED)):
                memset(outcome, 0, sizeof(Outcome))
                outcome.lost = True
                outcome.cause = TSF_LOSS_DAMAGE if damaged and self.same_boot else TSF_LOSS_BOOT
                return VERDICT_ENDED
            if <uint32_t> tsf_run_gen(word) != gen:
                return VERDICT_QUEUED             # the server died before it filled the entry
            if tsf_run_state(word) == TSF_RUN_REVOKED or tsf_run_state(word) == TSF_RUN_FREE:
                return VERDICT_QUEUED
            if tsf_run_state(word) == TSF_RUN_EXITED:
                from_result(outcome, run)
                return VERDICT_QUEUED if wants(outcome) else VERDICT_ENDED
            if tsf_run_state(word) == TSF_RUN_ASSIGNED or (tsf_run_state(word) == TSF_RUN_CLAIMED and pid == 0):
                if tsf_run_cas(run, word, tsf_run_word(tsf_run_gen(word), TSF_RUN_REVOKED)):
                    return VERDICT_QUEUED
                continue
            if pid != 0:                          # CLAIMED or EXECING: its runner lives
                adopted = self._adopt(entry, pid, job, tsf_run_gen(word), True)
                if adopted == 0:
                    continue
                return VERDICT_RUNNING if adopted > 0 else VERDICT_NO_MEMORY
            if self._leader_lives(run):           # EXECING, the runner is dead, the job lives
                runner = self._take(entry, RUNNER_ORPHAN)
                if runner == NULL:
                    return VERDICT_NO_MEMORY
                runner.job = job
                runner.gen = tsf_run_gen(word)
                runner.has_job = True
                self._watch(runner, run.pid)
                return VERDICT_RUNNING
            from_nothing(outcome, run)
            outcome.cause = TSF_LOSS_RUNNER if self.same_boot else TSF_LOSS_BOOT
            return VERDICT_ENDED

    cdef void recover_rest(self) noexcept nogil:
        cdef uint32_t entry
        cdef tsf_run *run
        cdef uint64_t word
        cdef pid_t pid
        for entry in range(1, TSF_RUNS + 1):
            run = &self.runs[entry]
            if self.table[entry] != NULL or tsf_run_state(tsf_run_load(run)) == TSF_RUN_FREE:
                continue
            while True:
                pid = self._alive(entry, &word)
                if (pid != 0 and (tsf_run_state(word) == TSF_RUN_CLAIMED or tsf_run_state(word) == TSF_RUN_EXECING)
                        and self._adopt(entry, pid, 0, tsf_run_gen(word), False) != 0):
                    break                          # a job that -K dropped runs on
                if tsf_run_cas(run, word, tsf_run_word(tsf_run_gen(word), TSF_RUN_FREE)):
                    break
        self.same_boot = True
        self.outdated = False
