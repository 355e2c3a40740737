"""Comparing a word with a piece of a text. Pure."""
from libc.string cimport memcmp, strlen


cdef inline bint is_word(const char *text, size_t size, const char *word) noexcept nogil:
    return strlen(word) == size and memcmp(word, text, size) == 0
