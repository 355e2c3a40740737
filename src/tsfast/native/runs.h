/* `runs`: the shared memory between runners and servers. Its layout never changes, so that a server of any later
 * version can adopt the runners of an earlier one.
 *
 * The file is a struct tsf_runs_header in entry 0's place, then TSF_RUNS entries, 1 to TSF_RUNS. Each runner owns one
 * entry from birth to death and holds an fcntl write lock on the entry's first byte all that time: a held lock is how
 * anyone knows that the runner lives. The file is fully allocated; it is opened once per process, because closing any
 * descriptor of it would drop the process's locks.
 *
 * word = generation << 8 | state, moved only by compare-and-swap:
 *
 *   FREE -> ASSIGNED           server; the generation grows by one
 *   ASSIGNED -> CLAIMED        runner: it has the job
 *   ASSIGNED|CLAIMED -> REVOKED   server (CLAIMED only when the runner is dead)
 *   CLAIMED -> EXECING         the job's own process, right before execve: whoever loses this race does not run
 *   CLAIMED -> EXITED          runner: set-up failed, nothing was executed (stage and cause say why)
 *   EXECING -> EXITED          runner, after result and check are stored
 *   EXITED|REVOKED -> FREE     server, after the outcome stands in the table */
#ifndef TSFAST_RUNS_H
#define TSFAST_RUNS_H

#include <errno.h>
#include <stdint.h>

#include "check.h"
#include "fault.h"
#include "table.h"

#define TSF_RUNS_MAGIC 0x736e757274736166u
#define TSF_RUNS_VERSION 1u
#define TSF_RUNS 4096u

enum tsf_run_state {
    TSF_RUN_FREE = 0,
    TSF_RUN_ASSIGNED = 1,
    TSF_RUN_CLAIMED = 2,
    TSF_RUN_EXECING = 3,
    TSF_RUN_EXITED = 4,
    TSF_RUN_REVOKED = 5
};

struct tsf_run {
    uint64_t word;
    uint64_t job;     /* written by the server before ASSIGNED */
    uint32_t attempt; /* likewise */
    int32_t runner;   /* pid of the runner, by the runner; informative: the lock is what counts */
    uint64_t command; /* generation << 32 | order, by the server, then TSF_RUN_SIGNAL to the runner */
    int32_t pid;      /* the job's leader, by the job's own process before EXECING */
    uint32_t spawn_errno;
    uint64_t start_ticks; /* field 22 of its /proc/PID/stat, 0 if /proc is hidden */
    uint64_t start_ns;    /* CLOCK_REALTIME */
    char suffix[8];       /* of the output file, by the runner before EXECING */
    /* result, by the runner before EXITED */
    uint64_t duration_ns;
    uint64_t end_ns; /* CLOCK_REALTIME */
    int32_t status;  /* as from wait(2) */
    uint16_t cause;
    uint16_t stage;
    uint32_t utime_ms;
    uint32_t stime_ms;
    uint32_t maxrss_kb;
    uint32_t notes;
    uint64_t check; /* tsf_hash64 of the bytes from `job` to here without `command`, see tsf_run_check */
    uint64_t reserved[2];
};

struct tsf_runs_header {
    uint64_t magic;
    uint32_t version;
    uint32_t entries;
    char boot_id[40]; /* of the boot in which the entries were written, NUL-terminated */
    uint64_t reserved[9];
};

_Static_assert(sizeof(struct tsf_run) == 128, "the layout of runs is frozen");
_Static_assert(sizeof(struct tsf_runs_header) == 128, "the layout of runs is frozen");

#define TSF_RUNS_BYTES ((uint64_t)(TSF_RUNS + 1) * sizeof(struct tsf_run))

static inline uint64_t tsf_run_word(uint64_t gen, enum tsf_run_state state) { return gen << 8 | (uint64_t)state; }
static inline uint64_t tsf_run_gen(uint64_t word) { return word >> 8; }
static inline enum tsf_run_state tsf_run_state(uint64_t word) { return (enum tsf_run_state)(word & 0xff); }
static inline uint64_t tsf_run_load(const struct tsf_run *run) { return __atomic_load_n(&run->word, __ATOMIC_ACQUIRE); }

