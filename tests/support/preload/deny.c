/* deny ERRNO CALL... -- PROGRAM ARG...: PROGRAM runs with these system calls denied, as in sandboxes and on kernels of
 * long ago. A static table of numbers: the headers of an old system may not know them. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static const struct {
    const char *name;
    unsigned number;
} calls[] = {
#ifdef __x86_64__
    {"execveat", 322},    {"pidfd_send_signal", 424}, {"pidfd_open", 434},
    {"close_range", 436}, {"openat2", 437},           {"epoll_pwait2", 441},
    {"clone3", 435},      {"inotify_init1", 294},     {"memfd_create", 319},
    {"statx", 332},       {"fallocate", 285},
#else
    {"execveat", 281},    {"pidfd_send_signal", 424}, {"pidfd_open", 434},
    {"close_range", 436}, {"openat2", 437},           {"epoll_pwait2", 441},
    {"clone3", 435},      {"inotify_init1", 26},      {"memfd_create", 279},
    {"statx", 291},       {"fallocate", 47},
#endif
};

static unsigned number_of(const char *name)
{
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (!strcmp(calls[i].name, name))
            return calls[i].number;
    fprintf(stderr, "deny: %s is not in the table\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    struct sock_filter filter[64];
    struct sock_fprog program = {.filter = filter};
    unsigned short n = 0;
    int i = 2;

    if (argc < 5)
        return 2;
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (; i < argc && strcmp(argv[i], "--") && n < 60; i++) {
        filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number_of(argv[i]), 0, 1);
        filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
                                                   SECCOMP_RET_ERRNO | (strcmp(argv[1], "EPERM") ? ENOSYS : EPERM));
    }
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program.len = n;
    if (i + 1 >= argc || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
        perror("deny");
        return 2;
    }
    execv(argv[i + 1], argv + i + 1);
    perror(argv[i + 1]);
    return 2;
}
