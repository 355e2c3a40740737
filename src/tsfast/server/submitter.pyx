# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See submitter.pxd."""
cimport cython
from libc.stddef cimport size_t
from libc.stdio cimport snprintf
from libc.string cimport memset, strerror

from tsfast.base.idmap cimport IdMap, idmap_free, idmap_get, idmap_put, not_there
from tsfast.base.limits cimport PATH_BYTES
from tsfast.base.system cimport CLOCK_REALTIME, errno, tsf_now_ns
from tsfast.base.text cimport text_add, text_char, text_free, text_str, text_u64
from tsfast.grammar.logpath cimport log_path
from tsfast.grammar.options cimport add_id
from tsfast.layout.table cimport TSF_JOB_FOREGROUND, TSF_JOB_HOOK, TSF_JOB_MAIL, TSF_JOB_NO_OUTPUT
from tsfast.layout.wire cimport (
    TSF_FRAME_ERR, TSF_FRAME_LOOK, TSF_LOOK_HOOK, TSF_LOOK_LOG, TSF_LOOK_MAIL, TSF_REFUSED_CALLER, TSF_REFUSED_ID,
    TSF_REFUSED_JOB, TSF_REFUSED_SYSTEM, tsf_release,
)
from tsfast.lifecycle.arrays cimport Span
from tsfast.lifecycle.submission cimport SUBMIT_BAD_GPUS, SUBMIT_GONE, SUBMIT_UNKNOWN_ID
from tsfast.scheduler.scheduler cimport Job
from tsfast.server.environ cimport default_logdir
from tsfast.server.handlers.gpu_warning cimport gpu_warning
from tsfast.server.inherited cimport bounds_warning
from tsfast.server.request cimport words_free

cdef const char *GONE = (b"the state directory was deleted under the server, so nothing more can be queued; -K ends "
                         b"this queue, and the next call begins an empty one")


cdef int keep_new(IdMap *seen, uint64_t *ids, size_t *n) noexcept nogil:
    cdef size_t i, kept = 0
    for i in range(n[0]):
        if idmap_get(seen, ids[i]) == not_there():
            if idmap_put(seen, ids[i], 0) < 0:
                return -1
            ids[kept] = ids[i]
            kept += 1
    n[0] = kept
    return 0


cdef int each_once(Command *command) noexcept nogil:
    """A job that is named twice is waited for once; if both ways are asked for, for its good end. -1 without memory."""
    cdef IdMap seen
    cdef int done
    if command.n_after + command.n_after_ok < 2:
        return 0
    memset(&seen, 0, sizeof(seen))
    done = keep_new(&seen, command.after_ok, &command.n_after_ok)
    if done == 0:
        done = keep_new(&seen, command.after, &command.n_after)
    idmap_free(&seen)
    return done


cdef bint is_line(const char *word) noexcept nogil:
    """For a shell, it seems: programs with a blank in their names are named by their paths."""
    while word[0] != 0 and word[0] != c'/':
        if word[0] == c' ' or word[0] == c'\t' or word[0] == c'\n':
            return True
        word += 1
    return False


