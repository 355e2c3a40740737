/* Checksum of the records that tsfast writes to disk.
 *
 * Each step h -> mix(h ^ word) is a bijection of h, so two inputs that differ in one 8-byte word always differ in the
 * 64-bit value; folding to 32 bits leaves a chance of 2^-32 that damage passes. The seed (a job id, say) makes a record
 * that was written in the wrong place fail too. It guards against torn and flipped bytes, not against an adversary: the
 * files are private to their owner. */
#ifndef TSFAST_CHECK_H
#define TSFAST_CHECK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t tsf_hash64(const void *data, size_t size, uint64_t seed)
{
    const unsigned char *p = (const unsigned char *)data;
    uint64_t h = seed ^ (0x9e3779b97f4a7c15u + (uint64_t)size), word;

    for (; size >= 8; size -= 8, p += 8) {
        memcpy(&word, p, 8);
        h = (h ^ word) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    if (size) {
        word = 0;
        memcpy(&word, p, size);
        h = (h ^ word) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    h *= 0xc4ceb9fe1a85ec53u;
    return h ^ (h >> 33);
}

/* Never 0, so that a record of zeros (a hole) never passes. */
static inline uint32_t tsf_check32(const void *data, size_t size, uint64_t seed)
{
    uint64_t h = tsf_hash64(data, size, seed);
    uint32_t folded = (uint32_t)(h ^ (h >> 32));

    return folded ? folded : 1;
}

#endif
