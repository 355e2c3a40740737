/* Text output without stdio, whose set-up would cost more than the rest of a call. */
#include "launcher.h"

#include "../shown.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

static bool stdout_failed;

static size_t append(char *to, size_t at, size_t size, const char *text)
{
    size_t length = strlen(text);

    if (length >= size - at)
        length = size - at - 1;
    memcpy(to + at, text, length);
    to[at + length] = '\0';
    return at + length;
}

/* False if it did not fit. */
bool join(char *to, size_t size, ...)
{
    va_list list;
    const char *text;
    size_t at = 0, wanted = 0;

    to[0] = '\0';
    va_start(list, size);
    while ((text = va_arg(list, const char *)) != NULL) {
        wanted += strlen(text);
        at = append(to, at, size, text);
    }
    va_end(list);
    return wanted == at;
}

/* One line, in one write, so that lines of many calls do not mix. */
void complain(const char *first, ...)
{
    static char line[4 * PATH_MAX];
    const size_t most = sizeof(line) - 4; /* dots, and the newline */
    size_t at = append(line, 0, sizeof(line), "ts: ");
    va_list list;

    va_start(list, first);
    for (const char *text = first; text && at <= most; text = va_arg(list, const char *))
        at += tsf_show(line + at, most - at, text, strlen(text));
    va_end(list);
    line[at] = '\n';
    end_progress();
    show(STDERR_FILENO, line, at + 1);
}

const char *decimal(uint64_t number, char text[24])
{
    char *at = text + 23;

    *at = '\0';
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    return at;
}

/* With SIGPIPE ignored, the launcher ends as silently as otherwise. */
_Noreturn void die_of_pipe(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    raise(SIGPIPE);
    _exit(128 + SIGPIPE);
}

/* After a failure the call writes nothing more to stdout but continues to its end: a script may rely on its waiting,
 * and the exit code says that the text is incomplete. */
void show(int fd, const char *data, size_t size)
{
    if (fd == STDOUT_FILENO && stdout_failed)
        return;
    while (size) {
        ssize_t done = write(fd, data, size);

        if (done >= 0) {
            data += done;
            size -= (size_t)done;
        } else if (errno == EAGAIN) {
            struct pollfd ready = {.fd = fd, .events = POLLOUT};

            poll(&ready, 1, -1);
        } else if (errno == EPIPE) {
            die_of_pipe();
        } else if (errno != EINTR) {
            if (fd != STDOUT_FILENO)
                return;
            stdout_failed = true;
            complain("standard output: ", strerror(errno), (char *)NULL);
            return;
        }
    }
}

_Noreturn void leave(int code)
{
    end_progress();
    _exit(stdout_failed ? TSF_EXIT_ERROR : code & 255);
}
