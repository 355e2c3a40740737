# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See hooks.pxd."""
import os
import sys

import tsfast

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport strlen

from tsfast.layout.table cimport TSF_DUE_HOOK, TSF_DUE_MAIL
from tsfast.base.limits cimport HOOK_RETRY_MS, HOOK_WORD_MAX, HOOKS_MAX
from tsfast.base.text cimport TSF_CONTROL, text_add, text_char, text_free, text_i64, text_str, text_u64
from tsfast.store.record cimport error_level, suffix_length
from tsfast.render.fields cimport output_path, record_words
from tsfast.base.system cimport (
    AF_UNIX, CLOCK_REALTIME, EAGAIN, EINTR, EPOLLIN, F_DUPFD_CLOEXEC, MSG_DONTWAIT, SOCK_CLOEXEC, SOCK_SEQPACKET, close,
    errno, fcntl, recv, socketpair, ssize_t, tsf_now_ns, tsf_spawn, write,
)
from tsfast.render.info cimport info

cdef enum:
    FD_FLOOR = 10      # descriptors handed to children lie above those that they are born with

cdef const char *MAIL_CODE = (
    b"import sys; sys.path.append(sys.argv.pop(1)); from tsfast.daemon.mail import main; main()")


cdef void socket_ready(void *owner, Source *source, uint32_t events) noexcept nogil:
    (<Hooks> owner)._ready(&(<Hooks> owner).hooks[source.tag])


cdef void retry_due(void *owner) noexcept nogil:
    (<Hooks> owner).pausing = False


