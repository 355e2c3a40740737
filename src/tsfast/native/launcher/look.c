/* Warnings about what will certainly fail, when the job is queued. The server never waits for a user's path, so it says
 * what to check, and this process checks it, in the same environment and directory as the job. */
#include "launcher.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char default_path[] = "/usr/local/bin:/usr/bin:/bin"; /* as for a job without PATH */

/* 0, or the errno of why it cannot be executed. */
static int check_program(const char *path)
{
    struct stat about;

    if (stat(path, &about) != 0)
        return errno;
    return S_ISREG(about.st_mode) && access(path, X_OK) == 0 ? 0 : EACCES;
}

/* Searches like the runner: a file that cannot be executed does not hide a later one. */
static int search(const char *name, const char *path)
{
    char file[PATH_MAX];
    int cause = ENOENT;

    if (!*name)
        return ENOENT;
    if (strchr(name, '/'))
        return check_program(name);
    for (;; path++) {
        size_t size = strcspn(path, ":"), length = strlen(name);

        if (size + length + 3 <= sizeof(file)) {
            memcpy(file, size ? path : ".", size ? size : 1);
            file[size ? size : 1] = '/';
            memcpy(file + (size ? size : 1) + 1, name, length + 1);
            switch (check_program(file)) {
            case 0:
                return 0;
            case EACCES:
                cause = EACCES;
            }
        }
        path += size;
        if (!*path)
            return cause;
    }
}

static const char *path_of_jobs(void)
{
    const char *path = getenv("PATH");

    return path ? path : default_path;
}

static void look_at_hook(void)
{
    const char *program = getenv("TS_ONFINISH");
    int cause = program && *program ? search(program, path_of_jobs()) : 0;

    if (cause)
        complain("warning: TS_ONFINISH: '", program, "': ", strerror(cause),
                 "; no program will run when the job has ended", (char *)NULL);
}

static bool names_a_recipient(const char *name) { return name && *name && !strpbrk(name, "\r\n"); }

static void look_at_mail(void)
{
    const char *recipient = getenv("TS_MAILTO");

    if (!names_a_recipient(recipient && *recipient ? recipient : getenv("USER")))
        complain("warning: -m: neither TS_MAILTO nor USER names a recipient; no mail will be sent", (char *)NULL);
    else if (search("sendmail", path_of_jobs()) && search("sendmail", "/usr/sbin:/usr/lib"))
        complain("warning: -m: there is no sendmail in PATH, /usr/sbin or /usr/lib; no mail will be sent",
                 (char *)NULL);
}

/* Warns also of a missing directory, which an earlier job might still create. */
static void look_at_log(const char *path, size_t size)
{
    char file[PATH_MAX];
    struct stat about;
    char *name;
    int cause = 0;

    if (size >= sizeof(file))
        return;
    memcpy(file, path, size);
    file[size] = '\0';
    name = strrchr(file, '/');
    if (!name)
        return;
    if (stat(file, &about) == 0) {
        if (S_ISDIR(about.st_mode))
            complain("warning: --log: '", file, "': ", strerror(EISDIR), "; the job cannot start", (char *)NULL);
        return;
    }
    *name = '\0';
    if (stat(*file ? file : "/", &about) != 0)
        cause = errno;
    else if (!S_ISDIR(about.st_mode))
        cause = ENOTDIR;
    else if (access(*file ? file : "/", W_OK | X_OK) != 0)
        cause = errno;
    if (cause)
        complain("warning: --log: '", file, "': ", strerror(cause), "; the job cannot start unless that changes before",
                 (char *)NULL);
}

/* `what`: enum tsf_look, a bit set. */
void look(uint32_t what, const char *path, size_t size)
{
    if (what & TSF_LOOK_HOOK)
        look_at_hook();
    if (what & TSF_LOOK_MAIL)
        look_at_mail();
    if (what & TSF_LOOK_LOG)
        look_at_log(path, size);
}
