# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See dispatcher.pxd."""
cimport cython
from libc.string cimport memcpy

from tsfast.base.system cimport tsf_is_gone
from tsfast.grammar.options cimport (
    ACTION_BATCH, ACTION_CANCEL, ACTION_CAT, ACTION_CLEAR, ACTION_COUNT_RUNNING, ACTION_FULL_COMMAND, ACTION_GETENV,
    ACTION_GET_GPU_FREE, ACTION_GET_GPU_WAIT, ACTION_GET_LOGDIR, ACTION_GPUS, ACTION_HELP, ACTION_INFO, ACTION_KILL,
    ACTION_KILL_ALL, ACTION_KILL_SERVER, ACTION_LABEL, ACTION_LAST_ID, ACTION_LIST, ACTION_OUTPUT, ACTION_PID,
    ACTION_REMOVE, ACTION_SETENV, ACTION_SET_GPU_FREE, ACTION_SET_GPU_WAIT, ACTION_SET_LOGDIR, ACTION_SLOTS,
    ACTION_STATE, ACTION_SUBMIT, ACTION_SWAP, ACTION_TAIL, ACTION_UNSETENV, ACTION_URGENT, ACTION_VERSION, ACTION_WAIT,
    ACTION_WAIT_ALL, ACTION_WHY, command_free, parse,
)
from tsfast.layout.table cimport TSF_REMOVED
from tsfast.layout.wire cimport (
    TSF_EXIT_ERROR, TSF_FRAME_BATCH, TSF_FRAME_DESCRIPTORS, TSF_FRAME_GIVE_WAY, TSF_FRAME_REQUEST, TSF_FRAME_SIGNAL,
    TSF_FRAME_TAKE_OVER, TSF_FRAME_WATCH, TSF_HEARS_ALIVE, tsf_code, tsf_release, tsf_request,
)
from tsfast.lifecycle cimport changes
from tsfast.scheduler.scheduler cimport FLAG_WAITED, Job
from tsfast.server.connections cimport conn_of
from tsfast.server.handlers.cancel cimport cancel_jobs
from tsfast.server.handlers.describe cimport describe_job, describe_jobs
from tsfast.server.handlers.describe_queue cimport count_running, last_id, list_gpus, show_help, show_version
from tsfast.server.handlers.foreground cimport attach, drop_descriptors, forward_signal, lend_descriptors
from tsfast.server.handlers.list_jobs cimport list_jobs
from tsfast.server.handlers.output cimport begin_following, send_ended, show_output, show_output_of
from tsfast.server.handlers.remove cimport clear_jobs, remove_jobs
from tsfast.server.handlers.reorder cimport make_urgent, swap_jobs
from tsfast.server.handlers.settings cimport (
    get_gpu_free, get_gpu_wait, get_logdir, get_variable, set_gpu_free, set_gpu_wait, set_logdir, set_slots,
    set_variable, unset_variable,
)
from tsfast.server.handlers.shutdown cimport end_queue
from tsfast.server.handlers.signal cimport kill_all, kill_jobs
from tsfast.server.handlers.submit cimport submit_jobs
from tsfast.server.handlers.submit_batch cimport submit_batch
from tsfast.server.handlers.wait cimport count_ended, progress_due, wait_for_all, wait_for_jobs
from tsfast.server.request cimport request_read, words_split
from tsfast.server.targets cimport select_jobs
from tsfast.server.waiters cimport (
    ROLE_FOLLOW, ROLE_FOLLOWING, ROLE_FOREGROUND, ROLE_NONE, ROLE_START, ROLE_SUCCESSOR,
)
from tsfast.store.record cimport error_level


# ---- the handler of each action --------------------------------------------------------------------------------

cdef enum Needs:
    NOTHING = 0
    JOBS = 1              # ids, or the default job of the action
    ONCE = 2              # a request that is made again, because its reply was lost, has been carried out

cdef struct Entry:
    Handler handler
    int needs             # bits of Needs

cdef Entry ACTIONS[ACTION_VERSION + 1]


cdef int on(int action, Handler handler, int needs=NOTHING) except -1:
    ACTIONS[action].handler = handler
    ACTIONS[action].needs = needs
    return 0


cdef int delegate(Services services, Conn *conn, const Request *request, Command *command,
                  const Targets *jobs) noexcept nogil:
    return services.reply.delegate(conn)


