/* Preloaded into a server by the tests. Writes to the file TSFAST_TRACE what the server does to the files below
 * TSFAST_TRACED, in order, and what it tells callers and runners. An event is: kind, offset, length of the path, length
 * of the data, path, data. One lock around each call keeps the order of the events that of the calls.
 *
 * With TSFAST_BOOT_ID_FILE the machine seems to have been started anew; with TSFAST_SYNC_FAILS the disk refuses to sync
 * while that file exists. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind {
    WRITE = 'w',
    SIZE = 's',
    PUNCH = 'p',
    CREATE = 'c',
    DIRECTORY = 'd',
    UNLINK = 'u',
    RENAME = 'r',
    SYNC_BEGINS = 'b',
    SYNCED = 'y',
    TOLD = 't',
    STARTED = 'j',
    RUNS = 'm'
};

static int trace = -1;
static const char *below;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int open_trace(void)
{
    return (int)syscall(SYS_openat, AT_FDCWD, getenv("TSFAST_TRACE"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

__attribute__((constructor)) static void begin(void)
{
    below = getenv("TSFAST_TRACED");
    if (below && getenv("TSFAST_TRACE") && getenv("TSFAST_BOOT_FD")) /* the jobs inherit the rest of this environment */
        trace = open_trace();
}

static void record(enum kind kind, uint64_t offset, const char *path, const void *data, size_t size)
{
    struct {
        uint32_t kind, path;
        uint64_t offset, size;
    } head = {(uint32_t)kind, (uint32_t)strlen(path), offset, size};
    struct iovec parts[] = {
        {&head, sizeof head}, {(void *)(uintptr_t)path, head.path}, {(void *)(uintptr_t)data, size}};
    int before = errno;

    if (syscall(SYS_writev, trace, parts, 3) < 0) { /* the server closes whatever its caller left open */
        trace = open_trace();
        if (syscall(SYS_writev, trace, parts, 3) < 0)
            abort();
    }
    errno = before;
}

/* The path below TSFAST_TRACED, NULL for others. */
static const char *traced(int directory, const char *name, char path[8192])
{
    char link[64];
    ssize_t size = 0;
    int before = errno;

    if (trace < 0)
        return NULL;
    if (!name || *name != '/') {
        snprintf(link, sizeof link, directory == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", directory);
        size = syscall(SYS_readlinkat, AT_FDCWD, link, path, 4000);
        errno = before;
        if (size < 0)
            return NULL;
        path[size] = 0;
        if (name)
            path[size++] = '/';
    }
    if (name)
        strcpy(path + size, name);
    size = (ssize_t)strlen(below);
    if (strncmp(path, below, (size_t)size) != 0 || (path[size] != '/' && path[size]))
        return NULL;
    return path[size] ? path + size + 1 : path + size;
}

static int finish(int result)
{
    int before = errno;

    pthread_mutex_unlock(&lock);
    errno = before;
    return result;
}

static int open_traced(int directory, const char *name, int flags, mode_t mode)
{
    char room[8192];
    const char *path = traced(directory, name, room);
    struct stat st;
    int fd, fresh;

    if (strcmp(name, "/proc/sys/kernel/random/boot_id") == 0 && getenv("TSFAST_BOOT_ID_FILE"))
        name = getenv("TSFAST_BOOT_ID_FILE");
    if (!path || !(flags & (O_CREAT | O_TRUNC)))
        return (int)syscall(SYS_openat, directory, name, flags, mode);
    pthread_mutex_lock(&lock);
    fresh = fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0;
    fd = (int)syscall(SYS_openat, directory, name, flags, mode);
    if (fd >= 0 && fresh)
        record(CREATE, 0, path, NULL, 0);
    else if (fd >= 0 && flags & O_TRUNC)
        record(SIZE, 0, path, NULL, 0);
    return finish(fd);
}

#define OPEN(function, at)                                                                                             \
    int function                                                                                                       \
    {                                                                                                                  \
        mode_t mode;                                                                                                   \
        va_list rest;                                                                                                  \
                                                                                                                       \
        va_start(rest, flags);                                                                                         \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
        return open_traced(at, name, flags, mode);                                                                     \
    }
OPEN(open(const char *name, int flags, ...), AT_FDCWD)
OPEN(open64(const char *name, int flags, ...), AT_FDCWD)
OPEN(openat(int directory, const char *name, int flags, ...), directory)
OPEN(openat64(int directory, const char *name, int flags, ...), directory)

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    char room[8192];
    const char *path = traced(fd, NULL, room);
    ssize_t wrote;

    if (!path)
        return syscall(SYS_pwrite64, fd, data, size, offset);
    pthread_mutex_lock(&lock);
    wrote = syscall(SYS_pwrite64, fd, data, size, offset);
    if (wrote > 0)
        record(WRITE, (uint64_t)offset, path, data, (size_t)wrote);
    pthread_mutex_unlock(&lock);
    return wrote;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset) { return pwrite(fd, data, size, offset); }