@cython.final
cdef class Submitter:
    def __init__(self, Conns conns, Replies reply, Spool spool, bytes version not None):
        self.conns = conns
        self.reply = reply
        self.spool = spool
        self.release = tsf_release(<const char *> version)

    def __dealloc__(self):
        words_free(&self.words)
        text_free(&self.element)

    cdef bint is_known(self, const tsf_request *head) noexcept nogil:
        return self.spool.knows_request(head.token)

    # ---- what every job has ------------------------------------------------------------------------------------
    cdef void logdir(self, Text *text) noexcept nogil:
        if self.spool.header().logdir_len:
            text_add(text, self.spool.header().logdir, self.spool.header().logdir_len)
        else:
            if default_logdir()[0] != c'/':
                text_char(text, c'/')           # relative to the server's own directory, the root
            text_str(text, default_logdir())

    cdef bint prefix(self, const char *cwd, const Command *command, uint64_t id, int64_t index) noexcept nogil:
        cdef Text *text = &self.reply.text
        text.size = 0
        if command.log != NULL:
            log_path(text, command.log, cwd, id, command.label, index, self.date, tsf_now_ns(CLOCK_REALTIME))
        else:
            self.logdir(text)
            text_char(text, c'/')
            text_str(text, command.name if command.name != NULL else <const char *> b"ts-out")
        text_char(text, 0)
        return not text.failed and (command.log == NULL or text.size <= PATH_BYTES)

    cdef void fill(self, Submission *job, const Command *command, const char *end, uint32_t argc) noexcept nogil:
        memset(job, 0, sizeof(Submission))
        job.argv = self.words.words[command.words]
        job.argc = argc - <uint32_t> command.words
        job.argv_len = <uint32_t> (end - job.argv)
        job.label = command.label
        job.env_text = command.env_text
        job.slots = command.slots
        job.gpus = command.gpus
        job.gpu_share = command.gpu_share
        job.vram = command.vram
        job.gpu_exact = command.gpu_exact
        job.flags = command.flags
        job.holds = 1 if command.flags & TSF_JOB_FOREGROUND else 0     # until its descriptors are here
        job.after = command.after
        job.n_after = command.n_after
        job.after_ok = command.after_ok
        job.n_after_ok = command.n_after_ok

    # ---- what it waits for -------------------------------------------------------------------------------------
    cdef uint64_t last_job(self) noexcept nogil:
        cdef const Job *last = self.spool.last_added()
        cdef const Span *array
        if last == NULL:
            return no_job()
        array = self.spool.arrays.of(last.id)
        return array.first if array != NULL else last.id

    cdef int find_dependencies(self, Command *command, uint64_t last) noexcept nogil:
        if command.after_last and last != no_job() and add_id(&command.after, &command.n_after, last) < 0:
            return -1
        if (self.spool.arrays.expand(&command.after, &command.n_after) < 0
                or self.spool.arrays.expand(&command.after_ok, &command.n_after_ok) < 0):
            return -1
        return each_once(command)

    # ---- what is said of it ------------------------------------------------------------------------------------
    cdef int32_t refuse(self, int result, const char *what) noexcept nogil:
        cdef int32_t reason = TSF_REFUSED_JOB
        cdef const char *text = NULL
        if result == SUBMIT_UNKNOWN_ID:
            snprintf(self.refusal, sizeof(self.refusal), b"job %llu does not exist, so nothing can wait for it",
                     <unsigned long long> self.spool.bad_id)
            return TSF_REFUSED_ID
        if result == SUBMIT_BAD_GPUS:
            text = b"-g: it names a GPU twice (different indices or UUIDs are needed)"
        elif result == REFUSE_LOG:
            text = b"--log: the path is too long"
        elif result == REFUSE_ARRAY:
            text = b"--array: too many elements with too long a command (256 MiB in all)"
        elif result == REFUSE_DIRECTORY:
            text = b"the working directory is gone or cannot be read"
            reason = TSF_REFUSED_CALLER
        elif result == SUBMIT_GONE:
            text = GONE
            reason = TSF_REFUSED_SYSTEM
        else:
            snprintf(self.refusal, sizeof(self.refusal), b"%s could not be recorded: %s", what,
                     <char *> strerror(errno))
            return TSF_REFUSED_SYSTEM
        snprintf(self.refusal, sizeof(self.refusal), b"%s", text)
        return reason

    cdef bint warn(self, Conn *conn, const Command *command, const Submission *job) noexcept nogil:
        self.reply.text.size = 0
        if command.slots > self.spool.slots():
            text_str(&self.reply.text, b"ts: warning: the job needs ")
            text_u64(&self.reply.text, command.slots)
            text_str(&self.reply.text, b" slots and the queue has ")
            text_u64(&self.reply.text, self.spool.slots())
            text_str(&self.reply.text, b"; it waits until -S raises them\n")
        gpu_warning(&self.reply.text, self.spool, command)
        if job.argc == 1 and is_line(job.argv):
            text_str(&self.reply.text, b"ts: warning: the command is one word with blanks, and no shell reads it: "
                     b"a program of that name runs (sh -c '...' runs a line)\n")
        if self.reply.text.size == 0:
            return False
        self.conns.send(conn, TSF_FRAME_ERR, self.reply.text.data, self.reply.text.size)
        return True

    cdef void warn_of_bounds(self, Conn *conn, const tsf_request *head) noexcept nogil:
        self.reply.text.size = 0
        bounds_warning(&self.reply.text, &self.bounds, head, self.by_unit)
        if self.reply.text.size:
            self.conns.send(conn, TSF_FRAME_ERR, self.reply.text.data, self.reply.text.size)

    cdef void have_looked_at(self, Conn *conn, const Request *request, const Command *command,
                             uint64_t id) noexcept nogil:
        cdef bint log = command.log != NULL and not command.flags & TSF_JOB_NO_OUTPUT
        cdef uint32_t what = ((TSF_LOOK_HOOK if command.flags & TSF_JOB_HOOK else 0)
                              | (TSF_LOOK_MAIL if command.flags & TSF_JOB_MAIL else 0) | (TSF_LOOK_LOG if log else 0))
        if what == 0 or conn.release < self.release:      # it does not know this frame
            return
        self.element.size = 0
        text_add(&self.element, <const char *> &what, sizeof(what))
        if log:
            self.prefix(request.cwd, command, id, command.array_first if command.array_count else <int64_t> -1)
            text_add(&self.element, self.reply.text.data, self.reply.text.size - 1 if self.reply.text.size else 0)
        if not self.element.failed and not self.reply.text.failed:
            self.conns.send(conn, TSF_FRAME_LOOK, self.element.data, self.element.size)
        self.element.failed = self.reply.text.failed = False
