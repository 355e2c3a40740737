/* The request: everything that a job inherits from its client, collected once and sent as often as necessary. The
 * kernel lays out the words and the environment as one run of strings each, so they are sent from there. */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

/* The window size tells three things at once: whether this is a terminal, how wide it is, and whether it is open at
 * all. Closed descriptors are filled, so that the socket does not land there and receive output. */
void open_standard_descriptors(struct tsf_request *request)
{
    request->tty = TSF_HEARS_ALIVE | TSF_SHOWS_MOMENTS;
    for (int fd = 0; fd <= 2; fd++) {
        struct winsize window;

        if (ioctl(fd, TIOCGWINSZ, &window) == 0) {
            request->tty |= 1u << fd;
            if (fd == STDOUT_FILENO)
                request->columns = window.ws_col;
        } else if (errno == EBADF) {
            int filler = open("/dev/null", O_RDWR);

            if (filler < 0)
                filler = open("/", O_RDONLY | O_DIRECTORY);
            if (filler > 2) /* a descriptor opened with O_PATH answers EBADF too */
                close(filler);
        }
    }
}

static struct iovec copy_of(char **strings, size_t size)
{
    struct iovec part = {.iov_base = malloc(size), .iov_len = size};
    char *to = part.iov_base;

    if (!to)
        refuse("out of memory");
    for (; *strings; strings++)
        to = stpcpy(to, *strings) + 1;
    return part;
}

static struct iovec run_of(char **strings, uint32_t *count)
{
    char *expected = *strings;
    struct iovec part = {.iov_base = *strings};
    bool whole = true;
    uint32_t n = 0;

    for (; strings[n]; n++) {
        size_t size = strlen(strings[n]) + 1;

        whole = whole && strings[n] == expected;
        part.iov_len += size;
        expected = strings[n] + size;
    }
    *count = n;
    return whole ? part : copy_of(strings, part.iov_len);
}

/* Raw system calls: the libraries narrow limits to their own types, and store niceness in errno's company. */
static void ask_kernel(struct tsf_request *request)
{
    mode_t mask = umask(0);

    umask(mask);
    request->umask = (uint32_t)mask;
    request->nice = 20 - (int32_t)syscall(SYS_getpriority, PRIO_PROCESS, 0);
    for (unsigned i = 0; i < TSF_LIMITS; i++)
        if (syscall(SYS_prlimit64, 0, i, NULL, request->limits[i]) != 0)
            request->limits[i][0] = request->limits[i][1] = UINT64_MAX;
}

static void make_token(uint64_t token[2])
{
    const void *random_bytes;

    if (syscall(SYS_getrandom, token, 16, 0) != 16) {
        /* if a filter denies it: what the kernel gave this process at its exec */
        random_bytes = (const void *)getauxval(AT_RANDOM);
        if (!random_bytes)
            refuse("no random numbers: ", strerror(errno));
        memcpy(token, random_bytes, 16);
    }
    token[1] = (token[1] & UINT32_MAX) | (uint64_t)getpid() << 32;
}

/* EINVAL: this machine has more processors than the buffer has bits. */
static size_t get_affinity(unsigned long *mask, size_t size)
{
    long got = syscall(SYS_sched_getaffinity, 0, 128, mask);

    if (got < 0 && errno == EINVAL)
        got = syscall(SYS_sched_getaffinity, 0, size, mask);
    return got < 0 ? 0 : (size_t)got;
}

/* The empty string if the directory is gone: the server refuses it with a message that fits the command. */
static size_t get_directory(char *cwd, size_t size)
{
    if (!getcwd(cwd, size) || cwd[0] != '/')
        cwd[0] = '\0';
    return strlen(cwd) + 1;
}

void collect_request(struct request *request, char **words)
{
    struct tsf_request *head = &request->head.request;
    struct iovec *part = request->parts;
    size_t total;
    char number[24];

    make_token(head->token);
    ask_kernel(head);
    part[0] = (struct iovec){&request->head, sizeof(request->head)};
    part[1] = run_of(words, &head->argc);
    part[2] = (struct iovec){request->cwd, get_directory(request->cwd, sizeof(request->cwd))};
    part[3] = run_of(environ, &head->env_count);
    part[4] = (struct iovec){request->affinity, get_affinity(request->affinity, sizeof(request->affinity))};

    total = sizeof(*head) + part[1].iov_len + part[2].iov_len + part[3].iov_len + part[4].iov_len;
    if (total > TSF_FRAME_MAX)
        refuse("the command and its environment are too long: ", decimal(total, number), " bytes, at most 8388608");
    head->argv_len = (uint32_t)part[1].iov_len;
    head->cwd_len = (uint32_t)part[2].iov_len;
    head->env_len = (uint32_t)part[3].iov_len;
    head->affinity_len = (uint32_t)part[4].iov_len;
    request->head.frame = (struct tsf_frame){.version = TSF_WIRE_VERSION,
                                             .type = TSF_FRAME_REQUEST,
                                             .length = (uint32_t)total,
                                             .release = tsf_release(TSFAST_VERSION)};
}

/* Version 1 has less behind the limits, and nothing else is different. */
void change_version(struct request *request, bool version1)
{
    size_t less = sizeof(struct tsf_request) - TSF_REQUEST1_BYTES;
    struct tsf_frame *frame = &request->head.frame;

    if (version1 == request->version1)
        return;
    request->version1 = version1;
    frame->version = version1 ? TSF_WIRE_VERSION1 : TSF_WIRE_VERSION;
    frame->length = (uint32_t)(version1 ? frame->length - less : frame->length + less);
    request->parts[0].iov_len = sizeof(request->head) - (version1 ? less : 0);
}

/* Does not report a failure: the server may have replied before it closed, and reading reveals both. */
void send_request(const struct request *request, const struct place *place, int connection)
{
    struct iovec parts[REQUEST_PARTS];
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = REQUEST_PARTS};

    memcpy(parts, request->parts, sizeof(parts));
    while (message.msg_iovlen) {
        ssize_t sent = sendmsg(connection, &message, MSG_NOSIGNAL);
        size_t left = (size_t)sent;

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN) {
            struct pollfd room = {.fd = connection, .events = POLLOUT};

            if (poll(&room, 1, silence_ms()) == 0)
                silence_passed(place, place->server, "does not answer");
            continue;
        }
        if (sent < 0)
            return;
        silence_ended();
        while (message.msg_iovlen && left >= message.msg_iov->iov_len) {
            left -= message.msg_iov->iov_len;
            message.msg_iov++;
            message.msg_iovlen--;
        }
        if (message.msg_iovlen) {
            message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + left;
            message.msg_iov->iov_len -= left;
        }
    }
}
