# Included at the end of local.pyx in builds for tests.

from libc.string cimport memset

from tsfast.base.system cimport (
    PR_SET_CHILD_SUBREAPER, SFD_CLOEXEC, SFD_NONBLOCK, SIG_BLOCK, SIGCHLD, WNOHANG, prctl, read, sigaddset, sigemptyset,
    signalfd, signalfd_siginfo, sigprocmask, sigset_t, wait4,
)
from tsfast.layout.runs cimport tsf_run_state
from tsfast.layout.table cimport TSF_RUNNING

cdef dict _outcome(const Outcome *outcome):
    return {
        "lost": bool(outcome.lost), "cause": outcome.cause, "stage": outcome.stage, "status": outcome.status,
        "notes": outcome.notes, "pid": outcome.pid, "left": bool(outcome.left),
    }


cdef void probe_started(void *owner, uint64_t job, const Started *started) noexcept with gil:
    (<EngineProbe> owner).events.append(["started", job, {"pid": started.pid, "gen": started.gen}])


cdef int probe_ended(void *owner, uint64_t job, const Outcome *outcome) noexcept with gil:
    cdef EngineProbe probe = <EngineProbe> owner
    if probe.refusals:
        probe.refusals -= 1
        probe.events.append(["refused", job, {}])
        return -1
    probe.events.append(["ended", job, _outcome(outcome)])
    return 0


cdef void probe_revoked(void *owner, uint64_t job) noexcept with gil:
    (<EngineProbe> owner).events.append(["revoked", job, {}])


cdef void probe_child_ended(void *owner, Source *source, uint32_t events) noexcept nogil:
    cdef signalfd_siginfo info
    cdef rusage usage
    cdef int status
    cdef pid_t pid = 1
    while read(source.fd, &info, sizeof(info)) > 0:
        pass
    while pid > 0:
        pid = wait4(-1, &status, WNOHANG, &usage)
        if pid > 0:
            (<Engine> owner).reaped(pid, status, &usage)


@cython.final
cdef class EngineProbe:
    """A local engine alone, with its loop, in the place of a server: a subreaper with SIGCHLD blocked."""

    cdef Loop loop
    cdef LocalEngine local
    cdef Engine engine                # the same: only its interface is used
    cdef Source children
    cdef readonly list events         # [what, job, details]: the callbacks
    cdef public int refusals          # so many of the next ends are not recorded

    def __init__(self, int state_dir, str runner, str boot_id):
        cdef sigset_t mask
        self.events = []
        self.loop = Loop()
        self.engine = self.local = LocalEngine(self.loop, state_dir, runner, boot_id, b"")
        self.engine.owner = <void *> self
        self.engine.on_started = probe_started
        self.engine.on_ended = probe_ended
        self.engine.on_revoked = probe_revoked
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        sigemptyset(&mask)
        sigaddset(&mask, SIGCHLD)
        sigprocmask(SIG_BLOCK, &mask, NULL)
        self.children.fd = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC)
        self.children.handler = probe_child_ended
        self.children.owner = <void *> self.engine
        if self.children.fd < 0 or self.loop.watch(&self.children, EPOLLIN) < 0:
            raise OSError(errno, strerror(errno).decode(), "signalfd")

    def __dealloc__(self):
        if self.children.fd > 0:
            close(self.children.fd)

    def turn(self):
        """Sleep until something has happened, and deal with it."""
        with nogil:
            self.engine.flush()
            self.loop.turn(False)

    def prepare(self) -> tuple[int, int]:
        cdef uint32_t entry
        cdef uint64_t gen
        if self.engine.prepare(&entry, &gen) < 0:
            raise OSError(errno, strerror(errno).decode())
        return entry, gen

    def start(self, uint32_t entry, uint64_t gen, uint64_t job, bytes record not None) -> int:
        """record: the job's tsf_cold."""
        cdef Handover handover
        if len(record) != sizeof(tsf_cold):
            raise ValueError("the record has a wrong size")
        memset(&handover, 0, sizeof(handover))
        return self.engine.start(entry, gen, job, 1, <const tsf_cold *> <const char *> record, &handover)

    def signal(self, uint32_t entry, int number) -> int:
        return self.engine.signal(entry, number)

    def cancel(self, uint32_t entry, uint32_t grace_s) -> int:
        return self.engine.cancel(entry, grace_s)

    def release(self, uint32_t entry):
        self.engine.release(entry)

    def drop_jobs(self):
        self.engine.drop_jobs()

    def adopt(self, uint64_t job, uint32_t entry, uint64_t gen, bint running):
        """How it is with a job whose record says RUNNING, or STARTING; with its outcome if it has ended."""
        cdef tsf_hot hot
        cdef Outcome outcome
        cdef Adoption adoption
        memset(&hot, 0, sizeof(hot))
        hot.state = TSF_RUNNING if running else TSF_STARTING
        hot.attempt = 1
        hot.run = entry
        hot.gen = <uint32_t> gen
        adoption = self.engine.adopt(job, &hot, &outcome)
        names = {ADOPT_NOT_STARTED: "not started", ADOPT_WATCHED: "watched", ADOPT_ENDED: "ended"}
        return names[adoption], _outcome(&outcome) if adoption == ADOPT_ENDED else {}

    def end_adoption(self):
        self.engine.end_adoption()

    def entry(self, uint32_t entry):
        """State and generation of the entry, and the pid of its runner, 0: none."""
        cdef uint64_t word = tsf_run_load(self.local._run(entry))
        return tsf_run_state(word), tsf_run_gen(word), self.local.table.holder(entry)
