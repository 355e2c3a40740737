# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See text.pxd. Which characters are escaped, and how, is said in native/shown.h."""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset, strlen

cdef extern from *:
    const size_t SIZE_MAX

cdef enum:
    SHORTEST_ROOM = 256

# First and last of the characters without a width of their own, and of those two columns wide (Unicode 14; below
# U+3000 up to 17, which the tests compare on later Pythons). Unassigned characters between two ranges are counted to
# them.
cdef uint32_t[626] ZERO = [
    0x300, 0x36f, 0x483, 0x489, 0x591, 0x5bd, 0x5bf, 0x5bf, 0x5c1, 0x5c2, 0x5c4, 0x5c5, 0x5c7, 0x5c7, 0x600, 0x605,
    0x610, 0x61a, 0x61c, 0x61c, 0x64b, 0x65f, 0x670, 0x670, 0x6d6, 0x6dd, 0x6df, 0x6e4, 0x6e7, 0x6e8, 0x6ea, 0x6ed,
    0x70f, 0x70f, 0x711, 0x711, 0x730, 0x74a, 0x7a6, 0x7b0, 0x7eb, 0x7f3, 0x7fd, 0x7fd, 0x816, 0x819, 0x81b, 0x823,
    0x825, 0x827, 0x829, 0x82d, 0x859, 0x85b, 0x890, 0x89f, 0x8ca, 0x902, 0x93a, 0x93a, 0x93c, 0x93c, 0x941, 0x948,
    0x94d, 0x94d, 0x951, 0x957, 0x962, 0x963, 0x981, 0x981, 0x9bc, 0x9bc, 0x9c1, 0x9c4, 0x9cd, 0x9cd, 0x9e2, 0x9e3,
    0x9fe, 0xa02, 0xa3c, 0xa3c, 0xa41, 0xa51, 0xa70, 0xa71, 0xa75, 0xa75, 0xa81, 0xa82, 0xabc, 0xabc, 0xac1, 0xac8,
    0xacd, 0xacd, 0xae2, 0xae3, 0xafa, 0xb01, 0xb3c, 0xb3c, 0xb3f, 0xb3f, 0xb41, 0xb44, 0xb4d, 0xb56, 0xb62, 0xb63,
    0xb82, 0xb82, 0xbc0, 0xbc0, 0xbcd, 0xbcd, 0xc00, 0xc00, 0xc04, 0xc04, 0xc3c, 0xc3c, 0xc3e, 0xc40, 0xc46, 0xc56,
    0xc62, 0xc63, 0xc81, 0xc81, 0xcbc, 0xcbc, 0xcbf, 0xcbf, 0xcc6, 0xcc6, 0xccc, 0xccd, 0xce2, 0xce3, 0xd00, 0xd01,
    0xd3b, 0xd3c, 0xd41, 0xd44, 0xd4d, 0xd4d, 0xd62, 0xd63, 0xd81, 0xd81, 0xdca, 0xdca, 0xdd2, 0xdd6, 0xe31, 0xe31,
    0xe34, 0xe3a, 0xe47, 0xe4e, 0xeb1, 0xeb1, 0xeb4, 0xebc, 0xec8, 0xece, 0xf18, 0xf19, 0xf35, 0xf35, 0xf37, 0xf37,
    0xf39, 0xf39, 0xf71, 0xf7e, 0xf80, 0xf84, 0xf86, 0xf87, 0xf8d, 0xfbc, 0xfc6, 0xfc6, 0x102d, 0x1030,
    0x1032, 0x1037, 0x1039, 0x103a, 0x103d, 0x103e, 0x1058, 0x1059, 0x105e, 0x1060, 0x1071, 0x1074, 0x1082, 0x1082,
    0x1085, 0x1086, 0x108d, 0x108d, 0x109d, 0x109d, 0x1160, 0x11ff, 0x135d, 0x135f, 0x1712, 0x1714, 0x1732, 0x1733,
    0x1752, 0x1753, 0x1772, 0x1773, 0x17b4, 0x17b5, 0x17b7, 0x17bd, 0x17c6, 0x17c6, 0x17c9, 0x17d3, 0x17dd, 0x17dd,
    0x180b, 0x180f, 0x1885, 0x1886, 0x18a9, 0x18a9, 0x1920, 0x1922, 0x1927, 0x1928, 0x1932, 0x1932, 0x1939, 0x193b,
    0x1a17, 0x1a18, 0x1a1b, 0x1a1b, 0x1a56, 0x1a56, 0x1a58, 0x1a60, 0x1a62, 0x1a62, 0x1a65, 0x1a6c, 0x1a73, 0x1a7f,
    0x1ab0, 0x1b03, 0x1b34, 0x1b34, 0x1b36, 0x1b3a, 0x1b3c, 0x1b3c, 0x1b42, 0x1b42, 0x1b6b, 0x1b73, 0x1b80, 0x1b81,
    0x1ba2, 0x1ba5, 0x1ba8, 0x1ba9, 0x1bab, 0x1bad, 0x1be6, 0x1be6, 0x1be8, 0x1be9, 0x1bed, 0x1bed, 0x1bef, 0x1bf1,
    0x1c2c, 0x1c33, 0x1c36, 0x1c37, 0x1cd0, 0x1cd2, 0x1cd4, 0x1ce0, 0x1ce2, 0x1ce8, 0x1ced, 0x1ced, 0x1cf4, 0x1cf4,
    0x1cf8, 0x1cf9, 0x1dc0, 0x1dff, 0x200b, 0x200f, 0x202a, 0x202e, 0x2060, 0x206f, 0x20d0, 0x20f0, 0x2cef, 0x2cf1,
    0x2d7f, 0x2d7f, 0x2de0, 0x2dff, 0x302a, 0x302d, 0x3099, 0x309a, 0xa66f, 0xa672, 0xa674, 0xa67d, 0xa69e, 0xa69f,
    0xa6f0, 0xa6f1, 0xa802, 0xa802, 0xa806, 0xa806, 0xa80b, 0xa80b, 0xa825, 0xa826, 0xa82c, 0xa82c, 0xa8c4, 0xa8c5,
    0xa8e0, 0xa8f1, 0xa8ff, 0xa8ff, 0xa926, 0xa92d, 0xa947, 0xa951, 0xa980, 0xa982, 0xa9b3, 0xa9b3, 0xa9b6, 0xa9b9,
    0xa9bc, 0xa9bd, 0xa9e5, 0xa9e5, 0xaa29, 0xaa2e, 0xaa31, 0xaa32, 0xaa35, 0xaa36, 0xaa43, 0xaa43, 0xaa4c, 0xaa4c,
    0xaa7c, 0xaa7c, 0xaab0, 0xaab0, 0xaab2, 0xaab4, 0xaab7, 0xaab8, 0xaabe, 0xaabf, 0xaac1, 0xaac1, 0xaaec, 0xaaed,
    0xaaf6, 0xaaf6, 0xabe5, 0xabe5, 0xabe8, 0xabe8, 0xabed, 0xabed, 0xfb1e, 0xfb1e, 0xfe00, 0xfe0f, 0xfe20, 0xfe2f,
    0xfeff, 0xfeff, 0xfff9, 0xfffb, 0x101fd, 0x101fd, 0x102e0, 0x102e0, 0x10376, 0x1037a, 0x10a01, 0x10a0f,
    0x10a38, 0x10a3f, 0x10ae5, 0x10ae6, 0x10d24, 0x10d27, 0x10eab, 0x10eac, 0x10f46, 0x10f50, 0x10f82, 0x10f85,
    0x11001, 0x11001, 0x11038, 0x11046, 0x11070, 0x11070, 0x11073, 0x11074, 0x1107f, 0x11081, 0x110b3, 0x110b6,
    0x110b9, 0x110ba, 0x110bd, 0x110bd, 0x110c2, 0x110cd, 0x11100, 0x11102, 0x11127, 0x1112b, 0x1112d, 0x11134,
    0x11173, 0x11173, 0x11180, 0x11181, 0x111b6, 0x111be, 0x111c9, 0x111cc, 0x111cf, 0x111cf, 0x1122f, 0x11231,
    0x11234, 0x11234, 0x11236, 0x11237, 0x1123e, 0x1123e, 0x112df, 0x112df, 0x112e3, 0x112ea, 0x11300, 0x11301,
    0x1133b, 0x1133c, 0x11340, 0x11340, 0x11366, 0x11374, 0x11438, 0x1143f, 0x11442, 0x11444, 0x11446, 0x11446,
    0x1145e, 0x1145e, 0x114b3, 0x114b8, 0x114ba, 0x114ba, 0x114bf, 0x114c0, 0x114c2, 0x114c3, 0x115b2, 0x115b5,
    0x115bc, 0x115bd, 0x115bf, 0x115c0, 0x115dc, 0x115dd, 0x11633, 0x1163a, 0x1163d, 0x1163d, 0x1163f, 0x11640,
    0x116ab, 0x116ab, 0x116ad, 0x116ad, 0x116b0, 0x116b5, 0x116b7, 0x116b7, 0x1171d, 0x1171f, 0x11722, 0x11725,
    0x11727, 0x1172b, 0x1182f, 0x11837, 0x11839, 0x1183a, 0x1193b, 0x1193c, 0x1193e, 0x1193e, 0x11943, 0x11943,
    0x119d4, 0x119db, 0x119e0, 0x119e0, 0x11a01, 0x11a0a, 0x11a33, 0x11a38, 0x11a3b, 0x11a3e, 0x11a47, 0x11a47,
    0x11a51, 0x11a56, 0x11a59, 0x11a5b, 0x11a8a, 0x11a96, 0x11a98, 0x11a99, 0x11c30, 0x11c3d, 0x11c3f, 0x11c3f,
    0x11c92, 0x11ca7, 0x11caa, 0x11cb0, 0x11cb2, 0x11cb3, 0x11cb5, 0x11cb6, 0x11d31, 0x11d45, 0x11d47, 0x11d47,
    0x11d90, 0x11d91, 0x11d95, 0x11d95, 0x11d97, 0x11d97, 0x11ef3, 0x11ef4, 0x13430, 0x13438, 0x16af0, 0x16af4,
    0x16b30, 0x16b36, 0x16f4f, 0x16f4f, 0x16f8f, 0x16f92, 0x16fe4, 0x16fe4, 0x1bc9d, 0x1bc9e, 0x1bca0, 0x1cf46,
    0x1d167, 0x1d169, 0x1d173, 0x1d182, 0x1d185, 0x1d18b, 0x1d1aa, 0x1d1ad, 0x1d242, 0x1d244, 0x1da00, 0x1da36,
    0x1da3b, 0x1da6c, 0x1da75, 0x1da75, 0x1da84, 0x1da84, 0x1da9b, 0x1daaf, 0x1e000, 0x1e02a, 0x1e130, 0x1e136,
    0x1e2ae, 0x1e2ae, 0x1e2ec, 0x1e2ef, 0x1e8d0, 0x1e8d6, 0x1e944, 0x1e94a, 0xe0001, 0xe01ef,
]
cdef uint32_t[168] WIDE = [
    0x1100, 0x115f, 0x231a, 0x231b, 0x2329, 0x232a, 0x23e9, 0x23ec, 0x23f0, 0x23f0, 0x23f3, 0x23f3, 0x25fd, 0x25fe,
    0x2614, 0x2615, 0x2648, 0x2653, 0x267f, 0x267f, 0x2693, 0x2693, 0x26a1, 0x26a1, 0x26aa, 0x26ab, 0x26bd, 0x26be,
    0x26c4, 0x26c5, 0x26ce, 0x26ce, 0x26d4, 0x26d4, 0x26ea, 0x26ea, 0x26f2, 0x26f3, 0x26f5, 0x26f5, 0x26fa, 0x26fa,
    0x26fd, 0x26fd, 0x2705, 0x2705, 0x270a, 0x270b, 0x2728, 0x2728, 0x274c, 0x274c, 0x274e, 0x274e, 0x2753, 0x2755,
    0x2757, 0x2757, 0x2795, 0x2797, 0x27b0, 0x27b0, 0x27bf, 0x27bf, 0x2b1b, 0x2b1c, 0x2b50, 0x2b50, 0x2b55, 0x2b55,
    0x2e80, 0x3029, 0x302e, 0x303e, 0x3041, 0x3096, 0x309b, 0x3247, 0x3250, 0x4dbf, 0x4e00, 0xa4c6, 0xa960, 0xa97c,
    0xac00, 0xd7a3, 0xf900, 0xfad9, 0xfe10, 0xfe19, 0xfe30, 0xfe6b, 0xff01, 0xff60, 0xffe0, 0xffe6, 0x16fe0, 0x16fe3,
    0x16ff0, 0x1b2fb, 0x1f004, 0x1f004, 0x1f0cf, 0x1f0cf, 0x1f18e, 0x1f18e, 0x1f191, 0x1f19a, 0x1f200, 0x1f320,
    0x1f32d, 0x1f335, 0x1f337, 0x1f37c, 0x1f37e, 0x1f393, 0x1f3a0, 0x1f3ca, 0x1f3cf, 0x1f3d3, 0x1f3e0, 0x1f3f0,
    0x1f3f4, 0x1f3f4, 0x1f3f8, 0x1f43e, 0x1f440, 0x1f440, 0x1f442, 0x1f4fc, 0x1f4ff, 0x1f53d, 0x1f54b, 0x1f54e,
    0x1f550, 0x1f567, 0x1f57a, 0x1f57a, 0x1f595, 0x1f596, 0x1f5a4, 0x1f5a4, 0x1f5fb, 0x1f64f, 0x1f680, 0x1f6c5,
    0x1f6cc, 0x1f6cc, 0x1f6d0, 0x1f6d2, 0x1f6d5, 0x1f6df, 0x1f6eb, 0x1f6ec, 0x1f6f4, 0x1f6fc, 0x1f7e0, 0x1f7f0,
    0x1f90c, 0x1f93a, 0x1f93c, 0x1f945, 0x1f947, 0x1f9ff, 0x1fa70, 0x1faf6, 0x20000, 0x3fffd,
]

