/* From the records of a job to what execve needs: argument vector, environment, directory, output file. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "runner.h"

#define OUTPUT_TRIES 100

/* Length of the name in "NAME=VALUE" or "NAME"; a leading '=' belongs to the name, as in libc's own parsing. */
static size_t name_length(const char *entry) { return *entry ? 1 + strcspn(entry + 1, "=") : 0; }

static int has_name(const char *entry, const char *name, size_t size)
{
    return strncmp(entry, name, size) == 0 && (entry[size] == '=' || !entry[size]);
}

/* "NAME=VALUE" replaces or adds, "NAME" removes; doubles of the name go. Returns the new number of entries. */
static size_t env_change(char **env, size_t count, char *entry)
{
    size_t size = name_length(entry), kept = 0;
    char *value = entry[size] == '=' ? entry : NULL;

    for (size_t i = 0; i < count; i++) {
        if (!has_name(env[i], entry, size)) {
            env[kept++] = env[i];
        } else if (value) {
            env[kept++] = value;
            value = NULL;
        }
    }
    if (value)
        env[kept++] = value;
    return kept;
}

static int env_has(char **env, size_t count, const char *name)
{
    size_t size = strlen(name);

    for (size_t i = 0; i < count; i++)
        if (has_name(env[i], name, size))
            return 1;
    return 0;
}

static char *put_decimal(char *end, uint64_t value)
{
    *--end = 0;
    do
        *--end = (char)('0' + value % 10);
    while (value /= 10);
    return end;
}

static char *put_text(char *to, const char *text, size_t size)
{
    memcpy(to, text, size);
    return to + size;
}

static size_t fill_environment(struct job *job, const struct context *context, char **env)
{
    static char job_id[32], unset_output[] = "TS_OUTPUT", unbuffered[] = "PYTHONUNBUFFERED=1";
    static char no_devices[] = "CUDA_VISIBLE_DEVICES=-1", device_order[] = "CUDA_DEVICE_ORDER=PCI_BUS_ID";
    size_t count = context->head->env_count;
    char *entry = job->diff, *digits;

    if (count)
        memcpy(env, context->env, count * sizeof *env);
    for (size_t i = 0; i < job->diff_count; i++, entry += strlen(entry) + 1)
        count = env_change(env, count, entry);
    digits = put_decimal(job_id + sizeof job_id, job->assign.job);
    count = env_change(env, count, memcpy(digits - 9, "TS_JOBID=", 9));
    count = env_change(env, count, job->output ? job->output - 10 : unset_output);
    if (job->visible || job->assign.hide_gpus) {
        count = env_change(env, count, job->visible ? job->visible : no_devices);
        count = env_change(env, count, device_order);
    }
    if (!env_has(env, count, "PYTHONUNBUFFERED"))
        env[count++] = unbuffered;
    env[count] = NULL;
    return count;
}

