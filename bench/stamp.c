/* stamp FILE: the job of the latency benchmarks. Appends CLOCK_MONOTONIC of its first and of its last moment. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static unsigned long long now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (unsigned long long)time.tv_sec * 1000000000u + (unsigned long long)time.tv_nsec;
}

int main(int argc, char **argv)
{
    unsigned long long begin = now();
    char line[64];
    int file = argc == 2 ? open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    int size = snprintf(line, sizeof(line), "%llu %llu\n", begin, now());

    if (file < 0 || write(file, line, (size_t)size) != size)
        _exit(1);
    _exit(0);
}
