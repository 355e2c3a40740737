/* Opening what other users could have put there: first open, then look at what was opened. The rules of trust.py, which
 * opens all that is opened once, for what compiled code opens by itself: files of a directory that only we can change,
 * and the programs that a launcher of root executes. */
#ifndef TSFAST_TRUST_H
#define TSFAST_TRUST_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Our own regular file, without another name through which another user could have put it here. */
static inline bool tsf_is_ours(const struct stat *about)
{
    return S_ISREG(about->st_mode) && about->st_uid == geteuid() && about->st_nlink <= 1 && !(about->st_mode & S_IWOTH);
}

/* Like openat, without waiting and without following a link; EPERM for a file that is not ours. */
static inline int tsf_open_ours(int directory, const char *name, int flags)
{
    struct stat about;
    int fd = openat(directory, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);

    if (fd < 0 || (fstat(fd, &about) == 0 && tsf_is_ours(&about)))
        return fd;
    close(fd);
    errno = EPERM;
    return -1;
}

/* A program, through all links, that only root can change or replace: one of a system installation. */
static inline bool tsf_is_roots(const char *path)
{
    char real[PATH_MAX], *end = real;
    struct stat about;
    bool last = false;

    if (!realpath(path, real))
        return false;
    while (!last) {
        char next;

        end += strcspn(end + 1, "/") + 1;
        last = !*end;
        next = *end;
        *end = '\0';
        if (lstat(real, &about) != 0 || about.st_uid != 0)
            return false;
        if (about.st_mode & S_IWOTH && (last || !(about.st_mode & S_ISVTX)))
            return false;
        if (about.st_mode & S_IWGRP && about.st_gid != 0 && (last || !(about.st_mode & S_ISVTX)))
            return false;
        *end = next;
    }
    return lstat("/", &about) == 0 && about.st_uid == 0 && !(about.st_mode & S_IWOTH);
}

#endif
