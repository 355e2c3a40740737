# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See submit_batch.pxd."""
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint64_t
from libc.string cimport memcpy, strlen, strncmp

from tsfast.base.system cimport ENOMEM, set_errno
from tsfast.base.text cimport Text, text_add, text_str
from tsfast.grammar.envfilter cimport EnvPatterns, patterns_apply, patterns_free, patterns_read
from tsfast.grammar.options cimport ACTION_SUBMIT, PLACE_BIT, Command, command_free, parse
from tsfast.layout.table cimport TSF_JOB_FOREGROUND, TSF_JOB_HOOK, TSF_JOB_NO_OUTPUT
from tsfast.layout.wire cimport (
    TSF_BATCH_NO_BLOCK, TSF_FRAME_ADDED, TSF_FRAME_REFUSED, TSF_REFUSED_CALLER, TSF_REFUSED_FULL, TSF_REFUSED_ID,
    TSF_REFUSED_JOB, TSF_REFUSED_SYSTEM, tsf_added, tsf_batch, tsf_batch_job, tsf_batch_part, tsf_refused, tsf_request,
)
from tsfast.lifecycle cimport submission
from tsfast.lifecycle.submission cimport SUBMIT_FAILED, SUBMIT_OK, SubmitResult
from tsfast.server.connections cimport FRAME_LATER
from tsfast.server.handlers.admission cimport must_wait
from tsfast.server.request cimport Request, request_read, strings_fit, variable, words_split
from tsfast.server.submitter cimport REFUSE_DIRECTORY, REFUSE_LOG
from tsfast.store.staging cimport Submission

cdef enum:
    ALL_JOBS = 0xffffffff            # tsf_refused.place: the frame as a whole
    REFUSED = 1                      # beside 0 and -1: the client has the reply

# Where a frame is being read.
cdef struct Reading:
    const char *at
    const char *end
    const char *parts                 # batch.parts struct tsf_batch_part, not aligned
    tsf_batch batch
    uint64_t first                    # the id of its first job
    uint32_t place                    # of the job at hand, in the frame
    EnvPatterns patterns              # of TS_ENV_KEEP and TS_ENV_DROP
    bint warned                       # one warning for all of them


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


# ---- refusals --------------------------------------------------------------------------------------------------

cdef int refuse(Services services, Conn *conn, uint32_t place, int32_t reason, const char *why) noexcept nogil:
    cdef Text *text = &services.reply.text
    cdef tsf_refused refused
    refused.place = place
    refused.reason = reason
    text.size = 0
    text_add(text, <const char *> &refused, sizeof(refused))
    text_str(text, why)
    if text.failed:
        text.failed = False
        services.conns.send(conn, TSF_FRAME_REFUSED, &refused, sizeof(refused))
    else:
        services.conns.send(conn, TSF_FRAME_REFUSED, text.data, text.size)
    services.conns.finish(conn)
    return REFUSED


cdef int refuse_job(Services services, Conn *conn, const Reading *reading, const char *why) noexcept nogil:
    return refuse(services, conn, reading.place, TSF_REFUSED_JOB, why)


cdef int refuse_result(Services services, Conn *conn, uint32_t place, int result) noexcept nogil:
    """A SubmitResult or a Refusal. What the client or the system lacks, all of the frame's jobs lack."""
    cdef int32_t reason = services.submitter.refuse(result, b"the jobs")
    if reason == TSF_REFUSED_CALLER or reason == TSF_REFUSED_SYSTEM:
        place = ALL_JOBS
    return refuse(services, conn, place, reason, services.submitter.refusal)


cdef int refuse_memory(Services services, Conn *conn) noexcept nogil:
    set_errno(ENOMEM)
    return refuse_result(services, conn, ALL_JOBS, SUBMIT_FAILED)


# ---- the frame -------------------------------------------------------------------------------------------------

cdef int submit_batch(Services services, Conn *conn, char *payload, uint32_t size) noexcept nogil:
    cdef Request request
    cdef Reading reading
    cdef tsf_request checked
    cdef int done
    if read_head(&request, &reading, payload, size) < 0:
        return -1
    services.submitter.date[0] = 0
    if request.head.cwd_len <= 1:
        refuse_result(services, conn, ALL_JOBS, REFUSE_DIRECTORY)
        return 0
    if must_wait(services, reading.batch.count) and not services.submitter.is_known(request.head):
        if not reading.batch.flags & TSF_BATCH_NO_BLOCK:
            services.waiters.park(conn, reading.batch.count)
            return FRAME_LATER
        refuse(services, conn, ALL_JOBS, TSF_REFUSED_FULL,
               b"there is no room for so many jobs in the queue (TS_MAXCONN)")
        return 0
    checked = request.head[0]
    if patterns_read(&reading.patterns, request.env, checked.env_len) < 0:
        refuse_memory(services, conn)
        return 0
    patterns_apply(&reading.patterns, <char *> request.env, &checked.env_len, &checked.env_count)
    request.head = &checked
    done = queue(services, conn, &request, &reading)
    patterns_free(&reading.patterns)
    return done


cdef int read_head(Request *request, Reading *reading, const char *payload, uint32_t size) noexcept nogil:
    """What comes before the jobs. -1: it is not well-formed."""
    if size % 8 or request_read(request, payload, size, &reading.at) < 0 or request.head.argc:
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
    return 0


