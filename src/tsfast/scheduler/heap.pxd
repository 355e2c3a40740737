"""Heaps of jobs, and sorting them. Inline helpers of scheduler.pyx; nothing here needs memory."""
from libc.stdint cimport uint32_t, uint64_t

from tsfast.scheduler.slab cimport Job, job_at

cdef struct Heap:         # 4-ary, smallest first
    uint32_t *items       # slab indices; room for every job of the slab
    uint32_t size
    bint by_slots         # ordered by Job.slots, else by Job.order


cdef inline uint64_t heap_key(Job **jobs, const Heap *heap, uint32_t i) noexcept nogil:
    return job_at(jobs, i).slots if heap.by_slots else job_at(jobs, i).order


cdef inline void put_at(Job **jobs, Heap *heap, uint32_t at, uint32_t i) noexcept nogil:
    heap.items[at] = i
    job_at(jobs, i).place = at


# Puts job i into the hole `at`, or above.
cdef inline void rise(Job **jobs, Heap *heap, uint32_t at, uint32_t i) noexcept nogil:
    cdef uint64_t key = heap_key(jobs, heap, i)
    cdef uint32_t parent
    while at > 0:
        parent = (at - 1) >> 2
        if heap_key(jobs, heap, heap.items[parent]) <= key:
            break
        put_at(jobs, heap, at, heap.items[parent])
        at = parent
    put_at(jobs, heap, at, i)


# Puts job i into the hole `at`, or below.
cdef inline void sink(Job **jobs, Heap *heap, uint32_t at, uint32_t i) noexcept nogil:
    cdef uint64_t key = heap_key(jobs, heap, i)
    cdef uint64_t child_key, least_key, child, least, end
    while True:
        child = 4 * <uint64_t> at + 1
        if child >= heap.size:
            break
        end = min(child + 4, <uint64_t> heap.size)
        least = child
        least_key = heap_key(jobs, heap, heap.items[child])
        child += 1
        while child < end:
            child_key = heap_key(jobs, heap, heap.items[child])
            if child_key < least_key:
                least = child
                least_key = child_key
            child += 1
        if key <= least_key:
            break
        put_at(jobs, heap, at, heap.items[least])
        at = <uint32_t> least
    put_at(jobs, heap, at, i)


cdef inline void push(Job **jobs, Heap *heap, uint32_t i) noexcept nogil:
    heap.size += 1
    rise(jobs, heap, heap.size - 1, i)


# After a change of its key.
cdef inline void settle(Job **jobs, Heap *heap, uint32_t i) noexcept nogil:
    rise(jobs, heap, job_at(jobs, i).place, i)
    sink(jobs, heap, job_at(jobs, i).place, i)


cdef inline void pull(Job **jobs, Heap *heap, uint32_t i) noexcept nogil:
    cdef uint32_t at = job_at(jobs, i).place
    cdef uint32_t last
    heap.size -= 1
    if at == heap.size:
        return
    last = heap.items[heap.size]
    put_at(jobs, heap, at, last)
    settle(jobs, heap, last)


cdef inline uint32_t end_of_run(Job **jobs, const uint32_t *items, uint32_t at, uint32_t n) noexcept nogil:
    if at == n:
        return n
    at += 1
    while at < n and job_at(jobs, items[at - 1]).order <= job_at(jobs, items[at]).order:
        at += 1
    return at


# Natural merge sort by order key, so that what is nearly in order costs little. `other` has the same room; the result
# lies in one of the two.
cdef inline uint32_t *sort_by_order(Job **jobs, uint32_t *items, uint32_t *other, uint32_t n) noexcept nogil:
    cdef uint32_t *source = items
    cdef uint32_t *target = other
    cdef uint32_t *swap
    cdef uint32_t left, middle, right, end, k
    while end_of_run(jobs, source, 0, n) < n:
        k = 0
        while k < n:
            left = k
            middle = right = end_of_run(jobs, source, k, n)
            end = end_of_run(jobs, source, middle, n)
            while k < end:
                if right == end or (left < middle and
                                    job_at(jobs, source[left]).order <= job_at(jobs, source[right]).order):
                    target[k] = source[left]
                    left += 1
                else:
                    target[k] = source[right]
                    right += 1
                k += 1
        swap = source
        source = target
        target = swap
    return source
