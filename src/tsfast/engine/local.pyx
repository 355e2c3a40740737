# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See local.pxd."""
import os

cimport cython
from libc.stdint cimport uint16_t
from libc.string cimport strerror

from tsfast.base.limits cimport ADOPTED_POLL_MS, CANCEL_POLL_MS, RECORD_RETRY_MS
from tsfast.base.loop cimport Loop, Source
from tsfast.base.system cimport (
    CLOCK_MONOTONIC, EAGAIN, EINTR, EMFILE, ENOMEM, EPOLLIN, F_DUPFD_CLOEXEC, MSG_DONTWAIT, O_CLOEXEC, O_PATH, SIGTERM,
    close, errno, fcntl, open_, pid_t, recv, rusage, set_errno, ssize_t, tsf_now_ns, tsf_pidfd_open, tsf_send_fds,
)
from tsfast.engine.engine cimport ADOPT_ENDED, ADOPT_NO_MEMORY, ADOPT_NOT_STARTED, ADOPT_WATCHED, Adoption, Handover
from tsfast.engine.outbox cimport Outbox, Packet, packet_free
from tsfast.engine.outcome cimport Outcome, Started, from_result, started_from, wants, wants_room
from tsfast.engine.runner_process cimport (
    FD_FLOOR, kill_orphans, orphan_ended, send_job, send_order, spawn_runner,
)
from tsfast.engine.runner_table cimport (
    FOUND_ENDED, FOUND_NOT_STARTED, FOUND_RUNNER, RUNNER_ADOPTED, RUNNER_BUSY, RUNNER_IDLE, RUNNER_LEAVING,
    RUNNER_ORPHAN, Finding, Runner, RunnerTable,
)
from tsfast.layout.fault cimport tsf_fault
from tsfast.layout.runs cimport (
    TSF_COMMAND_CANCEL, TSF_COMMAND_GRACE_SHIFT, TSF_REPORT_ENDED, TSF_REPORT_STARTED, TSF_RUNS, TSF_RUN_CLAIMED,
    TSF_RUN_EXECING, TSF_RUN_EXITED, tsf_assign, tsf_report, tsf_run, tsf_run_gen, tsf_run_load,
)
from tsfast.layout.table cimport TSF_STARTING, tsf_cold, tsf_hot


# ---- handlers of the loop: owner is the engine ----------------------------------------------------------------

cdef void socket_ready(void *owner, Source *source, uint32_t events) noexcept nogil:
    (<LocalEngine> owner)._receive(<uint32_t> source.tag)


cdef void pidfd_ready(void *owner, Source *source, uint32_t events) noexcept nogil:
    (<LocalEngine> owner)._watched_ended(<uint32_t> source.tag)


cdef void poll_due(void *owner) noexcept nogil:
    (<LocalEngine> owner)._poll_adopted()


cdef void retry_due(void *owner) noexcept nogil:
    (<LocalEngine> owner)._retry_unrecorded()


cdef void kill_due(void *owner) noexcept nogil:
    (<LocalEngine> owner)._kill_orphans()


