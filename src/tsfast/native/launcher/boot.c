/* Starting a server. Of many calls that find none, the one that holds the lock starts it, and the others find it once
 * they have the lock. The lock only saves work: the server itself ensures that a socket has only one server. The lock's
 * file says what the others wait for: the pid of the child, and "alive" behind it once the child has reported that.
 *
 * The child gets the words of the call, because it knows which of them (-K, a wrong option) need no server. They are in
 * an unnamed file whose descriptor is in TSFAST_BOOT_WORDS: any user could read arguments as long as the server lives.
 * If the kernel cannot create such a file, the variable is empty, and the server gets the words only in the request.
 * The child reports on the pipe whose number is in TSFAST_BOOT_FD:
 *
 *   'A'        it takes the queue up, however long that takes
 *   'L'        its server listens: connect (what follows it is not for us)
 *   'X', code  it did what was asked, or said why it cannot: exit with code
 *   nothing    it died */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { LONGEST_PAUSE_MS = 32 };

static const char report_variable[] = "TSFAST_BOOT_FD=", words_variable[] = "TSFAST_BOOT_WORDS=",
                  zone_variable[] = "TZ=";
/* Behind the standard library: a package beside tsfast may have the name of one of its modules. */
#define FROM_TSFAST "import sys; sys.path.append(sys.argv.pop(1)); from tsfast."
static const char boot_code[] = FROM_TSFAST "daemon.boot import main; main()";
static const char help_code[] = FROM_TSFAST "daemon.boot import print_help; print_help()";
static const char program_code[] = FROM_TSFAST "cli.main import main; sys.exit(main())";
static const char surroundings[] = "PYTHON";

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

/* The pid that starts the server, from the file of the lock; 0 if it has none. */
static pid_t starting_server(int lock, bool *alive)
{
    char text[64], *rest;
    ssize_t size = pread(lock, text, sizeof(text) - 1, 0);
    long pid;

    text[size > 0 ? size : 0] = '\0';
    pid = strtol(text, &rest, 10);
    *alive = pid > 0 && strcmp(rest, " alive\n") == 0;
    return pid > 0 ? (pid_t)pid : 0;
}

static void tell_others(int lock, pid_t child, bool alive)
{
    char number[24], text[64];

    join(text, sizeof(text), decimal((uint64_t)child, number), alive ? " alive\n" : "\n", (char *)NULL);
    if (lock < 0 || ftruncate(lock, 0) != 0 || pwrite(lock, text, strlen(text), 0) < 0)
        return; /* they do not learn it, which is harmless */
}

/* What the file says about an earlier start would let the others wait forever for this one if it fails. */
static void forget_earlier(int lock)
{
    if (ftruncate(lock, 0) != 0)
        return; /* as in tell_others */
}

/* A live server may take its time, but a person at a terminal gets one message. */
static void say_that_it_starts(pid_t server)
{
    char number[24];

    if (to_terminal())
        complain("the server (pid ", decimal((uint64_t)server, number), ") is recovering the queue, please wait",
                 (char *)NULL);
}

/* Another call has the lock. Returns false when that call has released it, true when a server listens although it has
 * not. */
static bool await_lock(struct place *place, int lock, int *connection)
{
    int pause = 1, waited = 0;
    bool alive = false, said = false;

    while (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return false;
        if (connection && (*connection = connect_to_server(place)) >= 0)
            return true;
        poll(NULL, 0, pause);
        waited += pause;
        pause = pause < LONGEST_PAUSE_MS ? 2 * pause : pause;
        if (silence_ms() >= 0 && waited >= silence_ms()) {
            pid_t server = starting_server(lock, &alive);

            waited = 0;
            if (!alive)
                silence_passed(place, server, "has not started");
            else if (!said)
                say_that_it_starts(server);
            said = said || alive;
        }
    }
    silence_ended();
    return false;
}

static void lock_path(const struct place *place, char path[PATH_MAX])
{
    if (!join(path, PATH_MAX, place->path, ".lock", (char *)NULL))
        refuse(place->path, ": the path of the socket is too long");
}

/* A call that could not start the first server leaves nothing behind. If there was a server before, another call may be
 * about to start one. */
static void refuse_early(const struct place *place)
{
    struct limits limits;
    char path[PATH_MAX];

    lock_path(place, path);
    if (access(path, F_OK) == 0)
        return;
    lift_limits(&limits);
    restore_limits(&limits);
}

