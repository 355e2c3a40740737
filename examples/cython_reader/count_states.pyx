# cython: boundscheck=False
"""How many jobs of a queue are in which state, counted without Python objects.

    python setup.py build_ext --inplace
    python -c 'import count_states; print(count_states.count("/path/of/the/state/directory"))'
"""
import os

from libc.stdint cimport uint64_t

from tsfast.layout.table cimport tsf_hot
from tsfast.client.reader cimport Reader

from tsfast.client.reader import STATE_NAMES


cdef void count_all(Reader reader, uint64_t *counts) noexcept nogil:
    cdef uint64_t floor, committed, id
    cdef tsf_hot hot
    reader.ids(&floor, &committed)
    for id in range(floor, committed):
        counts[reader.read_hot(id, &hot)] += 1


def count(state_directory):
    """The number of jobs by the name of their state."""
    cdef Reader reader = Reader(os.open(state_directory, os.O_RDONLY | os.O_DIRECTORY))
    cdef uint64_t[256] counts
    cdef int state
    for state in range(256):
        counts[state] = 0
    with nogil:
        count_all(reader, counts)
    found = {}
    for state in range(1, 256):                # 0: not there (any more)
        if counts[state]:
            name = STATE_NAMES[state]
            found[name] = found.get(name, 0) + counts[state]
    return found
