/* Preloaded into a server: while the file TSFAST_REFUSE is there, the disk takes nothing: writes and new files fail
 * with the error whose number is in it. The tests' own stand-in for a quota, for which not every kernel is built. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static char *path;

__attribute__((constructor)) static void begin(void)
{
    if (getenv("TSFAST_REFUSE") && getenv("TSFAST_BOOT_FD")) /* the server, not its jobs */
        path = strdup(getenv("TSFAST_REFUSE"));
}

static int refuses(void)
{
    char text[8] = "";
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd < 0)
        return 0;
    if (read(fd, text, sizeof text - 1) > 0)
        errno = atoi(text);
    close(fd);
    return *text != 0;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return refuses() ? -1 : syscall(SYS_pwrite64, fd, data, size, offset);
}

#ifdef __GLIBC__ /* elsewhere it is another name for pwrite */
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return pwrite(fd, data, size, offset); }
#endif

int openat(int directory, const char *path, int flags, ...)
{
    mode_t mode = 0;
    va_list rest;

    va_start(rest, flags);
    if (flags & O_CREAT)
        mode = va_arg(rest, mode_t);
    va_end(rest);
    return flags & O_CREAT && refuses() ? -1 : (int)syscall(SYS_openat, directory, path, flags, mode);
}
