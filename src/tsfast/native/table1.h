/* Format 1 of the job table, that of tsfast 0.1.0: what of it differs from format 2 (table.h), and the same record in
 * format 2. Blobs, grants and base contexts are the same in both. */
#ifndef TSFAST_TABLE1_H
#define TSFAST_TABLE1_H

#include "table.h"

struct tsf_hot1 {
    uint8_t state;
    uint8_t notes; /* enum tsf_note, and the bits of enum tsf_due in bits 6 and 7 */
    uint16_t attempt;
    uint32_t run; /* or utime_ms */
    uint32_t gen; /* or stime_ms */
    int32_t status;
    int32_t pid;
    uint16_t cause;
    uint16_t stage;
    uint64_t start_ns;
    uint64_t duration_ns;
    uint64_t order;
    char suffix[8];
    uint32_t maxrss_kb;
    uint32_t check;
};

struct tsf_cold1 {
    uint64_t enqueue_ns;
    uint64_t token[2];
    uint64_t blob_off;
    uint32_t blob_len;
    uint32_t blob_check;
    uint64_t ctx;
    uint32_t slots;
    uint32_t flags;
    uint32_t batch_index;
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
    uint16_t gpu_share;
    uint16_t gpu_exact_len;
    uint64_t vram;
    uint32_t gpus;
    uint32_t array_first;
    uint32_t array_limit;
    uint32_t check;
};

struct tsf_header1 {
    uint64_t magic;
    uint32_t format;
    uint32_t ids_check;
    uint64_t committed;
    uint64_t floor;
    uint32_t slots;
    uint32_t max_finished;
    uint64_t intent[5];
    uint64_t swap_token[2];
    uint32_t logdir_len;
    char logdir[2984];
    uint32_t gpu_free_percent;
    uint32_t gpu_wait_s;
    uint32_t gpu_devices;
    uint32_t check;
};

_Static_assert(sizeof(struct tsf_hot1) == sizeof(struct tsf_hot), "a segment has the same length");
_Static_assert(sizeof(struct tsf_cold1) == sizeof(struct tsf_cold), "a segment has the same length");
_Static_assert(sizeof(struct tsf_header1) == 3104, "as it was");

static inline uint32_t tsf_hot1_check(const struct tsf_hot1 *hot, uint64_t id)
{
    return tsf_check32(hot, offsetof(struct tsf_hot1, check), id);
}

static inline uint32_t tsf_cold1_check(const struct tsf_cold1 *cold, uint64_t id)
{
    return tsf_check32(cold, offsetof(struct tsf_cold1, check), id);
}

/* The record in format 2. One that is damaged stays as it is, for it is damaged in format 2 as well; so does a hole. */
static inline void tsf_hot_from1(struct tsf_hot *hot, const struct tsf_hot1 *old, uint64_t id)
{
    memcpy(hot, old, sizeof *hot);
    if (old->check != tsf_hot1_check(old, id))
        return;
    memset(hot, 0, sizeof *hot);
    hot->state = old->state;
    hot->end = (uint8_t)tsf_end_of(old->state);
    hot->attempt = old->attempt;
    hot->status = (uint16_t)old->status;
    hot->cause = old->cause;
    hot->run = old->run;
    hot->gen = old->gen;
    hot->pid = old->pid;
    hot->stage = (uint8_t)old->stage;
    hot->notes = old->notes & 63;
    hot->due = old->notes >> 6;
    hot->start_ns = old->start_ns;
    hot->duration_ns = old->duration_ns;
    hot->order = old->order;
    memcpy(hot->suffix, old->suffix, sizeof hot->suffix);
    hot->maxrss_kb = old->maxrss_kb;
    hot->check = tsf_hot_check(hot, id);
}

static inline int tsf_fits_format2(const struct tsf_cold1 *old)
{
    return old->label_len <= TSF_PART_MAX && old->prefix_len <= TSF_PART_MAX && old->cwd_len <= TSF_PART_MAX &&
           old->gpus <= UINT16_MAX;
}

/* Likewise. A label, an output prefix or a directory of more than 65,535 bytes has no place in format 2: such a job is
 * damaged, so it is told and never run. */
static inline void tsf_cold_from1(struct tsf_cold *cold, const struct tsf_cold1 *old, uint64_t id)
{
    memcpy(cold, old, sizeof *cold);
    if (old->check != tsf_cold1_check(old, id) || !tsf_fits_format2(old))
        return;
    memset(cold, 0, sizeof *cold);
    cold->enqueue_ns = old->enqueue_ns;
    memcpy(cold->token, old->token, sizeof cold->token);
    cold->blob_off = old->blob_off;
    cold->blob_len = old->blob_len;
    cold->blob_check = old->blob_check;
    cold->ctx = old->ctx;
    cold->slots = old->slots;
    cold->flags = old->flags;
    cold->batch_index = old->batch_index;
    cold->batch_count = old->batch_count;
    cold->n_after = old->n_after;
    cold->n_after_ok = old->n_after_ok;
    cold->argc = old->argc;
    cold->argv_len = old->argv_len;
    cold->diff_len = old->diff_len;
    cold->env_text_len = old->env_text_len;
    cold->label_len = (uint16_t)old->label_len;
    cold->prefix_len = (uint16_t)old->prefix_len;
    cold->cwd_len = (uint16_t)old->cwd_len;
    cold->gpu_exact_len = old->gpu_exact_len;
    cold->vram = old->vram;
    cold->gpus = (uint16_t)old->gpus;
    cold->gpu_share = old->gpu_share;
    cold->array_limit = old->array_limit <= UINT16_MAX ? (uint16_t)old->array_limit : 0; /* 65,536 are all */
    cold->array_first = old->array_first;
    cold->check = tsf_cold_check(cold, id);
}

static inline int tsf_ids_fit1(const struct tsf_header1 *old)
{
    return old->ids_check == tsf_check32(&old->committed, sizeof old->committed + sizeof old->floor, 0);
}

static inline uint32_t tsf_settings_check1(const struct tsf_header1 *old)
{
    return tsf_check32(&old->slots, offsetof(struct tsf_header1, check) - offsetof(struct tsf_header1, slots), 0);
}

#endif
