/* Named points at which a debug build stops or dies, for the fault tests; nothing in a normal build.
 *
 * TSFAST_FAULT=NAME:kill or NAME:stop in the environment of the process that starts the server (it hands it to its
 * runners). A process that reaches the point NAME sends itself SIGKILL or SIGSTOP. With NAME:kill:FILE only the one
 * that can unlink FILE does: it happens once. */
#ifndef TSFAST_FAULT_H
#define TSFAST_FAULT_H

#ifdef TSFAST_FAULTS
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline void tsf_fault(const char *name)
{
    const char *wanted = getenv("TSFAST_FAULT"), *once;
    size_t size = strlen(name);
    int before = errno, taken;

    if (!wanted || strncmp(wanted, name, size) != 0 || wanted[size] != ':')
        return;
    wanted += size + 1;
    once = strchr(wanted, ':');
    taken = !once || syscall(SYS_unlinkat, AT_FDCWD, once + 1, 0) == 0;
    if (taken)
        syscall(SYS_kill, (int)syscall(SYS_getpid), strncmp(wanted, "stop", 4) == 0 ? SIGSTOP : SIGKILL);
    errno = before;
}
#else
static inline void tsf_fault(const char *name) { (void)name; }
#endif

#endif
