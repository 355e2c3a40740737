"""What a server does with one runner: start its process, give it a job, give it an order for that job."""
from libc.stdint cimport uint32_t

from tsfast.base.system cimport pid_t
from tsfast.engine.outbox cimport Outbox
from tsfast.engine.runner_table cimport Runner, RunnerTable
from tsfast.layout.structs cimport tsf_assign

cdef enum:
    FD_FLOOR = 10      # descriptors handed to runners lie above those that a runner is born with

# What goes to the runner beside the record; descriptors are lent for the call.
cdef struct Handover:
    int fds[3]            # of the client of a foreground job
    int n_fds             # 3, or 0: there are none
    const int *leases     # locks on the job's GPUs
    uint32_t n_leases
    bint shared           # they are the queue's and not the job's own
    bint hide_gpus        # the job is to see none of the machine's

# A new runner for the entry, and the server's end of its socket, which the caller owns. -1 with errno.
cdef pid_t spawn_runner(int program, int state_dir, uint32_t entry, const char *fault, int *socket) noexcept nogil
# The packets of one job; with an outbox the last one waits there for a sync. 0, or -1: the runner has left, or there is
# no memory, and nothing was started.
cdef int send_job(Runner *runner, const tsf_assign *message, const Handover *handover, Outbox outbox) noexcept nogil
# A signal number, or an order of native/runs.h, for the job's process group. -1: the job does not run.
cdef int send_order(RunnerTable table, Runner *runner, uint32_t order) noexcept nogil
