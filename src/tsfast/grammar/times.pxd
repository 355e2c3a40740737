"""Durations and moments as people type them. Pure but for the zone of the process, which the C library knows."""
from libc.stdint cimport int64_t, uint64_t

# `90s`, `10m`, `2h`, `1d`, combined from large to small (`1h30m`), or `D-HH:MM:SS` as Slurm writes it. A bare number
# and `1:30` are not durations: other programs read them differently. False: it is none, or longer than 100 years.
cdef bint read_duration(const char *text, size_t size, uint64_t *seconds) noexcept nogil

# A moment, or a day: `now`, `today`, `yesterday`, `-2h`, `2026-11-30`, `2026-11-30T14:00`, `2026-11-30T14:00:05`,
# `14:00`. In nanoseconds since 1970: where it begins and where it ends; of a moment both are the same. now_ns:
# CLOCK_REALTIME. False: it is none of these.
cdef bint read_moment(const char *text, size_t size, uint64_t now_ns, int64_t *begin, int64_t *end) noexcept nogil
