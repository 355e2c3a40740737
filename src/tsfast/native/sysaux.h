/* System calls that Cython cannot write by itself: control messages, vfork, calls without a libc wrapper. */
#ifndef TSFAST_SYSAUX_H
#define TSFAST_SYSAUX_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fault.h"
#include "runs.h"
#include "shown.h"
#include "trust.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

/* Cython has no way to assign to errno, which is a macro. */
static inline void tsf_set_errno(int error) { errno = error; }

/* recv that also takes descriptors: at most 3, the rest are closed by the kernel (MSG_CTRUNC). */
static inline ssize_t tsf_recv_fds(int sock, void *data, size_t size, int fds[3], int *n_fds)
{
    union {
        char bytes[CMSG_SPACE(3 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {data, size};
    struct msghdr message = {0};
    struct cmsghdr *cmsg;
    ssize_t got;

    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_LEN(3 * sizeof(int)); /* CMSG_SPACE has padding, which a fourth one would fill */
    *n_fds = 0;
    do
        got = recvmsg(sock, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return got;
    for (cmsg = CMSG_FIRSTHDR(&message); cmsg; cmsg = CMSG_NXTHDR(&message, cmsg)) {
        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
            continue;
        *n_fds = (int)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(cmsg), (size_t)*n_fds * sizeof(int));
    }
    return got;
}

/* One packet with n_fds descriptors, at most TSF_LEASES_A_PACKET. */
static inline ssize_t tsf_send_fds(int sock, const void *data, size_t size, const int *fds, int n_fds)
{
    union {
        char bytes[CMSG_SPACE(TSF_LEASES_A_PACKET * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov;
    struct msghdr message = {0};
    struct cmsghdr *cmsg;
    ssize_t sent;

    iov.iov_base = (void *)(uintptr_t)data;
    iov.iov_len = size;
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    if (n_fds > 0) {
        memset(&control, 0, CMSG_SPACE((size_t)n_fds * sizeof(int)));
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE((size_t)n_fds * sizeof(int));
        cmsg = CMSG_FIRSTHDR(&message);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN((size_t)n_fds * sizeof(int));
        memcpy(CMSG_DATA(cmsg), fds, (size_t)n_fds * sizeof(int));
    }
    do
        sent = tsf_sendmsg(sock, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent;
}

/* Start the program that `program` is open on, as a child with `sock` and `state_dir` as its descriptors 3 and 4 (both
 * must be above 4). vfork: the time does not depend on the size of the server, and the child touches only its own
 * locals. Returns the pid, or -1 with errno. */
static __attribute__((noinline, unused)) pid_t tsf_spawn(int program, int sock, int state_dir, char **argv,
                                                         const char *fault)
{
    char variable[512] = "";
    char *envp[4] = {NULL, NULL, NULL, NULL};
    char path[32];
    sigset_t all;
    volatile int failed = 0;
    pid_t pid;

    snprintf(path, sizeof path, "/proc/self/fd/%d", program); /* where a sandbox denies execveat */
    if (fault && *fault && strlen(fault) < sizeof variable - sizeof "TSFAST_FAULT=") {
        strcpy(variable, "TSFAST_FAULT=");
        strcat(variable, fault);
        envp[0] = variable;
    }
#ifdef TSFAST_FAULTS
    static const char *const handed_on[] = {"TSFAST_CRASH_AT", "TSFAST_HURRY"};
    char **next = envp + (envp[0] != NULL);

    for (size_t i = 0; i < 2; i++) {
        char *value = getenv(handed_on[i]);

        if (value)
            *next++ = value - strlen(handed_on[i]) - 1;
    }
#endif
    /* Blocked from birth, as the runner wants them: a TSF_RUN_SIGNAL that comes before it has got there waits for it
     * instead of ending it. */
    sigfillset(&all);
    pid = tsf_vfork();
    if (pid == 0) {
        sigprocmask(SIG_SETMASK, &all, NULL);
        if (dup2(sock, TSF_RUNNER_SOCKET) >= 0 && dup2(state_dir, TSF_RUNNER_STATE_DIR) >= 0) {
            syscall(SYS_execveat, program, "", argv, envp, AT_EMPTY_PATH);
            if (errno == ENOSYS || errno == EPERM)
                execve(path, argv, envp);
        }
        failed = errno;
        _exit(127);
    }
    if (pid > 0 && failed) {
        int error = failed;

        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        errno = error;
        return -1;
    }
    return pid;
}

static inline pid_t tsf_spawn_runner(int program, int sock, int state_dir, uint32_t entry, const char *fault)
{
    char number[12], *digit = number + sizeof number - 1;
    char *argv[] = {(char *)(uintptr_t)"ts-run", NULL, NULL};

    *digit = 0;
    do
        *--digit = (char)('0' + entry % 10);
    while (entry /= 10);
    argv[1] = digit;
    return tsf_spawn(program, sock, state_dir, argv, fault);
}

static inline int tsf_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

static inline int tsf_pidfd_signal(int pidfd, int signal_number)
{
    return (int)tsf_step(syscall(SYS_pidfd_send_signal, pidfd, signal_number, NULL, 0));
}

/* All of a file's bytes on the disk, also where fallocate is denied or not known. */
static inline int tsf_allocate(int fd, off_t size)
{
    static const char zeros[4096];
    struct stat st;

    if (tsf_fallocate(fd, 0, 0, size) == 0)
        return 0;
    if ((errno != EOPNOTSUPP && errno != ENOSYS && errno != EPERM) || fstat(fd, &st) < 0)
        return -1;
    for (off_t at = st.st_size; at < size;) {
        ssize_t wrote = tsf_pwrite(fd, zeros, (size_t)(size - at < 4096 ? size - at : 4096), at);

        if (wrote <= 0)
            return -1;
        at += wrote;
    }
    return 0;
}

/* Pid of the process that holds a lock on the first byte of `entry` of runs, 0 if none, -1 if it is one that is not
 * visible in our pid namespace. */
static inline pid_t tsf_lock_holder(int runs_fd, uint32_t entry)
{
    struct flock lock = {0};

    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = (off_t)entry * (off_t)sizeof(struct tsf_run);
    lock.l_len = 1;
    if (fcntl(runs_fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
        return 0;
    return lock.l_pid > 0 ? lock.l_pid : -1;
}

/* Field 22 of /proc/PID/stat: its start in ticks since the boot; 0: it has ended, UINT64_MAX: /proc does not tell. A
 * zombie has ended: a parent that never reaps, as the first process of many containers, would keep it for ever. The
 * command name in field 2 can hold anything, so fields are counted from its last ')'. */
static inline uint64_t tsf_process_start(pid_t pid)
{
    char path[40], text[1024], *p, *digit = path + sizeof path - 1;
    uint64_t ticks = 0;
    unsigned long rest = (unsigned long)pid;
    ssize_t got;
    int fd, field, zombie;

    if (pid <= 0 || kill(pid, 0) < 0)
        return 0;
    *digit = 0;
    memcpy(digit -= 5, "/stat", 5);
    do
        *--digit = (char)('0' + rest % 10);
    while (rest /= 10);
    memcpy(digit -= 6, "/proc/", 6);
    fd = open(digit, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return UINT64_MAX;
    got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got <= 0)
        return kill(pid, 0) == 0 ? UINT64_MAX : 0;
    text[got] = 0;
    p = strrchr(text, ')');
    zombie = p && p[1] && (p[2] == 'Z' || p[2] == 'X');
    for (field = 2; p && field < 22; field++) {
        p = strchr(p + 1, ' ');
        if (p && field == 19 && atoi(p + 1) > 1)
            zombie = 0; /* only its first thread has ended */
    }
    for (p = p ? p + 1 : text + got; *p >= '0' && *p <= '9'; p++)
        ticks = ticks * 10 + (uint64_t)(*p - '0');
    if (zombie)
        return 0;
    return ticks ? ticks : UINT64_MAX;
}

/* The process `pid`, started at `start_ticks` (0 if unknown), has not ended. Where /proc does not tell, the pid
 * decides. */
static inline int tsf_process_lives(pid_t pid, uint64_t start_ticks)
{
    uint64_t ticks = tsf_process_start(pid);

    return ticks && (!start_ticks || ticks == UINT64_MAX || ticks == start_ticks);
}

static inline uint64_t tsf_now_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The process `pid` exists, and existed at the time `since_ns` of the wall clock: it is not a later process with this
 * pid. */
static inline int tsf_process_lived(pid_t pid, uint64_t since_ns)
{
    const uint64_t tick_ns = 10000000, slack_ns = 1000000000; /* USER_HZ is 100 wherever this runs */
    uint64_t ticks = tsf_process_start(pid), age_ns = tsf_now_ns(CLOCK_REALTIME) - since_ns;

    if (!ticks || ticks == UINT64_MAX || tsf_now_ns(CLOCK_REALTIME) < since_ns)
        return 0;
    return ticks * tick_ns + age_ns <= tsf_now_ns(CLOCK_BOOTTIME) + slack_ns;
}

/* A line in the server's log, which is stderr. */
static inline void tsf_log(const char *text)
{
    char line[512];
    time_t now = time(NULL);
    struct tm parts;
    size_t size = 0;

    if (localtime_r(&now, &parts))
        size = strftime(line, sizeof line, "%Y-%m-%d %H:%M:%S ", &parts);
    size += tsf_show(line + size, 400, text, strlen(text));
    line[size++] = '\n';
    if (write(2, line, size) < 0)
        return; /* a full disk must not end the server */
}

/* uid of the other side of a connected unix socket, -1 if unknown. */
static inline int64_t tsf_peer_uid(int sock)
{
    struct ucred peer;
    socklen_t size = sizeof peer;

    if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || size != sizeof peer)
        return -1;
    return peer.uid;
}

/* The address of directory/name, -1 if the name is too long. */
static inline int tsf_socket_address(struct sockaddr_un *address, int directory, const char *name)
{
    char *p = address->sun_path + 14;
    unsigned long rest;
    size_t digits = 1;

    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, "/proc/self/fd/", 14);
    for (rest = (unsigned long)directory; rest >= 10; rest /= 10)
        digits++;
    for (rest = (unsigned long)directory, p += digits; digits; digits--, rest /= 10)
        *--p = (char)('0' + rest % 10);
    p = strchr(address->sun_path, 0);
    *p++ = '/';
    if (strlen(name) >= (size_t)(address->sun_path + sizeof address->sun_path - p)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(p, name);
    return 0;
}

/* connect or bind to directory/name. Where /proc is hidden, by way of the working directory, which comes back. */
static inline int tsf_at(int (*call)(int, const struct sockaddr *, socklen_t), int sock, int directory,
                         const char *name)
{
    struct sockaddr_un address;
    int here, rc, error;

    if (tsf_socket_address(&address, directory, name) < 0)
        return -1;
    rc = call(sock, (struct sockaddr *)&address, sizeof address);
    if (rc == 0 || errno != ENOENT || faccessat(AT_FDCWD, "/proc/self/fd", F_OK, 0) == 0)
        return rc;
    here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (here < 0)
        return -1;
    if (fchdir(directory) == 0) {
        strcpy(address.sun_path, name); /* shorter than what was there */
        rc = call(sock, (struct sockaddr *)&address, sizeof address);
    }
    error = errno;
    if (fchdir(here) < 0)
        rc = -1;
    close(here);
    errno = error;
    return rc;
}

/* Whether a server of this user (or of root) answers at directory/name. */
static inline int tsf_answers(int directory, const char *name)
{
    int sock, answers;
    int64_t uid;

    sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sock < 0)
        return 0;
    answers = tsf_at(connect, sock, directory, name) == 0 || errno == EAGAIN;
    if (answers) {
        uid = tsf_peer_uid(sock);
        answers = uid == (int64_t)geteuid() || uid == 0;
    }
    close(sock);
    return answers;
}

/* The temporary name of a file that will become `name`: always the same, so that the next process replaces what a
 * killed one has left. If another user has taken it in a shared directory, a random one. */
static inline void tsf_temporary_name(int directory, const char *name, char temporary[32])
{
    uint64_t number = 0xcbf29ce484222325u;

    for (const char *p = name; *p; p++)
        number = (number ^ (unsigned char)*p) * 0x100000001b3u;
    snprintf(temporary, 32, ".tsfast-%016llx", (unsigned long long)number);
    if (tsf_unlinkat(directory, temporary, 0) == 0 || errno == ENOENT)
        return;
    if (syscall(SYS_getrandom, &number, sizeof number, 0) != sizeof number)
        number = (uint64_t)getpid(); /* denied by a sandbox */
    snprintf(temporary, 32, ".tsfast-%016llx", (unsigned long long)number);
}

/* Whether the other side has closed its end; one that has only said its last word (SHUT_WR) is still there. */
static inline int tsf_is_gone(int sock)
{
    struct pollfd end = {.fd = sock, .events = 0};

    return poll(&end, 1, 0) == 1 && (end.revents & (POLLHUP | POLLERR));
}

/* Creates a listening socket at directory/name atomically: it is bound and listens under a temporary name and is then
 * renamed, so that no client meets a socket that does not answer. The mode is set on the socket itself: a chmod by name
 * could follow another user's link. The directory is named through /proc/self/fd, so the path may be longer than
 * sun_path. Returns the socket, or -1 with errno. */
static inline int tsf_listen(int directory, const char *name, int backlog)
{
    struct sockaddr_un longest;
    char temporary[32];
    int sock, error;

    tsf_temporary_name(directory, name, temporary);
    if (tsf_socket_address(&longest, directory, name) < 0)
        return -1;
    sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sock < 0)
        return -1;
    if (fchmod(sock, 0600) < 0 || tsf_at(bind, sock, directory, temporary) < 0 || listen(sock, backlog) < 0 ||
        tsf_renameat(directory, temporary, directory, name) < 0) {
        error = errno;
        unlinkat(directory, temporary, 0);
        close(sock);
        errno = error;
        return -1;
    }
    return sock;
}

#endif
