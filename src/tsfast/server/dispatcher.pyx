# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See dispatcher.pxd."""
cimport cython
from libc.stddef cimport size_t
from libc.string cimport memcpy

from tsfast.server.handlers.submit cimport Adding
from tsfast.server.handlers.cancel cimport Cancel
from tsfast.server.connections cimport FRAME_LATER, Conn, Conns
from tsfast.server.environ cimport environ_action
from tsfast.server.handlers.describe cimport tell
from tsfast.server.handlers.gpu_settings cimport gpu_action, is_gpu_action
from tsfast.grammar.options cimport (
    ACTION_BATCH, ACTION_CAT, ACTION_CLEAR, ACTION_COUNT_RUNNING, ACTION_GETENV, ACTION_GET_LOGDIR, ACTION_HELP,
    ACTION_INFO, ACTION_KILL, ACTION_KILL_ALL, ACTION_KILL_SERVER, ACTION_LAST_ID, ACTION_LIST, ACTION_OUTPUT,
    ACTION_PID, ACTION_REMOVE, ACTION_SETENV, ACTION_SET_LOGDIR, ACTION_SLOTS, ACTION_SUBMIT, ACTION_SWAP, ACTION_TAIL,
    ACTION_UNSETENV, ACTION_URGENT, ACTION_VERSION, ACTION_WAIT, ACTION_WAIT_ALL, Command, command_free, help_text,
    parse, ACTION_CANCEL,
)
from tsfast.scheduler.scheduler cimport (
    FLAG_SKIPPED, FLAG_WAITED, JOB_BLOCKED, JOB_ENDED, JOB_READY, JOB_RUNNING, JOB_SKIPPING, JOB_STARTING, Job,
)
from tsfast.layout.structs cimport (
    TSF_EXIT_ERROR, TSF_FRAME_BATCH, TSF_FRAME_DESCRIPTORS, TSF_FRAME_ENDED, TSF_FRAME_ERR, TSF_FRAME_EXIT_AT_CLOSE,
    TSF_FRAME_FOLLOW, TSF_FRAME_GIVE_WAY, TSF_FRAME_REQUEST, TSF_FRAME_SEND_DESCRIPTORS, TSF_FRAME_SIGNAL,
    TSF_FRAME_TAKE_OVER, TSF_FRAME_WATCH, TSF_JOB_FOREGROUND, TSF_JOB_NO_OUTPUT, TSF_REMOVED, TSF_SKIPPED, TSF_JOB_GZIP,
    TSF_HEARS_ALIVE, TSF_SHOWS_MOMENTS, TSF_TTY_STDERR, tsf_code, tsf_cold, tsf_follow, tsf_header, tsf_hot,
    tsf_release, tsf_request,
)
from tsfast.server.handlers.list_jobs cimport list_jobs
from tsfast.server.handlers.several cimport Many
from tsfast.base.text cimport text_add, text_char, text_str, text_u64
from tsfast.server.replies cimport Replies
from tsfast.server.request cimport Request, has_variable, request_read, variable
from tsfast.store.record cimport Row, error_level
from tsfast.render.fields cimport output_path
from tsfast.lifecycle cimport changes, retention
from tsfast.lifecycle.spool cimport Spool
from tsfast.base.system cimport SIGTERM, close, tsf_is_gone
from tsfast.server.waiters cimport (
    ROLE_FOLLOW, ROLE_FOLLOWING, ROLE_FOREGROUND, ROLE_NONE, ROLE_SUCCESSOR, ROLE_TELL, ROLE_WAIT, ROLE_WATCH, Waiters,
)
from tsfast.server.subscribers cimport Watchers


# ---- handlers of the layers below: owner is the Commands object ------------------------------------------------

