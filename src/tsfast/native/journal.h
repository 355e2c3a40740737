/* The journal of TS_DURABLE=1: what was written to the files of the table, in the order in which it was written.
 *
 * journal/X{16} is a struct tsf_journal_head and records, each a struct tsf_journal_record and its data, filled up with
 * zeros to a multiple of 8. Records are written and synced in groups; a group is begun only when the one before is on
 * the disk. So a hole in the last group of the last file is a crash, and one before that is damage. */
#ifndef TSFAST_JOURNAL_H
#define TSFAST_JOURNAL_H

#include <stdint.h>

#include "check.h"

#define TSF_JOURNAL_MAGIC 0x6c6e756f6a617366u
#define TSF_JOURNAL_FORMAT 1u
#define TSF_JOURNAL_RECORD 0x64726f63u
#define TSF_JOURNAL_BOOT_ID 40

enum tsf_journal_kind {
    TSF_JOURNAL_HEADER = 1,  /* data at offset of `header`; the first record of each file is the whole of it */
    TSF_JOURNAL_SEGMENT = 2, /* likewise of seg.NUMBER */
    TSF_JOURNAL_BLOB = 3,    /* likewise of blob.NUMBER */
    TSF_JOURNAL_CONTEXT = 4, /* the whole of ctx/NUMBER */
    TSF_JOURNAL_DROP = 5     /* seg.NUMBER and blob.NUMBER were unlinked */
};

struct tsf_journal_head {
    uint64_t magic;
    uint32_t format;
    uint32_t check; /* tsf_check32 of the bytes behind it */
    uint64_t number;
    uint64_t first; /* replay begins with the file of this number: what the ones before hold is in the table */
    char boot_id[TSF_JOURNAL_BOOT_ID]; /* of the boot in which it was written */
};

struct tsf_journal_record {
    uint32_t magic;
    uint32_t kind;   /* enum tsf_journal_kind */
    uint64_t group;  /* where in this file its group begins */
    uint64_t number; /* of the segment; name of the context */
    uint64_t offset;
    uint32_t size;  /* of the data */
    uint32_t check; /* see tsf_journal_check */
};

_Static_assert(sizeof(struct tsf_journal_head) == 72, "no padding");
_Static_assert(sizeof(struct tsf_journal_record) == 40, "no padding");

static inline uint32_t tsf_journal_head_check(const struct tsf_journal_head *head)
{
    return tsf_check32(&head->number, sizeof *head - offsetof(struct tsf_journal_head, number), 0);
}

/* Seed: the number of the file. */
static inline uint32_t tsf_journal_check(const struct tsf_journal_record *record, const void *data, uint64_t seed)
{
    uint64_t of_data = tsf_hash64(data, record->size, seed);

    return tsf_check32(record, offsetof(struct tsf_journal_record, check), of_data);
}

#endif
