/* The progress line of `-w` of several jobs on a terminal. Each version overwrites the last one, cut to the terminal's
 * present width; the launcher erases it before it writes anything else, and when a signal ends it, before the shell's
 * prompt. */
#include "launcher.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char erase[] = "\r\x1b[K";
static const int ending[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};

static volatile sig_atomic_t is_there;

static void clean_up(int number);

/* The signal itself resets its handler, so that raising it again ends or stops the launcher. */
static void watch_signal(int number)
{
    struct sigaction action = {.sa_handler = clean_up, .sa_flags = SA_RESETHAND | SA_NODEFER | SA_RESTART};

    sigaction(number, &action, NULL);
}

static void clean_up(int number)
{
    if (is_there && write(STDERR_FILENO, erase, sizeof(erase) - 1) < 0)
        is_there = 0; /* the terminal is gone */
    raise(number);
    watch_signal(number); /* we were stopped, and go on */
}

/* Signals inherited as ignored stay ignored. */
static void watch_signals(void)
{
    static bool watched;
    struct sigaction before;

    if (watched)
        return;
    watched = true;
    for (size_t i = 0; i < sizeof(ending) / sizeof(*ending); i++)
        if (sigaction(ending[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
            watch_signal(ending[i]);
}

static size_t columns(void)
{
    struct winsize window;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 ? window.ws_col : 0;
}

/* The text is plain ASCII. For earlier launchers the server prefixes the sequence that erases a line. A line that fills
 * its row wraps on some terminals. */
void show_progress(const char *text, size_t size)
{
    char line[256];
    const char *kind = getenv("TERM");
    size_t most = columns();

    if (kind && strcmp(kind, "dumb") == 0)
        return;
    if (size >= sizeof(erase) - 1 && memcmp(text, erase, sizeof(erase) - 1) == 0) {
        text += sizeof(erase) - 1;
        size -= sizeof(erase) - 1;
    }
    if (size > sizeof(line) - sizeof(erase))
        size = sizeof(line) - sizeof(erase);
    if (most && size > most - 1)
        size = most - 1;
    if (size == 0) {
        end_progress();
        return;
    }
    watch_signals();
    memcpy(line, erase, sizeof(erase) - 1);
    memcpy(line + sizeof(erase) - 1, text, size);
    is_there = 1;
    show(STDERR_FILENO, line, sizeof(erase) - 1 + size);
}

void end_progress(void)
{
    if (!is_there)
        return;
    show(STDERR_FILENO, erase, sizeof(erase) - 1);
    is_there = 0;
}
