/* The reply: a stream of frames. The launcher shows texts piece by piece, however long their frame is; all other frames
 * are short, and it waits until they are complete. */
#include "launcher.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_AGAIN_MS = 50 };

/* SIGTERM keeps the queue; -K would drop it. The pid is 0 where the server is in another pid namespace. */
static _Noreturn void other_version(const struct place *place)
{
    char number[24];

    if (place->server <= 0)
        refuse(place->path, ": the server speaks another protocol version; end it by SIGTERM, its jobs stay");
    refuse(place->path, ": the server speaks another protocol version; restart it with `kill ",
           decimal((uint64_t)place->server, number), "`, its jobs stay");
}

static _Noreturn void bad_frame(const struct place *place)
{
    refuse(place->path, ": the server's answer makes no sense");
}

static int32_t code_of(const struct place *place, const char *payload, size_t size)
{
    struct tsf_code code;

    if (size != sizeof(code))
        bad_frame(place);
    memcpy(&code, payload, sizeof(code));
    return code.code;
}

static void begin_follow(struct answer *answer, const struct place *place, const char *payload, size_t size)
{
    struct tsf_follow head;

    if (size <= sizeof(head))
        bad_frame(place);
    memcpy(&head, payload, sizeof(head));
    follow_file(&answer->follow, payload + sizeof(head), size - sizeof(head), head.lines);
}

static void begin_look(const struct place *place, const char *payload, size_t size)
{
    uint32_t what;

    if (size < sizeof(what))
        bad_frame(place);
    memcpy(&what, payload, sizeof(what));
    look(what, payload + sizeof(what), size - sizeof(what));
}

