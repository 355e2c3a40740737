# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See runner_process.pxd."""
from tsfast.base.system cimport (
    AF_UNIX, EAGAIN, ENOMEM, ESRCH, F_DUPFD_CLOEXEC, SIGCONT, SIGKILL, SOCK_CLOEXEC, SOCK_SEQPACKET, WNOHANG, close,
    errno, fcntl, kill, pid_t, set_errno, socketpair, ssize_t, tsf_pidfd_signal, tsf_process_lives, tsf_send_fds,
    tsf_spawn_runner, wait4,
)
from tsfast.engine.outcome cimport from_nothing, from_wait
from tsfast.engine.runner_table cimport RUNNER_ADOPTED, RUNNER_IDLE, RUNNER_ORPHAN
from tsfast.layout.runs cimport (
    TSF_COMMAND_CANCEL, TSF_LEASES_A_PACKET, TSF_RUN_EXECING, TSF_RUN_SIGNAL, tsf_leases, tsf_run, tsf_run_command,
    tsf_run_load, tsf_run_state,
)
from tsfast.layout.table cimport TSF_NOTE_CANCEL


cdef pid_t spawn(int program, int state_dir, uint32_t entry, const char *fault, int *socket) noexcept nogil:
    """The process, and the server's end of its socket. -1 with errno."""
    cdef int pair[2]
    cdef int ours, theirs, error
    cdef pid_t pid = -1
    if socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0:
        return -1
    ours = fcntl(pair[0], F_DUPFD_CLOEXEC, <int> FD_FLOOR)
    theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, <int> FD_FLOOR)
    close(pair[0])
    close(pair[1])
    if ours >= 0 and theirs >= 0:
        pid = tsf_spawn_runner(program, theirs, state_dir, entry, fault)
    error = errno
    if theirs >= 0:
        close(theirs)
    if pid < 0 and ours >= 0:
        close(ours)
    socket[0] = ours
    set_errno(error)
    return pid


cdef Runner *spawn_runner(RunnerTable table, int program, int state_dir, const char *fault) noexcept nogil:
    cdef uint32_t entry = table.reserve()
    cdef Runner *runner = NULL
    cdef int socket = -1
    cdef pid_t pid
    if entry == 0:
        set_errno(EAGAIN)
        return NULL
    pid = spawn(program, state_dir, entry, fault, &socket)
    if pid > 0:
        runner = table.add(entry, RUNNER_IDLE)
        if runner == NULL:
            close(socket)                  # it meets the end of its socket and leaves
            set_errno(ENOMEM)
    if runner == NULL:
        table.unreserve(entry)
        return NULL
    runner.pid = pid
    runner.socket.fd = socket
    return runner


cdef int send_job(Runner *runner, const tsf_assign *message, const Handover *handover, Outbox outbox) noexcept nogil:
    cdef tsf_leases packet
    cdef uint32_t at = 0
    packet.gen = message.gen
    packet.shared = handover.shared
    while at < handover.n_leases:
        packet.count = min(handover.n_leases - at, <uint32_t> TSF_LEASES_A_PACKET)
        if tsf_send_fds(runner.socket.fd, &packet, sizeof(packet), handover.leases + at,
                        <int> packet.count) != <ssize_t> sizeof(packet):
            return -1
        at += packet.count
    # The leases alone start nothing.
    if outbox is not None:
        return outbox.add(runner.entry, message, handover.fds, handover.n_fds)
    return 0 if tsf_send_fds(runner.socket.fd, message, sizeof(tsf_assign), handover.fds,
                             handover.n_fds) == <ssize_t> sizeof(tsf_assign) else -1


cdef int send_order(RunnerTable table, Runner *runner, uint32_t order) noexcept nogil:
    cdef tsf_run *run = &table.runs[runner.entry]
    if runner.kind == RUNNER_ORPHAN:
        return signal_orphan(runner, run, order)
    # An order to end the job that the runner has yet to see is not written over.
    if <uint32_t> (run.command >> 32) != <uint32_t> runner.gen or not run.command & TSF_COMMAND_CANCEL:
        tsf_run_command(run, runner.gen, order)
    if runner.pidfd.fd >= 0:
        if tsf_pidfd_signal(runner.pidfd.fd, TSF_RUN_SIGNAL) == 0:
            return 0
        if errno == ESRCH:                   # else the call is denied: as on kernels without pidfds
            return -1
    if runner.kind == RUNNER_ADOPTED and table.holder(runner.entry) != runner.pid:
        return -1
    return kill(runner.pid, TSF_RUN_SIGNAL) if runner.pid > 0 else -1


cdef int signal_orphan(Runner *runner, tsf_run *run, uint32_t order) noexcept nogil:
    """The runner is dead: the server itself sends the signal to the job's process group."""
    cdef int done
    # Our unreaped child keeps its pid; a stranger is asked through its pidfd whether it is still there. One whose end
    # the disk has refused so far has no process any more, or never had one.
    if runner.leader_reaped or run.pid <= 1 or tsf_run_state(tsf_run_load(run)) != TSF_RUN_EXECING:
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


cdef bint orphan_ended(RunnerTable table, Runner *runner, Outcome *outcome) noexcept nogil:
    cdef const tsf_run *run = &table.runs[runner.entry]
    cdef pid_t got
    if runner.leader_ours and not runner.leader_reaped:
        got = wait4(run.pid, &runner.leader_status, WNOHANG, &runner.leader_usage)
        if got == 0:
            return False
        runner.leader_reaped = got == run.pid
        runner.leader_ours = runner.leader_reaped      # else another process is its parent: it can only be watched
    if runner.leader_reaped:
        from_wait(outcome, run, runner.leader_status, &runner.leader_usage)
        return True
    if table.leader_lives(runner.entry):
        return False
    from_nothing(outcome, run)
    return True


cdef bint kill_orphans(RunnerTable table, uint64_t now) noexcept nogil:
    cdef Runner *runner = table.others
    cdef bint left = False
    while runner != NULL:
        if runner.kind == RUNNER_ORPHAN and runner.kill_ns:
            left = True
            if now >= runner.kill_ns:
                send_order(table, runner, <uint32_t> TSF_COMMAND_CANCEL | <uint32_t> SIGKILL)
        runner = runner.next
    return left