on(ACTION_LIST, list_jobs)
on(ACTION_SUBMIT, submit_jobs)
on(ACTION_BATCH, delegate)        # the client's side reads its lines
on(ACTION_WAIT, wait_for_jobs, JOBS)
on(ACTION_WAIT_ALL, wait_for_all)
on(ACTION_REMOVE, remove_jobs, JOBS | ONCE)
on(ACTION_CLEAR, clear_jobs)
on(ACTION_KILL, kill_jobs, JOBS)
on(ACTION_KILL_ALL, kill_all)
on(ACTION_CANCEL, cancel_jobs, JOBS)
on(ACTION_URGENT, make_urgent, JOBS)
on(ACTION_SWAP, swap_jobs)
on(ACTION_TAIL, show_output, JOBS)
on(ACTION_CAT, show_output, JOBS)
on(ACTION_OUTPUT, show_output, JOBS)
on(ACTION_PID, describe_jobs, JOBS)
on(ACTION_INFO, describe_jobs, JOBS)
on(ACTION_STATE, describe_jobs, JOBS)
on(ACTION_WHY, describe_jobs, JOBS)
on(ACTION_LABEL, describe_jobs, JOBS)
on(ACTION_FULL_COMMAND, describe_jobs, JOBS)
on(ACTION_COUNT_RUNNING, count_running)
on(ACTION_LAST_ID, last_id)
on(ACTION_GPUS, list_gpus)
on(ACTION_HELP, show_help)
on(ACTION_VERSION, show_version)
on(ACTION_SLOTS, set_slots)
on(ACTION_GET_LOGDIR, get_logdir)
on(ACTION_SET_LOGDIR, set_logdir)
on(ACTION_GET_GPU_FREE, get_gpu_free)
on(ACTION_SET_GPU_FREE, set_gpu_free)
on(ACTION_GET_GPU_WAIT, get_gpu_wait)
on(ACTION_SET_GPU_WAIT, set_gpu_wait)
on(ACTION_GETENV, get_variable)
on(ACTION_SETENV, set_variable)
on(ACTION_UNSETENV, unset_variable)
on(ACTION_KILL_SERVER, end_queue)


# ---- callbacks of the layers below: owner is the Dispatcher ----------------------------------------------------

cdef int frame_came(void *owner, Conn *conn, uint32_t type, char *payload, uint32_t size) noexcept nogil:
    return (<Dispatcher> owner)._frame(conn, type, payload, size)


cdef void conn_closed(void *owner, Conn *conn) noexcept nogil:
    (<Dispatcher> owner)._hung_up(conn)


cdef void job_started(void *owner, uint64_t job, const tsf_hot *hot) noexcept nogil:
    (<Dispatcher> owner)._job_started(job)


cdef void job_final(void *owner, uint64_t job, const tsf_hot *hot) noexcept nogil:
    (<Dispatcher> owner)._job_final(job, hot)


cdef int give_descriptors(void *owner, uint64_t job, int *fds) noexcept nogil:
    return lend_descriptors((<Dispatcher> owner).services, job, fds)


