/* Foreign text: labels, paths, variables, words of a command line, names that others gave to their processes. It may
 * contain bytes that a terminal obeys, characters that reverse the order of a line or are invisible, and newlines that
 * imitate a line of tsfast. This header escapes them, for launcher, runner and server; Python uses it through text.pyx.
 * No allocation, no locale: UTF-8 is decoded here, and safe between fork and exec.
 *
 * An escaped character becomes \n, \t, \r, or \xNN for each of its bytes. */
#ifndef TSFAST_SHOWN_H
#define TSFAST_SHOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What kind of character it is; the later, the more harm it does. Functions take the least kind that they escape. */
enum tsf_kind {
    TSF_PLAIN,
    TSF_HIDDEN,    /* invisible, or a byte that is not valid UTF-8: escaped for people */
    TSF_DIRECTION, /* it turns the order of its line round: escaped in whatever may be looked at later */
    TSF_CONTROL    /* it moves the cursor, talks to the terminal, or ends a line somewhere: escaped always */
};

enum {
    TSF_ESCAPE_MAX = 16 /* four bytes of a character, four characters for each */
};

#define TSF_NO_CHARACTER 0xffffffffu

/* Length of the first character; TSF_NO_CHARACTER and 1 where there is none. size > 0. */
static inline size_t tsf_decode(const char *data, size_t size, uint32_t *character)
{
    const unsigned char *byte = (const unsigned char *)data;
    uint32_t c = byte[0], least;
    size_t length;

    *character = c;
    if (c < 0x80)
        return 1;
    *character = TSF_NO_CHARACTER;
    if (c < 0xc2 || c > 0xf4)
        return 1;
    length = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (size < length)
        return 1;
    least = length == 2 ? 0x80 : length == 3 ? 0x800 : 0x10000;
    c &= length == 2 ? 0x1f : length == 3 ? 0x0f : 0x07;
    for (size_t i = 1; i < length; i++) {
        if ((byte[i] & 0xc0) != 0x80)
            return 1;
        c = c << 6 | (byte[i] & 0x3f);
    }
    if (c < least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 1;
    *character = c;
    return length;
}

static inline bool tsf_in_ranges(const uint32_t *ranges, size_t count, uint32_t c)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (c > ranges[2 * middle + 1])
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && c >= ranges[2 * low];
}

/* Of the first character of `data`, which tsf_decode found to be `c`. */
static inline enum tsf_kind tsf_kind_of(uint32_t c, const char *data)
{
    /* Characters of format (Cf) and others without a look of their own. Variation selectors up to U+FE0F stay: they
     * belong to the character before them, as in many emoji. */
    static const uint32_t hidden[] = {
        0xad,    0xad,    0x34f,   0x34f,   0x600,   0x605,   0x6dd,   0x6dd,   0x70f,   0x70f,   0x890,   0x891,
        0x8e2,   0x8e2,   0x115f,  0x1160,  0x17b4,  0x17b5,  0x180e,  0x180e,  0x200b,  0x200d,  0x2060,  0x2065,
        0x206a,  0x206f,  0x3164,  0x3164,  0xfeff,  0xfeff,  0xffa0,  0xffa0,  0xfff0,  0xfffb,  0x110bd, 0x110bd,
        0x110cd, 0x110cd, 0x13430, 0x1343f, 0x1bca0, 0x1bca3, 0x1d173, 0x1d17a, 0xe0000, 0xe0fff,
    };

    if (c < 0x7f)
        return c < 0x20 ? TSF_CONTROL : TSF_PLAIN;
    if (c <= 0x9f || c == 0x2028 || c == 0x2029)
        return TSF_CONTROL;
    if (c == TSF_NO_CHARACTER) /* a lone byte up to 0x9f is a control character where the terminal reads no UTF-8 */
        return (unsigned char)data[0] <= 0x9f ? TSF_CONTROL : TSF_HIDDEN;
    if (c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069))
        return TSF_DIRECTION;
    return tsf_in_ranges(hidden, sizeof(hidden) / (2 * sizeof(*hidden)), c) ? TSF_HIDDEN : TSF_PLAIN;
}

/* One character, however it is encoded; how much was written. */
static inline size_t tsf_escape(char to[TSF_ESCAPE_MAX], const char *data, size_t size)
{
    static const char hex[] = "0123456789abcdef";
    size_t written = 0;

    if (data[0] == '\n' || data[0] == '\t' || data[0] == '\r') {
        to[0] = '\\';
        to[1] = data[0] == '\n' ? 'n' : data[0] == '\t' ? 't' : 'r';
        return 2;
    }
    for (size_t i = 0; i < size && written < TSF_ESCAPE_MAX; i++) {
        to[written++] = '\\';
        to[written++] = 'x';
        to[written++] = hex[(unsigned char)data[i] >> 4];
        to[written++] = hex[(unsigned char)data[i] & 15];
    }
    return written;
}

/* Foreign text for people, on one line: at most so many bytes, whole characters, and three dots after them if that was
 * not all. How much was written; `to` has room for the dots, and gets no NUL. */
static inline size_t tsf_show(char *to, size_t most, const char *data, size_t size)
{
    size_t written = 0, length;
    uint32_t c;

    for (size_t i = 0; i < size; i += length) {
        char escape[TSF_ESCAPE_MAX];
        const char *from = data + i;
        size_t more = length = tsf_decode(data + i, size - i, &c);

        if (tsf_kind_of(c, data + i) != TSF_PLAIN) {
            more = tsf_escape(escape, data + i, length);
            from = escape;
        }
        if (more > most - written) {
            to[written] = to[written + 1] = to[written + 2] = '.';
            return written + 3;
        }
        for (size_t j = 0; j < more; j++)
            to[written + j] = from[j];
        written += more;
    }
    return written;
}

#endif
