/* The job table: layout of the files of a queue's state directory, shared by the Cython core, the runner and numpy.
 *
 *   header        one page: struct tsf_header
 *   seg.XXXXXXXX  65,536 ids: an array of struct tsf_hot, then an array of struct tsf_cold (sparse)
 *   blob.XXXXXXXX the variable parts of the jobs of that segment, in the order they came
 *   groups        struct tsf_group, 255 of them; not there before the first group is made
 *   books         struct tsf_book, of arrays and batches; not there before the first one is kept
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
#define TSF_TABLE_FORMAT 2u
/* What of this format a release understands, as bits of tsf_header.features. None so far: a release that writes one of
 * the fields that are 0 today sets a bit first, and a release that does not know the bit refuses the table. */
#define TSF_TABLE_FEATURES 0u
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
    TSF_LOST = 8,          /* the runner died and no process could reap the job */
    TSF_SKIPPED = 9,       /* a job of its -W failed */
    TSF_REMOVED = 10,
    TSF_FORGOTTEN = 11, /* cause: TSF_WAS_REMOVED, of one that had not run and that -r took out of the queue */
    TSF_CANCELLED = 12, /* --cancel: taken out of the queue, or reached by its signal */
    TSF_ALLOCATING = 13 /* never in the table: a QUEUED job that waits for nothing but GPUs, as the server shows it */
};

/* How a job ended (tsf_hot.end): finer than its state, which keeps the words of scripts. 0: it has not ended. Of each
 * state there is one end that needs no further reason, tsf_end_of; the others are named by who ended the job. */
enum tsf_end {
    TSF_END_NONE = 0,
    TSF_END_DONE = 1,
    TSF_END_FAILED = 2,
    TSF_END_KILLED = 3,
    TSF_END_TIMED_OUT = 4,     /* by its time limit: FAILED or KILLED; not written so far */
    TSF_END_OUT_OF_MEMORY = 5, /* by its memory limit: KILLED; not written so far */
    TSF_END_CANCELLED = 6,
    TSF_END_SKIPPED = 7,
    TSF_END_REMOVED = 8,
    TSF_END_LOST = 9,
    TSF_END_NOT_STARTABLE = 10
};

/* What could not be applied to a job at its start (tsf_hot.notes, tsf_run.notes). CANCEL in tsf_hot while the job has
 * not ended: it is to be ended; in tsf_run, and in tsf_hot once it has: the signal was sent while it lived. */
enum tsf_note { TSF_NOTE_LIMIT = 1, TSF_NOTE_NICE = 2, TSF_NOTE_AFFINITY = 4, TSF_NOTE_GZIP = 8, TSF_NOTE_CANCEL = 32 };

/* What is to run because the job has ended, and has not been started yet (tsf_hot.due, from its final state on). The
 * other six bits are for notifications. */
enum tsf_due { TSF_DUE_HOOK = 1, TSF_DUE_MAIL = 2 };

/* More about the state (tsf_hot.flags). Only SECONDS is written so far. */
enum tsf_hot_flag {
    TSF_HOT_HELD = 1,     /* QUEUED: not before --release */
    TSF_HOT_PAUSED = 2,   /* RUNNING: its processes are stopped by --pause */
    TSF_HOT_REQUEUED = 4, /* QUEUED: it has had a try that ended */
    TSF_HOT_READY = 8,    /* QUEUED: a record in hand says whether a runner has taken it */
    TSF_HOT_SECONDS = 16, /* utime_ms and stime_ms are seconds: of milliseconds there were too many */
    TSF_HOT_TREE = 32     /* utime_ms, stime_ms and maxrss_kb are those of all its processes, not of the leader */
};

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

/* Why the end of a LOST job is unknown (tsf_hot.cause). */
enum tsf_loss { TSF_LOSS_RUNNER = 0, TSF_LOSS_BOOT = 1, TSF_LOSS_DAMAGE = 2 };

