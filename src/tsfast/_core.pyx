# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""The compiled server: `Server(...)`, `recover()`, `listen()`, `run()`. tsfast.daemon.boot makes the process for it."""
import os

cimport cython
from libc.signal cimport SIG_IGN, signal
from libc.string cimport strerror

from tsfast.server.dispatcher cimport Dispatcher
from tsfast.server.handlers.admission cimport admit_parked
from tsfast.server.handlers.shutdown cimport reply_to_all
from tsfast.server.listener cimport Listener
from tsfast.server.services cimport Services
from tsfast.server.connections cimport Conns
from tsfast.store.contexts cimport Contexts
from tsfast.server.inherited cimport bounds_find
from tsfast.store.journal cimport Journal
from tsfast.store.journal import discard, has_journal, replay
from tsfast.store.migration import migrate
from tsfast.base.loop cimport Loop, Source
from tsfast.lifecycle.recovery cimport Recovery
from tsfast.engine.local cimport LocalEngine
from tsfast.lifecycle cimport changes, retention, start
from tsfast.lifecycle.hooks cimport Hooks
from tsfast.lifecycle.spool cimport Spool
from tsfast.lifecycle.wiring cimport connect, reap
from tsfast.base.system cimport (
    EPOLLIN, PR_SET_CHILD_SUBREAPER, SFD_CLOEXEC, SFD_NONBLOCK, SIG_BLOCK, SIGCHLD, SIGHUP, SIGINT, SIGPIPE, SIGTERM,
    SIGXCPU, SIGXFSZ, close, errno, prctl, read, sigaddset, sigemptyset, signalfd, signalfd_siginfo, sigprocmask,
    sigset_t, ssize_t,
)
from tsfast.layout.fault cimport tsf_count_python_steps
from tsfast.layout.table cimport tsf_header
from tsfast.store.table cimport Table
from tsfast.store.table import TableError as TableError  # no-cython-lint

cdef extern from *:
    """
    #ifdef TSFAST_COVERAGE
    void __gcov_dump(void);
    #define tsf_write_coverage() __gcov_dump()
    #else
    #define tsf_write_coverage() ((void)0)
    #endif
    """
    void tsf_write_coverage()                  # a server ends by _exit, which does not write it

tsf_count_python_steps()                       # nothing in a normal build


def drop_queue(int state_dir, str boot_id not None):
    """-K where no server is there: forget all jobs of the table in `state_dir` (taken over). The caller holds the
    lock. Raises OSError, ValueError, TableError."""
    cdef bint journaled = has_journal(state_dir)
    if journaled:
        replay(state_dir, boot_id)
    migrate(state_dir)
    cdef Contexts contexts = Contexts(state_dir)
    cdef Table table = Table(state_dir, True)
    if table.drop_all() < 0:
        raise OSError(errno, strerror(errno).decode(), "header")
    contexts.sweep(True)
    if journaled:
        discard(table.dir_fd)


cdef void signal_came(void *owner, Source *source, uint32_t events) noexcept nogil:
    cdef signalfd_siginfo info
    while read(source.fd, &info, sizeof(info)) == <ssize_t> sizeof(info):
        if info.ssi_signo == <uint32_t> SIGTERM:
            (<Server> owner).terminated = True
    reap((<Server> owner).spool)