/* -1 if the file cannot be created: no server could listen there either, and the child reports why. Also -1 if there is
 * a connection already, once `connection` was requested. */
static int take_lock(struct place *place, int *connection)
{
    char path[PATH_MAX];
    int lock;

    lock_path(place, path);
    for (;;) {
        lock = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0600);
        if (lock < 0 && (errno == ELOOP || errno == EISDIR || errno == ENXIO))
            refuse(path, ": this should be a regular file");
        if (lock < 0)
            return -1;
        check_lock(place, path, lock);
        if (await_lock(place, lock, connection)) {
            close(lock);
            return -1;
        }
        if (still_there(path, lock)) {
            forget_earlier(lock);
            return lock;
        }
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

static bool begins_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* Without the time zone of this call: the server uses the machine's, and must not even open what this one names. A
 * script whose interpreter is unknown cannot be made to ignore Python's environment. */
static char **environment_with(char *report, char *words, const struct program *program)
{
    char **list = allocate(count_of(environ) + 3), **to = list;

    for (char **from = environ; *from; from++)
        if (!begins_with(*from, report_variable) && !begins_with(*from, words_variable) &&
            !begins_with(*from, zone_variable) && (program->interpreter[0] || !begins_with(*from, surroundings)))
            *to++ = *from;
    *to++ = report;
    *to = words;
    return list;
}

enum { COMMAND_WORDS = 8 };

/* Ignores the client's Python environment: PYTHON* variables, its directory, its own packages (-I, -S). The slow way
 * leaves the packages to the script, which may be installed among its user's (-E, -P). Returns where more words go. */
static char **put_command(char **command, struct program *program, const char *code, const char *option)
{
    if (program->interpreter[0])
        *command++ = program->interpreter;
    if (program->packages[0]) {
        *command++ = (char *)"-I";
        *command++ = (char *)"-S";
        *command++ = (char *)"-c";
        *command++ = (char *)code;
        *command++ = program->packages;
    } else {
        if (program->interpreter[0]) {
            *command++ = (char *)"-E";
            *command++ = (char *)"-P";
        }
        *command++ = program->path;
        if (option)
            *command++ = (char *)option;
    }
    return command;
}

/* -1 if they cannot be passed like this. */
static int file_of(char **words)
{
    int file = (int)syscall(SYS_memfd_create, "words", 0);

    for (; file >= 0 && *words; words++) {
        size_t size = strlen(*words) + 1;

        if (write(file, *words, size) != (ssize_t)size) {
            close(file);
            return -1;
        }
    }
    return file;
}

/* In a session of its own from the beginning: Ctrl-C, Ctrl-\ and Ctrl-Z of this call, and the end of its terminal, must
 * not reach a server for which other clients wait too. The server would also inherit that the caught signals are
 * blocked here. */
static pid_t spawn(char **command, char **environment, const struct forwarding *forwarding)
{
    posix_spawnattr_t attributes;
    sigset_t mask;
    short flags = POSIX_SPAWN_SETSID;
    pid_t child;
    int cause;

    posix_spawnattr_init(&attributes);
    if (forwarding->source) {
        sigprocmask(SIG_BLOCK, NULL, &mask);
        for (int i = 1; i < 32; i++)
            if (sigismember(&forwarding->caught, i) == 1)
                sigdelset(&mask, i);
        posix_spawnattr_setsigmask(&attributes, &mask);
        flags |= POSIX_SPAWN_SETSIGMASK;
    }
    posix_spawnattr_setflags(&attributes, flags);
    cause = posix_spawn(&child, command[0], NULL, &attributes, command, environment);
    posix_spawnattr_destroy(&attributes);
    if (cause)
        refuse(command[0], ": ", strerror(cause));
    return child;
}

/* Returns once a server listens, or was killed before it did: then the call tries again. */
static void await_report(const struct place *place, int lock, int pipe_end, pid_t child)
{
    char report = '\0', log[PATH_MAX];
    bool alive = false, said = false, leaves = false;
    int status = 0;

    for (;;) {
        struct pollfd ready = {.fd = pipe_end, .events = POLLIN};
        int happened = poll(&ready, 1, said ? -1 : silence_ms());
        ssize_t got;

        if (happened == 0 && !alive) {
            silence_passed(place, child, "has not started");
        } else if (happened == 0) {
            say_that_it_starts(child);
            said = true;
        }
        if (happened <= 0)
            continue;
        got = read(pipe_end, &report, 1);
        if (got < 0 && errno == EINTR)
            continue;
        silence_ended();
        if (got <= 0)
            break;
        if (leaves)
            leave((unsigned char)report);
        if (report == 'L')
            return;
        leaves = report == 'X';
        if (report == 'A' && !alive)
            tell_others(lock, child, alive = true);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM))
        return;
    refuse("the server could not be started (see ", server_log(place, log), ")");
}

