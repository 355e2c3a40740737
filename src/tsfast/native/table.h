/* The job table: layout of the files of a queue's state directory, shared by the Cython core, the runner and numpy.
 *
 *   header        one page: struct tsf_header
 *   seg.XXXXXXXX  65,536 ids: an array of struct tsf_hot, then an array of struct tsf_cold (sparse)
 *   blob.XXXXXXXX the variable parts of the jobs of that segment, in the order they came
 *   ctx/X{16}     base contexts: struct tsf_ctx and its strings
 *   runs          struct tsf_run entries, see runs.h
 *
 * XXXXXXXX is the segment number (id / 65,536) in hexadecimal. Numbers are little-endian, times in nanoseconds. The
 * record number is the job id. See docs/table-format.md for what is written when. */
#ifndef TSFAST_TABLE_H
#define TSFAST_TABLE_H

#include <stdint.h>

#include "check.h"

#define TSF_TABLE_MAGIC 0x6c62617473616674u /* "tfastabl" */
#define TSF_TABLE_FORMAT 1u
#define TSF_CTX_MAGIC 0x31787463u /* "ctx1" */
#define TSF_SEGMENT_BITS 16u
#define TSF_SEGMENT_JOBS (1u << TSF_SEGMENT_BITS)
#define TSF_LIMITS 16u /* RLIMIT_CPU (0) to RLIMIT_RTTIME (15) */
#define TSF_SUFFIX 6u  /* random characters at the end of an output file's name */
#define TSF_SUFFIX_LOG "=" /* in their place once the file of a LOG job is open */

/* State of a job, as it stands in tsf_hot.state.
 *
 *   QUEUED -> STARTING -> RUNNING -> FINISHED | FAILED | KILLED | LOST        (final)
 *             STARTING -> QUEUED                 (start revoked, or the runner died before it took the job)
 *             STARTING -> NOT_STARTABLE                                       (final)
 *   QUEUED -> SKIPPED | REMOVED | CANCELLED                                   (final)
 *   STARTING | RUNNING -> CANCELLED                                           (final)
 *   final  -> FORGOTTEN */
enum tsf_state {
    TSF_NONE = 0, /* a hole: forgotten, or never written */
    TSF_QUEUED = 1,
    TSF_STARTING = 2,
    TSF_RUNNING = 3,
    TSF_FINISHED = 4,      /* exit status 0 */
    TSF_FAILED = 5,        /* another exit status */
    TSF_KILLED = 6,        /* ended by a signal */
    TSF_NOT_STARTABLE = 7, /* set-up failed: tsf_hot.stage and .cause say where and why */
    TSF_LOST = 8,          /* the runner died and nobody could reap the job */
    TSF_SKIPPED = 9,       /* a job of its -W ended badly */
    TSF_REMOVED = 10,
    TSF_FORGOTTEN = 11, /* cause: TSF_WAS_REMOVED, of one that had not run and that -r took out of the queue */
    TSF_CANCELLED = 12, /* --cancel: taken out of the queue, or reached by its signal */
    TSF_ALLOCATING = 13 /* never in the table: a QUEUED job that waits for nothing but GPUs, as the server shows it */
};

/* What could not be applied to a job at its start (tsf_hot.notes, tsf_run.notes). CANCEL in tsf_hot while the job has
 * not ended: it is to be ended; in tsf_run, and in tsf_hot once it has: the signal was sent while it lived. */
enum tsf_note { TSF_NOTE_LIMIT = 1, TSF_NOTE_NICE = 2, TSF_NOTE_AFFINITY = 4, TSF_NOTE_CANCEL = 32, TSF_NOTE_GZIP = 8 };

/* What is to run because the job has ended, and has not been started yet (tsf_hot.notes, from its final state on). */
enum tsf_due { TSF_DUE_HOOK = 64, TSF_DUE_MAIL = 128 };

/* Where a start failed (tsf_hot.stage, tsf_run.stage); the errno is beside it in .cause. */
enum tsf_stage {
    TSF_STAGE_NONE = 0,
    TSF_STAGE_RECORD = 1, /* blob or context unreadable or damaged */
    TSF_STAGE_OUTPUT = 2, /* the output file could not be created */
    TSF_STAGE_CHDIR = 3,
    TSF_STAGE_SPAWN = 4, /* no process could be made */
    TSF_STAGE_GZIP = 6,  /* gzip could not be executed */
    TSF_STAGE_EXEC = 5   /* the command could not be executed: the job ends with 126 or 127 */
};

enum tsf_forgotten { TSF_WAS_REMOVED = 1 };

/* Why nobody knows how a LOST job ended (tsf_hot.cause). */
enum tsf_loss { TSF_LOSS_RUNNER = 0, TSF_LOSS_BOOT = 1, TSF_LOSS_DAMAGE = 2 };

