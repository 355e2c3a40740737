/* The thread that writes the journal of TS_DURABLE=1 and syncs it, so that the server's loop never waits for the disk.
 *
 * It is given one group at a time. The group is on the disk when `synced` has grown, and the thread is free for the
 * next one when `busy` is 0; each of both makes `event` readable. Between the two lies, for the first group of a new
 * file, the sync of the table, after which the files before that one are unlinked. */
#ifndef TSFAST_SYNCER_H
#define TSFAST_SYNCER_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"
#include "journal.h"

/* Of a file, allocated at once; the next one is begun when it is full. */
#ifdef TSFAST_FAULTS
#define TSF_JOURNAL_BYTES (64 << 10) /* so that tests see many */
#else
#define TSF_JOURNAL_BYTES (4 << 20)
#endif

struct tsf_syncer {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* there is a group, or `stop` */
    pthread_cond_t rest; /* `busy` is 0 */
    int event;
    int state_dir, dir, file; /* of the queue, of its journals, the journal that is written */
    struct tsf_journal_head head; /* of that one */
    uint64_t at;                  /* its end */
    const char *data; /* the group */
    size_t size;
    int fresh;            /* the group begins a new file */
    uint64_t given, synced; /* bytes of groups */
    int busy, running, stop;
    int error; /* errno of what failed: nothing is synced from then on */
};

