# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See monitor.pxd."""
import os
import sys

import tsfast

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdio cimport snprintf

from tsfast.layout.gpus cimport TSF_GPU_ASKING, TSF_GPU_FAILED, TSF_GPU_NONE, TSF_GPU_ROUND, tsf_gpu
from tsfast.base.limits cimport GPU_INIT_TIMES, GPU_RETRY_MAX_MS, GPU_RETRY_MS, GPU_SUSPECT_TIMES
from tsfast.base.loop cimport Loop, Source
from tsfast.base.system cimport (
    CLOCK_MONOTONIC, EAGAIN, EINTR, EPOLLIN, O_CLOEXEC, SIGKILL, close, errno, kill, pid_t, read, sigemptyset, sigset_t,
    ssize_t, tsf_now_ns,
)

cdef extern from "<fcntl.h>" nogil:
    int O_NONBLOCK
    int F_SETFL
    int fcntl(int fd, int command, ...)

cdef extern from "<unistd.h>" nogil:
    int pipe2(int fds[2], int flags)

cdef extern from "<spawn.h>" nogil:
    ctypedef struct posix_spawnattr_t:
        pass
    ctypedef struct posix_spawn_file_actions_t:
        pass
    int POSIX_SPAWN_SETSIGMASK, POSIX_SPAWN_SETSIGDEF, POSIX_SPAWN_SETPGROUP
    int posix_spawnattr_init(posix_spawnattr_t *attributes)
    int posix_spawnattr_setflags(posix_spawnattr_t *attributes, short flags)
    int posix_spawnattr_setsigmask(posix_spawnattr_t *attributes, const sigset_t *mask)
    int posix_spawnattr_setsigdefault(posix_spawnattr_t *attributes, const sigset_t *signals)
    int posix_spawnattr_setpgroup(posix_spawnattr_t *attributes, int group)
    int posix_spawnattr_destroy(posix_spawnattr_t *attributes)
    int posix_spawn_file_actions_init(posix_spawn_file_actions_t *actions)
    int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *actions, int fd, int fd2)
    int posix_spawn_file_actions_destroy(posix_spawn_file_actions_t *actions)
    int posix_spawn "tsf_posix_spawn"(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                                      const posix_spawnattr_t *attributes, char **argv, char **envp)

cdef extern from "<signal.h>" nogil:
    int sigfillset(sigset_t *set)

cdef extern from "<sys/wait.h>" nogil:
    bint WIFSIGNALED(int status)
    int WTERMSIG(int status)
    int WEXITSTATUS(int status)

cdef extern from * nogil:
    """
    extern char **environ;
    """
    char **environ

cdef enum:
    WORDS_MAX = 6 + 2 * SUSPECTS_MAX
    RECORDS_AT_ONCE = 64

# As programs.isolated, with site: pynvml need not be beside us.
cdef const char *POLLER_CODE = (
    b"import sys; sys.path.append(sys.argv.pop(1)); import site; site.main(); "
    b"from tsfast.monitor.__main__ import main; sys.exit(main())")


# ---- handlers of the loop: owner is the Monitor object -------------------------------------------------------------

cdef void pipe_ready(void *owner, Source *source, uint32_t events) noexcept nogil:
    (<Monitor> owner)._read()


cdef void silent_for_long(void *owner) noexcept nogil:
    (<Monitor> owner)._give_up(b"NVML does not answer")


cdef void not_needed(void *owner) noexcept nogil:
    (<Monitor> owner)._close()


cdef void retry_due(void *owner) noexcept nogil:
    (<Monitor> owner)._forgive()


