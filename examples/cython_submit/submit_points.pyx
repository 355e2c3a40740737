"""A job for each number of an array, made without Python objects.

    python setup.py build_ext --inplace
    python -c 'import submit_points; print(submit_points.submit("echo", [0.5, 1.5, 2.5]))'
"""
from libc.stdint cimport uint32_t
from libc.stdio cimport snprintf
from libc.string cimport strlen

from tsfast.client.encoder cimport Encoder

import tsfast


# A job is its words, as one would type them after `ts`, each with its NUL; then how many they are and how long. What
# follows (none here) would be its directory and changes of its environment. -1: encoder.error says why.
cdef int add_job(Encoder encoder, const char *program, double point) noexcept nogil:
    cdef const char *options = b"-L\0points\0--"
    cdef char number[32]
    cdef size_t size, written = 0
    if encoder.begin_job() < 0 or encoder.put(options, 13) < 0:
        return -1
    written += 13
    size = strlen(program) + 1
    if encoder.put(program, size) < 0:
        return -1
    written += size
    size = <size_t> snprintf(number, sizeof(number), b"%.17g", point) + 1
    if encoder.put(number, size) < 0:
        return -1
    written += size
    return encoder.end_job(<uint32_t> 5, written, 0, 0, 0)


cdef int add_all(Encoder encoder, const char *program, const double[::1] points) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(points.shape[0]):
        if add_job(encoder, program, points[i]) < 0:
            return -1
    return 0


def submit(str program, points):
    """Queue `program NUMBER` for each; first and last id of each run of ids."""
    import array

    cdef Encoder encoder = Encoder()
    cdef const double[::1] numbers = array.array("d", points)
    cdef bytes name = program.encode()
    cdef const char *text = name
    cdef int done
    with nogil:
        done = add_all(encoder, text, numbers)
    if done < 0:
        raise ValueError((<bytes> encoder.error).decode())
    with tsfast.Queue() as queue:
        return queue.submit_encoded(encoder)