@cython.final
cdef class Server:
    def __init__(self, *, int state_dir, str socket_path not None, str runner not None, str boot_id not None,
                 bytes version not None, uint64_t max_unfinished, uint32_t gpus, uint32_t gpu_timeout,
                 uint32_t cancel_grace, object durable, bytes fault not None, bint hide_gpus=False,
                 bint by_unit=False):
        """Open everything of a queue; the caller holds the lock of its state directory.

        state_dir: descriptor of the state directory, taken over. socket_path: absolute. runner: path of the runner
        program. max_unfinished: TS_MAXCONN, 0 for no limit. gpus: how many the machine seems to have, until NVML
        tells. hide_gpus: jobs that ask for none are to see none. by_unit: a service manager has started the server.
        gpu_timeout, cancel_grace: TS_GPU_TIMEOUT and TS_CANCEL_GRACE, in seconds. durable: TS_DURABLE, None for what
        the queue had last.
        Raises OSError, ValueError, TableError."""
        cdef sigset_t mask
        self.signals.fd = -1
        self.lost = []
        # A limit of the call that started us is an error where it is met (EFBIG), and not our end.
        for number in (SIGINT, SIGHUP, SIGPIPE, SIGXFSZ, SIGXCPU):
            signal(number, SIG_IGN)
        sigemptyset(&mask)
        sigaddset(&mask, SIGCHLD)
        sigaddset(&mask, SIGTERM)
        sigprocmask(SIG_BLOCK, &mask, NULL)
        # Whose runner dies becomes our child: the status of its job is not lost with it.
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.loop = Loop()
        self.conns = Conns(self.loop)
        self.had_journal = has_journal(state_dir)
        if self.had_journal:
            self.damaged = replay(state_dir, boot_id)
        self.migrated = migrate(state_dir)
        if durable or (durable is None and self.had_journal):
            self.journal = Journal(self.loop, state_dir, boot_id)
        contexts = Contexts(state_dir)
        self.engine = LocalEngine(self.loop, state_dir, runner, boot_id, fault)
        self.engine.table.outdated = self.damaged is not None
        table = Table(state_dir, True)
        if gpus and (<Table> table).header.gpu_devices == 0:
            (<Table> table).header.gpu_devices = gpus
        hooks = Hooks(self.loop, table, contexts, self.engine.program, self.engine.state_dir)
        self.spool = Spool(self.loop, table, contexts, self.engine, hooks, gpu_timeout)
        connect(self.spool)
        self.spool.allocator.hides = hide_gpus
        self.services = Services(self.conns, self.spool, version, max_unfinished, cancel_grace)
        self.services.submitter.by_unit = by_unit
        self.dispatcher = Dispatcher(self.conns, self.spool, self.services)
        self.signals.fd = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC)
        self.signals.handler = signal_came
        self.signals.owner = <void *> self
        if self.signals.fd < 0 or self.loop.watch(&self.signals, EPOLLIN) < 0:
            raise OSError(errno, strerror(errno).decode(), "signalfd")
        self.listener = Listener(self.loop, self.conns, table, os.fsencode(socket_path))

    def __dealloc__(self):
        if self.signals.fd >= 0:
            close(self.signals.fd)

    def recover(self, slots: int, max_finished: int) -> list[int]:
        """Take up the queue where it was left; see Recovery.run."""
        # After a loss of power the old journal counts until all that was made of it is on the disk; else the table is
        # as the last server left it, and what is changed from here on is journaled.
        if self.damaged is None:
            self._journal_begins()
        recovery = Recovery(self.spool)
        damaged = recovery.run(slots, max_finished)
        self.lost = recovery.lost
        if self.damaged is not None:
            self._journal_begins()
        changes.repeat_cancels(self.spool, self.services.cancel_grace_s)
        return damaged

    cdef _journal_begins(self):
        if self.journal is not None:
            self.journal.begin(<const char *> &self.spool.table.header, sizeof(tsf_header))
            self.spool.table.use(self.journal)
            self.spool.contexts.use(self.journal)
            self.engine.use(self.journal)
            self.conns.journal = self.journal
        elif self.had_journal:
            discard(self.spool.table.dir_fd)

    @property
    def settings_lost(self) -> bool:
        """The queue's settings were damaged, and are the defaults now."""
        return self.spool.table.settings_lost

    @property
    def gone(self) -> bool:
        """The table's files were deleted while the server ran."""
        return self.spool.table.gone

    @property
    def truncated(self) -> int:
        """Segments of the table that were found cut off; the jobs in the missing part are gone."""
        return self.spool.table.truncated

    def listen(self):
        """Listen for clients, under the socket's name. Raises OSError."""
        if self.listener.bind() < 0:
            raise OSError(errno, strerror(errno).decode(), os.fsdecode(self.listener.path))

    def run(self):
        """Serve until -K (returns True: the queue was dropped), or SIGTERM or a caller of a later release (False: it is
        kept). Raises OSError if what was to be answered could not be synced: then nothing was answered, and the calls
        are made again."""
        cdef bint dropped
        bounds_find(&self.services.submitter.bounds)
        with nogil:
            while not self.terminated and self.services.last_client == NULL and not self.dispatcher.giving_way:
                self.dispatcher.stirred = False
                admit_parked(self.services)
                # Before the replies: a client that has a job's id may ask for its pid, or kill it.
                start.dispatch(self.spool)
                if self.journal is not None and self.journal.failed:
                    break
                self.spool.engine.flush()
                self.conns.flush()
                self._tidy()
                self.dispatcher.subscribers.feed()
                if self.journal is not None:
                    self.journal.push()
                if self.loop.turn(self.dispatcher.stirred) < 0:    # what that makes possible comes next, without sleep
                    break
            dropped = self.services.last_client != NULL
            self.gave_way = self.dispatcher.giving_way and not dropped and not self.terminated
            if not dropped and not self.gave_way:
                reply_to_all(self.services, b"the server was ended; its queue is kept")
            self.listener.unbind()
            if self.journal is None or self.journal.settle() == 0:
                self.conns.flush()
        if self.journal is not None and self.journal.failed:
            raise OSError(self.journal.failed, strerror(self.journal.failed).decode(), "journal")
        if dropped:
            self.spool.contexts.sweep(True)
            if self.journal is not None:
                discard(self.spool.table.dir_fd)
        tsf_write_coverage()
        return dropped

    cdef void _tidy(self) noexcept nogil:
        """What has been answered may be forgotten, but with a journal the answers that were just made go out later, and
        a call whose answer is lost with this server is made again."""
        if self.journal is None:
            retention.tidy(self.spool, self.spool.n_forgettable)
            return
        if self.tidying and self.journal.synced >= self.tidy_barrier:
            retention.tidy(self.spool, self.tidy_count)
            self.tidying = False
        if not self.tidying and retention.untidy(self.spool):
            self.tidying = True
            self.tidy_count = self.spool.n_forgettable
            self.tidy_barrier = self.journal.end
