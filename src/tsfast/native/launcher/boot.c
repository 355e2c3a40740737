/* Starting a server. Of many calls that find none, the one that holds the lock starts it and the others, once they have
 * the lock, find it there. The lock only saves work: that there is one server per socket is the server's own care.
 *
 * The child gets the words of the call: some of them (-h, -V, -K) need no server, and it knows which. It reports on the
 * pipe whose number is in TSFAST_BOOT_FD:
 *   'L'        its server listens: connect (what follows it is not for us)
 *   'X', code  it did what was asked, or said why it cannot: exit with code
 *   nothing    it died */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static const char boot_variable[] = "TSFAST_BOOT_FD=";
static const char boot_code[] = "import sys; sys.path.insert(0, sys.argv.pop(1)); from tsfast.boot import main; main()";

static void make_directory(struct place *place)
{
    if (directory_exists(place))
        return;
    place->path[place->directory] = '\0';
    /* any failure is the child's to report, in case it needs the directory at all */
    mkdir(place->path, 0700);
    place->path[place->directory] = '/';
    directory_exists(place);
}

static void check_lock(const struct place *place, const char *path, int lock)
{
    struct stat about;
    char number[24];

    if (fstat(lock, &about) != 0)
        refuse(path, ": ", strerror(errno));
    if (!S_ISREG(about.st_mode))
        refuse(path, ": this should be a regular file");
    if (about.st_uid != place->user)
        refuse(path, ": this file belongs to user ", decimal(about.st_uid, number));
    if (about.st_nlink > 1)
        refuse(path, ": this file has a second name (a hard link)");
}

static bool still_there(const char *path, int lock)
{
    struct stat ours, named;

    return fstat(lock, &ours) == 0 && lstat(path, &named) == 0 && ours.st_dev == named.st_dev &&
           ours.st_ino == named.st_ino;
}

/* -1 where no file can be made: no server can come to listen there either, but help can still be printed. */
static int take_lock(const struct place *place)
{
    char path[PATH_MAX];
    int lock;

    if (!join(path, sizeof(path), place->path, ".lock", (char *)NULL))
        refuse(place->path, ": the path of the socket is too long");
    for (;;) {
        lock = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0600);
        if (lock < 0 && (errno == ELOOP || errno == EISDIR || errno == ENXIO))
            refuse(path, ": this should be a regular file");
        if (lock < 0)
            return -1;
        check_lock(place, path, lock);
        while (flock(lock, LOCK_EX) != 0)
            if (errno != EINTR)
                return lock;
        if (still_there(path, lock))
            return lock;
        close(lock);
    }
}

static size_t count_of(char **list)
{
    size_t n = 0;

    while (list[n])
        n++;
    return n;
}

static void *allocate(size_t count)
{
    void *memory = calloc(count, sizeof(char *));

    if (!memory)
        refuse("out of memory");
    return memory;
}

static char **environment_with(char *variable)
{
    char **list = allocate(count_of(environ) + 2), **to = list;

    for (char **from = environ; *from; from++)
        if (strncmp(*from, boot_variable, strlen(boot_variable)) != 0)
            *to++ = *from;
    *to = variable;
    return list;
}

static char **command_for(struct program *program, char *socket_path, char **words)
{
    char **list = allocate(count_of(words) + 8), **to = list;

    if (program->interpreter[0]) {
        *to++ = program->interpreter;
        *to++ = (char *)"-I";
        *to++ = (char *)"-S";
        *to++ = (char *)"-c";
        *to++ = (char *)boot_code;
        *to++ = program->packages;
    } else {
        *to++ = program->path;
        *to++ = (char *)"--boot";
    }
    *to++ = socket_path;
    memcpy(to, words, count_of(words) * sizeof(*words));
    return list;
}