cdef int frame_came(void *owner, Conn *conn, uint32_t type, char *payload, uint32_t size) noexcept nogil:
    cdef tsf_code code
    if (<Commands> owner).stopping:
        return -1                              # -K was served in this turn: the call is made again, to the next server
    if ((type == TSF_FRAME_REQUEST or type == TSF_FRAME_BATCH) and conn.role == ROLE_NONE
            and conn.release > (<Commands> owner).release):
        conn.role = ROLE_SUCCESSOR
        (<Commands> owner).conns.send(conn, TSF_FRAME_GIVE_WAY, NULL, 0)
        return 0
    if type == TSF_FRAME_TAKE_OVER and conn.role == ROLE_SUCCESSOR:
        (<Commands> owner).giving_way = True
        return 0
    if (type == TSF_FRAME_REQUEST or type == TSF_FRAME_BATCH) and conn.role == ROLE_NONE:
        return (<Commands> owner)._call(conn, type, payload, size)
    if type == TSF_FRAME_WATCH and conn.role == ROLE_NONE:
        return (<Commands> owner).watchers.watch(conn, payload, size)
    if type == TSF_FRAME_DESCRIPTORS and conn.role == ROLE_FOREGROUND:
        return (<Commands> owner)._attach(conn)
    if type == TSF_FRAME_SIGNAL and conn.role == ROLE_FOREGROUND and size == sizeof(tsf_code):
        memcpy(&code, payload, sizeof(code))     # it need not be aligned
        (<Commands> owner)._foreground_signal(conn, code.code)
        return 0
    return -1


cdef void conn_closed(void *owner, Conn *conn) noexcept nogil:
    (<Commands> owner)._hung_up(conn)


cdef void job_started(void *owner, uint64_t job, const tsf_hot *hot) noexcept nogil:
    (<Commands> owner)._job_started(job)


cdef void job_final(void *owner, uint64_t job, const tsf_hot *hot) noexcept nogil:
    (<Commands> owner)._job_final(job, hot)


cdef int give_descriptors(void *owner, uint64_t job, int *fds) noexcept nogil:
    return (<Commands> owner)._give_descriptors(job, fds)


cdef void drop_descriptors(Conn *conn) noexcept nogil:
    cdef int i
    for i in range(conn.n_fds):
        close(conn.fds[i])
    conn.n_fds = 0