int job_prepare(struct runner *runner, struct job *job)
{
    const struct tsf_cold *cold = &job->assign.cold;
    const struct context *context = &runner->records.context;
    size_t argc = cold->argc, env_room = context->head->env_count + job->diff_count + 5;
    int has_output = cold->prefix_len && !(cold->flags & TSF_JOB_NO_OUTPUT), cause;
    size_t text_size = cold->cwd_len + 1 + sizeof "TS_OUTPUT=" + cold->prefix_len + 1 + TSF_SUFFIX + sizeof ".gz.e";
    size_t devices = job->grant ? job->grant->count : 0;
    char **place, *text, *word = job->argv_text;

    text_size += sizeof "CUDA_VISIBLE_DEVICES=" + devices * TSF_VISIBLE_MAX;
    cause = buffer_reserve(&runner->vectors, (1 + argc + 1 + env_room + 1) * sizeof(char *) + text_size);
    if (cause)
        return cause;
    place = (char **)runner->vectors.data;
    job->argv = place + 1;
    job->envp = job->argv + argc + 1;
    text = (char *)(job->envp + env_room + 1);

    for (size_t i = 0; i < argc; i++, word += strlen(word) + 1)
        job->argv[i] = word;
    job->argv[argc] = NULL;

    job->cwd = context->cwd;
    if (cold->cwd_len) {
        job->cwd = text;
        text = put_text(text, job->cwd_text, cold->cwd_len);
        *text++ = 0;
    }
    if (!job->cwd)
        return EIO;

    job->visible = NULL;
    if (job->grant) {
        job->visible = text;
        text = put_text(text, "CUDA_VISIBLE_DEVICES=", 21);
        put_visible_devices(text, job->grant);
        text += strlen(text) + 1;
    }

    /* The suffix is filled in when the file exists; the environment can point to it already. */
    job->output = NULL;
    if (has_output) {
        text = put_text(text, "TS_OUTPUT=", 10);
        job->output = text;
        text = put_text(text, job->prefix, cold->prefix_len);
        if (!(cold->flags & TSF_JOB_LOG))
            text = put_text(text, ".XXXXXX.gz", 1 + TSF_SUFFIX + (cold->flags & TSF_JOB_GZIP ? 3 : 0));
        memset(text, 0, sizeof ".e");
    }
    fill_environment(job, context, job->envp);
    return 0;
}

/* One getrandom for some dozens of names. O_EXCL makes them unique, so an unseeded pool costs tries, not safety. */
static uint64_t random_number(void)
{
    static uint64_t pool[32], drawn;
    static size_t left;

    if (!left) {
        if (syscall(SYS_getrandom, pool, sizeof pool, 1 /* GRND_NONBLOCK */) != (long)sizeof pool)
            for (size_t i = 0; i < sizeof pool / sizeof *pool; i++)
                pool[i] ^= now_ns(CLOCK_REALTIME) + ((uint64_t)getpid() << 40) + i;
        left = sizeof pool / sizeof *pool;
    }
    drawn += 0x9e3779b97f4a7c15u;
    return tsf_hash64(&pool[--left], sizeof *pool, drawn);
}

