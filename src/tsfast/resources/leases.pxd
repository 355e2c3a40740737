"""Leases on GPUs: exclusive flocks on files that stand for them, so that no two queues have one GPU (docs/gpus.md)."""

cdef extern from "<sys/file.h>" nogil:
    int LOCK_EX, LOCK_NB, LOCK_UN
    int flock "tsf_flock"(int fd, int operation)

cdef enum:
    LEASE_NONE = -1       # no file stands for this GPU on this machine: it is used without
    LEASE_HELD = -2       # another queue has it
    LEASE_MISSING = -3    # TS_LEASE_DIR is set and has no usable file for it

# A descriptor that holds the lock, for the caller to close, or one of the above. `mig`: an instance of the GPU at
# `bus`, which has no file of its own in sysfs. directory: TS_LEASE_DIR, NULL or empty if it is not set.
cdef int lease_take(const char *directory, const char *uuid, const char *bus, bint mig) noexcept nogil
