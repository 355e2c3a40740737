"""What a server does with one runner: start its process, give it a job, give it an order for that job; and with the
job of one that is dead."""
from libc.stdint cimport uint32_t, uint64_t

from tsfast.engine.engine cimport Handover
from tsfast.engine.outbox cimport Outbox
from tsfast.engine.outcome cimport Outcome
from tsfast.engine.runner_table cimport Runner, RunnerTable
from tsfast.layout.runs cimport tsf_assign

cdef enum:
    FD_FLOOR = 10      # descriptors handed to runners lie above those that a runner is born with

# A new runner, idle, with its entry and its socket. NULL with errno.
cdef Runner *spawn_runner(RunnerTable table, int program, int state_dir, const char *fault) noexcept nogil
# The packets of one job; with an outbox the last one waits there for a sync. 0, or -1: the runner has left, or there is
# no memory, and nothing was started.
cdef int send_job(Runner *runner, const tsf_assign *message, const Handover *handover, Outbox outbox) noexcept nogil
# A signal number, or an order of native/runs.h, for the job's process group. -1: the job does not run.
cdef int send_order(RunnerTable table, Runner *runner, uint32_t order) noexcept nogil
# How the job of a dead runner has ended. False: its leader lives; if that is not our child it is to be watched.
cdef bint orphan_ended(RunnerTable table, Runner *runner, Outcome *outcome) noexcept nogil
# SIGKILL to the orphans whose grace time is over. False: no orphan is to be killed, now or later.
cdef bint kill_orphans(RunnerTable table, uint64_t now) noexcept nogil