struct tsf_hot {
    uint8_t state; /* enum tsf_state */
    uint8_t notes; /* enum tsf_note and enum tsf_due, a bit set */
    uint16_t attempt;
    union {
        struct {
            uint32_t run; /* STARTING, RUNNING: entry of `runs` and its generation (low 32 bits) */
            uint32_t gen;
        };
        struct {
            uint32_t utime_ms; /* once ended: processor time of the job's leader */
            uint32_t stime_ms;
        };
    };
    int32_t status; /* once ended: as from wait(2) */
    int32_t pid;    /* leader of the job's session, 0 if none was made */
    uint16_t cause; /* errno of a failed start; LOST: enum tsf_loss */
    uint16_t stage; /* enum tsf_stage */
    uint64_t start_ns;    /* CLOCK_REALTIME, 0 if not started */
    uint64_t duration_ns; /* CLOCK_BOOTTIME difference, once ended */
    uint64_t order;       /* place in the queue; once ended: place in the order of ending */
    char suffix[8];       /* the random part of the output file's name, NUL-terminated; empty if there is no file;
                             TSF_SUFFIX_LOG if its name has none */
    uint32_t maxrss_kb;   /* once ended */
    uint32_t check;       /* tsf_check32 of the bytes before, seed: the id */
};

/* How a job was submitted (tsf_cold.flags). */
enum tsf_job_flag {
    TSF_JOB_NO_OUTPUT = 1,    /* -n: stdout and stderr are discarded, or the caller's with FOREGROUND */
    TSF_JOB_FOREGROUND = 2,   /* -f: the caller's descriptors */
    TSF_JOB_VOLATILE = 4,     /* -nf: forgotten as soon as it ends */
    TSF_JOB_SPLIT_STDERR = 8, /* -E: stderr in the output file's name plus ".e" */
    TSF_JOB_HOOK = 64,        /* TS_ONFINISH is in its environment */
    TSF_JOB_MAIL = 128,       /* -m */
    TSF_JOB_LOG = 256,        /* --log: prefix is the whole path of the output file */
    TSF_JOB_APPEND = 512,     /* --append: which may be there, and is written at its end */
    TSF_JOB_GZIP = 2048,      /* -z: the output goes through gzip; without LOG its name ends in ".gz" */
    TSF_JOB_TRUNCATE = 1024,  /* --truncate: which may be there, and is emptied */
    TSF_JOB_ARRAY = 4096,     /* --array: an element of an array, which is the jobs of its frame */
};

/* Written once, at submission. The blob holds, one after the other and without padding:
 *   after     n_after x uint64_t ids     (-D, -d)
 *   after_ok  n_after_ok x uint64_t ids  (-W)
 *   argv      argv_len bytes: argc NUL-terminated strings; with ARRAY argc more behind them, the words as they were
 *             typed, with {} for the index
 *   label     label_len bytes, no NUL
 *   exact     gpu_exact_len bytes, no NUL: the list of -g
 *   prefix    prefix_len bytes, no NUL: output file = prefix + "." + suffix, with LOG prefix alone; empty when there is
 *             no output file
 *   cwd       cwd_len bytes, no NUL: working directory where it differs from the base context's, else empty
 *   diff      diff_len bytes: NUL-terminated strings, "NAME=VALUE" sets, "NAME" unsets, against the base context
 *   env_text  env_text_len bytes, no NUL: what the command of TS_ENV printed, for -i
 * Behind the blob of a job that needs GPUs there is room for a struct tsf_grant, written at each start. */
struct tsf_cold {
    uint64_t enqueue_ns; /* CLOCK_REALTIME */
    uint64_t token[2];   /* of the submission, 0,0 if it had none */
    uint64_t blob_off;   /* in the segment's blob file, a multiple of 8 */
    uint32_t blob_len;
    uint32_t blob_check; /* tsf_check32 of the blob, seed: the id */
    uint64_t ctx;        /* name of the base context */
    uint32_t slots;
    uint32_t flags;       /* enum tsf_job_flag, a bit set */
    uint32_t batch_index; /* place in its frame, and how many that had */
    uint32_t batch_count;
    uint32_t n_after;
    uint32_t n_after_ok;
    uint32_t argc;
    uint32_t argv_len;
    uint32_t label_len;
    uint32_t prefix_len;
    uint32_t cwd_len;
    uint32_t diff_len;
    uint32_t env_text_len;
    uint16_t gpu_share; /* thousandths of each GPU, 1000: whole ones; 0 with vram: by memory alone */
    uint16_t gpu_exact_len;
    uint64_t vram; /* bytes of the memory of each GPU that it takes; 0: not said */
    uint32_t gpus; /* how many GPUs it needs */
    uint32_t array_first; /* ARRAY: index of the first element; this one's is so much more as batch_index says */
    uint32_t array_limit; /* and how many elements may run at once, 0: all */
    uint32_t check; /* tsf_check32 of the bytes before, seed: the id */
};