@cython.final
cdef class Dispatcher:
    def __init__(self, Conns conns, Spool spool, Services services):
        self.conns = conns
        self.spool = spool
        self.services = services
        self.subscribers = Subscribers(conns, spool.events)
        self.release = tsf_release(services.version_text)
        services.progress_timer = spool.loop.new_timer(progress_due, <void *> services)
        conns.owner = <void *> self
        conns.on_frame = frame_came
        conns.on_close = conn_closed
        spool.owner = <void *> self
        spool.on_started = job_started
        spool.on_final = job_final
        spool.take_descriptors = give_descriptors

    # ---- frames ------------------------------------------------------------------------------------------------
    cdef int _frame(self, Conn *conn, uint32_t type, char *payload, uint32_t size) noexcept nogil:
        cdef bint is_request = type == TSF_FRAME_REQUEST or type == TSF_FRAME_BATCH
        cdef tsf_code code
        if self.services.stopping:
            return -1                          # -K was served in this turn: the client asks the next server
        if is_request and conn.role == ROLE_NONE and conn.release > self.release:
            conn.role = ROLE_SUCCESSOR
            self.conns.send(conn, TSF_FRAME_GIVE_WAY, NULL, 0)
            return 0
        if type == TSF_FRAME_TAKE_OVER and conn.role == ROLE_SUCCESSOR:
            self.giving_way = True
            return 0
        if is_request and conn.role == ROLE_NONE:
            return self._request_frame(conn, type, payload, size)
        if type == TSF_FRAME_WATCH and conn.role == ROLE_NONE:
            return self.subscribers.add(conn, payload, size)
        if type == TSF_FRAME_DESCRIPTORS and conn.role == ROLE_FOREGROUND:
            return attach(self.services, conn)
        if type == TSF_FRAME_SIGNAL and conn.role == ROLE_FOREGROUND and size == sizeof(tsf_code):
            memcpy(&code, payload, sizeof(code))     # it need not be aligned
            forward_signal(self.services, conn, code.code)
            return 0
        return -1

    cdef int _request_frame(self, Conn *conn, uint32_t type, char *payload, uint32_t size) noexcept nogil:
        """A request whose client has left is not carried out: the client was told that it failed, and makes another
        one."""
        cdef int done
        if tsf_is_gone(conn.source.fd):
            return -1
        if type == TSF_FRAME_BATCH:
            done = submit_batch(self.services, conn, payload, size)
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
        cdef int done
        if request_read(&request, payload, size, NULL) < 0:
            return -1
        conn.tty = request.head.tty
        words = words_split(&self.services.submitter.words, request.argv_bytes, request.head.argc)
        if words == NULL:
            return self.services.reply.no_memory(conn)
        if parse(words, <int> request.head.argc, &command) < 0:
            return self.services.reply.fail(conn, command.error)
        done = self._perform(conn, &request, &command)
        command_free(&command)
        return done

    cdef int _perform(self, Conn *conn, const Request *request, Command *command) noexcept nogil:
        cdef const Entry *entry = &ACTIONS[command.action]
        cdef Targets jobs
        if command.n_filters or (command.action == ACTION_LIST and command.n_ranges):
            return self.services.reply.delegate(conn)     # the client's side matches filters, over the table
        if entry.needs & ONCE and self.services.submitter.is_known(request.head):
            return self.services.reply.exit(conn, 0)
        if not entry.needs & JOBS:
            return entry.handler(self.services, conn, request, command, NULL)
        if not select_jobs(&jobs, self.services.reply, self.spool, conn, command,
                           command.action == ACTION_WAIT and request.head.counted.gone > 0):
            return 0
        return entry.handler(self.services, conn, request, command, &jobs)

    cdef void _hung_up(self, Conn *conn) noexcept nogil:
        cdef bint foreground = conn.role == ROLE_FOREGROUND
        cdef uint64_t id = conn.awaited.job
        self.subscribers.remove(conn)
        self.services.waiters.remove(conn)
        if foreground and not self.services.stopping:
            self.stirred = True
            changes.remove(self.spool, id, NULL)      # refused when it runs: then it runs on

    # ---- those who wait for a job ------------------------------------------------------------------------------
    cdef void _job_started(self, uint64_t id) noexcept nogil:
        cdef const Job *job = self.spool.job(id)
        cdef Conn *conn
        cdef Conn *following
        if job == NULL or not job.flags & FLAG_WAITED:
            return
        conn = self.services.waiters.first(id)
        while conn != NULL:
            following = conn_of(conn.in_waiting.next)
            if conn.role == ROLE_FOREGROUND:
                drop_descriptors(conn)          # kept until here: a start that is revoked needs them again
            elif conn.role == ROLE_FOLLOW and begin_following(self.services, conn, id):
                conn.role = ROLE_FOLLOWING
            elif conn.role == ROLE_FOLLOW:
                self.services.waiters.remove(conn)
                self.services.reply.exit(conn, TSF_EXIT_ERROR)
            elif conn.role == ROLE_START:
                self.services.waiters.remove(conn)
                self._carry_out(conn, id)
            conn = following

    cdef void _job_final(self, uint64_t id, const tsf_hot *hot) noexcept nogil:
        cdef Conn *conn
        cdef int32_t level = error_level(hot)
        cdef int role
        count_ended(self.services, id, hot)
        conn = self.services.waiters.first(id)
        while conn != NULL:
            role = conn.role
            self.services.waiters.remove(conn)
            if role == ROLE_FOLLOW and begin_following(self.services, conn, id):
                role = ROLE_FOLLOWING
            if hot.state == TSF_REMOVED:
                self.services.reply.fail_job(conn, id, b"was removed")
            elif role == ROLE_START:
                self._carry_out(conn, id)
            elif role == ROLE_FOLLOWING:
                send_ended(self.services, conn, level)
            else:
                self.services.reply.exit(conn, level)
            conn = self.services.waiters.first(id)

    cdef void _carry_out(self, Conn *conn, uint64_t id) noexcept nogil:
        """The action that waited for the start of this job."""
        if conn.action == ACTION_PID:
            describe_job(self.services, conn, id, conn.action)
        else:
            show_output_of(self.services, conn, id, conn.action)