static void send_descriptors(int connection)
{
    static const int standard[3] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
    struct tsf_frame frame = {.version = TSF_WIRE_VERSION, .type = TSF_FRAME_DESCRIPTORS};
    struct iovec part = {&frame, sizeof(frame)};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(standard))];
    } control = {.bytes = {0}};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(standard));
    memcpy(CMSG_DATA(rights), standard, sizeof(standard));
    while (sendmsg(connection, &message, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

static void pass_text(const char *text, size_t size)
{
    char *copy = strndup(text, size);

    if (!copy || (size && setenv("TSFAST_ANSWER", copy, 1) != 0))
        refuse("no memory");
}

static void show_text(struct answer *answer, const char *text, size_t size)
{
    size_t repeated = 0;

    end_progress();
    if (answer->text_fd == STDOUT_FILENO) {
        repeated = size < answer->to_skip ? size : (size_t)answer->to_skip;
        answer->to_skip -= repeated;
        answer->shown += size - repeated;
    }
    show(answer->text_fd, text + repeated, size - repeated);
    answer->printed = answer->printed || size > repeated;
}

/* Not in the server: only this process has the client's time zone. */
static void show_moment(struct answer *answer, const struct place *place, const char *payload, size_t size)
{
    struct tsf_moment moment;
    struct tm parts = {.tm_mday = 1};
    char line[64];
    time_t seconds;

    if (size != sizeof(moment))
        bad_frame(place);
    memcpy(&moment, payload, sizeof(moment));
    seconds = (time_t)moment.seconds;
    localtime_r(&seconds, &parts);
    answer->text_fd = STDOUT_FILENO;
    show_text(answer, line, strftime(line, sizeof(line), TSF_MOMENT_FORMAT, &parts));
}

static void obey(struct answer *answer, const struct place *place, int connection, char **words,
                 const struct tsf_frame *frame, const char *payload)
{
    switch (frame->type) {
    case TSF_FRAME_EXIT:
        leave(code_of(place, payload, frame->length));
    case TSF_FRAME_EXIT_AT_CLOSE:
        answer->code = code_of(place, payload, frame->length);
        answer->exit_at_close = true;
        return;
    case TSF_FRAME_SEND_DESCRIPTORS:
        answer->foreground = answer->waits = true;
        start_forwarding(&answer->forwarding);
        send_descriptors(connection);
        answer->forwarding.ready = true;
        forward_signals(&answer->forwarding, connection);
        return;
    case TSF_FRAME_ALIVE:
        answer->waits = true;
        return;
    case TSF_FRAME_PROGRESS: /* overwrites itself, so it may be repeated by another connection */
        answer->waits = true;
        show_progress(payload, frame->length);
        return;
    case TSF_FRAME_COUNTED:
        if (frame->length != sizeof(answer->counted))
            bad_frame(place);
        memcpy(&answer->counted, payload, sizeof(answer->counted));
        return;
    case TSF_FRAME_MOMENT:
        show_moment(answer, place, payload, frame->length);
        return;
    case TSF_FRAME_LOOK:
        begin_look(place, payload, frame->length);
        return;
    case TSF_FRAME_FOLLOW:
        answer->waits = true;
        begin_follow(answer, place, payload, frame->length);
        return;
    case TSF_FRAME_ENDED:
        if (!answer->follow.file)
            bad_frame(place);
        follow_copy(&answer->follow);
        leave(code_of(place, payload, frame->length));
    case TSF_FRAME_GIVE_WAY:
        answer->succeed = true;
        return;
    case TSF_FRAME_EXEC:
        pass_text(payload, frame->length);
        exec_program(words, &answer->forwarding);
    default:
        bad_frame(place);
    }
}

/* False when the buffer holds nothing more to show or obey. */
static bool take_step(struct answer *answer, const struct place *place, int connection, char **words)
{
    const char *at = answer->in + answer->begin;
    size_t ready = answer->end - answer->begin;
    struct tsf_frame frame;

    if (answer->text_left) {
        size_t size = ready < answer->text_left ? ready : answer->text_left;

        show_text(answer, at, size);
        answer->text_left -= (uint32_t)size;
        answer->begin += size;
        return size > 0;
    }
    if (ready < sizeof(frame))
        return false;
    memcpy(&frame, at, sizeof(frame));
    if (frame.version != (answer->version1 ? TSF_WIRE_VERSION1 : TSF_WIRE_VERSION)) {
        if (frame.version != TSF_WIRE_VERSION && frame.version != TSF_WIRE_VERSION1)
            other_version(place);
        answer->version1 = !answer->version1; /* it did not understand us, and has done nothing */
        return false;
    }
    if (frame.length > TSF_FRAME_MAX)
        bad_frame(place);
    if (frame.type == TSF_FRAME_OUT || frame.type == TSF_FRAME_ERR) {
        answer->text_fd = frame.type == TSF_FRAME_OUT ? STDOUT_FILENO : STDERR_FILENO;
        answer->text_left = frame.length;
        answer->begin += sizeof(frame);
        return true;
    }
    if (frame.length > sizeof(answer->in) - sizeof(frame))
        bad_frame(place);
    if (ready < sizeof(frame) + frame.length)
        return false;
    answer->begin += sizeof(frame) + frame.length;
    obey(answer, place, connection, words, &frame, at + sizeof(frame));
    return true;
}

/* In milliseconds, -1: forever. */
static int time_to_wait(const struct answer *answer)
{
    if (answer->follow.file && answer->follow.notify_failed)
        return LOOK_AGAIN_MS;
    return answer->waits || answer->unsure ? -1 : silence_ms();
}

/* Until the server sends something: shows what is added to the followed file, forwards signals. Notices a stdout whose
 * reader is gone even without writing to it. */
static void serve_until_readable(struct answer *answer, const struct place *place, int connection)
{
    struct follow *follow = &answer->follow;
    struct forwarding *forwarding = &answer->forwarding;

    for (;;) {
        int happened;
        struct pollfd set[4] = {{.fd = connection, .events = POLLIN},
                                {.fd = -1, .events = POLLIN},
                                {.fd = -1, .events = POLLIN},
                                {.fd = -1}};

        if (forwarding->source && forwarding->ready)
            set[1].fd = forwarding->source;
        if (follow->file) {
            follow_watch(follow);
            follow_copy(follow);
            set[2].fd = follow->notify ? follow->notify : -1;
            set[3].fd = STDOUT_FILENO;
        }
        happened = poll(set, 4, time_to_wait(answer));
        if (happened == 0 && !follow->file)
            silence_passed(place, place->server, "does not answer");
        if (happened <= 0)
            continue;
        if (set[3].revents & POLLERR)
            die_of_pipe();
        if (set[1].revents) {
            take_signals(forwarding);
            forward_signals(forwarding, connection);
        }
        if (set[0].revents)
            return;
    }
}

/* Returns false if the connection broke before the reply was complete, true if the server gives way to a new one;
 * otherwise it exits. answer->version1: whether the request was in that version; it changes when the request has to be
 * made again in the other one. */
bool take_answer(struct answer *answer, const struct place *place, int connection, char **words)
{
    const bool version1 = answer->version1;

    answer->begin = answer->end = 0;
    answer->text_left = 0;
    answer->to_skip = answer->shown;
    answer->printed = answer->exit_at_close = answer->succeed = answer->waits = answer->forwarding.ready = false;
    for (;;) {
        ssize_t got;

        while (take_step(answer, place, connection, words))
            if (answer->succeed)
                return true;
        if (answer->version1 != version1)
            return false;
        if (answer->begin) {
            answer->end -= answer->begin;
            memmove(answer->in, answer->in + answer->begin, answer->end);
            answer->begin = 0;
        }
        serve_until_readable(answer, place, connection);
        got = recv(connection, answer->in + answer->end, sizeof(answer->in) - answer->end, 0);
        if (got > 0) {
            answer->end += (size_t)got;
            silence_ended();
        } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
            break;
        }
    }
    if (answer->exit_at_close)
        leave(answer->code);
    return false;
}
