/* Reads what the server wrote about a job. The checksums say whether it is whole; the lengths in it are checked anyway,
 * because a runner that crashes on a bad record loses the knowledge about its job. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner.h"

int buffer_reserve(struct buffer *buffer, size_t size)
{
    if (size <= buffer->size)
        return 0;
    free(buffer->data); /* the content is never kept: no copy, as realloc would make */
    size = (size + 4095) & ~(size_t)4095;
    buffer->data = malloc(size);
    buffer->size = buffer->data ? size : 0;
    return buffer->data ? 0 : ENOMEM;
}

void put_hex(char *text, uint64_t value, int digits)
{
    while (digits-- > 0) {
        text[digits] = "0123456789abcdef"[value & 15];
        value >>= 4;
    }
}

static int read_whole(int fd, char *data, size_t size, uint64_t offset)
{
    while (size) {
        ssize_t got = pread(fd, data, size, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? errno : EIO;
        data += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return 0;
}

/* Number of NUL-terminated strings that fill the text, or -1 if the last one has no end. */
static int64_t count_strings(const char *text, size_t size)
{
    const char *end = text + size;
    int64_t count = 0;

    for (; text < end; count++) {
        text = memchr(text, 0, (size_t)(end - text));
        if (!text)
            return -1;
        text++;
    }
    return count;
}

static int parse_context(struct context *context, size_t size)
{
    const struct tsf_ctx *head = (const struct tsf_ctx *)context->file.data;
    char *text = context->file.data + sizeof *head, *env;
    int cause;

    if (head->magic != TSF_CTX_MAGIC || head->check != tsf_check32(&head->umask, size - 8, 0))
        return EIO;
    if ((uint64_t)head->affinity_len + head->cwd_len + head->env_len > size - sizeof *head)
        return EIO;
    context->head = head;
    context->affinity = text;
    context->cwd = head->cwd_len ? text + head->affinity_len : NULL;
    if (context->cwd && context->cwd[head->cwd_len - 1])
        return EIO;
    env = text + head->affinity_len + head->cwd_len;
    if (count_strings(env, head->env_len) != head->env_count)
        return EIO;
    cause = buffer_reserve(&context->pointers, head->env_count * sizeof(char *));
    context->env = (char **)context->pointers.data;
    for (uint32_t i = 0; !cause && i < head->env_count; i++, env += strlen(env) + 1)
        context->env[i] = env;
    return cause;
}

static int load_context(struct context *context, uint64_t name)
{
    char path[] = "ctx/0000000000000000";
    struct stat st;
    int fd, cause;

    if (context->loaded && context->name == name)
        return 0; /* a context is named by its content and never written again */
    context->loaded = 0;
    put_hex(path + 4, name, 16);
    fd = openat(TSF_RUNNER_STATE_DIR, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno;
    if (fstat(fd, &st) < 0)
        cause = errno;
    else if (st.st_size < (off_t)sizeof(struct tsf_ctx))
        cause = EIO;
    else if (!(cause = buffer_reserve(&context->file, (size_t)st.st_size)))
        cause = read_whole(fd, context->file.data, (size_t)st.st_size, 0);
    close(fd);
    if (!cause)
        cause = parse_context(context, (size_t)st.st_size);
    context->name = name;
    context->loaded = !cause;
    return cause;
}

static int open_blob(struct records *records, uint64_t segment)
{
    char path[] = "blob.00000000";

    if (records->blob_fd >= 0 && records->segment == segment)
        return 0;
    if (records->blob_fd >= 0)
        close(records->blob_fd);
    put_hex(path + 5, segment, 8);
    records->segment = segment;
    records->blob_fd = openat(TSF_RUNNER_STATE_DIR, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return records->blob_fd < 0 ? errno : 0;
}

static int parse_blob(char *blob, struct job *job)
{
    const struct tsf_cold *cold = &job->assign.cold;
    uint64_t after = ((uint64_t)cold->n_after + cold->n_after_ok) * sizeof(uint64_t);
    int64_t diff_count, words;

    if (after + cold->argv_len + cold->label_len + cold->gpu_exact_len + cold->prefix_len + cold->cwd_len +
            cold->diff_len >
        cold->blob_len)
        return EIO;
    job->argv_text = blob + after;
    job->prefix = job->argv_text + cold->argv_len + cold->label_len + cold->gpu_exact_len;
    job->cwd_text = job->prefix + cold->prefix_len;
    job->diff = job->cwd_text + cold->cwd_len;
    diff_count = count_strings(job->diff, cold->diff_len);
    words = cold->flags & TSF_JOB_ARRAY ? 2 * (int64_t)cold->argc : cold->argc;
    if (cold->argc < 1 || count_strings(job->argv_text, cold->argv_len) != words || diff_count < 0)
        return EIO;
    if (memchr(job->prefix, 0, cold->prefix_len) || memchr(job->cwd_text, 0, cold->cwd_len))
        return EIO;
    job->diff_count = (size_t)diff_count;
    return 0;
}

int records_read(const struct records *records, char *data, size_t size, uint64_t offset)
{
    return read_whole(records->blob_fd, data, size, offset);
}

int records_load(struct records *records, struct job *job)
{
    const struct tsf_cold *cold = &job->assign.cold;
    uint64_t id = job->assign.job;
    int cause;

    if (cold->check != tsf_cold_check(cold, id))
        return EIO;
    if ((cause = open_blob(records, id >> TSF_SEGMENT_BITS)))
        return cause;
    if ((cause = buffer_reserve(&records->blob, cold->blob_len)))
        return cause;
    if ((cause = read_whole(records->blob_fd, records->blob.data, cold->blob_len, cold->blob_off)))
        return cause;
    if (tsf_check32(records->blob.data, cold->blob_len, id) != cold->blob_check)
        return EIO;
    if ((cause = parse_blob(records->blob.data, job)))
        return cause;
    return load_context(&records->context, cold->ctx);
}
