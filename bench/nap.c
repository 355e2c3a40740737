/* nap FILE INDEX NANOSECONDS: a job of the simulation. Sleeps, and writes CLOCK_MONOTONIC of its first and of its last
 * moment to its place in the file. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

int main(int argc, char **argv)
{
    uint64_t record[2] = {now()};
    struct timespec pause;
    long long length;
    int file;

    if (argc != 4 || (file = open(argv[1], O_WRONLY | O_CLOEXEC)) < 0)
        return 1;
    length = atoll(argv[3]);
    pause = (struct timespec){.tv_sec = length / 1000000000, .tv_nsec = length % 1000000000};
    if (length > 0)
        nanosleep(&pause, NULL);
    record[1] = now();
    return pwrite(file, record, sizeof(record), atoll(argv[2]) * (off_t)sizeof(record)) != sizeof(record);
}