struct tsf_hot {
    uint8_t state; /* enum tsf_state */
    uint8_t end;   /* enum tsf_end */
    uint16_t attempt;
    uint16_t status; /* once ended: as from wait(2) */
    uint16_t cause;  /* errno of a failed start; LOST: enum tsf_loss */
    union {
        struct {
            uint32_t run; /* STARTING, RUNNING: entry of `runs` and its generation (low 32 bits) */
            uint32_t gen;
        };
        struct {
            uint32_t utime_ms; /* once ended: processor time of the job's leader, see tsf_hot_utime_ms */
            uint32_t stime_ms;
        };
        uint64_t skipped_by; /* SKIPPED: the job because of whose end, plus 1; 0: not known. Not written so far */
    };
    int32_t pid;    /* leader of the job's session, 0 if none was made */
    uint8_t stage;  /* enum tsf_stage */
    uint8_t notes;  /* enum tsf_note, a bit set */
    uint8_t due;    /* enum tsf_due, a bit set */
    uint8_t tries;  /* that have ended and are followed by another one; not written so far */
    uint64_t start_ns;    /* CLOCK_REALTIME, 0 if not started; REMOVED: start and duration are the call's token */
    uint64_t duration_ns; /* CLOCK_BOOTTIME difference, once ended */
    uint64_t order;       /* place in the queue; once ended: place in the order of ending */
    char suffix[TSF_SUFFIX]; /* the random part of the output file's name; filled up with NULs: it has none if there is
                                no file, TSF_SUFFIX_LOG if the file's name has none */
    uint16_t flags; /* enum tsf_hot_flag, a bit set */
    uint32_t maxrss_kb; /* once ended */
    uint32_t check; /* see tsf_hot_check */
};

/* How a job was submitted (tsf_cold.flags). */
enum tsf_job_flag {
    TSF_JOB_NO_OUTPUT = 1, /* -n: stdout and stderr are discarded, or the client's with FOREGROUND */
    TSF_JOB_FOREGROUND = 2, /* -f: the client's descriptors */
    TSF_JOB_VOLATILE = 4, /* -nf: forgotten as soon as it ends */
    TSF_JOB_SPLIT_STDERR = 8, /* -E: stderr in the output file's name plus ".e" */
    TSF_JOB_HOOK = 64, /* TS_ONFINISH is in its environment */
    TSF_JOB_MAIL = 128, /* -m */
    TSF_JOB_LOG = 256, /* --log: prefix is the whole path of the output file */
    TSF_JOB_APPEND = 512, /* --append: which may be there, and is written at its end */
    TSF_JOB_GZIP = 2048, /* -z: the output goes through gzip; without LOG its name ends in ".gz" */
    TSF_JOB_TRUNCATE = 1024, /* --truncate: which may be there, and is emptied */
    TSF_JOB_ARRAY = 4096, /* --array: an element of an array, which is the jobs of its frame */
};

/* Written at submission; an edit writes a new blob, with what stands behind it, at the end of the file, and then this
 * record, with the next version. The blob holds, one after the other and without padding:
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
 * Behind it, each beginning at a multiple of 8: the optional part of a job that has one (struct tsf_extra), and, if it
 * needs GPUs, room for a struct tsf_grant, written at each start.
 * token[0] is the same for all frames of one call: the batch. token[1] tells the frames apart. */
struct tsf_cold {
    uint64_t enqueue_ns; /* CLOCK_REALTIME */
    uint64_t token[2]; /* of the submission, 0,0 if it had none */
    uint64_t blob_off; /* in the segment's blob file, a multiple of 8 */
    uint32_t blob_len;
    uint32_t blob_check; /* tsf_check32 of the blob, seed: the id */
    uint64_t ctx; /* name of the base context */
    uint32_t slots;
    uint32_t flags; /* enum tsf_job_flag, a bit set */
    uint32_t batch_index; /* place in its frame, and how many that had */
    uint32_t batch_count;
    uint32_t n_after;
    uint32_t n_after_ok;
    uint32_t argc;
    uint32_t argv_len;
    uint32_t diff_len;
    uint32_t env_text_len;
    uint16_t label_len;
    uint16_t prefix_len;
    uint16_t cwd_len;
    uint16_t gpu_exact_len;
    uint64_t vram; /* bytes of the memory of each GPU that it takes; 0: not said */
    uint16_t gpus; /* how many GPUs it needs */
    uint16_t gpu_share; /* thousandths of each GPU, 1000: whole ones; 0 with vram: by memory alone */
    uint16_t array_limit; /* ARRAY: how many elements may run at once, 0: all */
    uint8_t version; /* how often it was edited; not written so far */
    int8_t priority; /* -100 to 100; not written so far */
    uint32_t array_first; /* ARRAY: index of the first element; this one's is so much more as batch_index says */
    uint32_t label_hash; /* tsf_label_hash of the label; 0: it has none, or an earlier release has queued it */
    uint16_t extra_len; /* room of the optional part, in units of 8 bytes; 0: it has none. Not written so far */
    uint8_t group; /* its place in `groups`, 0: the default group; not written so far */
    uint8_t engine; /* enum tsf_engine; not written so far */
    uint32_t check; /* see tsf_cold_check */
};

