/* ts-run: the parent of one job at a time. Started by the server, it owns one entry of `runs` from birth to death.
 *
 *   main.c     birth, the loop, one job from claim to report
 *   gpu.c      which GPUs the job has, and their leases
 *   records.c  what the server wrote to disk about a job: blob and base context
 *   job.c      argument vector, environment, output file
 *   spawn.c    the job's own process, up to execve
 *   result.c   waiting, signals to the job, the result, reports
 *   hook.c     ts-run hook: no runner at all, but what is to run when a job has ended
 *   tree.c     ending all processes of a job
 *
 *   state \ event  | packet          | server gone  | child ended     | command signal  | nothing for long
 *   ---------------+-----------------+--------------+-----------------+-----------------+------------------
 *   idle           | claim or drop   | exit         | no child exists | pending, stale  | exit
 *   setting up     | stays queued    | goes on      | stays pending   | stays pending   | -
 *   running        | stays queued    | goes on      | result, report  | kill(-leader)   | report STARTED
 *   ended          | -> idle         | exit         | reaped          | pending, stale  | -
 *
 * All signals are blocked and none has a handler. They wait in the kernel until the runner asks for them, and it asks
 * only while a job of its own is not reaped: so a signal can neither be missed nor hit another process. */
#ifndef TSFAST_RUNNER_H
#define TSFAST_RUNNER_H

#include <stddef.h>
#include <stdint.h>

#define TSF_CRASH_ROLE "runner:"
#include "../fault.h"
#include "../gpus.h"
#include "../runs.h"
#include "../shown.h"

enum { SHOWN_MOST = 1024 }; /* bytes of a path or word that a message repeats */

/* The raw calls below pass kernel structures (rusage, 64-bit limits) that only here are those of the C library. */
_Static_assert(sizeof(long) == 8, "ts-run is for 64-bit systems");

/* Grows, never shrinks, is kept from job to job: after its first jobs a runner allocates nothing. */
struct buffer {
    char *data;
    size_t size;
};

/* A base context, in the form that the next job of the same shell can use at once. */
struct context {
    int loaded;
    uint64_t name;
    struct buffer file; /* owns what the pointers below point to */
    struct buffer pointers;
    const struct tsf_ctx *head;
    const char *affinity;
    const char *cwd; /* NULL if none is recorded */
    char **env;      /* head->env_count strings, not NULL-terminated */
};

/* Lease descriptors of the current job's GPUs. */
struct leases {
    int fds[TSF_GPUS]; /* owned */
    uint32_t count;
    int shared; /* the locks are the queue's, and not the job's own */
    uint64_t gen;
};

struct records {
    int blob_fd; /* -1, or the blob file of `segment` */
    uint64_t segment;
    struct buffer blob;
    struct buffer grant;
    struct context context;
};

struct job {
    struct tsf_assign assign;
    int given[3]; /* the client's stdin, stdout, stderr, -1 if they did not arrive; owned */
    /* parts of the blob in records.blob */
    char *argv_text, *prefix, *cwd_text, *diff;
    size_t diff_count;
    /* in runner.vectors; argv[-1] is a free place, for the shell of a script without an interpreter line */
    char **argv, **envp;
    const char *cwd;
    char *output; /* path of the output file, NULL if there is none */
    int out, err; /* its descriptors, -1 if there is none; owned */
    const struct tsf_grant *grant; /* of its GPUs, in records.grant; NULL: it has none */
    char *visible; /* CUDA_VISIBLE_DEVICES=..., NULL: it has no GPUs */
    int gzip;     /* pid of the process that compresses the output, 0 if there is none */
    uint64_t start_boot_ns;
    uint64_t kill_ns; /* --cancel: CLOCK_BOOTTIME at which all its processes are killed; 0: not asked for */
};

struct runner {
    struct tsf_run *entry;
    struct leases leases;
    uint64_t limits[TSF_LIMITS][2]; /* its own, so that a job sets only those that differ */
    struct records records;
    struct buffer vectors;
};

/* Functions with `int cause` return 0, or an errno. */

void put_hex(char *text, uint64_t value, int digits);
int buffer_reserve(struct buffer *buffer, size_t size);
int records_load(struct records *records, struct job *job);
/* Of the blob file that records_load has opened. */
int records_read(const struct records *records, char *data, size_t size, uint64_t offset);

/* A packet of lease descriptors; those of an earlier generation, whose job never came, are closed. */
void leases_add(struct leases *leases, const struct tsf_leases *packet, const int *fds, int count);
/* Once the job has ended: unlocks those that are its own, closes all. */
void leases_end(struct leases *leases);
/* The GPUs of this start, if the job needs any. */
int grant_load(struct runner *runner, struct job *job);
/* The value of CUDA_VISIBLE_DEVICES into `text`, which has room for TSF_VISIBLE_MAX bytes for each GPU. */
void put_visible_devices(char *text, const struct tsf_grant *grant);
#define TSF_VISIBLE_MAX 65

int job_prepare(struct runner *runner, struct job *job);
int job_open_output(struct runner *runner, struct job *job);
/* Nothing was executed: removes the empty files that were created for its output. */
void job_drop_output(struct runner *runner, struct job *job);
/* -z: gzip writes the file, and the job writes to a pipe. */
int job_start_gzip(struct runner *runner, struct job *job);
int spawn_gzip(struct job *job);

/* The job's process; *leader is set. With cause 0 it has executed the command, or ended. */
int spawn(struct runner *runner, struct job *job, int *leader);
/* Its steps, for hooks: nice value, processors and limits (enum tsf_note: what could not be applied); the mask of
 * blocked signals; the command of job->argv. */
uint32_t apply_resources(const struct runner *runner);
void set_signal_mask(uint64_t mask);
int execute(struct job *job);

/* words: ID SUFFIX PROGRAM ARG... Returns only if PROGRAM could not be executed: the exit status. */
int run_hook(struct runner *runner, char **words);

uint64_t now_ns(int clock);

/* SIGKILL to all children of the runner, which are what is left of the job and lost its parent, or its leader;
 * not to `spared`. */
void kill_children(int spared);

/* Waits for the leader, stores the result, reaps and reports. Returns 1 if the runner can take another job. */
int finish_job(struct runner *runner, struct job *job, int leader);
/* The same for a job that never had a process. */
int finish_unstarted(struct runner *runner, struct job *job, enum tsf_stage stage, int cause);

#endif