cdef const char *HEX = b"0123456789abcdef"


# --- The buffer

cdef void text_free(Text *text) noexcept nogil:
    free(text.data)
    text.data = NULL
    text.size = text.room = 0


cdef bint grow(Text *text, size_t size) noexcept nogil:
    cdef size_t room = text.room
    cdef char *data
    if text.failed:
        return False
    if size <= room - text.size:
        return True
    if size > SIZE_MAX // 4 or room > SIZE_MAX // 4:
        text.failed = True
        return False
    room = max(2 * room, room + size, <size_t>SHORTEST_ROOM)
    data = <char *>realloc(text.data, room)
    if data == NULL:
        text.failed = True
        return False
    text.data = data
    text.room = room
    return True


cdef void text_add(Text *text, const char *data, size_t size) noexcept nogil:
    if size and grow(text, size):
        memcpy(text.data + text.size, data, size)
        text.size += size


cdef void text_str(Text *text, const char *string) noexcept nogil:
    text_add(text, string, strlen(string))


cdef void text_char(Text *text, char c) noexcept nogil:
    if grow(text, 1):
        text.data[text.size] = c
        text.size += 1


cdef void text_pad(Text *text, size_t count) noexcept nogil:
    if count and grow(text, count):
        memset(text.data + text.size, c" ", count)
        text.size += count


