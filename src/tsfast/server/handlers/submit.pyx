# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See submit.pxd."""
cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport int64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset, strerror, strlen, strncmp

from tsfast.lifecycle.arrays cimport Span, element_env, element_words
from tsfast.server.connections cimport FRAME_LATER, Conn, Conns
from tsfast.grammar.envfilter cimport filter_environment, patterns_apply, patterns_free, patterns_read
from tsfast.server.environ cimport default_logdir
from tsfast.server.handlers.gpu_settings cimport gpu_warning
from tsfast.grammar.options cimport ACTION_SUBMIT, PLACE_BIT, Command, add_id, command_free, parse
from tsfast.server.inherited cimport bounds_warning
from tsfast.base.idmap cimport IdMap, idmap_free, idmap_get, idmap_put, not_there
from tsfast.scheduler.scheduler cimport Job
from tsfast.layout.structs cimport (
    TSF_BATCH_NO_BLOCK, TSF_FRAME_ADDED, TSF_FRAME_ERR, TSF_FRAME_LOOK, TSF_FRAME_OUT, TSF_FRAME_REFUSED,
    TSF_JOB_FOREGROUND, TSF_JOB_HOOK, TSF_JOB_MAIL, TSF_JOB_NO_OUTPUT, TSF_LOOK_HOOK, TSF_LOOK_LOG, TSF_LOOK_MAIL,
    TSF_REFUSED_CALLER, TSF_REFUSED_FULL, TSF_REFUSED_ID, TSF_REFUSED_JOB,
    TSF_REFUSED_SYSTEM, tsf_added, tsf_batch, tsf_batch_job, tsf_batch_part, tsf_refused, tsf_request,
)
from tsfast.base.limits cimport ARRAY_BYTES, PATH_BYTES
from tsfast.grammar.logpath cimport log_path, log_unchecked
from tsfast.base.text cimport Text, text_add, text_char, text_free, text_str, text_u64
from tsfast.server.replies cimport Replies
from tsfast.server.request cimport Request, request_read, strings_fit, variable
from tsfast.lifecycle cimport submission
from tsfast.lifecycle.spool cimport Spool
from tsfast.lifecycle.submission cimport (
    SUBMIT_BAD_GPUS, SUBMIT_FAILED, SUBMIT_GONE, SUBMIT_OK, SUBMIT_UNKNOWN_ID, SubmitResult,
)
from tsfast.store.staging cimport Submission
from tsfast.base.system cimport CLOCK_REALTIME, ENOMEM, errno, set_errno, tsf_now_ns
from tsfast.lifecycle.idempotency cimport tokens_find

cdef enum:
    ALL_JOBS = 0xffffffff            # tsf_refused.place: the frame as a whole
    LOG_TOO_LONG = -10               # beside SubmitResult
    ARRAY_TOO_LARGE = -11


cdef const char *BAD_GPUS = b"-g: it names a GPU twice (different indices or UUIDs are needed)"
cdef const char *GONE = (b"the state directory was deleted under the server, so nothing more can be queued; -K ends "
                         b"this queue, and the next call begins an empty one")


