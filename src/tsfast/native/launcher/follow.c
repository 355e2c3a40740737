/* Showing a file as it grows: up to its present size, then whenever inotify says that it was written to (where there is
 * no inotify, answer.c looks again after a while). */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

static char block[1 << 16];

static off_t size_of(const struct follow *follow)
{
    struct stat about;

    if (fstat(follow->file, &about) != 0)
        refuse(follow->path, ": ", strerror(errno));
    return about.st_size;
}

static size_t read_at(const struct follow *follow, size_t size, off_t offset)
{
    for (;;) {
        ssize_t got = pread(follow->file, block, size, offset);

        if (got >= 0)
            return (size_t)got;
        if (errno != EINTR)
            refuse(follow->path, ": ", strerror(errno));
    }
}

/* The newline that ends the file ends its last line, and begins none. */
static off_t start_of_last_lines(const struct follow *follow, int32_t lines)
{
    const off_t end = size_of(follow);
    off_t at = end, limit = end - 1;

    if (lines == 0)
        return end;
    while (at > 0) {
        size_t size = at < (off_t)sizeof(block) ? (size_t)at : sizeof(block), seen;
        const char *newline;

        at -= (off_t)size;
        seen = read_at(follow, size, at);
        if (limit - at < (off_t)seen)
            seen = (size_t)(limit - at);
        while ((newline = memrchr(block, '\n', seen)) != NULL) {
            seen = (size_t)(newline - block);
            if (--lines == 0)
                return at + (off_t)seen + 1;
        }
        limit = at;
    }
    return 0;
}

/* A repeated reply that names the same file continues where the last one stopped. */
void follow_file(struct follow *follow, const char *path, size_t size, int32_t lines)
{
    if (size >= sizeof(follow->path))
        refuse("the output file's path is too long");
    if (follow->file && strlen(follow->path) == size && memcmp(follow->path, path, size) == 0)
        return;
    if (follow->file)
        close(follow->file);
    if (follow->notify)
        close(follow->notify);
    memcpy(follow->path, path, size);
    follow->path[size] = '\0';
    follow->notify = 0;
    follow->notify_failed = false;
    follow->file = open(follow->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (follow->file < 0)
        refuse(follow->path, ": ", strerror(errno));
    follow->offset = lines < 0 ? 0 : start_of_last_lines(follow, lines);
}

/* Only once the job is known to run: the file of an ended job needs no watch. */
void follow_watch(struct follow *follow)
{
    if (follow->notify || follow->notify_failed)
        return;
    follow->notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (follow->notify >= 0 && inotify_add_watch(follow->notify, follow->path, IN_MODIFY) >= 0)
        return;
    if (follow->notify >= 0)
        close(follow->notify);
    follow->notify = 0;
    follow->notify_failed = true;
}

/* Copies up to the file's present size and not to its end: a writer faster than stdout would keep the launcher here,
 * and it would ignore the server. Drops the events first, so that a write after the copy wakes it again. */
void follow_copy(struct follow *follow)
{
    off_t end;

    if (follow->notify)
        while (read(follow->notify, block, sizeof(block)) > 0)
            ;
    end = size_of(follow);
    while (follow->offset < end) {
        off_t left = end - follow->offset;
        size_t got = read_at(follow, left < (off_t)sizeof(block) ? (size_t)left : sizeof(block), follow->offset);

        if (got == 0)
            return;
        show(STDOUT_FILENO, block, got);
        follow->offset += (off_t)got;
    }
}
