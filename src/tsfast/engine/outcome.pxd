"""How a job has started, and how it ended, as far as that is known."""
from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from tsfast.layout.runs cimport (
    TSF_COMMAND_CANCEL, TSF_RUN_ASSIGNED, TSF_RUN_EXECING, TSF_RUN_EXITED, TSF_RUN_FREE, tsf_is_shortage, tsf_run,
    tsf_run_check, tsf_run_gen, tsf_run_load, tsf_run_state,
)
from tsfast.layout.table cimport (
    TSF_LOSS_DAMAGE, TSF_RUNNING, TSF_STAGE_EXEC, TSF_STAGE_OUTPUT, TSF_STAGE_SPAWN, tsf_hot,
)
from tsfast.base.system cimport (
    CLOCK_REALTIME, EDQUOT, ENOSPC, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, rusage, tsf_now_ns,
)

cdef struct Started:
    uint64_t gen          # of the entry
    int32_t pid
    uint64_t start_ns     # by the wall clock
    uint32_t notes
    char suffix[8]        # of the output file

cdef struct Outcome:
    bint lost             # nobody could reap it: status is not known
    int32_t status        # as from wait(2)
    int32_t pid
    uint16_t cause        # errno; lost: enum tsf_loss
    uint16_t stage
    uint64_t start_ns
    uint64_t duration_ns
    uint64_t utime_ms
    uint64_t stime_ms
    uint32_t maxrss_kb
    uint32_t notes
    char suffix[8]
    bint left             # processes of the job may still be there


cdef inline bint wants(const Outcome *outcome) noexcept nogil:
    """It was not started, for want of something: it goes back to its place in the queue."""
    return not outcome.lost and tsf_is_shortage(outcome.stage, outcome.cause)


cdef inline bint wants_room(const Outcome *outcome) noexcept nogil:
    """Likewise, for want of room for its output file."""
    return (not outcome.lost and outcome.stage == TSF_STAGE_OUTPUT
            and (outcome.cause == ENOSPC or outcome.cause == EDQUOT))


cdef inline int unobeyed(const tsf_run *run) noexcept nogil:
    """A signal that was to end the job, and that came before it had a process to get it; 0: none."""
    cdef int signal = <int> (run.command & 0xff)
    if <uint32_t> (run.command >> 32) != <uint32_t> tsf_run_gen(tsf_run_load(run)) or run.command & TSF_COMMAND_CANCEL:
        return 0
    return signal if signal in (SIGTERM, SIGKILL, SIGINT, SIGHUP, SIGQUIT) else 0


cdef inline void started_from(Started *started, const tsf_run *run) noexcept nogil:
    started.gen = tsf_run_gen(tsf_run_load(run))
    started.pid = run.pid
    started.start_ns = run.start_ns
    started.notes = run.notes
    memcpy(started.suffix, run.suffix, sizeof(started.suffix))


cdef inline void from_entry(Outcome *outcome, const tsf_run *run) noexcept nogil:
    memset(outcome, 0, sizeof(Outcome))
    outcome.pid = run.pid
    outcome.left = True
    outcome.start_ns = run.start_ns
    outcome.notes = run.notes
    memcpy(outcome.suffix, run.suffix, sizeof(outcome.suffix))
    outcome.suffix[7] = 0


cdef inline void from_result(Outcome *outcome, const tsf_run *run) noexcept nogil:
    from_entry(outcome, run)
    if tsf_run_check(run) != run.check:
        outcome.lost = True
        outcome.cause = TSF_LOSS_DAMAGE
        return
    outcome.status = run.status
    outcome.cause = run.cause
    outcome.stage = run.stage
    outcome.duration_ns = run.duration_ns
    outcome.utime_ms = run.utime_ms
    outcome.stime_ms = run.stime_ms
    outcome.maxrss_kb = run.maxrss_kb
    if wants(outcome) and unobeyed(run):
        outcome.status = unobeyed(run)
        outcome.stage = TSF_STAGE_SPAWN
        outcome.cause = 0


cdef inline void from_wait(Outcome *outcome, const tsf_run *run, int status, const rusage *usage) noexcept nogil:
    """The server itself reaped the job: the end is now, by the wall clock."""
    cdef uint64_t now = tsf_now_ns(CLOCK_REALTIME)
    from_entry(outcome, run)
    outcome.status = status
    if run.spawn_errno:
        outcome.stage = TSF_STAGE_EXEC
        outcome.cause = <uint16_t> run.spawn_errno
    outcome.duration_ns = now - run.start_ns if now > run.start_ns else 0
    outcome.utime_ms = <uint64_t> (usage.ru_utime.tv_sec * 1000 + usage.ru_utime.tv_usec // 1000)
    outcome.stime_ms = <uint64_t> (usage.ru_stime.tv_sec * 1000 + usage.ru_stime.tv_usec // 1000)
    outcome.maxrss_kb = <uint32_t> usage.ru_maxrss


cdef inline void from_nothing(Outcome *outcome, const tsf_run *run) noexcept nogil:
    cdef uint64_t now = tsf_now_ns(CLOCK_REALTIME)
    from_entry(outcome, run)
    outcome.lost = True
    outcome.duration_ns = now - run.start_ns if run.start_ns and now > run.start_ns else 0


cdef inline bint contradicts(const tsf_run *run, uint64_t word, uint64_t job, const tsf_hot *hot) noexcept nogil:
    """The entry was damaged: the job may have run, and by the entry it would be started once more."""
    cdef bint same = <uint32_t> tsf_run_gen(word) == hot.gen
    cdef int state = tsf_run_state(word)
    if hot.state == TSF_RUNNING:               # recorded once it was EXECING, and until the entry is free again
        return not same or (state != TSF_RUN_EXECING and state != TSF_RUN_EXITED)
    if not same:                               # filled for this start, and not yet ASSIGNED: then it is FREE
        return run.job == job and run.attempt == hot.attempt and state != TSF_RUN_FREE
    return state == TSF_RUN_ASSIGNED and run.pid != 0
