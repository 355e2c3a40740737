/* Points at which a debug build stops or dies, for the fault tests; nothing in a normal build.
 *
 * TSFAST_FAULT=NAME:kill or NAME:stop in the environment of the process that starts the server (it hands it to its
 * runners). A process that reaches the point NAME sends itself SIGKILL or SIGSTOP. With NAME:kill:FILE only the one
 * that can unlink FILE does: it happens once.
 *
 * TSFAST_CRASH_AT=N:FILE, likewise: the server sends itself SIGKILL instead of its Nth step that others can see. These
 * are writes, packets, answers, renames, unlinks, syncs, locks, signals, new processes, and swaps of a word of `runs`.
 * FILE holds the count as 8 bytes; servers that come later go on counting, so it happens once, and at the end FILE
 * tells how many steps there were. TSFAST_CRASH_AT=runner:N:FILE: the steps of all runners, hooks and jobs before
 * execve. With TSFAST_FAILS=NUMBER the Nth step fails with that error instead, if it is one that can fail.
 *
 * TSFAST_HURRY=N: long waits of the server and its runners are N times shorter, for tests that sit them out. */
#ifndef TSFAST_FAULT_H
#define TSFAST_FAULT_H

#ifdef TSFAST_FAULTS
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef TSF_CRASH_ROLE
#define TSF_CRASH_ROLE ""
#endif

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

/* Before each step; whether it is to fail. One of several threads, or a child that shares this memory, may come first:
 * that does no harm. */
static inline int tsf_crash_point(void)
{
    static uint64_t *count, fatal;
    static int asked, fails;
    int before = errno;

    if (!asked) {
        const char *text = getenv("TSFAST_CRASH_AT");
        size_t role = strlen(TSF_CRASH_ROLE);
        char *end = NULL;

        if (text && strncmp(text, TSF_CRASH_ROLE, role) == 0)
            fatal = strtoull(text + role, &end, 10);
        if (end && end != text + role && *end == ':') {
            int fd = (int)syscall(SYS_openat, AT_FDCWD, end + 1, O_RDWR | O_CLOEXEC);
            void *page = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

            syscall(SYS_close, fd);
            count = page == MAP_FAILED ? NULL : page;
        }
        fails = getenv("TSFAST_FAILS") ? atoi(getenv("TSFAST_FAILS")) : 0;
        asked = 1;
    }
    errno = before;
    if (!count || __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST) != fatal)
        return 0;
    if (!fails)
        syscall(SYS_kill, (int)syscall(SYS_getpid), SIGKILL);
    errno = fails;
    return -1;
}

#define tsf_step(call) (tsf_crash_point() ? tsf_failed() : call)
#define tsf_spawn_step(call) (tsf_crash_point() ? errno : call)
#define tsf_sure_step(call) (tsf_crash_point(), call)
static inline int tsf_failed(void) { return -1; }

static inline int tsf_wait_ms(int ms)
{
    int times = getenv("TSFAST_HURRY") ? atoi(getenv("TSFAST_HURRY")) : 0;

    return times > 0 ? ms / times : ms;
}
#else
static inline void tsf_fault(const char *name) { (void)name; }
static inline void tsf_crash_point(void) {}
static inline int tsf_wait_ms(int ms) { return ms; }
#define tsf_step(call) call
#define tsf_spawn_step(call) call
#define tsf_sure_step(call) call
#endif

/* The steps. The server calls them by these names, which system.pxd gives to its modules. */
#define tsf_write(...) tsf_step(write(__VA_ARGS__))
#define tsf_pwrite(...) tsf_step(pwrite(__VA_ARGS__))
#define tsf_ftruncate(...) tsf_step(ftruncate(__VA_ARGS__))
#define tsf_fallocate(...) tsf_step(fallocate(__VA_ARGS__))
#define tsf_fdatasync(...) tsf_step(fdatasync(__VA_ARGS__))
#define tsf_fsync(...) tsf_step(fsync(__VA_ARGS__))
#define tsf_mkdirat(...) tsf_step(mkdirat(__VA_ARGS__))
#define tsf_unlinkat(...) tsf_step(unlinkat(__VA_ARGS__))
#define tsf_renameat(...) tsf_step(renameat(__VA_ARGS__))
#define tsf_send(...) tsf_step(send(__VA_ARGS__))
#define tsf_sendmsg(...) tsf_step(sendmsg(__VA_ARGS__))
#define tsf_kill(...) tsf_step(kill(__VA_ARGS__))
#define tsf_flock(...) tsf_step(flock(__VA_ARGS__))
#define tsf_vfork() tsf_step(vfork())
#define tsf_clone(...) tsf_step(clone(__VA_ARGS__))
#define tsf_posix_spawn(...) tsf_spawn_step(posix_spawn(__VA_ARGS__))
#define tsf_openat(...) tsf_step(openat(__VA_ARGS__)) /* where it makes a file */
#define tsf_fcntl(...) tsf_step(fcntl(__VA_ARGS__))   /* where it locks */
#define tsf_execve(...) tsf_step(execve(__VA_ARGS__))

#if defined(TSFAST_FAULTS) && defined(Py_PYTHON_H)
/* What boot.py and others do in Python. */
static int tsf_python_step(const char *event, PyObject *args, void *data)
{
    static const char *const steps[] = {"os.rename", "os.remove", "os.mkdir", "os.truncate", "fcntl.flock"};

    int fails = 0;

    (void)data;
    if (strcmp(event, "open") == 0 && PyTuple_GET_SIZE(args) == 3 && PyLong_Check(PyTuple_GET_ITEM(args, 2)) &&
        PyLong_AsLong(PyTuple_GET_ITEM(args, 2)) & (O_WRONLY | O_RDWR | O_CREAT))
        fails = tsf_crash_point();
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (strcmp(event, steps[i]) == 0)
            fails = tsf_crash_point();
    if (fails)
        PyErr_SetFromErrno(PyExc_OSError);
    return fails;
}

static inline void tsf_count_python_steps(void)
{
    if (getenv("TSFAST_CRASH_AT") && getenv("TSFAST_BOOT_FD")) /* a process that is to be a server */
        PySys_AddAuditHook(tsf_python_step, NULL);
}
#else
static inline void tsf_count_python_steps(void) {}
#endif

#endif