ssize_t write(int fd, const void *data, size_t size)
{
    char room[8192];
    const char *path = traced(fd, NULL, room);
    off_t offset;
    ssize_t wrote;

    if (!path || strncmp(path, "log", 3) == 0)
        return syscall(SYS_write, fd, data, size);
    pthread_mutex_lock(&lock);
    offset = lseek(fd, 0, SEEK_CUR);
    wrote = syscall(SYS_write, fd, data, size);
    if (wrote > 0)
        record(WRITE, (uint64_t)offset, path, data, (size_t)wrote);
    pthread_mutex_unlock(&lock);
    return wrote;
}

int ftruncate(int fd, off_t size)
{
    char room[8192];
    const char *path = traced(fd, NULL, room);
    int result;

    pthread_mutex_lock(&lock);
    result = (int)syscall(SYS_ftruncate, fd, size);
    if (path && result == 0)
        record(SIZE, (uint64_t)size, path, NULL, 0);
    return finish(result);
}

int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    char room[8192];
    const char *path = traced(fd, NULL, room);
    uint64_t length = (uint64_t)size;
    struct stat st;
    int result;

    pthread_mutex_lock(&lock);
    result = (int)syscall(SYS_fallocate, fd, mode, offset, size);
    if (path && result == 0 && mode)
        record(PUNCH, (uint64_t)offset, path, &length, sizeof length);
    else if (path && result == 0 && fstat(fd, &st) == 0)
        record(SIZE, (uint64_t)st.st_size, path, NULL, 0);
    return finish(result);
}

int fallocate64(int fd, int mode, off_t offset, off_t size) { return fallocate(fd, mode, offset, size); }

static int change(enum kind kind, int directory, const char *name, int argument)
{
    char room[8192];
    const char *path = traced(directory, name, room);
    int result;

    pthread_mutex_lock(&lock);
    result = (int)syscall(kind == DIRECTORY ? SYS_mkdirat : SYS_unlinkat, directory, name, argument);
    if (path && result == 0)
        record(kind, 0, path, NULL, 0);
    return finish(result);
}

int mkdir(const char *name, mode_t mode) { return change(DIRECTORY, AT_FDCWD, name, (int)mode); }
int mkdirat(int directory, const char *name, mode_t mode) { return change(DIRECTORY, directory, name, (int)mode); }
int unlink(const char *name) { return change(UNLINK, AT_FDCWD, name, 0); }
int unlinkat(int directory, const char *name, int flags) { return change(UNLINK, directory, name, flags); }
int rmdir(const char *name) { return change(UNLINK, AT_FDCWD, name, AT_REMOVEDIR); }

int renameat(int from, const char *old, int to, const char *name)
{
    char room[8192], other[8192];
    const char *path = traced(from, old, room), *target = traced(to, name, other);
    int result;

    pthread_mutex_lock(&lock);
    result = (int)syscall(SYS_renameat2, from, old, to, name, 0);
    if (path && target && result == 0)
        record(RENAME, 0, path, target, strlen(target));
    return finish(result);
}

int rename(const char *old, const char *name) { return renameat(AT_FDCWD, old, AT_FDCWD, name); }

static int sync_traced(int fd, long call)
{
    char room[8192];
    const char *path = traced(fd, NULL, room);
    const char *fails = getenv("TSFAST_SYNC_FAILS");
    int result;

    if (fails && faccessat(AT_FDCWD, fails, F_OK, 0) == 0) {
        errno = EIO;
        return -1;
    }
    if (!path)
        return (int)syscall(call, fd);
    pthread_mutex_lock(&lock);
    record(SYNC_BEGINS, 0, path, NULL, 0);
    pthread_mutex_unlock(&lock);
    result = (int)syscall(call, fd);
    if (result == 0) {
        pthread_mutex_lock(&lock);
        record(SYNCED, 0, path, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    return result;
}

int fsync(int fd) { return sync_traced(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_traced(fd, SYS_fdatasync); }

/* The entries of `runs`, which are written through a mapping. */
static void record_runs(void)
{
    char path[4096 + 8], entries[4096];
    int fd;

    snprintf(path, sizeof path, "%s/runs", below);
    fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (syscall(SYS_pread64, fd, entries, sizeof entries, 0) == (long)sizeof entries)
        record(RUNS, 0, "runs", entries, sizeof entries);
    close(fd);
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    ssize_t sent;

    if (trace < 0)
        return syscall(SYS_sendto, fd, data, size, flags, NULL, 0);
    pthread_mutex_lock(&lock);
    record_runs();
    record(TOLD, (uint64_t)fd, "", data, size); /* before it is: who hears it may act on it */
    sent = syscall(SYS_sendto, fd, data, size, flags, NULL, 0);
    pthread_mutex_unlock(&lock);
    return sent;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    ssize_t sent;

    if (trace < 0)
        return syscall(SYS_sendmsg, fd, message, flags);
    pthread_mutex_lock(&lock);
    record(STARTED, 0, "", message->msg_iov->iov_base, message->msg_iov->iov_len);
    record_runs();
    sent = syscall(SYS_sendmsg, fd, message, flags);
    pthread_mutex_unlock(&lock);
    return sent;
}