cdef int queue(Services services, Conn *conn, const Request *request, Reading *reading) noexcept nogil:
    """All of the frame, or nothing. 0, or -1: it is not well-formed."""
    cdef SubmitResult result
    cdef tsf_added added
    cdef int done
    added.count = reading.batch.count
    added.reserved = 0
    result = submission.begin_jobs(services.spool, request.head, request.cwd, request.env, request.affinity,
                                   &added.first)
    if result == SUBMIT_OK:
        reading.first = added.first
        reading.warned = False
        for reading.place in range(added.count):
            done = queue_job(services, conn, request, reading)
            if done != 0:
                submission.drop_jobs(services.spool)
                return done if done < 0 else 0
        result = submission.queue_jobs(services.spool)
        if result == SUBMIT_OK and reading.batch.place == 0:
            services.submitter.warn_of_bounds(conn, request.head)
    if result < 0:
        refuse_result(services, conn, ALL_JOBS, result)
    else:                                      # queued, now or by the same frame before
        services.conns.send(conn, TSF_FRAME_ADDED, &added, sizeof(tsf_added))
    return 0


# ---- one of its jobs: 0, REFUSED, or -1: it is not well-formed -------------------------------------------------

cdef int queue_job(Services services, Conn *conn, const Request *request, Reading *reading) noexcept nogil:
    cdef tsf_batch_job head
    cdef Submission job
    cdef Command command
    cdef const char *words = reading.at + sizeof(head)
    cdef const char *env
    cdef int done
    if <size_t> (reading.end - reading.at) < sizeof(head):
        return -1
    memcpy(&head, reading.at, sizeof(head))
    if <uint64_t> (reading.end - words) < <uint64_t> head.argv_len + head.cwd_len + head.env_len:
        return -1
    env = words + head.argv_len + head.cwd_len
    reading.at = env + head.env_len
    if (not strings_fit(words, head.argv_len, head.argc) or not strings_fit(env, head.env_len, head.env_count)
            or (head.cwd_len and not strings_fit(words + head.argv_len, head.cwd_len, 1))):
        return -1
    if words_split(&services.submitter.words, words, head.argc) == NULL:
        return refuse_memory(services, conn)
    if parse(services.submitter.words.words, <int> head.argc, &command) < 0:
        return refuse_job(services, conn, reading, command.error)
    services.submitter.fill(&job, &command, words + head.argv_len, head.argc)
    patterns_apply(&reading.patterns, <char *> env, &head.env_len, &head.env_count)
    job.cwd = words + head.argv_len if head.cwd_len else request.cwd
    job.env = env
    job.env_len = head.env_len
    done = check_job(services, conn, reading, &job, &command)
    if done == 0:
        done = add_job(services, conn, request, reading, &job, &command)
    command_free(&command)
    return done


cdef int check_job(Services services, Conn *conn, const Reading *reading, const Submission *job,
                   Command *command) noexcept nogil:
    cdef uint64_t before = reading.first + reading.place - 1
    if command.action != ACTION_SUBMIT or command.flags & TSF_JOB_FOREGROUND or command.no_block:
        return refuse_job(services, conn, reading, b"a batch takes commands to queue, without -f and -B")
    if command.array_count:
        return refuse_job(services, conn, reading, b"--array cannot be part of a batch")
    if job.cwd[0] != c'/':
        return refuse_job(services, conn, reading, b"its directory must be an absolute path")
    if not (resolve(reading, command.after, command.n_after)
            and resolve(reading, command.after_ok, command.n_after_ok)):
        return refuse(services, conn, reading.place, TSF_REFUSED_ID,
                      b"-D, -W: '@' and a number must name an earlier job of the batch")
    if services.submitter.find_dependencies(command, before if reading.place else services.submitter.last_job()) < 0:
        return refuse_memory(services, conn)
    return 0


cdef int add_job(Services services, Conn *conn, const Request *request, Reading *reading, Submission *job,
                 const Command *command) noexcept nogil:
    cdef const char *hook = env_change(job.env, job.env_len, b"TS_ONFINISH=")
    cdef SubmitResult result
    job.after = command.after
    job.n_after = command.n_after
    job.after_ok = command.after_ok
    job.n_after_ok = command.n_after_ok
    if hook[11] == c'=' if hook != NULL else variable(request, b"TS_ONFINISH=") != NULL:
        job.flags |= TSF_JOB_HOOK
    if not command.flags & TSF_JOB_NO_OUTPUT:
        if not services.submitter.prefix(job.cwd, command, reading.first + reading.place, -1):
            if not services.reply.text.failed:
                return refuse_result(services, conn, reading.place, REFUSE_LOG)
            services.reply.text.failed = False
            return refuse_memory(services, conn)
        job.prefix = services.reply.text.data
    result = submission.add_job(services.spool, job)
    if result < 0:
        return refuse_result(services, conn, reading.place, result)
    if not reading.warned and (command.gpus or command.slots > 1 or job.argc == 1):
        reading.warned = services.submitter.warn(conn, command, job)
    return 0


cdef bint resolve(const Reading *reading, uint64_t *ids, size_t n) noexcept nogil:
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