@cython.final
cdef class LocalEngine(Engine):
    def __cinit__(self):
        self.state_dir = -1
        self.program = -1

    def __init__(self, Loop loop, int state_dir, str program, str boot_id, bytes fault):
        """Open `runs` in the state directory (made if it is not there) and the runner's program. Raises OSError;
        ValueError when `runs` is not of the layout that this version knows."""
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
        self.table = RunnerTable(state_dir, boot_id)
        self.table.owner = <void *> self
        self.table.on_socket = socket_ready
        self.table.on_pidfd = pidfd_ready
        self.poll_timer = loop.new_timer(poll_due, <void *> self)
        self.retry_timer = loop.new_timer(retry_due, <void *> self)
        self.kill_timer = loop.new_timer(kill_due, <void *> self)

    def __dealloc__(self):
        for fd in (self.program, self.state_dir):
            if fd >= 0:
                close(fd)

    cdef use(self, Journal journal):
        self.outbox = Outbox(journal)

    cdef const tsf_run *_run(self, uint32_t entry) noexcept nogil:
        return &self.table.runs[entry]

    cdef void _close(self, Source *source) noexcept nogil:
        if source.fd >= 0:
            self.loop.remove(source)
            close(source.fd)
            source.fd = -1

    cdef void _destroy(self, Runner *runner) noexcept nogil:
        self._close(&runner.socket)
        self._close(&runner.pidfd)
        self.table.remove(runner)

    # ---- starting ----------------------------------------------------------------------------------------------
    cdef int prepare(self, uint32_t *entry, uint64_t *gen) noexcept nogil:
        cdef Runner *runner = self.table.idle
        if runner == NULL:
            runner = self._spawn()
            if runner == NULL:
                return -1
        entry[0] = runner.entry
        gen[0] = self.table.next_gen(runner.entry)
        return 0

    cdef Runner *_spawn(self) noexcept nogil:
        cdef Runner *runner = spawn_runner(self.table, self.program, self.state_dir, self.fault_name)
        cdef int error
        if runner != NULL and self.loop.watch(&runner.socket, EPOLLIN) < 0:
            error = errno
            self._destroy(runner)          # it meets the end of its socket and leaves; nobody misses it then
            set_errno(error)
            return NULL
        return runner

    cdef int start(self, uint32_t entry, uint64_t gen, uint64_t job, uint16_t attempt, const tsf_cold *cold,
                   const Handover *handover) noexcept nogil:
        cdef Runner *runner = self.table.runners[entry]
        cdef tsf_assign message
        if not self.table.assign(entry, gen, job, attempt):
            return -1
        tsf_fault(b"start-assigned")
        message.gen = gen
        message.job = job
        message.hide_gpus = handover.hide_gpus
        message.leases = handover.n_leases
        message.cold = cold[0]
        if send_job(runner, &message, handover, self.outbox) < 0:
            # It has just left; nothing reads the entry any more but a dead runner's socket.
            self.table.revoke(entry, gen)
            self.table.set_free(entry)
            self.table.become(runner, RUNNER_LEAVING)
            return -1
        runner.job = job
        runner.gen = gen
        runner.has_job = True
        self.table.become(runner, RUNNER_BUSY)
        tsf_fault(b"start-sent")
        return 0

    cdef void flush(self) noexcept nogil:
        cdef Packet *packet
        cdef Runner *runner
        if self.outbox is None:
            return
        packet = self.outbox.take()
        while packet != NULL:
            runner = self.table.runners[packet.entry]
            # One that has left since is settled when its death is certain.
            if (runner != NULL and runner.has_job and runner.gen == packet.message.gen and runner.socket.fd >= 0
                    and tsf_send_fds(runner.socket.fd, &packet.message, sizeof(tsf_assign), packet.fds,
                                     packet.n_fds) != <ssize_t> sizeof(tsf_assign)):
                self._close(&runner.socket)    # it leaves, and its death gives the job back
            packet_free(packet)
            packet = self.outbox.take()

    # ---- events ------------------------------------------------------------------------------------------------
    cdef void _receive(self, uint32_t entry) noexcept nogil:
        cdef Runner *runner = self.table.runners[entry]
        cdef const tsf_run *run = self._run(entry)
        cdef tsf_report report
        cdef Outcome outcome
        cdef ssize_t got
        if runner == NULL:
            return
        got = recv(runner.socket.fd, &report, sizeof(report), MSG_DONTWAIT)
        if got < 0 and (errno == EAGAIN or errno == EINTR):
            return
        if got <= 0:
            # It ends; what became of its job is looked at when its death is certain (reaped).
            self._close(&runner.socket)
            if runner.kind == RUNNER_IDLE:
                self.table.become(runner, RUNNER_LEAVING)
            return
        if got != <ssize_t> sizeof(report) or not runner.has_job or report.gen != runner.gen:
            return
        if report.kind == TSF_REPORT_STARTED:
            if self.table.is_in(entry, runner.gen, TSF_RUN_EXECING):
                self._say_started(runner)
        elif report.kind == TSF_REPORT_ENDED:
            if not self.table.is_in(entry, runner.gen, TSF_RUN_EXITED):
                return
            if report.retiring:
                self.table.become(runner, RUNNER_LEAVING)
            from_result(&outcome, run)
            outcome.left = report.retiring != 0
            self._ended(runner, &outcome)

    cdef void _say_started(self, Runner *runner) noexcept nogil:
        cdef Started started
        started_from(&started, self._run(runner.entry))
        self.on_started(self.owner, runner.job, &started)

    cdef void _ended(self, Runner *runner, const Outcome *outcome) noexcept nogil:
        if runner.has_job and self.on_ended(self.owner, runner.job, outcome) < 0:
            runner.unrecorded = True
            self.loop.set_timer(self.retry_timer, RECORD_RETRY_MS)
            return
        if wants(outcome) and (outcome.cause == EMFILE or outcome.cause == ENOMEM):
            self._close(&runner.socket)        # it leaves: a new one may have what this one lacks
        if wants(outcome) and not wants_room(outcome):
            self._dismiss_idle()               # their processes, memory and descriptors are wanted
        self.release(runner.entry)

    cdef void _dismiss_idle(self) noexcept nogil:
        cdef Runner *runner = self.table.idle
        while runner != NULL:
            self._close(&runner.socket)
            self.table.become(runner, RUNNER_LEAVING)
            runner = self.table.idle

    cdef void release(self, uint32_t entry) noexcept nogil:
        cdef Runner *runner
        if entry < 1 or entry > TSF_RUNS:
            return                     # lost: its record named no entry
        self.table.set_free(entry)
        tsf_fault(b"finish-freed")
        runner = self.table.runners[entry]
        if runner == NULL:
            return
        runner.has_job = False
        runner.unrecorded = False
        runner.unannounced = False
        runner.leader_reaped = False
        runner.kill_ns = 0
        if runner.kind == RUNNER_BUSY:
            self.table.become(runner, RUNNER_IDLE if runner.socket.fd >= 0 else RUNNER_LEAVING)
        elif runner.kind == RUNNER_ORPHAN or (runner.kind != RUNNER_LEAVING and runner.pid == 0):
            self._destroy(runner)

    cdef void _retry_unrecorded(self) noexcept nogil:
        cdef Runner *runner = self.table.others
        cdef Runner *following
        while runner != NULL:
            following = runner.next
            if runner.unrecorded:
                runner.unrecorded = False
                self._settle(runner)
            runner = following

    cdef bint reaped(self, pid_t pid, int status, const rusage *usage) noexcept nogil:
        cdef Runner *runner = self.table.idle
        while runner != NULL and runner.pid != pid:
            runner = runner.next
        if runner == NULL:
            runner = self.table.others
            while runner != NULL and not self._concerns(runner, pid):
                runner = runner.next
        if runner == NULL:
            return False
        if runner.pid == pid:
            runner.pid = 0
            self._settle(runner)
            return True
        runner.leader_reaped = True
        runner.leader_status = status
        runner.leader_usage = usage[0]
        if runner.kind == RUNNER_ORPHAN:
            self._settle(runner)
        return True

    cdef bint _concerns(self, const Runner *runner, pid_t pid) noexcept nogil:
        if runner.pid == pid and runner.kind <= RUNNER_LEAVING:
            return True
        return (runner.has_job and self._run(runner.entry).pid == pid
                and self.table.is_in(runner.entry, runner.gen, TSF_RUN_EXECING))

    cdef void _settle(self, Runner *runner) noexcept nogil:
        """The runner is dead (or the disk refused its job's end before): what became of its job?"""
        cdef const tsf_run *run = self._run(runner.entry)
        cdef uint32_t entry = runner.entry
        cdef uint64_t job = runner.job
        cdef Outcome outcome
        if runner.pid != 0:                      # alive: only its record is to be tried again
            from_result(&outcome, run)
            self._ended(runner, &outcome)
            return
        self._close(&runner.socket)
        if not runner.has_job:                   # its job was dropped, or it was idle
            self.table.set_free(entry)
            self._destroy(runner)
            return
        if self.table.revoke_dead(entry, runner.gen):
            runner.has_job = False
            self.on_revoked(self.owner, job)
            self.table.set_free(entry)
            self._destroy(runner)
            return
        if runner.kind != RUNNER_ORPHAN:
            runner.leader_ours = runner.kind != RUNNER_ADOPTED
            self.table.become(runner, RUNNER_ORPHAN)
            if self.table.is_in(entry, runner.gen, TSF_RUN_EXECING):
                self._say_started(runner)      # it may have died before it could tell
        if self.table.is_in(entry, runner.gen, TSF_RUN_EXITED):
            from_result(&outcome, run)
        elif not orphan_ended(self.table, runner, &outcome):
            if not runner.leader_ours:               # else SIGCHLD will tell
                self._watch(runner, run.pid)
            if runner.kill_ns:
                self.loop.set_timer(self.kill_timer, CANCEL_POLL_MS)
            return
        self._ended(runner, &outcome)

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
        cdef Runner *runner = self.table.runners[entry]
        if runner == NULL:
            return
        self._close(&runner.pidfd)
        runner.pid = 0
        self._settle(runner)

    cdef void _poll_adopted(self) noexcept nogil:
        cdef Runner *runner = self.table.others
        cdef Runner *following
        cdef bint left = False
        while runner != NULL:
            following = runner.next
            if runner.unannounced:
                left = not self._announce(runner) or left
            if runner.pidfd.fd < 0 and not runner.unrecorded:
                if runner.kind == RUNNER_ADOPTED:
                    left = True
                    if self.table.holder(runner.entry) == 0:
                        self._watched_ended(runner.entry)
                elif runner.kind == RUNNER_ORPHAN and not runner.leader_ours:
                    left = True
                    if not self.table.leader_lives(runner.entry):
                        self._watched_ended(runner.entry)
            runner = following
        if left:
            self.loop.set_timer(self.poll_timer, ADOPTED_POLL_MS)

    cdef bint _announce(self, Runner *runner) noexcept nogil:
        """An adopted runner has no socket to report its job's start on: look. False: not yet."""
        if self.table.is_in(runner.entry, runner.gen, TSF_RUN_CLAIMED):
            return False
        runner.unannounced = False
        if self.table.is_in(runner.entry, runner.gen, TSF_RUN_EXECING):
            self._say_started(runner)
        return True

    # ---- signals -----------------------------------------------------------------------------------------------
    cdef int signal(self, uint32_t entry, int number) noexcept nogil:
        cdef Runner *runner = self.table.runners[entry]
        if runner == NULL or not runner.has_job:
            return -1
        return send_order(self.table, runner, <uint32_t> number)

    cdef int cancel(self, uint32_t entry, uint32_t grace_s) noexcept nogil:
        cdef Runner *runner = self.table.runners[entry]
        if runner == NULL or not runner.has_job:
            return -1
        if runner.kill_ns:
            return 0                       # under way
        # The runner kills the job's processes by its own clock, the server those of a job whose runner is dead.
        runner.kill_ns = tsf_now_ns(CLOCK_MONOTONIC) + <uint64_t> grace_s * 1000000000
        if runner.kind == RUNNER_ORPHAN:
            self.loop.set_timer(self.kill_timer, CANCEL_POLL_MS)
        return send_order(self.table, runner, (min(grace_s, <uint32_t> 0xffff) << <uint32_t> TSF_COMMAND_GRACE_SHIFT)
                          | <uint32_t> TSF_COMMAND_CANCEL | <uint32_t> SIGTERM)

    cdef void _kill_orphans(self) noexcept nogil:
        if kill_orphans(self.table, tsf_now_ns(CLOCK_MONOTONIC)):
            self.loop.set_timer(self.kill_timer, CANCEL_POLL_MS)

    cdef void drop_jobs(self) noexcept nogil:
        cdef Runner *runner = self.table.others
        while runner != NULL:
            if runner.has_job:
                self.table.revoke(runner.entry, runner.gen)
                runner.has_job = False
            runner = runner.next

    # ---- recovery ----------------------------------------------------------------------------------------------
    cdef int _adopt(self, uint32_t entry, pid_t pid, uint64_t job, bint has_job) noexcept nogil:
        """Watch the job's runner, or the leader of a job whose runner is dead (pid 0). 1: done. 0: it has ended
        meanwhile, look again. -1: no memory."""
        cdef Runner *runner = self.table.add_found(entry, RUNNER_ADOPTED if pid else RUNNER_ORPHAN)
        if runner == NULL:
            return -1
        runner.job = job
        runner.gen = tsf_run_gen(tsf_run_load(self._run(entry)))
        runner.has_job = has_job
        runner.pid = pid
        self._watch(runner, pid if pid else self._run(entry).pid)
        # The pid may have been given to another process between the look at the lock and the opening of the pidfd.
        if pid and runner.pidfd.fd >= 0 and self.table.holder(entry) != pid:
            self._destroy(runner)
            return 0
        return 1

    cdef Adoption adopt(self, uint64_t job, const tsf_hot *hot, Outcome *outcome) noexcept nogil:
        cdef pid_t pid
        cdef int adopted = 0
        cdef Finding found
        while adopted == 0:
            found = self.table.look(job, hot, &pid, outcome)
            if found == FOUND_NOT_STARTED:
                return ADOPT_NOT_STARTED
            if found == FOUND_ENDED:
                return ADOPT_ENDED
            adopted = self._adopt(hot.run, pid if found == FOUND_RUNNER else 0, job, True)
        if adopted < 0:
            return ADOPT_NO_MEMORY
        outcome.start_ns = self._run(hot.run).start_ns
        self.table.runners[hot.run].unannounced = hot.state == TSF_STARTING
        return ADOPT_WATCHED

    cdef void end_adoption(self) noexcept nogil:
        cdef uint32_t entry
        cdef pid_t pid
        cdef Runner *runner = self.table.others
        cdef bint left = False
        while runner != NULL:
            if runner.unannounced:
                left = not self._announce(runner) or left
            runner = runner.next
        if left:
            self.loop.set_timer(self.poll_timer, ADOPTED_POLL_MS)
        for entry in range(1, TSF_RUNS + 1):
            if self.table.runners[entry] != NULL:
                continue
            while True:
                pid = self.table.look_unclaimed(entry)
                if pid == 0 or self._adopt(entry, pid, 0, False) != 0:
                    break
        self.table.same_boot = True
        self.table.outdated = False


include "local_probe.pxi"  # of tests/probes; empty in a wheel