@cython.final
cdef class Monitor:
    def __init__(self, Loop loop not None, uint32_t timeout):
        self.loop = loop
        self.timeout_ms = <int> timeout * 1000
        self.pipe.fd = -1
        self.pipe.handler = pipe_ready
        self.pipe.owner = <void *> self
        self.python = os.fsencode(sys.executable)
        self.packages = os.fsencode(os.path.dirname(os.path.abspath(tsfast.__path__[0])))
        self.python_text = self.python
        self.packages_text = self.packages
        self.silence_timer = loop.new_timer(silent_for_long, <void *> self)
        self.linger_timer = loop.new_timer(not_needed, <void *> self)
        self.retry_timer = loop.new_timer(retry_due, <void *> self)

    def __dealloc__(self):
        if self.pipe.fd >= 0:
            close(self.pipe.fd)

    cdef void need(self, bint needed) noexcept nogil:
        if needed and self.pid == 0 and not self.backing_off:
            self._start()
        if needed == self.needed:
            return
        self.needed = needed
        self.loop.set_timer(self.linger_timer, -1)
        if not needed and self.pid:
            self.loop.set_timer(self.linger_timer, self.timeout_ms)

    # ---- the process -------------------------------------------------------------------------------------------
    cdef void _start(self) noexcept nogil:
        cdef posix_spawnattr_t attributes
        cdef posix_spawn_file_actions_t actions
        cdef sigset_t none, all
        cdef char *argv[WORDS_MAX + 1]
        cdef char numbers[SUSPECTS_MAX][12]
        cdef int ends[2]
        cdef int i, n = 6, failed
        cdef pid_t pid = 0
        argv[0] = <char *> self.python_text
        argv[1] = <char *> b"-I"
        argv[2] = <char *> b"-S"
        argv[3] = <char *> b"-c"
        argv[4] = <char *> POLLER_CODE
        argv[5] = self.packages_text
        for i in range(self.n_suspects):
            snprintf(numbers[i], sizeof(numbers[i]), "%u", self.suspects[i].index)
            argv[n] = <char *> b"--without"
            argv[n + 1] = numbers[i]
            n += 2
        argv[n] = NULL
        if pipe2(ends, O_CLOEXEC) < 0:
            self._back_off()
            return
        fcntl(ends[0], F_SETFL, O_NONBLOCK)
        sigemptyset(&none)
        sigfillset(&all)
        # A group of its own: a signal to the server's is not for it.
        posix_spawnattr_init(&attributes)
        posix_spawnattr_setflags(
            &attributes, <short> (POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        failed = posix_spawn(&pid, self.python_text, &actions, &attributes, argv, environ)
        posix_spawn_file_actions_destroy(&actions)
        posix_spawnattr_destroy(&attributes)
        close(ends[1])
        self.pipe.fd = ends[0]
        self.asking = TSF_GPU_NONE
        self.doing[0] = 0
        self.told_why = False
        if failed or self.loop.watch(&self.pipe, EPOLLIN) < 0:
            if not failed:
                kill(pid, SIGKILL)
            close(ends[0])
            self.pipe.fd = -1
            self._back_off()
            return
        self.pid = pid
        self._expect_more()

    cdef void _expect_more(self) noexcept nogil:
        cdef int times = GPU_INIT_TIMES if self.asking == TSF_GPU_NONE else 1
        self.loop.set_timer(self.silence_timer, -1)
        self.loop.set_timer(self.silence_timer, self.timeout_ms * times)

    cdef void _close(self) noexcept nogil:
        """Whatever it does, it is ours no longer: one that hangs in the driver may outlive SIGKILL for long."""
        self.loop.set_timer(self.silence_timer, -1)
        self.loop.set_timer(self.linger_timer, -1)
        if self.pid:
            kill(self.pid, SIGKILL)
            self.pid = 0
        if self.pipe.fd >= 0:
            self.loop.remove(&self.pipe)
            close(self.pipe.fd)
            self.pipe.fd = -1
            self.on_stopped(self.owner)

    cdef void renew(self) noexcept nogil:
        if self.pid:
            self._close()

    cdef void _give_up(self, const char *why) noexcept nogil:
        cdef uint32_t index = self.asking
        cdef char text[80]
        snprintf(text, sizeof(text), "%s%s%s", why, <const char *> (b" " if self.doing[0] else b""), self.doing)
        self._close()
        self.on_trouble(self.owner, index, text)
        if index == TSF_GPU_NONE:
            self._back_off()
        else:
            self._suspect(index)
            if self.needed and not self.backing_off:
                self._start()

    cdef void _back_off(self) noexcept nogil:
        cdef int ms = GPU_RETRY_MS << min(self.failures, 6)
        self.failures += 1
        self.backing_off = True
        self.loop.set_timer(self.retry_timer, min(ms, <int> GPU_RETRY_MAX_MS))

    cdef void reaped(self, pid_t pid, int status) noexcept nogil:
        cdef char text[48]
        if pid != self.pid:
            return
        self.pid = 0                       # the number is free for others from here on
        self._read()                       # what it said last tells where it died
        if self.pid or self.pipe.fd < 0:
            return
        if self.told_why:
            self._close()
            self._back_off()
            return
        if WIFSIGNALED(status):
            snprintf(text, sizeof(text), "the process that asks NVML died of signal %d", WTERMSIG(status))
        else:
            snprintf(text, sizeof(text), "the process that asks NVML ended with %d", WEXITSTATUS(status))
        self._give_up(text)

    # ---- devices that do not answer ----------------------------------------------------------------------------
    cdef void _suspect(self, uint32_t index) noexcept nogil:
        cdef uint64_t wait_ms = <uint64_t> self.timeout_ms * GPU_SUSPECT_TIMES
        cdef int i
        if self.n_suspects == SUSPECTS_MAX:
            # So many: it is the driver, and not the devices.
            self._back_off()
            return
        for i in range(self.n_suspects):
            if self.suspects[i].index == index:
                self._back_off()           # it was asked nevertheless
                return
        self.suspects[self.n_suspects].index = index
        self.suspects[self.n_suspects].until_ns = tsf_now_ns(CLOCK_MONOTONIC) + wait_ms * 1000000
        self.n_suspects += 1
        self.loop.set_timer(self.retry_timer, <int> wait_ms)

    cdef void _forgive(self) noexcept nogil:
        """Time to ask again what did not answer."""
        cdef uint64_t now = tsf_now_ns(CLOCK_MONOTONIC)
        cdef int i, kept = 0, before = self.n_suspects
        self.backing_off = False
        for i in range(before):
            if self.suspects[i].until_ns > now:
                self.suspects[kept] = self.suspects[i]
                kept += 1
        self.n_suspects = kept
        if kept:
            self.loop.set_timer(self.retry_timer, <int> ((self.suspects[0].until_ns - now) // 1000000 + 1))
        if self.pid and kept != before:
            self._close()
        if self.needed and self.pid == 0:
            self._start()

    # ---- what it says ------------------------------------------------------------------------------------------
    cdef void _read(self) noexcept nogil:
        cdef tsf_gpu records[RECORDS_AT_ONCE]
        cdef ssize_t got
        cdef int i
        while self.pipe.fd >= 0:
            got = read(self.pipe.fd, records, sizeof(records))
            if got < 0 and errno == EINTR:
                continue
            if got < 0 and errno == EAGAIN:
                return
            if got <= 0 or got % <ssize_t> sizeof(tsf_gpu):
                if self.told_why:
                    self._close()
                    self._back_off()
                    return
                self.loop.remove(&self.pipe)   # it is ending, and its death says more
                if got > 0 and self.pid:
                    kill(self.pid, SIGKILL)    # no record
                return
            for i in range(<int> (got // <ssize_t> sizeof(tsf_gpu))):
                self.doing[0] = 0
                if records[i].kind == TSF_GPU_ASKING:
                    self.asking = records[i].index
                    snprintf(self.doing, sizeof(self.doing), "%.31s", records[i].why)
                else:
                    self.asking = TSF_GPU_NONE
                    self.told_why = records[i].kind == TSF_GPU_FAILED
                    if records[i].kind == TSF_GPU_ROUND and records[i].index:
                        self.failures = 0
                    self.on_record(self.owner, &records[i])
            self._expect_more()
