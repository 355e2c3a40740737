/* How many jobs of a queue are in which state, from the table's files alone.
 *
 *   cc -I "$(python -c 'import tsfast; print(tsfast.get_include())')" -o states states.c
 *   ./states /path/of/the/state/directory
 *
 * It prints a line for each state (enum tsf_state) that jobs are in: its number and theirs. Single records are read
 * with pread, so that a file that is cut meanwhile is an error and not SIGBUS. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tsfast/native/table.h"

#define TRIES 100 /* the server may be writing a record at this moment */

static int is_hole(const struct tsf_hot *hot)
{
    static const struct tsf_hot nothing;

    return memcmp(hot, &nothing, sizeof nothing) == 0;
}

/* The job's state, TSF_NONE where it is not there (any more), -1 if its record is damaged. */
static int job_state(int segment, uint64_t id)
{
    struct tsf_hot hot;
    off_t place = (off_t)(id % TSF_SEGMENT_JOBS * sizeof hot);

    for (int i = 0; i < TRIES; i++) {
        if (pread(segment, &hot, sizeof hot, place) != (ssize_t)sizeof hot || is_hole(&hot))
            return TSF_NONE;
        if (tsf_hot_check(&hot, id) == hot.check)
            return hot.state == TSF_REMOVED || hot.state == TSF_FORGOTTEN ? TSF_NONE : hot.state;
    }
    return -1;
}

int main(int argc, char **argv)
{
    struct tsf_header header;
    uint64_t counts[256] = {0}, damaged = 0;
    char path[4096];
    int fd, segment, state;

    if (argc != 2 || snprintf(path, sizeof path, "%s/header", argv[1]) >= (int)sizeof path)
        return 2;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || pread(fd, &header, sizeof header, 0) != (ssize_t)sizeof header || header.magic != TSF_TABLE_MAGIC ||
        header.format != TSF_TABLE_FORMAT) {
        fprintf(stderr, "%s is not the header of a job table\n", path);
        return 1;
    }
    close(fd);
    for (uint64_t id = header.floor, end; id < header.committed; id = end) {
        end = (id | (TSF_SEGMENT_JOBS - 1)) + 1;
        snprintf(path, sizeof path, "%s/seg.%08llx", argv[1], (unsigned long long)(id / TSF_SEGMENT_JOBS));
        segment = open(path, O_RDONLY | O_CLOEXEC);
        if (segment < 0)
            continue; /* all of its jobs are forgotten */
        for (; id < end && id < header.committed; id++) {
            state = job_state(segment, id);
            if (state < 0)
                damaged++;
            else
                counts[state]++;
        }
        close(segment);
    }
    for (state = TSF_NONE + 1; state < 256; state++)
        if (counts[state])
            printf("%d %llu\n", state, (unsigned long long)counts[state]);
    if (damaged)
        fprintf(stderr, "%llu damaged\n", (unsigned long long)damaged);
    return 0;
}