cdef void text_u64(Text *text, uint64_t value) noexcept nogil:
    cdef char[20] digits
    cdef size_t at = 20
    while True:
        at -= 1
        digits[at] = <char>(c"0" + <int>(value % 10))
        value //= 10
        if value == 0:
            break
    text_add(text, digits + at, 20 - at)


cdef void text_i64(Text *text, long long value) noexcept nogil:
    if value < 0:
        text_char(text, c"-")
        text_u64(text, 0 - <uint64_t>value)
    else:
        text_u64(text, <uint64_t>value)


cdef void text_cut(Text *text, size_t size) noexcept nogil:
    if size < text.size:
        text.size = size


# --- Columns

cdef size_t width(uint32_t c) noexcept nogil:
    if c < 0x300 or c == TSF_NO_CHARACTER:
        return 1
    if tsf_in_ranges(ZERO, sizeof(ZERO) // (2 * sizeof(uint32_t)), c):
        return 0
    return 2 if tsf_in_ranges(WIDE, sizeof(WIDE) // (2 * sizeof(uint32_t)), c) else 1


cdef size_t display_columns(const char *data, size_t size) noexcept nogil:
    cdef size_t columns = 0, i = 0
    cdef uint32_t c = 0
    while i < size:
        i += tsf_decode(data + i, size - i, &c)
        columns += width(c)
    return columns


cdef size_t bytes_of_columns(const char *data, size_t size, size_t columns) noexcept nogil:
    cdef size_t used = 0, i = 0, length
    cdef uint32_t c = 0
    while i < size:
        length = tsf_decode(data + i, size - i, &c)
        used += width(c)
        if used > columns:
            break
        i += length
    return i


# --- Foreign bytes

cdef bint is_plain(const char *word, size_t size) noexcept nogil:
    """Nothing in it means anything to a shell."""
    cdef size_t i
    cdef char c
    for i in range(size):
        c = word[i]
        if not (c"a" <= c <= c"z" or c"A" <= c <= c"Z" or c"+" <= c <= c":" or c == c"_" or c == c"@" or c == c"%"
                or c == c"="):
            return False
    return size > 0


cdef bint is_shown(const char *word, size_t size, tsf_kind least) noexcept nogil:
    """It is UTF-8, and each of its characters can stand for itself."""
    cdef size_t i = 0, length
    cdef uint32_t c = 0
    while i < size:
        length = tsf_decode(word + i, size - i, &c)
        if c == TSF_NO_CHARACTER or tsf_kind_of(c, word + i) >= least:
            return False
        i += length
    return True


cdef void add_escaped(Text *text, const char *data, size_t size) noexcept nogil:
    """A character that cannot stand for itself, in the notation of C."""
    if grow(text, TSF_ESCAPE_MAX):
        text.size += tsf_escape(text.data + text.size, data, size)


cdef void text_quoted(Text *text, const char *word, size_t size, tsf_kind least) noexcept nogil:
    cdef size_t i = 0, length
    cdef uint32_t c = 0
    cdef bint escape
    if is_plain(word, size):
        text_add(text, word, size)
        return
    escape = not is_shown(word, size, least)
    text_str(text, b"$'" if escape else b"'")
    while i < size:
        length = tsf_decode(word + i, size - i, &c)
        if c == c"'":
            text_str(text, b"\\'" if escape else b"'\\''")
        elif escape and c == c"\\":
            text_str(text, b"\\\\")
        elif escape and (c == TSF_NO_CHARACTER or tsf_kind_of(c, word + i) >= least):
            add_escaped(text, word + i, length)
        else:
            text_add(text, word + i, length)
        i += length
    text_char(text, c"'")


cdef void text_oneline(Text *text, const char *data, size_t size, tsf_kind least) noexcept nogil:
    cdef size_t i = 0, from_ = 0, length
    cdef uint32_t c = 0
    while i < size:
        length = tsf_decode(data + i, size - i, &c)
        if tsf_kind_of(c, data + i) >= least:
            text_add(text, data + from_, i - from_)
            add_escaped(text, data + i, length)
            from_ = i + length
        i += length
    text_add(text, data + from_, size - from_)


cdef void add_utf16(Text *text, uint32_t c) noexcept nogil:
    """As JSON escapes what lies beyond ASCII: by one number of 16 bits, or by two."""
    if c > 0xffff:
        add_utf16(text, 0xd800 + ((c - 0x10000) >> 10))
        c = 0xdc00 + (c & 0x3ff)
    text_str(text, b"\\u")
    text_char(text, HEX[c >> 12])
    text_char(text, HEX[c >> 8 & 15])
    text_char(text, HEX[c >> 4 & 15])
    text_char(text, HEX[c & 15])


cdef void text_json(Text *text, const char *data, size_t size, tsf_kind least) noexcept nogil:
    cdef size_t i = 0, from_ = 0, length
    cdef uint32_t c = 0
    text_char(text, c'"')
    while i < size:
        length = tsf_decode(data + i, size - i, &c)
        if c == c'"' or c == c"\\" or c == TSF_NO_CHARACTER or tsf_kind_of(c, data + i) >= least:
            text_add(text, data + from_, i - from_)
            from_ = i + length
            if c == TSF_NO_CHARACTER:
                text_str(text, b"\xef\xbf\xbd")
            elif c == c'"' or c == c"\\":
                text_char(text, c"\\")
                text_char(text, <char>c)
            elif c == c"\n" or c == c"\t" or c == c"\r":
                add_escaped(text, data + i, 1)
            else:
                add_utf16(text, c)
        i += length
    text_add(text, data + from_, size - from_)
    text_char(text, c'"')


# --- For Python and the tests

KINDS = {"hidden": TSF_HIDDEN, "direction": TSF_DIRECTION, "control": TSF_CONTROL}

cdef enum Way:
    QUOTED
    ONELINE
    JSON


cdef bytes _written(bytes data, Way way, tsf_kind least):
    cdef Text text
    cdef const char *start = data
    memset(&text, 0, sizeof(text))
    if way == QUOTED:
        text_quoted(&text, start, <size_t>len(data), least)
    elif way == ONELINE:
        text_oneline(&text, start, <size_t>len(data), least)
    else:
        text_json(&text, start, <size_t>len(data), least)
    try:
        if text.failed:
            raise MemoryError
        return text.data[:text.size] if text.size else b""
    finally:
        text_free(&text)


def quote(bytes word not None, tsf_kind least=TSF_HIDDEN) -> bytes:
    """The word as bash has to read it."""
    return _written(word, QUOTED, least)


def oneline(bytes data not None, tsf_kind least=TSF_HIDDEN) -> bytes:
    return _written(data, ONELINE, least)


def json_string(bytes data not None, tsf_kind least=TSF_HIDDEN) -> bytes:
    return _written(data, JSON, least)


def as_line(str text not None) -> bytes:
    """Foreign text for people, or a message with some in it, as a line to be written: nothing in it that a terminal
    obeys or that nobody sees."""
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = text.encode("utf-8", "surrogatepass")     # half a pair, from a file of JSON
    return oneline(data) + b"\n"


def shown(str text not None) -> str:
    """The same without the end of the line."""
    return as_line(text).decode("utf-8").removesuffix("\n")


def shortened(bytes data not None, size_t most) -> bytes:
    """At most so many bytes of it, as launcher and runner show it, and `...` if that is not all."""
    cdef const char *start = data
    cdef char *to = <char *>malloc(most + 3)
    if to == NULL:
        raise MemoryError
    try:
        return to[:tsf_show(to, most, start, <size_t>len(data))]
    finally:
        free(to)


def columns_of(bytes data not None) -> int:
    """Terminal columns that the text takes."""
    cdef const char *start = data
    return display_columns(start, <size_t>len(data))
