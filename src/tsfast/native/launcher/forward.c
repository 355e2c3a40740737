/* Signals that the launcher of a foreground job catches and forwards. Those that it inherited as ignored (nohup, a
 * script's background jobs) stay ignored: the kernel would queue a blocked signal even so. */
#include "launcher.h"

#include <errno.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

static const int candidates[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2};

void start_forwarding(struct forwarding *forwarding)
{
    struct sigaction now;

    if (forwarding->source)
        return;
    sigemptyset(&forwarding->caught);
    for (size_t i = 0; i < sizeof(candidates) / sizeof(*candidates); i++)
        if (sigaction(candidates[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
            sigaddset(&forwarding->caught, candidates[i]);
    sigprocmask(SIG_BLOCK, &forwarding->caught, NULL);
    forwarding->source = signalfd(-1, &forwarding->caught, SFD_CLOEXEC | SFD_NONBLOCK);
    if (forwarding->source < 0) { /* without it, signals end the launcher, and the server sees that */
        forwarding->source = 0;
        sigprocmask(SIG_UNBLOCK, &forwarding->caught, NULL);
    }
}

void take_signals(struct forwarding *forwarding)
{
    struct signalfd_siginfo info;

    while (read(forwarding->source, &info, sizeof(info)) == (ssize_t)sizeof(info))
        forwarding->unsent |= UINT64_C(1) << info.ssi_signo;
}

void forward_signals(struct forwarding *forwarding, int connection)
{
    for (size_t i = 0; i < sizeof(candidates) / sizeof(*candidates); i++) {
        const uint64_t bit = UINT64_C(1) << candidates[i];
        struct {
            struct tsf_frame frame;
            struct tsf_code code;
        } message = {{TSF_WIRE_VERSION, TSF_FRAME_SIGNAL, sizeof(struct tsf_code), 0}, {candidates[i]}};

        /* a broken connection keeps the bit, and the next one gets the signal */
        if ((forwarding->unsent & bit) && send(connection, &message, sizeof(message), MSG_NOSIGNAL) == sizeof(message))
            forwarding->unsent &= ~bit;
    }
}
