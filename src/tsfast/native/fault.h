/* Named points at which a debug build stops or dies, for the fault tests; nothing in a normal build.
 *
 * TSFAST_FAULT=NAME:kill or NAME:stop in the environment of the process that starts the server (it hands it to its
 * runners). The first process that reaches the point NAME sends itself SIGKILL or SIGSTOP. */
#ifndef TSFAST_FAULT_H
#define TSFAST_FAULT_H

#ifdef TSFAST_FAULTS
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline void tsf_fault(const char *name)
{
    const char *wanted = getenv("TSFAST_FAULT");
    size_t size = strlen(name);

    if (!wanted || strncmp(wanted, name, size) != 0 || wanted[size] != ':')
        return;
    syscall(SYS_kill, (int)syscall(SYS_getpid), strcmp(wanted + size + 1, "stop") == 0 ? SIGSTOP : SIGKILL);
}
#else
static inline void tsf_fault(const char *name) { (void)name; }
#endif

#endif
