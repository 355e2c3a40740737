/* Ending all processes of a job. The runner is a subreaper: it becomes the parent of orphans. It kills its children
 * repeatedly until it has none, so no process escapes by leaving the job's session. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "runner.h"

/* Parent of the process whose directory in /proc is `name`; 0 if it is gone. */
static int parent_of(int proc, const char *name)
{
    char path[300], text[512], *p;
    size_t size = strlen(name);
    ssize_t got;
    int fd;

    memcpy(path, name, size);
    memcpy(path + size, "/stat", sizeof "/stat");
    fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (got <= 0)
        return 0;
    text[got] = 0;
    p = strrchr(text, ')'); /* the name before it may hold anything; then a space, the state, a space */
    return p && strlen(p) > 4 ? atoi(p + 4) : 0;
}

static void kill_but(int pid, int spared)
{
    if (pid != spared)
        tsf_kill(pid, SIGKILL);
}

void kill_children(int spared)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    int self = getpid();

    while (proc && (entry = readdir(proc)))
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && parent_of(dirfd(proc), entry->d_name) == self)
            kill_but(atoi(entry->d_name), spared); /* an unreaped child, so the pid is still its own */
    if (proc)
        closedir(proc);
}
