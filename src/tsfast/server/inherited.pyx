# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See inherited.pxd."""
from libc.stdint cimport UINT64_MAX

from tsfast.layout.table cimport TSF_LIMITS
from tsfast.base.text cimport text_char, text_str, text_u64

cdef extern from "<sys/syscall.h>" nogil:
    long SYS_getpriority, SYS_ioprio_set, SYS_personality, SYS_prlimit64, SYS_set_mempolicy, SYS_setpriority

cdef extern from "<sys/prctl.h>" nogil:
    int PR_SET_THP_DISABLE, PR_SET_TIMERSLACK
    int prctl(int option, ...)

cdef extern from "<unistd.h>" nogil:
    long syscall(long number, ...)

cdef extern from *:
    """
    static const char *const limit_names[] = {
        "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_CORE", "RLIMIT_RSS", "RLIMIT_NPROC",
        "RLIMIT_NOFILE", "RLIMIT_MEMLOCK", "RLIMIT_AS", "RLIMIT_LOCKS", "RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE",
        "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME"};
    """
    const char *limit_names[16]

cdef enum:
    HARD = 1
    LOWEST_NICE = -20
    EXECUTION_DOMAIN = 0xff           # of a personality; the rest are flags, as setarch(8) sets them
    AS_IT_IS = 0xffffffff

cdef const char *FIRST = b"ts: warning: jobs get no more than the server was started with, and you have more: "
cdef const char *NEXT = b", "
cdef const char *ADVICE = b"; `tsfast stop`, and the next call starts a server with yours (the queue is kept)\n"
cdef const char *ADVICE_OF_UNIT = b"; the unit of the server sets it (`tsfast install-service`)\n"


def leave_kernel_settings() -> None:
    """Reset what setarch(8), numactl(8), ionice(1) and the like have set for the first client; each as far as it is
    allowed."""
    cdef long domain = syscall(SYS_personality, <unsigned long> AS_IT_IS)
    if domain > EXECUTION_DOMAIN:
        syscall(SYS_personality, <unsigned long> domain & EXECUTION_DOMAIN)
    syscall(SYS_set_mempolicy, 0, NULL, 0)
    syscall(SYS_ioprio_set, 1, 0, 0)
    prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0)
    prctl(PR_SET_TIMERSLACK, 50000)


cdef void bounds_find(Bounds *bounds) noexcept nogil:
    """By trying: a runner tries the same."""
    cdef uint64_t own[2]
    cdef uint64_t more[2]
    cdef int i
    cdef long nice = 20 - syscall(SYS_getpriority, 0, 0)
    for i in range(TSF_LIMITS):
        bounds.limits[i] = UINT64_MAX
        if syscall(SYS_prlimit64, 0, i, NULL, own) != 0 or own[HARD] == UINT64_MAX:
            continue
        more[0] = own[0]
        more[HARD] = own[HARD] + 1
        if syscall(SYS_prlimit64, 0, i, more, NULL) == 0:
            syscall(SYS_prlimit64, 0, i, own, NULL)
        else:
            bounds.limits[i] = own[HARD]
    bounds.nice = LOWEST_NICE
    while bounds.nice < nice and syscall(SYS_setpriority, 0, 0, <long> bounds.nice) != 0:
        bounds.nice += 1
    syscall(SYS_setpriority, 0, 0, nice)


cdef void put_limit(Text *text, uint64_t limit) noexcept nogil:
    if limit == UINT64_MAX:
        text_str(text, b"unlimited")
    else:
        text_u64(text, limit)


cdef void put_nice(Text *text, int32_t nice) noexcept nogil:
    if nice < 0:
        text_char(text, c'-')
    text_u64(text, <uint64_t> (nice if nice >= 0 else -nice))


cdef void put_name(Text *text, bint first, const char *name) noexcept nogil:
    text_str(text, FIRST if first else NEXT)
    text_str(text, name)
    text_char(text, c' ')


cdef void bounds_warning(Text *text, const Bounds *bounds, const tsf_request *head, bint by_unit) noexcept nogil:
    cdef bint said = False
    cdef int i
    for i in range(TSF_LIMITS):
        if head.limits[i][HARD] > bounds.limits[i]:
            put_name(text, not said, limit_names[i])
            put_limit(text, bounds.limits[i])
            text_str(text, b" (yours is ")
            put_limit(text, head.limits[i][HARD])
            text_char(text, c')')
            said = True
    if head.nice < bounds.nice:
        put_name(text, not said, b"nice value")
        put_nice(text, bounds.nice)
        text_str(text, b" (yours is ")
        put_nice(text, head.nice)
        text_char(text, c')')
        said = True
    if said:
        text_str(text, ADVICE_OF_UNIT if by_unit else ADVICE)