@cython.final
cdef class Hooks:
    def __init__(self, Loop loop, Table table, Contexts contexts, int program, int state_dir):
        cdef size_t i
        self.loop = loop
        self.table = table
        self.contexts = contexts
        self.program = program
        self.state_dir = state_dir
        self.python = os.fsencode(sys.executable or "/usr/bin/python3")
        self.packages = os.fsencode(os.path.dirname(os.path.abspath(tsfast.__path__[0])))
        self.python_text = self.python
        self.packages_text = self.packages
        self.retry_timer = loop.new_timer(retry_due, <void *> self)
        for i in range(HOOKS_MAX):
            self.hooks[i].socket.fd = -1
            self.hooks[i].socket.handler = socket_ready
            self.hooks[i].socket.owner = <void *> self
            self.hooks[i].socket.tag = i

    def __dealloc__(self):
        cdef int i
        for i in range(HOOKS_MAX):
            if self.hooks[i].socket.handler != NULL and self.hooks[i].socket.fd >= 0:
                close(self.hooks[i].socket.fd)
        free(self.due)
        text_free(&self.text)
        text_free(&self.word)

    # ---- those that wait ---------------------------------------------------------------------------------------
    cdef void add(self, uint64_t job, uint8_t what) noexcept nogil:
        # Without memory it stays due in the record, for the next server.
        if what & TSF_DUE_HOOK:
            self._enqueue(job, TSF_DUE_HOOK)
        if what & TSF_DUE_MAIL:
            self._enqueue(job, TSF_DUE_MAIL)

    cdef int _enqueue(self, uint64_t job, uint8_t what) noexcept nogil:
        cdef size_t room = 2 * self.room if self.room else 64, i
        cdef Due *grown
        cdef Due *place
        if self.n_due == self.room:
            grown = <Due *> malloc(room * sizeof(Due))
            if grown == NULL:
                return -1
            for i in range(self.n_due):
                grown[i] = self.due[(self.first + i) & (self.room - 1)]
            free(self.due)
            self.due = grown
            self.room = room
            self.first = 0
        place = &self.due[(self.first + self.n_due) & (self.room - 1)]
        place.job = job
        place.what = what
        self.n_due += 1
        return 0

    # ---- starting ----------------------------------------------------------------------------------------------
    cdef void start_due(self) noexcept nogil:
        cdef Hook *hook
        cdef int i
        for i in range(HOOKS_MAX):
            if self.n_due == 0 or self.pausing:
                return
            hook = &self.hooks[i]
            while hook.pid == 0 and hook.socket.fd < 0 and self.n_due:
                hook.due = self.due[self.first]
                if self._launch(hook) < 0:
                    self._pause()
                    return
                self.first = (self.first + 1) & (self.room - 1)
                self.n_due -= 1

    cdef void _pause(self) noexcept nogil:
        self.pausing = True
        self.loop.set_timer(self.retry_timer, HOOK_RETRY_MS)

    cdef int _launch(self, Hook *hook) noexcept nogil:
        """0: it is started, or will never be. -1: the system has no process for it now."""
        cdef Record record
        cdef tsf_hot hot
        cdef tsf_cold cold
        if self.table.read_record(hook.due.job, &record, &hot, &cold) < 0:
            self.text.size = 0
            text_str(&self.text, b"ts: the program after job ")
            text_u64(&self.text, hook.due.job)
            text_str(&self.text, b" could not run: its record cannot be read\n")
            write(2, self.text.data, self.text.size)
            self._begun(&hook.due)
            return 0
        self._compose(&record, hook.due.what)
        if self.text.failed or self.word.failed:
            self.text.failed = self.word.failed = False
            return -1
        return self._spawn(hook)

    cdef int _spawn(self, Hook *hook) noexcept nogil:
        cdef char *argv[WORDS_MAX + 1]
        cdef int pair[2]
        cdef int ours, theirs, i
        for i in range(self.n_words):
            argv[i] = self.text.data + self.words[i]
        argv[self.n_words] = NULL
        if socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0:
            return -1
        ours = fcntl(pair[0], F_DUPFD_CLOEXEC, <int> FD_FLOOR)
        theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, <int> FD_FLOOR)
        close(pair[0])
        close(pair[1])
        hook.settled = False
        hook.socket.fd = ours
        if ours >= 0 and theirs >= 0 and self.loop.watch(&hook.socket, EPOLLIN) == 0:
            hook.pid = tsf_spawn(self.program, theirs, self.state_dir, argv, NULL)
        if theirs >= 0:
            close(theirs)
        if hook.pid > 0:
            return 0
        hook.pid = 0
        self.loop.remove(&hook.socket)
        if ours >= 0:
            close(ours)
        hook.socket.fd = -1
        return -1

    # ---- its words ---------------------------------------------------------------------------------------------
    cdef void _word(self, const char *data, size_t size) noexcept nogil:
        self.words[self.n_words] = self.text.size
        self.n_words += 1
        text_add(&self.text, data, min(size, <size_t> HOOK_WORD_MAX))
        text_char(&self.text, 0)

    cdef void _number(self, long long value) noexcept nogil:
        self.word.size = 0
        text_i64(&self.word, value)
        self._word(self.word.data, self.word.size)

    cdef void _compose(self, const Record *record, uint8_t what) noexcept nogil:
        cdef const char *cwd = NULL
        self.text.size = 0
        self.n_words = 0
        self._word(b"ts-run", 6)
        self._word(b"hook", 4)
        self._number(<long long> record.id)
        self._word(record.hot.suffix, suffix_length(record))
        if what == TSF_DUE_HOOK:
            self._word(b"", 0)
        else:
            self._word(self.python_text, strlen(self.python_text))
            self._word(b"-I", 2)
            self._word(b"-S", 2)
            self._word(b"-c", 2)
            self._word(MAIL_CODE, strlen(MAIL_CODE))
            self._word(self.packages_text, strlen(self.packages_text))
        self._number(<long long> record.id)
        self._number(error_level(record.hot))
        self.word.size = 0
        output_path(&self.word, record)
        self._word(self.word.data, self.word.size)
        self.word.size = 0
        record_words(&self.word, record, HOOK_WORD_MAX, TSF_CONTROL)
        self._word(self.word.data, self.word.size)
        if what == TSF_DUE_MAIL:
            self.word.size = 0
            if record.cold.cwd_len == 0:
                cwd = self.contexts.directory(record.cold.ctx)
            info(&self.word, record, cwd, strlen(cwd) if cwd != NULL else 0, tsf_now_ns(CLOCK_REALTIME), True)
            self._word(self.word.data, self.word.size)

    # ---- events ------------------------------------------------------------------------------------------------
    cdef void _ready(self, Hook *hook) noexcept nogil:
        cdef char byte
        cdef ssize_t got = recv(hook.socket.fd, &byte, 1, MSG_DONTWAIT)
        if got > 0:
            hook.settled = True
            return
        if got < 0 and (errno == EAGAIN or errno == EINTR):
            return
        self.loop.remove(&hook.socket)
        close(hook.socket.fd)
        hook.socket.fd = -1
        if hook.settled:
            self._begun(&hook.due)
        else:
            self._enqueue(hook.due.job, hook.due.what)
            self._pause()

    cdef void _begun(self, const Due *due) noexcept nogil:
        cdef tsf_hot hot
        if self.table.read_hot(due.job, &hot) < 0:
            hot.due = 0
        else:
            hot.due &= <uint8_t> ~due.what
            self.table.write_hot(due.job, &hot)     # refused: the next server runs it once more
        self.on_begun(self.owner, due.job, hot.due & (TSF_DUE_HOOK | TSF_DUE_MAIL))

    cdef void reaped(self, pid_t pid) noexcept nogil:
        cdef int i
        for i in range(HOOKS_MAX):
            if self.hooks[i].pid == pid:
                self.hooks[i].pid = 0
