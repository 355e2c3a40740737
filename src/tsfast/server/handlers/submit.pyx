# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See submit.pxd."""
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t, uint64_t

from tsfast.base.limits cimport ARRAY_BYTES
from tsfast.base.system cimport ENOMEM, set_errno
from tsfast.base.text cimport Text, text_char, text_u64
from tsfast.grammar.envfilter cimport filter_environment
from tsfast.grammar.logpath cimport log_unchecked
from tsfast.grammar.options cimport PLACE_BIT
from tsfast.layout.table cimport TSF_JOB_FOREGROUND, TSF_JOB_HOOK, TSF_JOB_NO_OUTPUT
from tsfast.layout.wire cimport TSF_FRAME_OUT, tsf_request
from tsfast.lifecycle cimport submission
from tsfast.lifecycle.arrays cimport element_env, element_words
from tsfast.lifecycle.submission cimport SUBMIT_FAILED, SUBMIT_OK
from tsfast.server.connections cimport FRAME_LATER
from tsfast.server.handlers.admission cimport must_wait
from tsfast.server.handlers.foreground cimport wait_in_foreground
from tsfast.server.request cimport variable
from tsfast.server.submitter cimport REFUSE_ARRAY, REFUSE_DIRECTORY, REFUSE_LOG, Submitter
from tsfast.store.staging cimport Submission


cdef int submit_jobs(Services services, Conn *conn, const Request *request, Command *command,
                     const Targets *jobs) noexcept nogil:
    cdef uint32_t count = max(command.array_count, <uint32_t> 1)
    cdef tsf_request checked = request.head[0]
    cdef Request stored = request[0]
    cdef uint64_t id = 0
    if must_wait(services, count) and not services.submitter.is_known(request.head):
        if command.no_block:
            return services.reply.exit(conn, 2)
        services.waiters.park(conn, count)
        return FRAME_LATER
    stored.head = &checked
    if not check(services, conn, request, command, &checked) or not queue(services, conn, &stored, command, &id):
        return 0
    if not command.flags & TSF_JOB_NO_OUTPUT:
        say_id(services, conn, id)
    if command.flags & TSF_JOB_FOREGROUND:
        return wait_in_foreground(services, conn, id)
    return services.reply.exit(conn, 0)


cdef void say_id(Services services, Conn *conn, uint64_t id) noexcept nogil:
    cdef Text *text = &services.reply.text
    text.size = 0
    text_u64(text, id)
    text_char(text, c'\n')
    services.conns.send(conn, TSF_FRAME_OUT, text.data, text.size)


cdef bint check(Services services, Conn *conn, const Request *request, Command *command,
                tsf_request *checked) noexcept nogil:
    """Before anything is recorded. `checked` gets the environment that is kept. False: the client has the reply."""
    cdef size_t i
    services.submitter.date[0] = 0
    if request.head.cwd_len <= 1:
        refuse(services, conn, REFUSE_DIRECTORY)
        return False
    # The client's side runs the command of TS_ENV, and comes back with what it printed.
    if command.env_text == NULL and variable(request, b"TS_ENV=") != NULL:
        services.reply.delegate(conn)
        return False
    for i in range(command.n_after + command.n_after_ok):
        if (command.after[i] if i < command.n_after else command.after_ok[i - command.n_after]) >> PLACE_BIT:
            services.reply.fail(conn, b"-D, -W: '@' is for the jobs of a batch (see --batch)")
            return False
    # Is the file of --log there already? The server waits for no path, nor for the file of a time zone.
    if (not command.flags & TSF_JOB_NO_OUTPUT and command.log != NULL
            and log_unchecked(command.log, command.flags, <char *> request.env, checked, services.submitter.date)):
        services.reply.delegate(conn)
        return False
    if (services.submitter.find_dependencies(command, services.submitter.last_job()) < 0
            or filter_environment(<char *> request.env, checked) < 0):
        services.reply.no_memory(conn)
        return False
    return True


cdef void refuse(Services services, Conn *conn, int result) noexcept nogil:
    services.submitter.refuse(result, b"the job")
    services.reply.fail(conn, services.submitter.refusal)


cdef bint queue(Services services, Conn *conn, const Request *request, Command *command, uint64_t *id) noexcept nogil:
    """False: the client has the reply."""
    cdef Submission job
    cdef int result
    if variable(request, b"TS_ONFINISH=") != NULL:
        command.flags |= TSF_JOB_HOOK
    services.submitter.fill(&job, command, request.argv_bytes + request.head.argv_len, request.head.argc)
    result = submission.begin_jobs(services.spool, request.head, request.cwd, request.env, request.affinity, id)
    if result == SUBMIT_OK:
        result = add_elements(services, request, command, &job, id[0])
        if result == SUBMIT_OK:
            result = submission.queue_jobs(services.spool)
        else:
            submission.drop_jobs(services.spool)
    if result < 0:
        refuse(services, conn, result)
        return False
    if result == SUBMIT_OK:
        services.submitter.warn_of_bounds(conn, request.head)
        services.submitter.warn(conn, command, &job)
        services.submitter.have_looked_at(conn, request, command, id[0])
    return True


cdef int add_elements(Services services, const Request *request, const Command *command, const Submission *job,
                      uint64_t first) noexcept nogil:
    """The job, or each element of the array. A SubmitResult or a Refusal."""
    cdef uint32_t i, count = max(command.array_count, <uint32_t> 1)
    cdef Submission element
    cdef int64_t index = -1
    cdef int result = SUBMIT_OK
    for i in range(count):
        element = job[0]
        if command.array_count:
            index = command.array_first + i
            if make_element(services.submitter, command, &element, first, i) < 0:
                return SUBMIT_FAILED
        if not command.flags & TSF_JOB_NO_OUTPUT:
            if not services.submitter.prefix(request.cwd, command, first + i, index):
                return no_prefix(services)
            element.prefix = services.reply.text.data
        result = submission.add_job(services.spool, &element)
        if result != SUBMIT_OK:
            return result
        if command.array_count and services.spool.staged_bytes() > <size_t> ARRAY_BYTES:
            return REFUSE_ARRAY
    return SUBMIT_OK


cdef int no_prefix(Services services) noexcept nogil:
    if not services.reply.text.failed:
        return REFUSE_LOG
    services.reply.text.failed = False
    set_errno(ENOMEM)
    return SUBMIT_FAILED


cdef int make_element(Submitter submitter, const Command *command, Submission *job, uint64_t first,
                      uint32_t i) noexcept nogil:
    cdef uint32_t index = command.array_first + i
    cdef Text *text = &submitter.element
    text.size = 0
    element_words(text, job.argv, job.argc, index, &job.argv_len)
    element_env(text, first, index, &job.env_len)
    if text.failed:
        text.failed = False
        set_errno(ENOMEM)
        return -1
    job.argv = text.data
    job.env = text.data + job.argv_len
    job.array_first = command.array_first
    job.array_limit = command.array_limit
    return 0