#define TSF_PART_MAX UINT16_MAX /* bytes of a label, prefix, directory or list of -g */

enum tsf_engine { TSF_ENGINE_LOCAL = 0, TSF_ENGINE_SLURM = 1 };

/* What most jobs lack: the optional part behind the blob. No release writes one so far; every reader checks it.
 *
 *   struct tsf_extra     `size` bytes of it, as its writer knew them: what a reader knows beyond is 0
 *   its variable parts   in the order of their lengths, without padding, `length` bytes with the struct
 *   struct tsf_course    twice, from the next multiple of 8 on; each followed by extra.core_words words of a mask
 *
 * A job whose tsf_extra is damaged is one whose blob is damaged: it is listed, held, and never run. */
struct tsf_extra {
    uint32_t check; /* see tsf_extra_check */
    uint16_t version; /* TSF_EXTRA_VERSION */
    uint16_t size; /* of the struct */
    uint32_t length; /* of the struct and the variable parts */
    uint32_t flags; /* enum tsf_extra_flag, a bit set */
    uint64_t not_before_ns; /* --begin: CLOCK_REALTIME */
    uint64_t unique_hash; /* --unique: of its key */
    uint32_t limit_s; /* --timeout, 0: none */
    uint16_t grace_s; /* --grace */
    uint8_t tries; /* --retry: further ones */
    uint8_t warn_signal; /* sent warn_s before the time limit */
    uint32_t warn_s;
    uint32_t retry_delay_s;
    uint8_t retry_codes[32]; /* --retry-on: exit codes, a bit set */
    uint32_t retry_ends; /* likewise, 1 << enum tsf_end */
    uint32_t core_words; /* of the mask in each tsf_course */
    uint64_t memory; /* bytes */
    uint32_t cores;
    uint32_t reserved_cores;
    uint8_t requeue_codes[32]; /* exit codes after which it is queued again, a bit set */
    uint8_t uuid[16]; /* by which an engine knows it */
    uint32_t n_one_of; /* variable parts: ids of --after-one */
    uint32_t n_on_fail; /* ids of --on-fail */
    uint32_t params_len; /* --param: NUL-terminated NAME=VALUE */
    uint32_t notify_len; /* --notify: NUL-terminated */
    uint32_t gpu_kind_len; /* no NUL */
    uint32_t stdin_len; /* --stdin: a path, no NUL */
    uint64_t reserved[2];
};

#define TSF_EXTRA_VERSION 1u

enum tsf_extra_flag {
    TSF_EXTRA_PTY = 1,
    TSF_EXTRA_UNIQUE = 2,
    TSF_EXTRA_JOB_DIR = 4 /* it has a directory of its own, which goes when it is forgotten */
};

/* What changes while a job is queued or runs, and most jobs lack. There are two, and each write takes the one that does
 * not count: of those whose check fits the one with the higher serial counts, so a write that is cut off changes
 * nothing. If none fits, all is 0: nothing was paused, granted or measured. */
