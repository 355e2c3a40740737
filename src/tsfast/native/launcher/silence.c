/* A silent server. Every wait for it works in the same way: poll for silence_ms(); if nothing has arrived,
 * silence_passed(), which prints a message on a terminal the first time and ends the call the second time;
 * silence_ended() when something has arrived. The time during which the call itself is stopped counts for at most one
 * of the two. */
#include "launcher.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE_MS = 30000, FIRST_MS = 3000, MAX_S = 1000000 };

static int patience = PATIENCE_MS; /* milliseconds; 0: forever */
static bool passed;

void read_patience(void)
{
    const char *text = getenv("TS_PATIENCE");
    size_t size;

    if (!text || !*text)
        return;
    size = strspn(text, "0123456789");
    if (text[size] || size > 7 || atoi(text) > MAX_S)
        refuse("TS_PATIENCE is '", text, "', allowed is a number from 0 to 1000000");
    patience = atoi(text) * 1000;
}

/* How long to wait now, in milliseconds; -1: forever. */
int silence_ms(void)
{
    int first = patience < 2 * FIRST_MS ? patience / 2 : FIRST_MS;

    if (!patience)
        return -1;
    return passed ? patience - first : first;
}

/* `server`: its pid, 0 if unknown. */
void silence_passed(const struct place *place, pid_t server, const char *what)
{
    const char *yet = passed ? "" : " yet";
    char number[24];

    if (!passed && !to_terminal()) {
        passed = true;
        return;
    }
    if (server > 0)
        complain("the server (pid ", decimal((uint64_t)server, number), ") ", what, yet, (char *)NULL);
    else
        complain("the server at ", place->path, " ", what, yet, (char *)NULL);
    if (passed)
        leave(TSF_EXIT_ERROR);
    passed = true;
}

void silence_ended(void) { passed = false; }

bool to_terminal(void) { return isatty(STDERR_FILENO) == 1; }
