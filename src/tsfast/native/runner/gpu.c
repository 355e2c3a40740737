/* The GPUs of the current job and the leases on them: locks that every process of the job keeps by inheriting the
 * descriptor, so that they hold as long as the job lives, whatever happens to runner and server. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/file.h>
#include <unistd.h>

#include "runner.h"

static void close_leases(struct leases *leases)
{
    while (leases->count)
        close(leases->fds[--leases->count]);
}

void leases_add(struct leases *leases, const struct tsf_leases *packet, const int *fds, int count)
{
    if (leases->gen != packet->gen)
        close_leases(leases);
    leases->gen = packet->gen;
    leases->shared = packet->shared != 0;
    for (int i = 0; i < count; i++) {
        if (leases->count < TSF_GPUS)
            leases->fds[leases->count++] = fds[i];
        else
            close(fds[i]);
    }
}

/* Processes that the job left behind have the descriptors too: closing the runner's would not free the GPU. */
void leases_end(struct leases *leases)
{
    for (uint32_t i = 0; !leases->shared && i < leases->count; i++)
        tsf_flock(leases->fds[i], LOCK_UN);
    close_leases(leases);
}

int grant_load(struct runner *runner, struct job *job)
{
    const struct tsf_cold *cold = &job->assign.cold;
    struct records *records = &runner->records;
    struct tsf_grant *grant;
    size_t room = tsf_grant_room(cold);
    int cause;

    job->grant = NULL;
    if (!cold->gpus)
        return 0;
    if (cold->gpus > TSF_GPUS || runner->leases.count != job->assign.leases)
        return EIO;
    if ((cause = buffer_reserve(&records->grant, room)))
        return cause;
    if ((cause = records_read(records, records->grant.data, room, tsf_grant_offset(cold))))
        return cause;
    grant = (struct tsf_grant *)records->grant.data;
    if (grant->count < 1 || grant->count > cold->gpus || grant->attempt != runner->entry->attempt ||
        grant->check != tsf_grant_check(grant, job->assign.job))
        return EIO;
    job->grant = grant;
    return 0;
}

static char *put_index(char *text, uint32_t index)
{
    char digits[10];
    int n = 0;

    do
        digits[n++] = (char)('0' + index % 10);
    while (index /= 10);
    while (n)
        *text++ = digits[--n];
    return text;
}

void put_visible_devices(char *text, const struct tsf_grant *grant)
{
    const struct tsf_granted *granted = (const struct tsf_granted *)(grant + 1);

    for (uint32_t i = 0; i < grant->count; i++) {
        size_t size = strnlen(granted[i].uuid, sizeof granted[i].uuid - 1);

        if (i)
            *text++ = ',';
        if (granted[i].flags & TSF_GRANTED_BY_UUID && size) {
            memcpy(text, granted[i].uuid, size);
            text += size;
        } else {
            text = put_index(text, granted[i].index);
        }
    }
    *text = 0;
}
