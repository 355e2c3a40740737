/* Finds the Python command line `tsfast`: beside this program, or else on PATH, or else at TSFAST_PROGRAM; of what the
 * environment names, root executes only what no other user can change. Its first lines name the interpreter, and the
 * packages are in ../lib; if they cannot be parsed, the slow way runs the script itself, by its interpreter if that is
 * known. */
#include "launcher.h"

#include "../trust.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_program(const char *path)
{
    struct stat about;

    return stat(path, &about) == 0 && S_ISREG(about.st_mode) && access(path, X_OK) == 0;
}

static bool passed_over;

/* Root may have another user's PATH (sudo that keeps it). */
static bool is_program_to_trust(const char *path)
{
    if (!is_program(path))
        return false;
    if (geteuid() != 0 || tsf_is_roots(path))
        return true;
    passed_over = true;
    return false;
}

static void cut_last_part(char *path)
{
    char *slash = strrchr(path, '/');

    if (slash)
        *slash = '\0';
}

/* The kernel marks the name of a file that was replaced on disk while it runs. */
static bool find_beside_us(char *path)
{
    static const char mark[] = " (deleted)";
    char self[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (size <= 0)
        return false;
    self[size] = '\0';
    if (size > (ssize_t)strlen(mark) && strcmp(self + size - strlen(mark), mark) == 0)
        self[(size_t)size - strlen(mark)] = '\0';
    cut_last_part(self);
    return join(path, PATH_MAX, self, "/tsfast", (char *)NULL) && is_program(path);
}

/* Skips relative entries: the program that starts the server must not depend on the directory of a call. */
static bool find_on_path(char *path)
{
    const char *at = getenv("PATH");
    char directory[PATH_MAX];

    while (at && *at) {
        size_t size = strcspn(at, ":");

        if (*at == '/' && size < sizeof(directory)) {
            memcpy(directory, at, size);
            directory[size] = '\0';
            if (join(path, PATH_MAX, directory, "/tsfast", (char *)NULL) && is_program_to_trust(path))
                return true;
        }
        at += size;
        at += *at == ':';
    }
    return false;
}

static bool find_by_variable(char *path)
{
    const char *value = getenv("TSFAST_PROGRAM");

    return value && *value && join(path, PATH_MAX, value, (char *)NULL) && is_program_to_trust(path);
}

static void read_beginning(const char *path, char *text, size_t size)
{
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t got = file < 0 ? 0 : read(file, text, size - 1);

    text[got > 0 ? got : 0] = '\0';
    if (file >= 0)
        close(file);
}

/* Takes the path at `from` up to one of `ends`; false if it is not a path, or contains something that a shell would
 * expand. */
static bool take_interpreter(char *to, const char *from, const char *ends)
{
    size_t size = strcspn(from, ends);
    const char *base;

    if (*from != '/' || size >= PATH_MAX || !from[size])
        return false;
    memcpy(to, from, size);
    to[size] = '\0';
    base = strrchr(to, '/') + 1;
    return !strpbrk(to, "$`\\\"'\n") && strncmp(base, "python", 6) == 0;
}

/* `#!/path/python -x`, or, where that path is too long or holds spaces, what installers write instead:
 *     #!/bin/sh
 *     '''exec' "/path/python" "$0" "$@"                                                                          */
static bool find_interpreter(const char *script, char *interpreter)
{
    static const char shell_form[] = "#!/bin/sh\n'''exec' ";
    char text[2 * PATH_MAX], quote[2] = "";
    const char *at = text;

    read_beginning(script, text, sizeof(text));
    if (strncmp(at, shell_form, strlen(shell_form)) != 0) {
        if (strncmp(at, "#!", 2) != 0)
            return false;
        at += 2;
        return take_interpreter(interpreter, at + strspn(at, " \t"), " \t\r\n");
    }
    at += strlen(shell_form);
    if (*at == '"' || *at == '\'')
        quote[0] = *at++;
    if (!take_interpreter(interpreter, at, quote[0] ? quote : " "))
        return false;
    at += strlen(interpreter) + (quote[0] != '\0');
    return strncmp(at, " \"$0\" ", 6) == 0;
}

/* Two names of one directory (lib64 is often a link to lib) count once. */
static int count_packages(const char *lib, char *found, struct stat *first, int count)
{
    static const char *const kinds[] = {"/site-packages", "/dist-packages"};
    DIR *directory = opendir(lib);
    struct dirent *entry;
    struct stat about;
    char packages[PATH_MAX], boot[PATH_MAX];

    while (directory && (entry = readdir(directory)) != NULL) {
        if (strncmp(entry->d_name, "python3", 7) != 0)
            continue;
        for (int i = 0; i < 2; i++) {
            if (!join(packages, sizeof(packages), lib, "/", entry->d_name, kinds[i], (char *)NULL) ||
                !join(boot, sizeof(boot), packages, "/tsfast/daemon/boot.py", (char *)NULL) || stat(boot, &about) != 0)
                continue;
            if (count && about.st_dev == first->st_dev && about.st_ino == first->st_ino)
                continue;
            *first = about;
            count++;
            join(found, PATH_MAX, packages, (char *)NULL);
        }
    }
    if (directory)
        closedir(directory);
    return count;
}

/* With more than one it would be unclear which of them the interpreter uses. */
static bool find_packages(const char *script, char *packages)
{
    char real[PATH_MAX], lib[PATH_MAX];
    struct stat first;
    int count = 0;

    if (!realpath(script, real))
        return false;
    cut_last_part(real);
    cut_last_part(real);
    if (join(lib, sizeof(lib), real, "/lib", (char *)NULL))
        count = count_packages(lib, packages, &first, count);
    if (join(lib, sizeof(lib), real, "/lib64", (char *)NULL))
        count = count_packages(lib, packages, &first, count);
    return count == 1;
}

void find_program(struct program *program)
{
    if (!find_beside_us(program->path) && !find_on_path(program->path) && !find_by_variable(program->path))
        refuse("the program tsfast is neither beside this one nor on PATH nor named by TSFAST_PROGRAM",
               passed_over ? " (root takes none that others can change)" : "");
    if (!find_interpreter(program->path, program->interpreter))
        program->interpreter[0] = '\0';
    if (!program->interpreter[0] || !find_packages(program->path, program->packages))
        program->packages[0] = '\0';
}