static inline int tsf_run_cas(struct tsf_run *run, uint64_t from, uint64_t to)
{
    return tsf_sure_step(__atomic_compare_exchange_n(&run->word, &from, to, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
}

/* The server's order to the runner, in one store: the runner reads it, and takes it out, at any moment. */
static inline void tsf_run_command(struct tsf_run *run, uint64_t gen, uint32_t order)
{
    __atomic_store_n(&run->command, gen << 32 | order, __ATOMIC_RELEASE);
}

static inline uint64_t tsf_run_check(const struct tsf_run *run)
{
    struct tsf_run copy = *run;

    copy.word = copy.command = copy.check = copy.reserved[0] = copy.reserved[1] = 0;
    return tsf_hash64(&copy, sizeof copy, 0);
}

/* Whether a start failed because of a shortage that the job did not cause: processes, memory, descriptors, space for
 * its output. Then nothing was executed, and the server tries again. A failure that would happen again for this job
 * alone is not a shortage: a directory that is missing or denied, a damaged record. Neither is a broken disk (EIO),
 * which waiting does not repair. */
static inline int tsf_is_shortage(enum tsf_stage stage, int cause)
{
    switch (cause) {
    case EAGAIN:
    case ENFILE:
    case ENOMEM:
        return stage != TSF_STAGE_NONE;
    case EMFILE: /* at execve the limits are the job's own */
    case ENOBUFS:
        return stage != TSF_STAGE_NONE && stage != TSF_STAGE_EXEC;
    case EDQUOT:
    case ENOSPC:
        return stage == TSF_STAGE_OUTPUT || stage == TSF_STAGE_SPAWN;
    case 0:     /* its process was killed */
    case EINTR: /* likewise, in the words of earlier releases */
        return 0;
    default:
        return stage == TSF_STAGE_SPAWN;
    }
}

/* ---- messages between the server and a runner: one SOCK_SEQPACKET pair, one struct a packet ---- */

/* Tells a runner to look at its entry's command; a number, as SIGRTMIN differs between C libraries. */
#define TSF_RUN_SIGNAL 40
/* Order in a command: a signal number for the job's process group in the lowest 8 bits. With TSF_COMMAND_CANCEL, the
 * end of the whole tree: SIGCONT follows the signal, and in as many seconds as the highest 16 bits say, SIGKILL to
 * every process under the runner until none is left, also if the leader has ended meanwhile. A second one changes
 * nothing. */
#define TSF_COMMAND_CANCEL 0x100u
#define TSF_COMMAND_GRACE_SHIFT 16
#define TSF_RUNNER_SOCKET 3     /* descriptors that a runner is born with */
#define TSF_RUNNER_STATE_DIR 4
#define TSF_RUNNER_IDLE_MS 5000

/* Server to runner. For a FOREGROUND job it carries the client's stdin, stdout and stderr as SCM_RIGHTS. */
struct tsf_assign {
    uint64_t gen;
    uint64_t job;
    uint32_t hide_gpus; /* it needs no GPU on a machine that has some */
    uint32_t leases;    /* how many came before it */
    struct tsf_cold cold;
};

/* Server to runner, before the tsf_assign of a job with GPUs: up to TSF_LEASES_A_PACKET lease descriptors. The job
 * inherits them. At its end the runner unlocks those that are the job's own, and closes all. */
struct tsf_leases {
    uint64_t gen;
    uint32_t shared; /* the lock is the queue's, for several jobs */
    uint32_t count;
};

#define TSF_LEASES_A_PACKET 200u /* the kernel takes 253 */

enum tsf_report_kind { TSF_REPORT_STARTED = 1, TSF_REPORT_ENDED = 2 };

/* Runner to server; the facts are in the entry. */
struct tsf_report {
    uint32_t kind;
    uint32_t retiring; /* ENDED: 1 if the runner ends now, because processes of the job are left under it */
    uint64_t gen;
};

#endif