cdef const char *env_change(const char *env, uint32_t size, const char *name) noexcept nogil:
    """The last string that sets or unsets the variable, NULL if there is none. `name` ends in `=`."""
    cdef const char *found = NULL
    cdef const char *end = env + size
    cdef size_t length = strlen(name) - 1
    while env < end:
        if strncmp(env, name, length) == 0 and (env[length] == c'=' or env[length] == 0):
            found = env
        env += strlen(env) + 1
    return found


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
cdef class Adding:
    def __init__(self, Conns conns, Replies reply, Spool spool, uint64_t max_unfinished):
        self.conns = conns
        self.reply = reply
        self.spool = spool
        self.max_unfinished = max_unfinished

    def __dealloc__(self):
        free(self.words)
        text_free(&self.element)

    cdef bint full(self, uint64_t more) noexcept nogil:
        cdef uint64_t unfinished = self.spool.queue.known - self.spool.queue.ended
        return self.max_unfinished and unfinished and unfinished + more > self.max_unfinished

    cdef bint known(self, const tsf_request *head) noexcept nogil:
        return tokens_find(&self.spool.tokens, head.token) != 0

    cdef const char *const *split(self, const char *bytes, uint32_t argc) noexcept nogil:
        cdef const char **grown
        cdef uint32_t i
        if <size_t> argc + 1 > self.words_room:
            grown = <const char **> realloc(<void *> self.words, (<size_t> argc + 1) * sizeof(char *))
            if grown == NULL:
                return NULL
            self.words = grown
            self.words_room = <size_t> argc + 1
        for i in range(argc):
            self.words[i] = bytes
            bytes += strlen(bytes) + 1
        self.words[argc] = NULL
        return self.words

    # ---- what every job has ------------------------------------------------------------------------------------
    cdef void logdir(self, Text *text) noexcept nogil:
        if self.spool.table.header.logdir_len:
            text_add(text, self.spool.table.header.logdir, self.spool.table.header.logdir_len)
        else:
            if default_logdir()[0] != c'/':
                text_char(text, c'/')           # where its server is
            text_str(text, default_logdir())

    cdef void _prefix(self, const char *cwd, const Command *command, uint64_t id, int64_t index) noexcept nogil:
        """Of the output file, into the answer's text, with a NUL at its end."""
        self.reply.text.size = 0
        if command.log != NULL:
            log_path(&self.reply.text, command.log, cwd, id, command.label, index, self.date,
                     tsf_now_ns(CLOCK_REALTIME))
        else:
            self.logdir(&self.reply.text)
            text_char(&self.reply.text, c'/')
            text_str(&self.reply.text, command.name if command.name != NULL else <const char *> b"ts-out")
        text_char(&self.reply.text, 0)

    cdef void _fill(self, Submission *job, const Command *command, const char *end, uint32_t argc) noexcept nogil:
        """What the words say; they end at `end`."""
        memset(job, 0, sizeof(Submission))
        job.argv = self.words[command.words]
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

    cdef bint _warn(self, Conn *conn, const Command *command, const Submission *job) noexcept nogil:
        """Tell that what it waits for may never come, or that it is hardly what was meant, if that is so."""
        self.reply.text.size = 0
        if command.slots > self.spool.queue.max_slots:
            text_str(&self.reply.text, b"ts: warning: the job needs ")
            text_u64(&self.reply.text, command.slots)
            text_str(&self.reply.text, b" slots and the queue has ")
            text_u64(&self.reply.text, self.spool.queue.max_slots)
            text_str(&self.reply.text, b"; it waits until -S raises them\n")
        gpu_warning(&self.reply.text, self.spool, command)
        if job.argc == 1 and is_line(job.argv):
            text_str(&self.reply.text, b"ts: warning: the command is one word with blanks, and no shell reads it: "
                     b"a program of that name is run (sh -c '...' runs a line)\n")
        if self.reply.text.size == 0:
            return False
        self.conns.send(conn, TSF_FRAME_ERR, self.reply.text.data, self.reply.text.size)
        return True

    cdef void _warn_of_bounds(self, Conn *conn, const tsf_request *head) noexcept nogil:
        """Tell a call, once, that its jobs cannot have all that it has."""
        self.reply.text.size = 0
        bounds_warning(&self.reply.text, &self.bounds, head, self.by_unit)
        if self.reply.text.size:
            self.conns.send(conn, TSF_FRAME_ERR, self.reply.text.data, self.reply.text.size)

    cdef void _have_looked_at(self, Conn *conn, const Request *request, const Command *command,
                              uint64_t id) noexcept nogil:
        """By its caller: what will surely fail, and lies where the server waits on nobody."""
        cdef bint log = command.log != NULL and not command.flags & TSF_JOB_NO_OUTPUT
        cdef uint32_t what = ((TSF_LOOK_HOOK if command.flags & TSF_JOB_HOOK else 0)
                              | (TSF_LOOK_MAIL if command.flags & TSF_JOB_MAIL else 0) | (TSF_LOOK_LOG if log else 0))
        if what == 0 or conn.release < self.release:      # an earlier one does not know this frame
            return
        self.element.size = 0
        text_add(&self.element, <const char *> &what, sizeof(what))
        if log:
            self._prefix(request.cwd, command, id, command.array_first if command.array_count else <int64_t> -1)
            text_add(&self.element, self.reply.text.data, self.reply.text.size - 1 if self.reply.text.size else 0)
        if not self.element.failed and not self.reply.text.failed:
            self.conns.send(conn, TSF_FRAME_LOOK, self.element.data, self.element.size)
        self.element.failed = self.reply.text.failed = False

    # ---- one job of a command line, or an array ----------------------------------------------------------------
    cdef bint one(self, Conn *conn, const Request *request, Command *command, uint64_t *id) noexcept nogil:
        cdef Submission job
        cdef int result
        cdef tsf_request checked = request.head[0]
        cdef Request stored = request[0]
        if not self._check(conn, request, command, &checked):
            return False
        stored.head = &checked
        if variable(&stored, b"TS_ONFINISH=") != NULL:
            command.flags |= TSF_JOB_HOOK
        self._fill(&job, command, request.argv_bytes + request.head.argv_len, request.head.argc)
        result = submission.begin_jobs(self.spool, &checked, request.cwd, request.env, request.affinity, id)
        if result == SUBMIT_OK:
            result = self._elements(request, command, &job, id[0])
            if result == SUBMIT_OK:
                result = submission.queue_jobs(self.spool)
            else:
                submission.drop_jobs(self.spool)
        if result == SUBMIT_UNKNOWN_ID:
            self.reply.fail_job(conn, self.spool.bad_id, b"does not exist, so nothing can wait for it")
            return False
        if result == SUBMIT_BAD_GPUS:
            self.reply.fail(conn, BAD_GPUS)
            return False
        if result == LOG_TOO_LONG:
            self.reply.fail(conn, b"--log: the path is too long")
            return False
        if result == ARRAY_TOO_LARGE:
            self.reply.fail(conn, b"--array: so many elements with so long a command are too much (256 MiB in all)")
            return False
        if result == SUBMIT_GONE:
            self.reply.fail(conn, GONE)
            return False
        if result == SUBMIT_FAILED:
            self.reply.fail_errno(conn, b"the job could not be recorded")
            return False
        if result == SUBMIT_OK:
            self._warn_of_bounds(conn, request.head)
            self._warn(conn, command, &job)
            self._have_looked_at(conn, request, command, id[0])
        if not command.flags & TSF_JOB_NO_OUTPUT:
            self.reply.text.size = 0
            text_u64(&self.reply.text, id[0])
            text_char(&self.reply.text, c'\n')
            self.conns.send(conn, TSF_FRAME_OUT, self.reply.text.data, self.reply.text.size)
        return True

    cdef bint _check(self, Conn *conn, const Request *request, Command *command, tsf_request *checked) noexcept nogil:
        """Before anything is recorded. False: answered."""
        cdef Job *last = self.spool.queue.last_added()
        cdef const Span *array = self.spool.arrays.of(last.id) if last != NULL else NULL
        cdef size_t i
        self.date[0] = 0
        if request.head.cwd_len <= 1:
            self.reply.fail(conn, b"the working directory is gone or cannot be read")
            return False
        # The command of TS_ENV is run by the caller's side, which then comes back with what it printed.
        if command.env_text == NULL and variable(request, b"TS_ENV=") != NULL:
            self.reply.elsewhere(conn)
            return False
        for i in range(command.n_after + command.n_after_ok):
            if (command.after[i] if i < command.n_after else command.after_ok[i - command.n_after]) >> PLACE_BIT:
                self.reply.fail(conn, b"-D, -W: '@' is for the jobs of a batch (see --batch)")
                return False
        if (not command.flags & TSF_JOB_NO_OUTPUT and command.log != NULL
                and log_unchecked(command.log, command.flags, <char *> request.env, checked, self.date)):
            self.reply.elsewhere(conn)         # is it there already? The server waits on nobody's path, nor time zone.
            return False
        if ((command.after_last and last != NULL
             and add_id(&command.after, &command.n_after, array.first if array != NULL else last.id) < 0)
                or self.spool.arrays.expand(&command.after, &command.n_after) < 0
                or self.spool.arrays.expand(&command.after_ok, &command.n_after_ok) < 0
                or each_once(command) < 0
                or filter_environment(<char *> request.env, checked) < 0):
            self.reply.no_memory(conn)
            return False
        return True

    cdef int _elements(self, const Request *request, const Command *command, Submission *job,
                       uint64_t first) noexcept nogil:
        """The job, or each element of the array. A SubmitResult, or another reason to refuse."""
        cdef uint32_t i, count = max(command.array_count, <uint32_t> 1)
        cdef Submission element
        cdef int result = SUBMIT_OK
        for i in range(count):
            element = job[0]
            if command.array_count and self._make_element(command, &element, first, i) < 0:
                return SUBMIT_FAILED
            if not command.flags & TSF_JOB_NO_OUTPUT:
                self._prefix(request.cwd, command, first + i,
                             command.array_first + i if command.array_count else <int64_t> -1)
                if self.reply.text.failed:
                    self.reply.text.failed = False
                    set_errno(ENOMEM)
                    return SUBMIT_FAILED
                if command.log != NULL and self.reply.text.size > PATH_BYTES:
                    return LOG_TOO_LONG
                element.prefix = self.reply.text.data
            result = submission.add_job(self.spool, &element)
            if result != SUBMIT_OK:
                return result
            if command.array_count and self.spool.staging.size > <size_t> ARRAY_BYTES:
                return ARRAY_TOO_LARGE
        return SUBMIT_OK

    cdef int _make_element(self, const Command *command, Submission *job, uint64_t first, uint32_t i) noexcept nogil:
        cdef uint32_t index = command.array_first + i
        self.element.size = 0
        element_words(&self.element, job.argv, job.argc, index, &job.argv_len)
        element_env(&self.element, first, index, &job.env_len)
        if self.element.failed:
            self.element.failed = False
            set_errno(ENOMEM)
            return -1
        job.argv = self.element.data
        job.env = self.element.data + job.argv_len
        job.array_first = command.array_first
        job.array_limit = command.array_limit
        return 0

    # ---- many jobs of a program --------------------------------------------------------------------------------
    cdef void _refuse(self, Conn *conn, uint32_t place, int32_t reason, const char *text) noexcept nogil:
        cdef tsf_refused refused
        refused.place = place
        refused.reason = reason
        self.reply.text.size = 0
        text_add(&self.reply.text, <const char *> &refused, sizeof(refused))
        text_str(&self.reply.text, text)
        if self.reply.text.failed:
            self.reply.text.failed = False
            self.conns.send(conn, TSF_FRAME_REFUSED, &refused, sizeof(refused))
        else:
            self.conns.send(conn, TSF_FRAME_REFUSED, self.reply.text.data, self.reply.text.size)
        self.conns.finish(conn)

    cdef void _refuse_errno(self, Conn *conn) noexcept nogil:
        snprintf(self.refusal, sizeof(self.refusal), b"the jobs could not be recorded: %s",
                 <char *> strerror(errno))
        self._refuse(conn, ALL_JOBS, TSF_REFUSED_SYSTEM, self.refusal)

    cdef int batch(self, Conn *conn, char *payload, uint32_t size, bint others_wait,  # no-cython-lint
                   uint32_t *jobs) noexcept nogil:
        cdef Request request
        cdef Request stored
        cdef Reading reading
        cdef tsf_request checked
        cdef tsf_added added
        cdef int done
        self.date[0] = 0
        if size % 8 or request_read(&request, payload, size, &reading.at) < 0 or request.head.argc:
            return -1
        reading.end = payload + size
        if <size_t> (reading.end - reading.at) < sizeof(tsf_batch):
            return -1
        memcpy(&reading.batch, reading.at, sizeof(tsf_batch))
        reading.at += sizeof(tsf_batch)
        reading.parts = reading.at
        if <size_t> (reading.end - reading.at) // sizeof(tsf_batch_part) < reading.batch.parts:
            return -1
        reading.at += reading.batch.parts * sizeof(tsf_batch_part)
        if reading.batch.count == 0 or (<size_t> (reading.end - reading.at) // sizeof(tsf_batch_job)
                                        < reading.batch.count):
            return -1
        if request.head.cwd_len <= 1:
            self._refuse(conn, ALL_JOBS, TSF_REFUSED_CALLER, b"the working directory is gone or cannot be read")
            return 0
        added.count = jobs[0] = reading.batch.count
        added.reserved = 0
        if (others_wait or self.full(added.count)) and not self.known(request.head):
            if not reading.batch.flags & TSF_BATCH_NO_BLOCK:
                return FRAME_LATER
            self._refuse(conn, ALL_JOBS, TSF_REFUSED_FULL,
                         b"there is no room for so many jobs in the queue (TS_MAXCONN)")
            return 0
        checked = request.head[0]
        stored = request
        stored.head = &checked
        if patterns_read(&reading.patterns, request.env, checked.env_len) < 0:
            set_errno(ENOMEM)
            self._refuse_errno(conn)
            return 0
        patterns_apply(&reading.patterns, <char *> request.env, &checked.env_len, &checked.env_count)
        done = self._batch_jobs(conn, &stored, &reading, &added)
        patterns_free(&reading.patterns)
        return done

    cdef int _batch_jobs(self, Conn *conn, const Request *request, Reading *reading, tsf_added *added) noexcept nogil:
        """Queue all of the frame, or refuse it. 0, or -1: it is not well-formed."""
        cdef SubmitResult result
        cdef int done
        result = submission.begin_jobs(self.spool, request.head, request.cwd, request.env, request.affinity,
                                       &added.first)
        if result == SUBMIT_OK:
            reading.first = added.first
            reading.warned = False
            for reading.place in range(added.count):
                done = self._batch_job(conn, request, reading)
                if done != 0:
                    submission.drop_jobs(self.spool)
                    return done if done < 0 else 0
            result = submission.queue_jobs(self.spool)
            if result == SUBMIT_OK and reading.batch.place == 0:
                self._warn_of_bounds(conn, request.head)
        if result == SUBMIT_FAILED:
            self._refuse_errno(conn)
        elif result == SUBMIT_GONE:
            self._refuse(conn, ALL_JOBS, TSF_REFUSED_SYSTEM, GONE)
        else:                                  # queued, now or by the same frame before
            self.conns.send(conn, TSF_FRAME_ADDED, added, sizeof(tsf_added))
        return 0

    cdef int _batch_job(self, Conn *conn, const Request *request, Reading *reading) noexcept nogil:
        """The next one of the frame. 0; 1: refused, and answered; -1: it is not well-formed."""
        cdef tsf_batch_job head
        cdef Submission job
        cdef Command command
        cdef const char *words = reading.at + sizeof(head)
        cdef const char *cwd = request.cwd
        cdef const char *env
        cdef uint32_t env_len, env_count
        cdef int done
        if <size_t> (reading.end - reading.at) < sizeof(head):
            return -1
        memcpy(&head, reading.at, sizeof(head))
        if <uint64_t> (reading.end - words) < <uint64_t> head.argv_len + head.cwd_len + head.env_len:
            return -1
        env = words + head.argv_len + head.cwd_len
        reading.at = env + head.env_len
        env_len, env_count = head.env_len, head.env_count
        if (not strings_fit(words, head.argv_len, head.argc) or not strings_fit(env, head.env_len, head.env_count)
                or (head.cwd_len and not strings_fit(words + head.argv_len, head.cwd_len, 1))):
            return -1
        if head.cwd_len:
            cwd = words + head.argv_len
        if self.split(words, head.argc) == NULL:
            set_errno(ENOMEM)
            self._refuse_errno(conn)
            return 1
        if parse(self.words, <int> head.argc, &command) < 0:
            self._refuse(conn, reading.place, TSF_REFUSED_JOB, command.error)
            return 1
        self._fill(&job, &command, words + head.argv_len, head.argc)
        patterns_apply(&reading.patterns, <char *> env, &env_len, &env_count)
        job.cwd = cwd
        job.env = env
        job.env_len = env_len
        done = self._batch_submit(conn, request, reading, &job, &command)
        command_free(&command)
        return done

    cdef int _batch_submit(self, Conn *conn, const Request *request, Reading *reading, Submission *job,
                           Command *command) noexcept nogil:
        cdef const char *hook = env_change(job.env, job.env_len, b"TS_ONFINISH=")
        cdef uint64_t id = reading.first + reading.place
        cdef Job *last = self.spool.queue.last_added()
        cdef const Span *array
        cdef uint64_t last_id
        cdef SubmitResult result
        if command.action != ACTION_SUBMIT or command.flags & TSF_JOB_FOREGROUND or command.no_block:
            self._refuse(conn, reading.place, TSF_REFUSED_JOB, b"a batch accepts commands to queue, without -f and -B")
            return 1
        if command.array_count:
            self._refuse(conn, reading.place, TSF_REFUSED_JOB, b"--array is for a call of its own, not for a batch")
            return 1
        if job.cwd[0] != c'/':
            self._refuse(conn, reading.place, TSF_REFUSED_JOB, b"its directory must be an absolute path")
            return 1
        if not (self._resolve(reading, command.after, command.n_after)
                and self._resolve(reading, command.after_ok, command.n_after_ok)):
            self._refuse(conn, reading.place, TSF_REFUSED_ID,
                         b"-D, -W: '@' and a number must name an earlier job of the batch")
            return 1
        if command.after_last and (reading.place or last != NULL):
            array = self.spool.arrays.of(last.id) if reading.place == 0 else NULL
            last_id = array.first if array != NULL else last.id if reading.place == 0 else id - 1
            if add_id(&command.after, &command.n_after, last_id) < 0:
                set_errno(ENOMEM)
                self._refuse_errno(conn)
                return 1
        if (self.spool.arrays.expand(&command.after, &command.n_after) < 0
                or self.spool.arrays.expand(&command.after_ok, &command.n_after_ok) < 0
                or each_once(command) < 0):
            set_errno(ENOMEM)
            self._refuse_errno(conn)
            return 1
        job.after = command.after
        job.n_after = command.n_after
        job.after_ok = command.after_ok
        job.n_after_ok = command.n_after_ok
        if hook[11] == c'=' if hook != NULL else variable(request, b"TS_ONFINISH=") != NULL:
            job.flags |= TSF_JOB_HOOK
        if not command.flags & TSF_JOB_NO_OUTPUT:
            self._prefix(job.cwd, command, id, -1)
            if not self.reply.text.failed:
                job.prefix = self.reply.text.data
            if command.log != NULL and self.reply.text.size > PATH_BYTES:
                self._refuse(conn, reading.place, TSF_REFUSED_JOB, b"--log: the path is too long")
                return 1
        result = SUBMIT_FAILED
        set_errno(ENOMEM)
        if not self.reply.text.failed:
            result = submission.add_job(self.spool, job)
        self.reply.text.failed = False
        if result == SUBMIT_UNKNOWN_ID:
            snprintf(self.refusal, sizeof(self.refusal), b"job %llu does not exist, so nothing can wait for it",
                     <unsigned long long> self.spool.bad_id)
            self._refuse(conn, reading.place, TSF_REFUSED_ID, self.refusal)
            return 1
        if result == SUBMIT_BAD_GPUS:
            self._refuse(conn, reading.place, TSF_REFUSED_JOB, BAD_GPUS)
            return 1
        if result == SUBMIT_FAILED:
            self._refuse_errno(conn)
            return 1
        if not reading.warned and (command.gpus or command.slots > 1 or job.argc == 1):
            reading.warned = self._warn(conn, command, job)
        return 0

    cdef bint _resolve(self, const Reading *reading, uint64_t *ids, size_t n) noexcept nogil:
        """Ids in the place of places in the batch; False: one is not that of an earlier job."""
        cdef uint64_t place, low, high, middle
        cdef tsf_batch_part part
        cdef size_t i
        for i in range(n):
            if ids[i] >> PLACE_BIT == 0:
                continue
            place = ids[i] & ~(<uint64_t> 1 << PLACE_BIT)
            if place >= reading.batch.place + reading.place:
                return False
            if place >= reading.batch.place:
                ids[i] = reading.first + place - reading.batch.place
                continue
            low = 0
            high = reading.batch.parts
            while low < high:                  # the last part that begins at or before it
                middle = (low + high) // 2
                memcpy(&part, reading.parts + middle * sizeof(part), sizeof(part))
                if part.place <= place:
                    low = middle + 1
                else:
                    high = middle
            if low == 0:
                return False
            memcpy(&part, reading.parts + (low - 1) * sizeof(part), sizeof(part))
            ids[i] = part.first + place - part.place
        return True
