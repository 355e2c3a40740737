/* Connecting to the server: finding the socket, checking that it belongs to no other user, and the connection itself.
 * */
#include "launcher.h"

#include "../trust.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* What a mistyped TS_SOCKET looks like: it would silently name a second queue. */
static void check_given(const char *path)
{
    const char *name = strrchr(path, '/');

    name = name ? name + 1 : path;
    if (path[0] == '~')
        refuse("TS_SOCKET is '", path, "', but only shells expand ~, and only unquoted (./~ is a file of that name)");
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        refuse("TS_SOCKET is '", path, "', which is a directory: give the path of a socket in it");
    if (strlen(name) > TSF_SOCKET_NAME_MOST)
        refuse("TS_SOCKET is '", path, "': the socket's name is too long");
}

void find_place(struct place *place)
{
    const char *given = getenv("TS_SOCKET"), *base = getenv("TMPDIR");
    char number[24];
    bool fits;

    place->user = geteuid();
    if (given && *given) {
        check_given(given);
        fits = join(place->path, sizeof(place->path), given, (char *)NULL);
    } else {
        if (!base || !*base)
            base = "/tmp";
        fits = join(place->path, sizeof(place->path), base, "/tsfast-", decimal(place->user, number), "/socket",
                    (char *)NULL);
        place->directory = strlen(place->path) - strlen("/socket");
    }
    if (!fits)
        refuse("the path of the socket is too long: it begins with ", place->path);
}

/* A user who can write to the directory can put another socket there; its owner can do so at any time. */
static void check_directory(const struct place *place, const char *path, const struct stat *about)
{
    char number[24];

    if (!S_ISDIR(about->st_mode))
        refuse(path, ": not a directory, so no queue can be there");
    if (about->st_uid != place->user)
        refuse(path, ": this directory belongs to user ", decimal(about->st_uid, number));
    if (about->st_mode & 077)
        refuse(path, ": this directory is open to other users (chmod 700 it)");
}

/* The default directory, checked; false if there is none. */
bool directory_exists(struct place *place)
{
    struct stat about;
    int rc, cause;

    if (!place->directory)
        return true;
    place->path[place->directory] = '\0';
    rc = lstat(place->path, &about);
    cause = errno;
    if (rc == 0)
        check_directory(place, place->path, &about);
    else if (cause != ENOENT)
        refuse(place->path, ": ", strerror(cause));
    place->path[place->directory] = '/';
    return rc == 0;
}

/* A path longer than an address is reached through its directory's descriptor. False if the directory is missing. */
static bool shorten(const char *path, struct sockaddr_un *address, int *through)
{
    const char *base = strrchr(path, '/');
    char directory[PATH_MAX], number[24];

    base = base ? base + 1 : path;
    if (base == path)
        join(directory, sizeof(directory), ".", (char *)NULL);
    else
        join(directory, (size_t)(base - path) + 1, path, (char *)NULL);
    *through = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*through < 0 && errno == ENOENT)
        return false;
    if (*through < 0)
        refuse(directory, ": ", strerror(errno));
    if (!join(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/", decimal((uint64_t)*through, number), "/",
              base, (char *)NULL))
        refuse(path, ": the socket's name is too long");
    return true;
}

/* The kernel's queue of waiting connections is full: waits for a place in it. 0 or an errno. */
static int connect_patiently(const struct place *place, const struct sockaddr_un *address, int connection)
{
    int flags = fcntl(connection, F_GETFL), cause = 0;

    fcntl(connection, F_SETFL, flags & ~O_NONBLOCK);
    for (;;) {
        int ms = silence_ms();
        struct timeval time = {.tv_sec = ms < 0 ? 0 : ms / 1000, .tv_usec = ms < 0 ? 0 : ms % 1000 * 1000};

        setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time));
        if (connect(connection, (const struct sockaddr *)address, sizeof(*address)) == 0)
            break;
        if (errno == EAGAIN) {
            silence_passed(place, 0, "does not answer");
        } else if (errno != EINTR) {
            cause = errno;
            break;
        }
    }
    fcntl(connection, F_SETFL, flags);
    silence_ended();
    return cause;
}

/* Returns 0 or an errno; ENOENT and ECONNREFUSED mean that no server listens. */
static int try_connect(const struct place *place, int connection)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int through = -1, cause = 0;

    if (!join(address.sun_path, sizeof(address.sun_path), place->path, (char *)NULL) &&
        !shorten(place->path, &address, &through))
        return ENOENT;
    if (connect(connection, (struct sockaddr *)&address, sizeof(address)) != 0)
        cause = errno == EAGAIN ? connect_patiently(place, &address, connection) : errno;
    if (through >= 0)
        close(through);
    return cause;
}

/* Reports why there is no connection; returns only if no server listens and the name may be used. */
static void examine_failure(const struct place *place, int cause)
{
    struct stat about;
    char number[24];

    if (cause == ENOENT)
        return;
    if (stat(place->path, &about) == 0) {
        if (!S_ISSOCK(about.st_mode))
            refuse(place->path, ": this file is not a socket");
        if (about.st_uid != place->user)
            refuse(place->path, ": this socket belongs to user ", decimal(about.st_uid, number));
    }
    if (cause != ECONNREFUSED)
        refuse(place->path, ": ", strerror(cause));
}

/* Checked before anything is sent, because an environment holds secrets. Other users may not use root's server: it
 * would run their jobs as root. Root uses the queue of another user only if TS_SOCKET names it, because the path of the
 * default one may come from that user's TMPDIR. */
static void check_peer(struct place *place, int connection)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    char number[24];

    if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        refuse(place->path, ": ", strerror(errno));
    if (peer.uid != place->user && (place->user != 0 || place->directory))
        refuse(place->path, ": this socket belongs to user ", decimal(peer.uid, number));
    place->server = peer.pid;
}

/* A connection to the server, or -1 if there is no server. */
int connect_to_server(struct place *place)
{
    int connection, cause;

    if (!directory_exists(place))
        return -1;
    connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connection < 0)
        refuse("no socket can be made: ", strerror(errno));
    cause = try_connect(place, connection);
    if (cause == 0) {
        check_peer(place, connection);
        return connection;
    }
    close(connection);
    examine_failure(place, cause);
    return -1;
}

/* The path of the server's log, from the pointer to its state directory beside the socket. */
const char *server_log(const struct place *place, char path[PATH_MAX])
{
    char pointer[PATH_MAX], directory[PATH_MAX];
    ssize_t size = -1;
    int file = -1;

    if (join(pointer, sizeof(pointer), place->path, ".state", (char *)NULL))
        file = tsf_open_ours(AT_FDCWD, pointer, O_RDONLY);
    if (file >= 0) {
        size = read(file, directory, sizeof(directory) - 1);
        close(file);
    }
    if (size <= 1 || directory[0] != '/')
        return "its log";
    directory[size] = '\0';
    directory[strcspn(directory, "\n")] = '\0';
    return join(path, PATH_MAX, directory, "/log", (char *)NULL) ? path : "its log";
}
