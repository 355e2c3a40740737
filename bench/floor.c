/* floor COUNT PARALLEL DIRECTORY COMMAND WORDS ...
 *
 * What the machine needs for the jobs alone: PARALLEL processes, each of which starts a job with the set-up that a
 * spooler's job has (session, directory, output file of its own), waits for it, and starts the next one, until COUNT
 * jobs have run. Prints the nanoseconds that all took. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
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
        _exit(2);
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

static void work(atomic_long *next, long count, const char *directory, char **command)
{
    char output[4096];
    long i;

    while ((i = atomic_fetch_add(next, 1)) < count) {
        snprintf(output, sizeof(output), "%s/out.%ld", directory, i);
        start(directory, output, command);
        if (!reap())
            _exit(1);
    }
    _exit(0);
}

int main(int argc, char **argv)
{
    atomic_long *next;
    long parallel;
    uint64_t begin;

    if (argc < 5)
        return 2;
    parallel = atol(argv[2]);
    next = mmap(NULL, sizeof(*next), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (next == MAP_FAILED)
        return 2;
    begin = now();
    for (long i = 0; i < parallel; i++) {
        pid_t child = fork();

        if (child < 0)
            return 2;
        if (child == 0)
            work(next, atol(argv[1]), argv[3], argv + 4);
    }
    for (long i = 0; i < parallel; i++)
        if (!reap())
            return 1;
    printf("%llu\n", (unsigned long long)(now() - begin));
    return 0;
}