/* The caught signals are blocked here, and a server would inherit that. */
static pid_t spawn(char **command, char **environment, const struct forwarding *forwarding)
{
    posix_spawnattr_t attributes;
    sigset_t mask;
    pid_t child;
    int cause;

    posix_spawnattr_init(&attributes);
    if (forwarding->source) {
        sigprocmask(SIG_BLOCK, NULL, &mask);
        for (int i = 1; i < 32; i++)
            if (sigismember(&forwarding->caught, i) == 1)
                sigdelset(&mask, i);
        posix_spawnattr_setsigmask(&attributes, &mask);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    }
    cause = posix_spawn(&child, command[0], NULL, &attributes, command, environment);
    posix_spawnattr_destroy(&attributes);
    if (cause)
        refuse(command[0], ": ", strerror(cause));
    return child;
}

/* Returns once a server listens, or was killed before it did: then the call tries again. */
static void await_report(const struct place *place, int pipe_end, pid_t child)
{
    char report[2] = "", log[PATH_MAX];
    size_t size = 0;
    int status = 0;

    while (size < sizeof(report)) {
        ssize_t got = read(pipe_end, report + size, sizeof(report) - size);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        size += (size_t)got;
        if (report[0] == 'L')
            return;
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (size == sizeof(report) && report[0] == 'X')
        leave((unsigned char)report[1]);
    if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM))
        return;
    refuse("the server could not be started (see ", server_log(place, log), ")");
}

static void run_boot(const struct place *place, char **words, const struct forwarding *forwarding)
{
    static struct program program;
    char number[24], variable[64], absolute[PATH_MAX], cwd[PATH_MAX], **command, **environment;
    int ends[2];
    pid_t child;

    find_program(&program);
    if (pipe2(ends, O_CLOEXEC) != 0 || fcntl(ends[1], F_SETFD, 0) != 0)
        refuse("no pipe can be made: ", strerror(errno));
    join(variable, sizeof(variable), boot_variable, decimal((uint64_t)ends[1], number), (char *)NULL);
    if (place->path[0] == '/' || !getcwd(cwd, sizeof(cwd)) ||
        !join(absolute, sizeof(absolute), cwd, "/", place->path, (char *)NULL))
        join(absolute, sizeof(absolute), place->path, (char *)NULL);
    command = command_for(&program, absolute, words);
    environment = environment_with(variable);
    child = spawn(command, environment, forwarding);
    free(command);
    free(environment);
    close(ends[1]);
    await_report(place, ends[0], child);
    close(ends[0]);
}

/* A connection to the server that is there now, or -1 if it is gone again. */
int start_server(struct place *place, char **words, const struct forwarding *forwarding)
{
    int lock, connection;

    make_directory(place);
    lock = take_lock(place);
    connection = connect_to_server(place);
    if (connection < 0)
        run_boot(place, words, forwarding);
    if (lock >= 0)
        close(lock);
    return connection >= 0 ? connection : connect_to_server(place);
}

/* The server of an earlier release ends once we say so, and the connection with it. Whoever waited for it has then to
 * wait for our lock, and cannot start another one of that release. */
int succeed_server(struct place *place, int connection, const struct forwarding *forwarding)
{
    static const struct tsf_frame take_over = {.version = TSF_WIRE_VERSION, .type = TSF_FRAME_TAKE_OVER};
    static char *no_words[] = {NULL}; /* a server in any case: others wait for it */
    int lock = take_lock(place), next;
    char rest[64];
    ssize_t got;

    send(connection, &take_over, sizeof take_over, MSG_NOSIGNAL); /* refused: it has ended already */
    do
        got = recv(connection, rest, sizeof(rest), 0);
    while (got > 0 || (got < 0 && errno == EINTR));
    next = connect_to_server(place);
    if (next < 0) {
        run_boot(place, no_words, forwarding);
        next = connect_to_server(place);
    }
    if (lock >= 0)
        close(lock);
    return next;
}

_Noreturn void exec_program(char **words, const struct forwarding *forwarding)
{
    static struct program program;
    char **command = allocate(count_of(words) + 3);
    int own = 1;

    find_program(&program);
    command[0] = program.path;
    if (words[0] && words[0][0] != '-')
        command[own++] = "--"; /* `tsfast gpus` is another thing than a job called gpus */
    memcpy(command + own, words, count_of(words) * sizeof(*words));
    if (forwarding->source)
        sigprocmask(SIG_UNBLOCK, &forwarding->caught, NULL);
    execv(program.path, command);
    refuse(program.path, ": ", strerror(errno));
}