@cython.final
cdef class Commands:
    def __init__(self, Conns conns, Spool spool, bytes version not None, uint64_t max_unfinished,
                 uint32_t cancel_grace):
        self.conns = conns
        self.reply = Replies(conns)
        self.waiters = Waiters()
        self.watchers = Watchers(conns, spool.events)
        self.spool = spool
        self.adding = Adding(conns, self.reply, spool, max_unfinished)
        self.many = Many(spool.loop, self.reply, self.waiters, spool)
        self.cancel = Cancel(spool.loop, self.reply, self.many, spool, cancel_grace)
        self.version = version
        self.version_text = self.version
        self.release = tsf_release(self.version_text)
        self.adding.release = self.release
        self.waiters.ended_members = &spool.kept_for_waiters
        conns.owner = <void *> self
        conns.on_frame = frame_came
        conns.on_close = conn_closed
        spool.owner = <void *> self
        spool.on_started = job_started
        spool.on_final = job_final
        spool.take_descriptors = give_descriptors

    # ---- requests ----------------------------------------------------------------------------------------------
    cdef int _call(self, Conn *conn, uint32_t type, char *payload, uint32_t size) noexcept nogil:
        """A call that was given up is not obeyed: who is told that it failed makes another one."""
        cdef int done
        if tsf_is_gone(conn.source.fd):
            return -1
        if type == TSF_FRAME_BATCH:
            done = self._batch(conn, payload, size)
        else:
            done = self._request(conn, payload, size)
        if (done >= 0 and (not conn.closing or self.conns.journal is not None)
                and (<const tsf_request *> payload).tty & TSF_HEARS_ALIVE):
            self.conns.owe_alive(conn)
        return done

    cdef int _request(self, Conn *conn, char *payload, uint32_t size) noexcept nogil:
        cdef Request request
        cdef Command command
        cdef const char *const *words
        cdef uint32_t jobs
        cdef int done = 0
        if request_read(&request, payload, size, NULL) < 0:
            return -1
        conn.tty = request.head.tty
        words = self.adding.split(request.argv_bytes, request.head.argc)
        if words == NULL:
            return self.reply.no_memory(conn)
        if parse(words, <int> request.head.argc, &command) < 0:
            return self.reply.fail(conn, command.error)
        jobs = max(command.array_count, <uint32_t> 1)
        if command.action == ACTION_SUBMIT and self._must_wait(jobs) and not self.adding.known(request.head):
            if command.no_block:
                self.reply.exit(conn, 2)
            else:
                self.waiters.park(conn, jobs)
                done = FRAME_LATER
        else:
            self._perform(conn, &request, &command)
        command_free(&command)
        return done

    cdef int _batch(self, Conn *conn, char *payload, uint32_t size) noexcept nogil:
        cdef uint32_t jobs = 0
        cdef int done = self.adding.batch(conn, payload, size, self._must_wait(0), &jobs)
        if done == FRAME_LATER:
            self.waiters.park(conn, jobs)
        return done

    cdef void _perform(self, Conn *conn, const Request *request, Command *command) noexcept nogil:
        cdef int action = command.action
        cdef uint64_t id = 0
        if action == ACTION_INFO and not has_variable(request, b"TZ="):
            conn.tty &= ~<uint32_t> TSF_SHOWS_MOMENTS     # its time zone is the machine's, as ours
        if command.n_filters or (action == ACTION_LIST and command.n_ranges):
            self.reply.elsewhere(conn)          # filters are matched over the table, by the client
        elif action != ACTION_SUBMIT and self.spool.arrays.resolve(command) < 0:
            self.reply.fail(conn, command.error)
        elif action == ACTION_SUBMIT:
            if self.adding.one(conn, request, command, &id):
                if command.flags & TSF_JOB_FOREGROUND:
                    self._foreground(conn, id)
                else:
                    self.reply.exit(conn, 0)
        elif action == ACTION_LIST:
            list_jobs(self.reply, self.spool, conn, request, command)
        elif action == ACTION_HELP:
            self.reply.text.size = 0
            text_str(&self.reply.text, help_text())
            self.reply.answer(conn)
        elif action == ACTION_VERSION:
            self.reply.text.size = 0
            text_str(&self.reply.text, self.version_text)
            self.reply.answer(conn)
        elif action == ACTION_SLOTS:
            self._slots(conn, command)
        elif action == ACTION_CLEAR:
            self.many.clearing()
            if retention.clear(self.spool) < 0:
                self.reply.fail_errno(conn, b"the job table could not be written")
            else:
                self.reply.exit(conn, 0)
        elif action == ACTION_KILL_SERVER:
            self._kill_server(conn, request.head.tty & TSF_TTY_STDERR)
        elif action == ACTION_KILL_ALL:
            self._kill_all(conn)
        elif action == ACTION_SWAP:
            self._swap(conn, request, command)
        elif action == ACTION_COUNT_RUNNING:
            self.reply.text.size = 0
            text_u64(&self.reply.text, self.spool.queue.starting + self.spool.queue.running)
            text_char(&self.reply.text, c'\n')
            self.reply.answer(conn)
        elif action == ACTION_LAST_ID:
            self._last_id(conn)
        elif action == ACTION_GET_LOGDIR:
            self.reply.text.size = 0
            self.adding.logdir(&self.reply.text)
            self.reply.answer_value(conn)
        elif action == ACTION_SET_LOGDIR:
            self._set_logdir(conn, request, command)
        elif action == ACTION_GETENV or action == ACTION_SETENV or action == ACTION_UNSETENV:
            self.reply.text.size = 0
            if environ_action(&self.reply.text, command) < 0:
                self.reply.fail_errno(conn, b"the server's environment could not be changed")
            else:
                if action != ACTION_GETENV:
                    self.spool.grants.poller.renew()
                    self.reply.exit(conn, 0)
                else:
                    self.reply.answer_value(conn)
        elif action == ACTION_BATCH:
            self.reply.elsewhere(conn)          # its lines are read by the caller's side
        elif is_gpu_action(action):
            gpu_action(self.reply, self.spool, conn, command)
        elif action == ACTION_REMOVE and self.adding.known(request.head):
            self.reply.exit(conn, 0)            # the call is made again: the server died before its answer
        elif action == ACTION_CANCEL:
            self.cancel.perform(conn, command)
        elif action == ACTION_WAIT_ALL:
            self.many.wait_all(conn, request.head)
        elif command.n_ranges and not command.has_id:
            self.many.perform(conn, command, request.head)
        else:
            self._job_action(conn, request, command)

    cdef void admit_parked(self) noexcept nogil:
        """Calls that wait for room, oldest first: one for which there is not enough yet holds up those behind it."""
        cdef Conn *conn
        while self.waiters.parked_first != NULL and not self.adding.full(self.waiters.parked_first.job):
            conn = self.waiters.parked_first
            self.waiters.remove(conn)
            self.admitting = True
            self.conns.resume(conn)
            self.admitting = False

    cdef bint _must_wait(self, uint64_t jobs) noexcept nogil:
        """For room in the queue, behind those that wait already."""
        cdef bint has_its_turn = self.admitting
        self.admitting = False
        return self.adding.full(jobs) or (self.waiters.parked_first != NULL and not has_its_turn)

    # ---- foreground jobs ---------------------------------------------------------------------------------------
    cdef int _foreground(self, Conn *conn, uint64_t id) noexcept nogil:
        cdef Job *job = self.spool.queue.get(id)
        cdef bint given_up
        cdef tsf_hot hot
        if job == NULL:
            with gil:
                given_up = id in self.spool.given_up
            return self.reply.fail_job(conn, id, b"was removed: its caller did not come back when the server had been "
                                       b"started again" if given_up else
                                       b"is no longer known: it has ended or was removed")
        if job.state == JOB_ENDED or job.state == JOB_SKIPPING:
            if self.spool.table.read_hot(id, &hot) < 0:
                return self.reply.fail_errno(conn, b"the job's record cannot be read")
            retention.answered(self.spool, id)
            return self.reply.exit(conn, error_level(&hot))
        if self.spool.unreadable.has(id):
            return self._fail_stuck(conn, id, id)
        if self._wait_for(conn, id, ROLE_FOREGROUND) < 0:
            return self.reply.no_memory(conn)
        self.conns.send(conn, TSF_FRAME_SEND_DESCRIPTORS, NULL, 0)
        return 0

    cdef int _attach(self, Conn *conn) noexcept nogil:
        cdef Job *job = self.spool.queue.get(conn.job)
        if conn.n_fds != 3:
            return -1
        if job != NULL and job.state == JOB_RUNNING:
            drop_descriptors(conn)              # it has them from an earlier connection
        self.spool.queue.release(conn.job)      # its one hold; nothing happens where it was lifted before
        return 0

    cdef int _give_descriptors(self, uint64_t id, int *fds) noexcept nogil:
        cdef Conn *conn = self.waiters.first(id)
        while conn != NULL and not (conn.role == ROLE_FOREGROUND and conn.n_fds == 3):
            conn = conn.next_waiting
        if conn == NULL:
            return 0
        memcpy(fds, conn.fds, 3 * sizeof(int))
        return 3

    cdef void _foreground_signal(self, Conn *conn, int32_t number) noexcept nogil:
        cdef uint64_t id = conn.job
        if number < 1 or number > 64:
            return
        if changes.signal(self.spool, id, number) == -2:
            # Not started yet: whoever interrupts its caller wants it gone.
            self.waiters.remove(conn)
            changes.remove(self.spool, id, NULL)
            self.reply.exit(conn, 128 + number)

    cdef void _hung_up(self, Conn *conn) noexcept nogil:
        cdef uint64_t id = conn.job
        cdef int role = conn.role
        self.watchers.remove(conn)
        self.waiters.remove(conn)
        if role == ROLE_FOREGROUND and not self.stopping:
            self.stirred = True
            changes.remove(self.spool, id, NULL)      # refused when it runs: then it runs on

    # ---- waiting -----------------------------------------------------------------------------------------------
    cdef int _wait_for(self, Conn *conn, uint64_t id, int role) noexcept nogil:
        cdef Job *job = self.spool.queue.get(id)
        if job != NULL:
            job.flags |= FLAG_WAITED
        return self.waiters.add(conn, id, role)

    cdef void _job_started(self, uint64_t id) noexcept nogil:
        cdef Job *job = self.spool.queue.get(id)
        cdef Conn *conn
        cdef Conn *following
        if job == NULL or not job.flags & FLAG_WAITED:
            return
        conn = self.waiters.first(id)
        while conn != NULL:
            following = conn.next_waiting
            if conn.role == ROLE_FOREGROUND:
                drop_descriptors(conn)          # kept until here: a start that is revoked needs them again
            if conn.role == ROLE_FOLLOW:
                conn.role = ROLE_FOLLOWING
                if self._send_follow(conn, id, <int32_t> conn.source.tag) < 0:
                    self.waiters.remove(conn)
                    self.reply.exit(conn, TSF_EXIT_ERROR)
            elif conn.role == ROLE_TELL:
                self.waiters.remove(conn)
                self._tell(conn, job, <int> conn.source.tag)
            conn = following

    cdef void _job_final(self, uint64_t id, const tsf_hot *hot) noexcept nogil:
        cdef Conn *conn = self.waiters.first(id)
        cdef int32_t level = error_level(hot)
        cdef int role
        self.many.ended(id, hot)
        while conn != NULL:
            role = conn.role
            self.waiters.remove(conn)
            if role == ROLE_FOLLOW and self._send_follow(conn, id, <int32_t> conn.source.tag) == 0:
                role = ROLE_FOLLOWING
            if hot.state == TSF_REMOVED:
                self.reply.fail_job(conn, id, b"was removed")
            elif role == ROLE_TELL:
                self._tell(conn, self.spool.queue.get(id), <int> conn.source.tag)
            elif role == ROLE_FOLLOWING:
                self.conns.send_code(conn, TSF_FRAME_ENDED, level)
                self.conns.finish(conn)
            else:
                self.reply.exit(conn, level)
            conn = self.waiters.first(id)

    cdef void answer_all(self, const char *why) noexcept nogil:
        cdef Conn *conn = self.conns.all
        cdef Conn *following
        self.stopping = True
        while conn != NULL:
            following = conn.next
            if conn.role != ROLE_NONE and conn.role != ROLE_WATCH:
                self.waiters.remove(conn)
                self.reply.fail(conn, why)
            conn = following

    # ---- actions on the queue ----------------------------------------------------------------------------------
    cdef int _slots(self, Conn *conn, const Command *command) noexcept nogil:
        if command.has_number:
            if changes.set_slots(self.spool, command.number) < 0:
                return self.reply.fail_errno(conn, b"the number of slots could not be recorded")
            return self.reply.exit(conn, 0)
        self.reply.text.size = 0
        text_u64(&self.reply.text, self.spool.queue.max_slots)
        text_char(&self.reply.text, c'\n')
        return self.reply.answer(conn)

    cdef int _kill_server(self, Conn *conn, bint is_seen) noexcept nogil:
        """A person is told what is gone with the queue."""
        cdef uint64_t running = self.spool.queue.starting + self.spool.queue.running
        cdef uint64_t dropped = self.spool.queue.known - self.spool.queue.ended - running
        if retention.drop_all(self.spool) < 0:
            return self.reply.fail_errno(conn, b"the end of the queue could not be recorded")
        self.answer_all(b"the queue was ended by -K")
        if is_seen and (dropped or running):
            self.reply.text.size = 0
            text_str(&self.reply.text, b"ts: queued jobs dropped: ")
            text_u64(&self.reply.text, dropped)
            text_str(&self.reply.text, b"; running jobs that go on: ")
            text_u64(&self.reply.text, running)
            text_char(&self.reply.text, c'\n')
            self.conns.send(conn, TSF_FRAME_ERR, self.reply.text.data, self.reply.text.size)
        self.conns.send_code(conn, TSF_FRAME_EXIT_AT_CLOSE, 0)
        self.last_caller = conn
        return 0

    cdef int _kill_all(self, Conn *conn) noexcept nogil:
        cdef Job *job = self.spool.queue.first_running()
        while job != NULL:
            changes.signal(self.spool, job.id, SIGTERM)
            job = self.spool.queue.following(job)
        return self.reply.exit(conn, 0)

    cdef int _swap(self, Conn *conn, const Request *request, const Command *command) noexcept nogil:
        cdef int done
        if self._find(conn, command.id) == NULL or self._find(conn, command.id2) == NULL:
            return 0
        if self.spool.unreadable.has(command.id):
            return self._fail_stuck(conn, command.id, command.id)
        if self.spool.unreadable.has(command.id2):
            return self._fail_stuck(conn, command.id2, command.id2)
        done = changes.swap(self.spool, command.id, command.id2, request.head.token)
        if done == -2:
            return self.reply.fail(conn, b"-U: only queued jobs can change places")
        if done < 0:
            return self.reply.fail_errno(conn, b"the job table could not be written")
        return self.reply.exit(conn, 0)

    cdef int _last_id(self, Conn *conn) noexcept nogil:
        if self.spool.table.header.committed == 0:
            return self.reply.fail(conn, b"no job was added yet")
        self.reply.text.size = 0
        text_u64(&self.reply.text, self.spool.table.header.committed - 1)
        text_char(&self.reply.text, c'\n')
        return self.reply.answer(conn)

    cdef int _set_logdir(self, Conn *conn, const Request *request, const Command *command) noexcept nogil:
        cdef tsf_header before = self.spool.table.header
        cdef size_t length
        # Whether it is a writable directory is looked at by the caller's side: the server waits on nobody's path.
        if variable(request, b"TSFAST_LOGDIR_CHECKED=") == NULL:
            return self.reply.elsewhere(conn)
        self.reply.text.size = 0
        if command.text[0] != c'/':
            text_str(&self.reply.text, request.cwd)
            text_char(&self.reply.text, c'/')
        text_str(&self.reply.text, command.text)
        length = self.reply.text.size
        text_char(&self.reply.text, 0)
        if self.reply.text.failed or length >= sizeof(self.spool.table.header.logdir):
            self.reply.text.failed = False
            return self.reply.fail(conn, b"--set_logdir: the path is too long")
        memcpy(self.spool.table.header.logdir, self.reply.text.data, length)
        self.spool.table.header.logdir_len = <uint32_t> length
        if self.spool.table.save_settings() < 0:
            self.spool.table.header = before
            return self.reply.fail_errno(conn, b"--set_logdir: it could not be recorded")
        return self.reply.exit(conn, 0)

    # ---- actions on one job ------------------------------------------------------------------------------------
    cdef Job *_find(self, Conn *conn, uint64_t id) noexcept nogil:
        cdef Job *job = self.spool.queue.get(id)
        if job == NULL and id >= self.spool.table.header.committed:
            self.reply.fail_job(conn, id, b"does not exist")
        elif job == NULL:
            self.reply.fail_job(conn, id, b"is no longer known")
        return job

    cdef Job *_last_run(self) noexcept nogil:
        cdef Job *job = self.spool.queue.first_running()
        if job == NULL:
            job = self.spool.queue.last_ended()
            while job != NULL and job.flags & FLAG_SKIPPED:
                job = self.spool.queue.preceding(job)
        return job

    cdef int _job_action(self, Conn *conn, const Request *request, const Command *command) noexcept nogil:
        cdef Job *job
        cdef int action = command.action
        if command.has_id:
            job = self._find(conn, command.id)
            if job == NULL:
                return 0
        else:
            job = self._last_run() if command.run_last else self.spool.queue.last_added()
            if job == NULL:
                if command.run_last:
                    return self.reply.fail(conn, b"no job has run yet")
                return self.reply.fail(conn, b"there is no job")
        if action == ACTION_WAIT:
            return self._wait(conn, job)
        if action == ACTION_REMOVE:
            return self._remove(conn, job, request.head.token)
        if action == ACTION_KILL:
            return self._kill(conn, job)
        if action == ACTION_URGENT:
            return self._urgent(conn, job)
        return self._tell(conn, job, action)

    cdef int _tell(self, Conn *conn, const Job *job, int action) noexcept nogil:
        cdef const char *wrong
        if job.state == JOB_STARTING and (action == ACTION_PID or action == ACTION_OUTPUT):
            # Whoever asks right after adding it means the one that it is about to have.
            conn.source.tag = <uint64_t> action
            if self._wait_for(conn, job.id, ROLE_TELL) < 0:
                return self.reply.no_memory(conn)
            return 0
        if action == ACTION_TAIL or action == ACTION_CAT or action == ACTION_OUTPUT:
            return self._output(conn, job, action)
        self.reply.text.size = 0
        wrong = tell(&self.reply.text, self.spool, job, action, self.waiters.n_parked, conn.tty)
        if wrong != NULL:
            return self.reply.fail_job(conn, job.id, wrong)
        return self.reply.answer_info(conn, 0) if action == ACTION_INFO else self.reply.answer(conn)

    cdef int _fail_stuck(self, Conn *conn, uint64_t id, uint64_t culprit) noexcept nogil:
        self.reply.text.size = 0
        text_str(&self.reply.text, b"ts: job ")
        text_u64(&self.reply.text, id)
        if id != culprit:
            text_str(&self.reply.text, b" waits for job ")
            text_u64(&self.reply.text, culprit)
            text_str(&self.reply.text, b", which")
        text_str(&self.reply.text, b" has a record that cannot be read and does not run (`ts -r ")
        text_u64(&self.reply.text, culprit)
        text_str(&self.reply.text, b"` removes it)")
        self.reply.note(conn)
        return self.reply.exit(conn, TSF_EXIT_ERROR)

    cdef int _wait(self, Conn *conn, Job *job) noexcept nogil:
        cdef tsf_hot hot
        cdef uint64_t culprit = 0
        if job.state == JOB_ENDED:
            if self.spool.table.read_hot(job.id, &hot) < 0:
                return self.reply.fail_errno(conn, b"the job's record cannot be read")
            return self.reply.exit(conn, error_level(&hot))
        if self.spool.unreadable.blocks(job, &culprit):
            return self._fail_stuck(conn, job.id, culprit)
        if self._wait_for(conn, job.id, ROLE_WAIT) < 0:
            return self.reply.no_memory(conn)
        return 0

    cdef int _remove(self, Conn *conn, Job *job, const uint64_t *token) noexcept nogil:
        cdef uint64_t id = job.id
        cdef int done = changes.remove(self.spool, id, token)
        if done == -2:
            return self.reply.fail_job(conn, id, b"is running: end it with -k first")
        if done < 0:
            return self.reply.fail_errno(conn, b"the job table could not be written")
        return self.reply.exit(conn, 0)

    cdef int _kill(self, Conn *conn, Job *job) noexcept nogil:
        cdef int done = changes.signal(self.spool, job.id, SIGTERM)
        if done == -2:
            return self.reply.fail_job(conn, job.id, b"is not running")
        return self.reply.exit(conn, 0) if done == 0 else self.reply.fail_job(conn, job.id, b"has just ended")

    cdef int _urgent(self, Conn *conn, Job *job) noexcept nogil:
        cdef uint64_t id = job.id
        cdef int done
        if self.spool.unreadable.has(id):
            return self._fail_stuck(conn, id, id)
        done = changes.urgent(self.spool, id)
        if done == -2:
            return self.reply.fail_job(conn, id, b"is not queued")
        if done < 0:
            return self.reply.fail_errno(conn, b"the job table could not be written")
        return self.reply.exit(conn, 0)

    # ---- output ------------------------------------------------------------------------------------------------
    cdef int _output(self, Conn *conn, const Job *job, int action) noexcept nogil:
        cdef Row row
        cdef tsf_hot hot
        cdef tsf_cold cold
        cdef bint ended = job.state == JOB_ENDED
        cdef int32_t lines = 10 if action == ACTION_TAIL else -1
        if self.spool.unreadable.n and self.spool.unreadable.has(job.id):
            return self._fail_stuck(conn, job.id, job.id)
        if job.state == JOB_BLOCKED or job.state == JOB_READY:
            return self.reply.fail_job(conn, job.id, b"has not started yet")
        if self.spool.table.read_row(job.id, &row, &hot, &cold) < 0:
            return self.reply.fail_errno(conn, b"the job's record cannot be read")
        if hot.state == TSF_SKIPPED:
            return self.reply.fail_job(conn, job.id, b"was skipped: it has no output")
        if cold.flags & TSF_JOB_NO_OUTPUT:
            return self.reply.fail_job(conn, job.id, b"was added with -n: its output is not stored")
        if ended and hot.suffix[0] == 0:
            return self.reply.fail_job(conn, job.id, b"has no output file: see -i")
        if hot.suffix[0] == 0:
            if action == ACTION_OUTPUT:
                return self.reply.fail_job(conn, job.id, b"runs, but the name of its output could not be recorded")
            # It is being started; its output has no name yet.
            if cold.flags & TSF_JOB_GZIP:
                conn.source.tag = <uint64_t> action
                return self._wait_for(conn, job.id, ROLE_TELL)
            conn.source.tag = <uint64_t> <uint32_t> lines
            if self._wait_for(conn, job.id, ROLE_FOLLOW) < 0:
                return self.reply.no_memory(conn)
            return 0
        if action == ACTION_OUTPUT:
            self.reply.text.size = 0
            output_path(&self.reply.text, &row)
            return self.reply.answer_value(conn)
        if cold.flags & TSF_JOB_GZIP:
            self.reply.text.size = 0
            text_u64(&self.reply.text, job.id)
            text_char(&self.reply.text, c' ')
            output_path(&self.reply.text, &row)
            return self.reply.elsewhere_with_text(conn)
        if not ended and self._wait_for(conn, job.id, ROLE_FOLLOWING) < 0:
            return self.reply.no_memory(conn)
        self._follow(conn, &row, lines)
        if ended:
            self.conns.send_code(conn, TSF_FRAME_ENDED, error_level(&hot))
            self.conns.finish(conn)
        return 0

    cdef void _follow(self, Conn *conn, const Row *row, int32_t lines) noexcept nogil:
        cdef tsf_follow follow
        follow.lines = lines
        self.reply.text.size = 0
        text_add(&self.reply.text, <const char *> &follow, sizeof(follow))
        output_path(&self.reply.text, row)
        self.conns.send(conn, TSF_FRAME_FOLLOW, self.reply.text.data, self.reply.text.size)

    cdef int _send_follow(self, Conn *conn, uint64_t id, int32_t lines) noexcept nogil:
        cdef Row row
        cdef tsf_hot hot
        cdef tsf_cold cold
        if self.spool.table.read_row(id, &row, &hot, &cold) < 0 or hot.suffix[0] == 0:
            return -1
        self._follow(conn, &row, lines)
        return 0
