/* driver COUNT [NAME=VALUE ...] COMMAND WORDS ... [-- [NAME=VALUE ...] COMMAND WORDS ...] ...
 *
 * Runs the commands in turn (A B A B ...), COUNT times each, one process at a time, with stdout to /dev/null, and
 * prints for each process the command's number, and CLOCK_MONOTONIC before it was spawned and after it was reaped. A
 * caller in C, because spawning from Python costs more, and varies more, than what is measured. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

enum { COMMANDS_MAX = 8 };

struct command {
    char **argv;
    char **envp;
};

struct sample {
    uint64_t begin, end;
};

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static _Noreturn void fail(const char *what)
{
    perror(what);
    exit(2);
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (!memory)
        fail("calloc");
    return memory;
}

static int is_assigned(const char *entry, char **assignments, size_t count)
{
    size_t name = strcspn(entry, "=") + 1;

    for (size_t i = 0; i < count; i++)
        if (strncmp(entry, assignments[i], name) == 0)
            return 1;
    return 0;
}

static struct command command_of(char **words)
{
    size_t inherited = 0, assigned = 0;
    char **envp, **to;

    while (environ[inherited])
        inherited++;
    while (words[assigned] && strchr(words[assigned], '='))
        assigned++;
    if (!words[assigned])
        fail("no command");
    to = envp = allocate(inherited + assigned + 1, sizeof(char *));
    for (size_t i = 0; i < inherited; i++)
        if (!is_assigned(environ[i], words, assigned))
            *to++ = environ[i];
    for (size_t i = 0; i < assigned; i++)
        *to++ = words[i];
    return (struct command){words + assigned, envp};
}

static struct sample run(const struct command *command, posix_spawn_file_actions_t *actions)
{
    struct sample sample = {.begin = now()};
    int status;
    pid_t child;

    if (posix_spawn(&child, command->argv[0], actions, NULL, command->argv, command->envp) != 0)
        fail(command->argv[0]);
    if (waitpid(child, &status, 0) < 0)
        fail("waitpid");
    sample.end = now();
    if (status != 0) {
        fprintf(stderr, "%s: wait status %d\n", command->argv[0], status);
        exit(1);
    }
    return sample;
}

int main(int argc, char **argv)
{
    size_t count = argc > 2 ? strtoul(argv[1], NULL, 10) : 0, n = 0;
    struct command commands[COMMANDS_MAX];
    posix_spawn_file_actions_t actions;
    struct sample *samples;

    for (char **word = argv + 2; argc > 2 && *word && n < COMMANDS_MAX; n++) {
        char **end = word;

        while (*end && strcmp(*end, "--") != 0)
            end++;
        if (*end)
            *end++ = NULL;
        commands[n] = command_of(word);
        word = end;
    }
    if (!count || !n)
        fail("usage");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    samples = allocate(count * n, sizeof(*samples));
    for (size_t i = 0; i < count * n; i++)
        samples[i] = run(&commands[i % n], &actions);
    for (size_t i = 0; i < count * n; i++)
        printf("%zu %llu %llu\n", i % n, (unsigned long long)samples[i].begin, (unsigned long long)samples[i].end);
    return 0;
}