static void draw_suffix(char *suffix)
{
    uint64_t number = random_number();

    for (unsigned i = 0; i < TSF_SUFFIX; i++, number /= 62)
        suffix[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"[number % 62];
}

/* O_APPEND, because scripts open /dev/stderr again (`echo x >> /dev/stderr`, `tee -a /dev/stderr`): that gives another
 * offset on the same file, and without O_APPEND both would overwrite what the other wrote. The price is that sendfile
 * and splice to the output are refused, for which programs have a fallback since they meet it with `>>` too.
 *
 * openat, here and for /proc: musl's open sets close-on-exec a second time, for kernels of long ago. */
static int create(const char *path)
{
    return tsf_openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* An earlier attempt at this start may have created the file and died: then it is empty. */
static int take_unused(const char *path)
{
    struct stat st;
    int fd = openat(AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && !st.st_size && st.st_uid == geteuid())
        return fd;
    if (fd >= 0)
        close(fd);
    errno = EEXIST;
    return -1;
}

/* /dev/null, or a terminal: no content could be lost, so an existing one is accepted. */
static int take_device(const char *path)
{
    struct stat st;
    int fd;

    if (lstat(path, &st) == 0 && S_ISCHR(st.st_mode)) {
        fd = openat(AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
            return -1;
        if (fstat(fd, &st) == 0 && S_ISCHR(st.st_mode)) {
            fcntl(fd, F_SETFL, O_APPEND);
            return fd;
        }
        close(fd);
    }
    errno = EEXIST;
    return -1;
}

static int is_device(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode);
}

/* Just created, empty and ours, unless it is a device. */
static void remove_made(const char *path)
{
    struct stat st;

    if (lstat(path, &st) == 0 && S_ISREG(st.st_mode))
        unlink(path);
}

/* Accepts a symbolic link if it is ours or root's: in /tmp any user can create one. */
static int is_link_of_ours(const char *path)
{
    struct stat st;

    return fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode) &&
           (st.st_uid == geteuid() || st.st_uid == 0);
}

/* The file of --log or its ".e". A FIFO without a reader is refused (ENXIO), instead of stopping the runner. */
static int open_log(const char *path, uint32_t flags, int retry)
{
    int how = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, fd;

    if (!(flags & (TSF_JOB_APPEND | TSF_JOB_TRUNCATE))) {
        fd = create(path);
        if (fd < 0 && errno == EEXIST)
            fd = take_device(path);
        return fd < 0 && errno == EEXIST && retry ? take_unused(path) : fd;
    }
    how |= flags & TSF_JOB_TRUNCATE ? O_TRUNC : 0;
    fd = tsf_openat(AT_FDCWD, path, how | O_NOFOLLOW, 0600);
    if (fd < 0 && errno == ELOOP && is_link_of_ours(path))
        fd = tsf_openat(AT_FDCWD, path, how, 0600);
    if (fd >= 0)
        fcntl(fd, F_SETFL, O_APPEND);
    return fd;
}

static int open_logs(struct runner *runner, struct job *job)
{
    uint32_t flags = job->assign.cold.flags;
    int retry = runner->entry->attempt > 1, cause = 0;
    char *end = job->output + strlen(job->output);

    job->out = open_log(job->output, flags, retry);
    if (job->out < 0)
        return errno;
    if (flags & TSF_JOB_SPLIT_STDERR && !is_device(job->out)) { /* a device gets both */
        memcpy(end, ".e", 2);
        job->err = open_log(job->output, flags, retry);
        cause = job->err < 0 ? errno : 0;
        end[0] = end[1] = 0;
    }
    if (cause) {
        if (!(flags & (TSF_JOB_APPEND | TSF_JOB_TRUNCATE)))
            remove_made(job->output);
        close(job->out);
        job->out = -1;
        return cause;
    }
    memcpy(runner->entry->suffix, TSF_SUFFIX_LOG, sizeof TSF_SUFFIX_LOG);
    return 0;
}

int job_open_output(struct runner *runner, struct job *job)
{
    int split = job->assign.cold.flags & TSF_JOB_SPLIT_STDERR, cause = EEXIST;
    char *suffix, *end;

    if (!job->output)
        return 0;
    if (job->assign.cold.flags & TSF_JOB_LOG)
        return open_logs(runner, job);
    end = job->output + strlen(job->output);
    suffix = end - TSF_SUFFIX - (job->assign.cold.flags & TSF_JOB_GZIP ? 3 : 0);
    for (int i = 0; i < OUTPUT_TRIES && cause == EEXIST; i++) {
        draw_suffix(suffix);
        job->out = create(job->output);
        cause = job->out < 0 ? errno : 0;
        if (cause || !split)
            continue;
        memcpy(end, ".e", 2);
        job->err = create(job->output);
        cause = job->err < 0 ? errno : 0;
        end[0] = end[1] = 0;
        if (cause) { /* just made, empty and ours */
            unlink(job->output);
            close(job->out);
            job->out = -1;
        }
    }
    if (!cause)
        memcpy(runner->entry->suffix, suffix, TSF_SUFFIX); /* its NUL is there */
    return cause;
}

void job_drop_output(struct runner *runner, struct job *job)
{
    uint32_t flags = job->assign.cold.flags;
    char *end;

    if (!job->output || !runner->entry->suffix[0] || flags & (TSF_JOB_APPEND | TSF_JOB_TRUNCATE))
        return;
    memset(runner->entry->suffix, 0, sizeof runner->entry->suffix);
    remove_made(job->output);
    if (flags & TSF_JOB_SPLIT_STDERR) {
        end = job->output + strlen(job->output);
        memcpy(end, ".e", 2);
        remove_made(job->output);
        end[0] = end[1] = 0;
    }
}

int job_start_gzip(struct runner *runner, struct job *job)
{
    int cause;

    if (!job->output || !(job->assign.cold.flags & TSF_JOB_GZIP))
        return 0;
    cause = spawn_gzip(job);
    if (cause)
        job_drop_output(runner, job);
    return cause;
}
