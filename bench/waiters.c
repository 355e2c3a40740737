/* waiters COUNT READY COMMAND WORDS ...
 *
 * Starts COUNT processes of the command, all at once, then makes the file READY, and prints CLOCK_MONOTONIC when the
 * first and when the last of them was reaped. Whether they are waiting by then is for the caller to find out. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static unsigned long long now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (unsigned long long)time.tv_sec * 1000000000u + (unsigned long long)time.tv_nsec;
}

int main(int argc, char **argv)
{
    long count = argc > 3 ? atol(argv[1]) : 0;
    unsigned long long first = 0;

    for (long i = 0; i < count; i++) {
        pid_t child;

        if (posix_spawn(&child, argv[3], NULL, NULL, argv + 3, environ) != 0)
            return 2;
    }
    if (count == 0 || open(argv[2], O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0)
        return 2;
    for (long i = 0; i < count; i++) {
        int status;

        if (wait(&status) < 0 || status != 0)
            return 1;
        if (i == 0)
            first = now();
    }
    printf("%llu %llu\n", first, now());
    return 0;
}
