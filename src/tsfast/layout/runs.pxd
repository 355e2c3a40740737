"""The entries of `runs`, and the messages between server and runner (native/runs.h)."""
from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t

from tsfast.layout.table cimport tsf_cold

cdef extern from "tsfast/native/runs.h" nogil:
    enum:
        TSF_RUNS
        TSF_RUNS_VERSION
        TSF_RUN_SIGNAL
        TSF_COMMAND_CANCEL
        TSF_COMMAND_GRACE_SHIFT
        TSF_RUNNER_SOCKET
        TSF_RUNNER_STATE_DIR
    const uint64_t TSF_RUNS_MAGIC
    const uint64_t TSF_RUNS_BYTES

    cdef enum tsf_run_state_t "tsf_run_state":
        TSF_RUN_FREE
        TSF_RUN_ASSIGNED
        TSF_RUN_CLAIMED
        TSF_RUN_EXECING
        TSF_RUN_EXITED
        TSF_RUN_REVOKED

    cdef struct tsf_run:
        uint64_t word
        uint64_t job
        uint32_t attempt
        int32_t runner
        uint64_t command
        int32_t pid
        uint32_t spawn_errno
        uint64_t start_ticks
        uint64_t start_ns
        char suffix[8]
        uint64_t duration_ns
        uint64_t end_ns
        int32_t status
        uint16_t cause
        uint16_t stage
        uint32_t utime_ms
        uint32_t stime_ms
        uint32_t maxrss_kb
        uint32_t notes
        uint64_t check

    cdef struct tsf_runs_header:
        uint64_t magic
        uint32_t version
        uint32_t entries
        char boot_id[40]

    uint64_t tsf_run_word(uint64_t gen, int state) noexcept
    uint64_t tsf_run_gen(uint64_t word) noexcept
    int tsf_run_state(uint64_t word) noexcept
    uint64_t tsf_run_load(const tsf_run *run) noexcept
    int tsf_run_cas(tsf_run *run, uint64_t old, uint64_t new) noexcept
    void tsf_run_command(tsf_run *run, uint64_t gen, uint32_t order) noexcept
    uint64_t tsf_run_check(const tsf_run *run) noexcept
    bint tsf_is_shortage(int stage, int cause) noexcept

    enum:
        TSF_LEASES_A_PACKET

    cdef struct tsf_assign:
        uint64_t gen
        uint64_t job
        uint32_t hide_gpus
        uint32_t leases
        tsf_cold cold

    cdef struct tsf_leases:
        uint64_t gen
        uint32_t shared
        uint32_t count

    cdef enum tsf_report_kind:
        TSF_REPORT_STARTED
        TSF_REPORT_ENDED

    cdef struct tsf_report:
        uint32_t kind
        uint32_t retiring
        uint64_t gen
