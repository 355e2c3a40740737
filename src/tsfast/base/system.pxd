"""System calls and constants, as the C headers declare them."""
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from "tsfast/native/sysaux.h" nogil:
    ctypedef int pid_t
    ctypedef long off_t
    ctypedef long ssize_t
    ctypedef unsigned int mode_t
    ctypedef int clockid_t
    int CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME
    int O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_PATH
    int F_DUPFD_CLOEXEC
    int FALLOC_FL_PUNCH_HOLE, FALLOC_FL_KEEP_SIZE
    int SIGCHLD, SIGTERM, SIGKILL, SIGINT, SIGHUP, SIGPIPE, SIGQUIT, SIGCONT, SIGXCPU, SIGXFSZ
    int SIGRTMIN
    int WNOHANG
    int AF_UNIX, SOCK_SEQPACKET, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, MSG_DONTWAIT, MSG_NOSIGNAL
    int PR_SET_CHILD_SUBREAPER
    int IN_ATTRIB, IN_MOVE_SELF, IN_DELETE_SELF, IN_NONBLOCK, IN_CLOEXEC
    int SFD_NONBLOCK, SFD_CLOEXEC
    int SIG_BLOCK

    ctypedef struct sigset_t:
        pass

    cdef struct stat_t "stat":
        unsigned long st_dev
        unsigned long st_ino
        unsigned int st_mode
        unsigned int st_uid
        unsigned long st_nlink
        long st_size

    cdef struct timeval:
        long tv_sec
        long tv_usec

    cdef struct rusage:
        timeval ru_utime
        timeval ru_stime
        long ru_maxrss

    cdef struct signalfd_siginfo:
        uint32_t ssi_signo

    cdef struct statfs_t "statfs":
        long f_type

    int open_ "open"(const char *path, int flags, ...)
    int openat(int directory, const char *path, int flags, ...)
    int close(int fd)
    ssize_t read(int fd, void *data, size_t size)
    ssize_t write "tsf_write"(int fd, const void *data, size_t size)
    ssize_t pread(int fd, void *data, size_t size, off_t offset)
    ssize_t pwrite "tsf_pwrite"(int fd, const void *data, size_t size, off_t offset)
    int ftruncate "tsf_ftruncate"(int fd, off_t size)
    int fallocate "tsf_fallocate"(int fd, int mode, off_t offset, off_t size)
    int unlinkat "tsf_unlinkat"(int directory, const char *path, int flags)
    int mkdirat "tsf_mkdirat"(int directory, const char *path, mode_t mode)
    int renameat "tsf_renameat"(int directory, const char *path, int directory2, const char *path2)
    int tsf_open_ours(int directory, const char *name, int flags)
    int fstat(int fd, stat_t *st)
    int stat_ "stat"(const char *path, stat_t *st)
    int fstatat(int directory, const char *path, stat_t *st, int flags)
    int fstatfs(int fd, statfs_t *st)
    int AT_SYMLINK_NOFOLLOW
    int fcntl(int fd, int command, ...)
    int dup2(int fd, int fd2)
    pid_t getpid()
    unsigned int geteuid()
    int kill "tsf_kill"(pid_t pid, int signal_number)
    pid_t wait4(pid_t pid, int *status, int options, rusage *usage)
    int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
    int socketpair(int domain, int type, int protocol, int fds[2])
    int accept4(int sock, void *address, void *size, int flags)
    ssize_t send "tsf_send"(int sock, const void *data, size_t size, int flags)
    ssize_t recv(int sock, void *data, size_t size, int flags)
    int eventfd(unsigned int value, int flags)
    int EFD_CLOEXEC, EFD_NONBLOCK
    int inotify_init1(int flags)
    int inotify_add_watch(int fd, const char *path, uint32_t mask)
    int inotify_rm_watch(int fd, int watch)
    int sigemptyset(sigset_t *set)
    int sigaddset(sigset_t *set, int signal_number)
    int sigprocmask(int how, const sigset_t *set, sigset_t *old)
    int signalfd(int fd, const sigset_t *mask, int flags)
    char *strerror(int error)
    char *getenv(const char *name)

    void set_errno "tsf_set_errno"(int error)
    ssize_t tsf_recv_fds(int sock, void *data, size_t size, int *fds, int *n_fds)
    ssize_t tsf_send_fds(int sock, const void *data, size_t size, const int *fds, int n_fds)
    pid_t tsf_spawn_runner(int program, int sock, int state_dir, uint32_t entry, const char *fault)
    pid_t tsf_spawn(int program, int sock, int state_dir, char **argv, const char *fault)
    int tsf_pidfd_open(pid_t pid)
    int tsf_pidfd_signal(int pidfd, int signal_number)
    pid_t tsf_lock_holder(int runs_fd, uint32_t entry)
    int tsf_allocate(int fd, off_t size)
    bint tsf_process_lives(pid_t pid, uint64_t start_ticks)
    bint tsf_process_lived(pid_t pid, uint64_t since_ns)
    uint64_t tsf_now_ns(clockid_t clock)
    void tsf_log(const char *text)
    int64_t tsf_peer_uid(int sock)
    int tsf_is_gone(int sock)
    bint tsf_answers(int directory, const char *name)
    int tsf_listen(int directory, const char *name, int backlog)

cdef extern from "<sys/mman.h>" nogil:
    void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
    int munmap(void *address, size_t size)
    void *MAP_FAILED
    int PROT_READ, PROT_WRITE, MAP_SHARED

cdef extern from "<sys/timerfd.h>" nogil:
    cdef struct timespec:
        long tv_sec
        long tv_nsec
    cdef struct itimerspec:
        timespec it_interval
        timespec it_value
    int TFD_CLOEXEC, TFD_NONBLOCK
    int timerfd_create(clockid_t clock, int flags)
    int timerfd_settime(int fd, int flags, const itimerspec *when, itimerspec *before)

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        void *ptr
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR, EPOLLRDHUP
    int EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, EPOLL_CLOEXEC
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int op, int fd, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int room, int timeout_ms)

cdef extern from "<errno.h>" nogil:
    int errno
    int EDQUOT, ENOSPC
    int EINTR, EAGAIN, ENOENT, ENOMEM, EMFILE, ENFILE, ENOBUFS, ECHILD, EIO, ESRCH, EEXIST, EINVAL, EPIPE, ENOSYS, EPERM
    int E2BIG
    int EACCES, ENOTDIR, ELOOP

cdef extern from "<time.h>" nogil:
    ctypedef long time_t
    struct tm:
        int tm_sec, tm_min, tm_hour, tm_mday, tm_mon, tm_year, tm_isdst
    tm *localtime_r(const time_t *time, tm *parts)
    time_t mktime(tm *parts)
    size_t strftime(char *room, size_t size, const char *format, const tm *time)
