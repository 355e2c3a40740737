/* floor COUNT PARALLEL DIRECTORY COMMAND WORDS ...
 *
 * What the machine needs for the jobs alone: a loop that starts COUNT processes, at most PARALLEL at a time, each with
 * the set-up that a spooler's job has (session, directory, output file of its own), and waits for them. Prints the
 * nanoseconds that all took. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void start(const char *directory, const char *output, char **command)
{
    pid_t child = vfork();

    if (child < 0)
        exit(2);
    if (child == 0) {
        int file;

        setsid();
        file = open(output, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
        if (file < 0 || dup2(file, 1) < 0 || dup2(file, 2) < 0 || chdir(directory) < 0)
            _exit(126);
        execve(command[0], command, environ);
        _exit(127);
    }
}

static int reap(void)
{
    int status;

    return waitpid(-1, &status, 0) > 0 && status == 0;
}

int main(int argc, char **argv)
{
    long count, parallel, running = 0;
    char output[4096];
    uint64_t begin;

    if (argc < 5)
        return 2;
    count = atol(argv[1]);
    parallel = atol(argv[2]);
    begin = now();
    for (long i = 0; i < count; i++) {
        if (running == parallel && (running--, !reap()))
            return 1;
        snprintf(output, sizeof(output), "%s/out.%ld", argv[3], i);
        start(argv[3], output, argv + 4);
        running++;
    }
    while (running--)
        if (!reap())
            return 1;
    printf("%llu\n", (unsigned long long)(now() - begin));
    return 0;
}