/* Syncs all regular files of a directory, except those whose names begin with `without`, and itself. */
static inline int tsf_sync_files(int directory, const char *without)
{
    int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), failed = 0, fd;
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *entry;
    struct stat st;

    if (!list) {
        if (copy >= 0)
            close(copy);
        return -1;
    }
    while ((entry = readdir(list))) {
        if (strncmp(entry->d_name, without, strlen(without)) == 0)
            continue;
        if (fstatat(directory, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
            continue; /* unlinked meanwhile */
        fd = openat(directory, entry->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0 && errno == ENOENT)
            continue;
        if (fd < 0 || tsf_fsync(fd) < 0)
            failed = errno;
        if (fd >= 0)
            close(fd);
    }
    if (tsf_fsync(copy) < 0)
        failed = errno;
    closedir(list);
    errno = failed;
    return failed ? -1 : 0;
}

/* All that a table consists of. 0, or -1 with errno. */
static inline int tsf_sync_table(int state_dir)
{
    int contexts = openat(state_dir, "ctx", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW), result = 0, error;

    if (contexts >= 0) {
        result = tsf_sync_files(contexts, ".");
        error = errno;
        close(contexts);
        errno = error;
    }
    return result < 0 ? -1 : tsf_sync_files(state_dir, "log");
}

/* Unlinks the journals whose numbers are below `number`. */
static inline void tsf_journal_unlink(int dir, uint64_t number)
{
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *entry;
    unsigned long long found;
    char rest;

    if (!list) {
        if (copy >= 0)
            close(copy);
        return;
    }
    while ((entry = readdir(list)))
        if (strlen(entry->d_name) == 16 && sscanf(entry->d_name, "%16llx%c", &found, &rest) == 1 && found < number)
            tsf_unlinkat(dir, entry->d_name, 0);
    closedir(list);
}

static inline int tsf_journal_write(struct tsf_syncer *syncer, const void *data, size_t size)
{
    const char *p = data;

    while (size) {
        ssize_t wrote = tsf_pwrite(syncer->file, p, size, (off_t)syncer->at);

        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return -1;
        p += wrote;
        size -= (size_t)wrote;
        syncer->at += (uint64_t)wrote;
    }
    return 0;
}

/* Begins the file of head.number. */
static inline int tsf_journal_create(struct tsf_syncer *syncer)
{
    char name[24];

    if (syncer->file >= 0)
        close(syncer->file);
    snprintf(name, sizeof name, "%016llx", (unsigned long long)syncer->head.number);
    syncer->file = openat(syncer->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    syncer->at = 0;
    if (syncer->file < 0)
        return -1;
    /* Allocated, so that no full disk stops it in the middle, and no sync has to write its size. */
    if (tsf_fallocate(syncer->file, 0, 0, TSF_JOURNAL_BYTES) < 0 && errno != EOPNOTSUPP && errno != ENOSYS &&
        errno != EPERM)
        return -1;
    syncer->head.check = tsf_journal_head_check(&syncer->head);
    return tsf_journal_write(syncer, &syncer->head, sizeof syncer->head);
}

/* 0, or the errno. */
static inline int tsf_journal_put(struct tsf_syncer *syncer)
{
    if (syncer->fresh) {
        syncer->head.number++;
        if (tsf_journal_create(syncer) < 0)
            return errno;
    }
    if (tsf_journal_write(syncer, syncer->data, syncer->size) < 0 || tsf_fdatasync(syncer->file) < 0)
        return errno;
    if (syncer->fresh && tsf_fsync(syncer->dir) < 0)
        return errno;
    return 0;
}

/* All that the files before this one hold is in the table: once that is synced, they are not needed. */
static inline int tsf_journal_cut(struct tsf_syncer *syncer)
{
    if (tsf_sync_table(syncer->state_dir) < 0)
        return errno;
    tsf_journal_unlink(syncer->dir, syncer->head.number);
    syncer->head.first = syncer->head.number; /* of the next file, which follows on this one */
    return 0;
}

static inline void tsf_syncer_tell(struct tsf_syncer *syncer, int error, int busy)
{
    pthread_mutex_lock(&syncer->lock);
    syncer->error = error;
    if (!error)
        syncer->synced = syncer->given;
    syncer->busy = busy;
    if (!busy)
        pthread_cond_signal(&syncer->rest);
    pthread_mutex_unlock(&syncer->lock);
    eventfd_write(syncer->event, 1);
}

static inline void *tsf_syncer_main(void *arg)
{
    struct tsf_syncer *syncer = arg;
    int error;

    for (;;) {
        pthread_mutex_lock(&syncer->lock);
        while (!syncer->busy && !syncer->stop)
            pthread_cond_wait(&syncer->wake, &syncer->lock);
        pthread_mutex_unlock(&syncer->lock);
        if (!syncer->busy)
            return NULL;
        error = tsf_journal_put(syncer);
        if (!error && syncer->fresh) {
            tsf_syncer_tell(syncer, 0, 1);
            error = tsf_journal_cut(syncer);
        }
        tsf_syncer_tell(syncer, error, 0);
    }
}

/* Syncs the table, begins a file with this one group, unlinks all other journals, and starts the thread. 0, or -1 with
 * errno. */
static inline int tsf_syncer_start(struct tsf_syncer *syncer, const char *group, size_t size)
{
    sigset_t all, before;
    int error;

    if (tsf_sync_table(syncer->state_dir) < 0 || tsf_journal_create(syncer) < 0 ||
        tsf_journal_write(syncer, group, size) < 0 || tsf_fdatasync(syncer->file) < 0 || tsf_fsync(syncer->dir) < 0 ||
        tsf_fsync(syncer->state_dir) < 0)
        return -1;
    tsf_journal_unlink(syncer->dir, syncer->head.number);
    syncer->given = syncer->synced = size;
    pthread_mutex_init(&syncer->lock, NULL);
    pthread_cond_init(&syncer->wake, NULL);
    pthread_cond_init(&syncer->rest, NULL);
    sigfillset(&all); /* all signals are the loop's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&syncer->thread, NULL, tsf_syncer_main, syncer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    syncer->running = !error;
    errno = error;
    return error ? -1 : 0;
}

/* The group still belongs to the calling thread, which must not touch it while this thread is busy. */
static inline void tsf_syncer_give(struct tsf_syncer *syncer, const char *group, size_t size, int fresh)
{
    pthread_mutex_lock(&syncer->lock);
    syncer->data = group;
    syncer->size = size;
    syncer->fresh = fresh;
    syncer->given += size;
    syncer->busy = 1;
    pthread_cond_signal(&syncer->wake);
    pthread_mutex_unlock(&syncer->lock);
}

/* How far it is; `wait`: not before it is free. Returns its error. */
static inline int tsf_syncer_look(struct tsf_syncer *syncer, int wait, uint64_t *synced, int *busy)
{
    int error;

    pthread_mutex_lock(&syncer->lock);
    while (wait && syncer->busy)
        pthread_cond_wait(&syncer->rest, &syncer->lock);
    *synced = syncer->synced;
    *busy = syncer->busy;
    error = syncer->error;
    pthread_mutex_unlock(&syncer->lock);
    return error;
}

static inline void tsf_syncer_stop(struct tsf_syncer *syncer)
{
    if (!syncer->running)
        return;
    pthread_mutex_lock(&syncer->lock);
    syncer->stop = 1;
    pthread_cond_signal(&syncer->wake);
    pthread_mutex_unlock(&syncer->lock);
    pthread_join(syncer->thread, NULL);
    syncer->running = 0;
}

#endif