static void run_boot(const struct place *place, int lock, char **words, const struct forwarding *forwarding)
{
    static struct program program;
    char number[24], report[64], texts[64], absolute[PATH_MAX], cwd[PATH_MAX];
    char *command[COMMAND_WORDS], **end, **environment;
    struct limits limits;
    int ends[2], file;
    pid_t child;

    find_program(&program);
    lift_limits(&limits);
    tell_of_its_end();
    file = file_of(words);
    if (pipe2(ends, O_CLOEXEC) != 0 || fcntl(ends[1], F_SETFD, 0) != 0)
        refuse("no pipe can be made: ", strerror(errno));
    join(report, sizeof(report), report_variable, decimal((uint64_t)ends[1], number), (char *)NULL);
    join(texts, sizeof(texts), words_variable, file < 0 ? "" : decimal((uint64_t)file, number), (char *)NULL);
    if (place->path[0] == '/' || !getcwd(cwd, sizeof(cwd)) ||
        !join(absolute, sizeof(absolute), cwd, "/", place->path, (char *)NULL))
        join(absolute, sizeof(absolute), place->path, (char *)NULL);
    end = put_command(command, &program, boot_code, "--boot");
    *end++ = absolute;
    *end = NULL;
    environment = environment_with(report, texts, &program);
    child = spawn(command, environment, forwarding);
    free(environment);
    close(ends[1]);
    if (file >= 0)
        close(file);
    tell_others(lock, child, false);
    await_report(place, lock, ends[0], child);
    restore_limits(&limits);
    close(ends[0]);
}

/* A connection to the present server, or -1 if it is gone again. */
int start_server(struct place *place, char **words, const struct forwarding *forwarding)
{
    int lock, connection = -1;

    refuse_early(place);
    make_directory(place);
    lock = take_lock(place, &connection);
    if (connection < 0)
        connection = connect_to_server(place);
    if (connection < 0)
        run_boot(place, lock, words, forwarding);
    if (lock >= 0)
        close(lock);
    return connection >= 0 ? connection : connect_to_server(place);
}

/* The server of an earlier release ends, and with it the connection, when it receives this. Its waiting clients must
 * then wait for our lock, and cannot start another server of that release. */
int succeed_server(struct place *place, int connection, uint32_t version, const struct forwarding *forwarding)
{
    const struct tsf_frame take_over = {.version = version, .type = TSF_FRAME_TAKE_OVER};
    static char *no_words[] = {NULL}; /* a server in any case: others wait for it */
    int lock = take_lock(place, NULL), next;
    char rest[64];
    ssize_t got;

    send(connection, &take_over, sizeof take_over, MSG_NOSIGNAL); /* refused: it has ended already */
    do {
        struct pollfd ready = {.fd = connection, .events = POLLIN};

        if (poll(&ready, 1, silence_ms()) == 0)
            silence_passed(place, place->server, "does not end");
        got = recv(connection, rest, sizeof(rest), 0);
    } while (got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN)));
    silence_ended();
    next = connect_to_server(place);
    if (next < 0) {
        run_boot(place, lock, no_words, forwarding);
        next = connect_to_server(place);
    }
    if (lock >= 0)
        close(lock);
    return next;
}

_Noreturn void exec_help(void)
{
    static struct program program;
    char *command[COMMAND_WORDS];

    find_program(&program);
    *put_command(command, &program, help_code, "-h") = NULL;
    execv(command[0], command);
    refuse(command[0], ": ", strerror(errno));
}

_Noreturn void exec_program(char **words, const struct forwarding *forwarding)
{
    static struct program program;
    char **command = allocate(COMMAND_WORDS + count_of(words)), **end;

    find_program(&program);
    end = put_command(command, &program, program_code, NULL);
    if (words[0] && words[0][0] != '-')
        *end++ = "--"; /* `tsfast gpus` is another thing than a job called gpus */
    memcpy(end, words, count_of(words) * sizeof(*words));
    if (forwarding->source)
        sigprocmask(SIG_UNBLOCK, &forwarding->caught, NULL);
    execv(command[0], command);
    refuse(command[0], ": ", strerror(errno));
}