/* Which GPUs a start was given: the struct, then `count` struct tsf_granted, at tsf_grant_offset in the blob file. It
 * counts if `check` fits and `attempt` is that of the hot record, which is written after it. */
struct tsf_grant {
    uint32_t check; /* tsf_check32 of the bytes from `attempt` to the end of the last tsf_granted, seed: the id */
    uint32_t attempt;
    uint32_t count;
    uint32_t reserved;
};

enum tsf_granted_flag { TSF_GRANTED_BY_UUID = 1 }; /* the index does not lead CUDA to it */

struct tsf_granted {
    uint32_t index;
    uint32_t flags; /* enum tsf_granted_flag */
    char uuid[64];  /* NUL-terminated */
};

/* A base context: what many jobs of one shell share. Its name is tsf_hash64 of the bytes from `umask` on to the end,
 * plus 1 for each older, different context of that hash. After the struct: affinity_len bytes of processor mask,
 * cwd_len bytes of working directory (the last one a NUL), env_len bytes of env_count NUL-terminated strings. */
struct tsf_ctx {
    uint32_t magic;
    uint32_t check; /* tsf_check32 of all bytes from `umask` to the end of the file, seed: 0 */
    uint32_t umask;
    int32_t nice;
    uint32_t affinity_len;
    uint32_t cwd_len;
    uint32_t env_count;
    uint32_t env_len;
    uint64_t limits[TSF_LIMITS][2]; /* soft, hard */
};

/* One page. Ids below `committed` exist; it is moved by a single write, together with its check. `floor` likewise: all
 * ids below it were dropped by -K. The rest is written as a whole under `check`. Whoever reads while a server writes
 * can meet committed and floor without their check, but each of them whole. */
struct tsf_header {
    uint64_t magic;
    uint32_t format;
    uint32_t ids_check; /* tsf_check32 of committed and floor, seed: 0 */
    uint64_t committed; /* = the next id */
    uint64_t floor;
    /* settings, from here to `check` */
    uint32_t slots;        /* 0: not chosen yet, TS_SLOTS of the next start counts */
    uint32_t max_finished; /* ended jobs kept */
    uint64_t intent[5];    /* a swap in progress: 1, id, its new order, id, its new order; else 0 */
    uint64_t swap_token[2]; /* of the call that asked for the latest swap */
    uint32_t logdir_len;   /* 0: not set by --set_logdir */
    char logdir[2984];
    uint32_t gpu_free_percent; /* --set_gpu_free_perc, 0: not set */
    uint32_t gpu_wait_s;       /* --set_gpu_wait */
    uint32_t gpu_devices;      /* how many GPUs the machine had when it was last asked */
    uint32_t check; /* tsf_check32 of slots to here, seed: 0 */
};

_Static_assert(sizeof(struct tsf_hot) == 64, "tsf_hot is 64 bytes");
_Static_assert(sizeof(struct tsf_cold) == 128, "tsf_cold is 128 bytes");
_Static_assert(sizeof(struct tsf_grant) == 16, "no padding");
_Static_assert(sizeof(struct tsf_granted) == 72, "no padding");
_Static_assert(sizeof(struct tsf_ctx) == 32 + 16 * TSF_LIMITS, "tsf_ctx has no padding");
_Static_assert(sizeof(struct tsf_header) <= 4096, "the header is one page");

#define TSF_HOT_BYTES ((uint64_t)TSF_SEGMENT_JOBS * sizeof(struct tsf_hot))
#define TSF_COLD_BYTES ((uint64_t)TSF_SEGMENT_JOBS * sizeof(struct tsf_cold))

static inline uint64_t tsf_grant_offset(const struct tsf_cold *cold)
{
    return (cold->blob_off + cold->blob_len + 7) & ~7ull;
}

static inline uint64_t tsf_grant_room(const struct tsf_cold *cold)
{
    return cold->gpus ? sizeof(struct tsf_grant) + (uint64_t)cold->gpus * sizeof(struct tsf_granted) : 0;
}

static inline uint32_t tsf_grant_check(const struct tsf_grant *grant, uint64_t id)
{
    return tsf_check32(&grant->attempt, sizeof *grant - 4 + grant->count * sizeof(struct tsf_granted), id);
}

static inline uint32_t tsf_hot_check(const struct tsf_hot *hot, uint64_t id)
{
    return tsf_check32(hot, offsetof(struct tsf_hot, check), id);
}

static inline uint32_t tsf_cold_check(const struct tsf_cold *cold, uint64_t id)
{
    return tsf_check32(cold, offsetof(struct tsf_cold, check), id);
}

#endif