struct tsf_course {
    uint32_t check; /* see tsf_course_check */
    uint32_t serial; /* 1 at first */
    uint32_t attempt;
    uint32_t reserved;
    uint64_t paused_ns; /* CLOCK_BOOTTIME, in all */
    uint64_t pause_begun_ns; /* 0: it is not paused */
    uint64_t not_before_ns; /* of the next try: CLOCK_REALTIME */
    uint64_t memory; /* granted, bytes */
    uint64_t utime_us; /* of all its processes, in all tries */
    uint64_t stime_us;
    uint64_t peak_memory; /* of all its processes at once, bytes */
    uint64_t engine_job; /* its number and element in an engine */
    uint32_t engine_element;
    uint32_t reserved2;
    uint64_t reserved3[5];
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
    char uuid[64]; /* NUL-terminated */
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
 * ids below it were dropped by -K. The settings are written as a whole under `check`. Whoever reads while a server
 * writes can meet committed and floor without their check, but each of them whole. */
struct tsf_header {
    uint64_t magic;
    uint32_t format;
    uint32_t ids_check; /* tsf_check32 of committed and floor, seed: 0 */
    uint64_t committed; /* = the next id */
    uint64_t floor;
    uint32_t features; /* TSF_TABLE_FEATURES that its releases have used */
    uint32_t not_features; /* ~features: else they are damaged */
    /* settings, from here to `check` */
    uint32_t slots; /* 0: not chosen yet, TS_SLOTS of the next start counts */
    uint32_t max_finished; /* ended jobs kept */
    uint64_t intent[5]; /* a swap in progress: 1, id, its new order, id, its new order; else 0 */
    uint64_t swap_token[2]; /* of the call that asked for the latest swap */
    uint32_t logdir_len; /* 0: not set by --set_logdir */
    char logdir[2984];
    uint32_t gpu_free_percent; /* --set_gpu_free_perc, 0: not set */
    uint32_t gpu_wait_s; /* --set_gpu_wait */
    uint32_t gpu_devices; /* how many GPUs the machine had when it was last asked */
    uint32_t flags; /* enum tsf_queue_flag, a bit set; not written so far */
    uint32_t reserved;
    uint64_t history; /* the last number in the order of ending that a history has; not written so far */
    uint64_t reserved2[16];
    uint32_t reserved3;
    uint32_t check; /* tsf_check32 of slots to here, seed: 0 */
};

/* PAUSED: nothing new starts; the slots are kept. DRAIN: likewise, and the server ends with the last job. */
enum tsf_queue_flag { TSF_QUEUE_PAUSED = 1, TSF_QUEUE_DRAIN = 2 };

/* A group of jobs with slots of its own. Its place in the file is tsf_cold.group; place 0 is the default group's and
 * stays empty. */
struct tsf_group {
    char name[40]; /* NUL-terminated; empty: this place is free */
    uint32_t slots;
    uint32_t flags; /* enum tsf_queue_flag */
    uint64_t reserved;
    uint32_t reserved2;
    uint32_t check; /* tsf_check32 of the bytes before, seed: its place */
};

/* How an array or a batch stands, for when its jobs are forgotten. */
struct tsf_book {
    uint64_t first; /* id of its first job; 0 with count 0: this place is free */
    uint64_t token; /* of a batch: tsf_cold.token[0] of its jobs; 0: an array */
    uint32_t count;
    uint32_t ended;
    uint32_t bad; /* of these: without a good end */
    uint32_t forgotten;
    uint64_t bad_id; /* the first bad one */
    int32_t bad_level;
    uint32_t reserved;
    uint64_t reserved2;
    uint32_t reserved3;
    uint32_t check; /* tsf_check32 of the bytes before, seed: its place */
};

_Static_assert(sizeof(struct tsf_hot) == 64, "tsf_hot is 64 bytes");
_Static_assert(sizeof(struct tsf_cold) == 128, "tsf_cold is 128 bytes");
_Static_assert(sizeof(struct tsf_extra) == 192, "no padding");
_Static_assert(sizeof(struct tsf_course) == 128, "no padding");
_Static_assert(sizeof(struct tsf_grant) == 16, "no padding");
_Static_assert(sizeof(struct tsf_granted) == 72, "no padding");
_Static_assert(sizeof(struct tsf_ctx) == 32 + 16 * TSF_LIMITS, "tsf_ctx has no padding");
_Static_assert(sizeof(struct tsf_header) == 3256, "no padding, and one page at most");
_Static_assert(sizeof(struct tsf_group) == 64 && sizeof(struct tsf_book) == 64, "no padding");

#define TSF_HOT_BYTES ((uint64_t)TSF_SEGMENT_JOBS * sizeof(struct tsf_hot))
#define TSF_COLD_BYTES ((uint64_t)TSF_SEGMENT_JOBS * sizeof(struct tsf_cold))

/* Where the optional part of a job begins in the blob file, and how long it can be. */
static inline uint64_t tsf_extra_offset(const struct tsf_cold *cold)
{
    return (cold->blob_off + cold->blob_len + 7) & ~7ull;
}

static inline uint64_t tsf_extra_room(const struct tsf_cold *cold) { return (uint64_t)cold->extra_len * 8; }

static inline uint64_t tsf_grant_offset(const struct tsf_cold *cold)
{
    return tsf_extra_offset(cold) + tsf_extra_room(cold);
}

static inline uint64_t tsf_grant_room(const struct tsf_cold *cold)
{
    return cold->gpus ? sizeof(struct tsf_grant) + (uint64_t)cold->gpus * sizeof(struct tsf_granted) : 0;
}

static inline uint32_t tsf_grant_check(const struct tsf_grant *grant, uint64_t id)
{
    return tsf_check32(&grant->attempt, sizeof *grant - 4 + grant->count * sizeof(struct tsf_granted), id);
}

/* A record of an earlier format never passes for one of this format. */
static inline uint64_t tsf_record_seed(uint64_t id) { return id ^ (uint64_t)TSF_TABLE_FORMAT << 56; }

static inline uint32_t tsf_hot_check(const struct tsf_hot *hot, uint64_t id)
{
    return tsf_check32(hot, offsetof(struct tsf_hot, check), tsf_record_seed(id));
}

static inline uint32_t tsf_cold_check(const struct tsf_cold *cold, uint64_t id)
{
    return tsf_check32(cold, offsetof(struct tsf_cold, check), tsf_record_seed(id));
}

/* The caller has looked whether `length` is at least the struct's and fits into tsf_extra_room. */
static inline uint32_t tsf_extra_check(const struct tsf_extra *extra, uint64_t id)
{
    return tsf_check32(&extra->version, extra->length - offsetof(struct tsf_extra, version), tsf_record_seed(id));
}

/* Whether these tsf_extra_room bytes are the whole optional part of the job: the lengths in it fit each other. */
static inline int tsf_extra_fits(const struct tsf_extra *extra, const struct tsf_cold *cold, uint64_t id)
{
    uint64_t room = tsf_extra_room(cold), courses, parts;

    if (room < sizeof *extra || extra->length < sizeof *extra || extra->length > room)
        return 0;
    if (extra->version != TSF_EXTRA_VERSION || extra->size != sizeof *extra ||
        extra->check != tsf_extra_check(extra, id))
        return 0;
    parts = 8 * ((uint64_t)extra->n_one_of + extra->n_on_fail) + extra->params_len + extra->notify_len +
            extra->gpu_kind_len + extra->stdin_len;
    courses = 2 * (sizeof(struct tsf_course) + 8 * (uint64_t)extra->core_words);
    return extra->length == sizeof *extra + parts && room == ((extra->length + 7) & ~7ull) + courses;
}

static inline uint32_t tsf_course_check(const struct tsf_course *course, uint32_t core_words, uint64_t id)
{
    return tsf_check32(&course->serial, sizeof *course - offsetof(struct tsf_course, serial) + 8 * (size_t)core_words,
                       tsf_record_seed(id));
}

/* One of the two courses of an optional part that fits. */
static inline struct tsf_course *tsf_course_at(const struct tsf_extra *extra, int place)
{
    return (struct tsf_course *)((char *)extra + ((extra->length + 7) & ~7u) +
                                 (size_t)place * (sizeof(struct tsf_course) + 8 * (size_t)extra->core_words));
}

/* The place of the one that counts; -1: none does. */
static inline int tsf_course_newest(const struct tsf_extra *extra, uint64_t id)
{
    uint32_t serial = 0;
    int newest = -1;

    for (int i = 0; i < 2; i++) {
        const struct tsf_course *course = tsf_course_at(extra, i);

        if (course->serial > serial && course->check == tsf_course_check(course, extra->core_words, id)) {
            serial = course->serial;
            newest = i;
        }
    }
    return newest;
}

static inline uint32_t tsf_label_hash(const char *label, size_t size) { return size ? tsf_check32(label, size, 0) : 0; }

/* The plain end of a state; TSF_END_NONE for one in which a job has not ended, or is forgotten. */
static inline enum tsf_end tsf_end_of(uint8_t state)
{
    static const uint8_t ends[] = {
        [TSF_FINISHED] = TSF_END_DONE,   [TSF_FAILED] = TSF_END_FAILED,
        [TSF_KILLED] = TSF_END_KILLED,   [TSF_NOT_STARTABLE] = TSF_END_NOT_STARTABLE,
        [TSF_LOST] = TSF_END_LOST,       [TSF_SKIPPED] = TSF_END_SKIPPED,
        [TSF_REMOVED] = TSF_END_REMOVED, [TSF_CANCELLED] = TSF_END_CANCELLED,
    };

    return state < sizeof ends ? (enum tsf_end)ends[state] : TSF_END_NONE;
}

static inline void tsf_hot_set_times(struct tsf_hot *hot, uint64_t utime_ms, uint64_t stime_ms)
{
    uint32_t unit = utime_ms > UINT32_MAX || stime_ms > UINT32_MAX ? 1000 : 1;

    if (unit != 1)
        hot->flags |= TSF_HOT_SECONDS;
    hot->utime_ms = (uint32_t)(utime_ms / unit);
    hot->stime_ms = (uint32_t)(stime_ms / unit);
}

static inline uint64_t tsf_hot_utime_ms(const struct tsf_hot *hot)
{
    return (uint64_t)hot->utime_ms * (hot->flags & TSF_HOT_SECONDS ? 1000 : 1);
}

static inline uint64_t tsf_hot_stime_ms(const struct tsf_hot *hot)
{
    return (uint64_t)hot->stime_ms * (hot->flags & TSF_HOT_SECONDS ? 1000 : 1);
}

#endif
