/* ts: sends its words, and what a job inherits from its client, to the queue's server, and obeys the reply.
 *
 *   0. -h and -V as the first word need no queue
 *   1. make sure that descriptors 0 to 2 are open
 * 2. find the socket: TS_SOCKET, or else ${TMPDIR:-/tmp}/tsfast-<uid>/socket in a directory that only this user can use
 *   3. gather the request, with a random token
 *   4. connect, and check that the other side is the same user; start a server if there is none
 *   5. send the request; print, follow, forward, exec, exit, as the frames of the answer say
 * 6. if the server is of an earlier release, let it end and start one of this release, which takes the queue over
 * 7. if the connection breaks before the reply is complete, go to 4: by the token the server recognises the request
 *
 * It knows no options: the only grammar is in the server. In the usual case it makes one connect, one sendmsg, one poll
 * and one recv, and no allocation; rare cases are in other files, whose pages are then never read. */
#include "launcher.h"

#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

enum {
    TRIES = 20,
    QUICK_TRIES = 3,
    LONGEST_PAUSE_MS = 128,
    CALM_SECONDS = 10 /* between two breaks: the server was well meanwhile, so counting starts anew */
};

struct patience {
    int tries;
    time_t last;
    off_t offset;
};

static void pause_ms(long ms)
{
    struct timespec time = {.tv_sec = 0, .tv_nsec = ms * 1000000};

    nanosleep(&time, NULL);
}

/* A partly shown text cannot be taken back, and the next reply may differ from it; that of a foreground job begins with
 * its id each time. */
static void prepare_next_try(struct patience *patience, const struct place *place, const struct answer *answer)
{
    struct timespec now;
    char log[PATH_MAX];
    int shift;

    if (answer->printed && !answer->foreground)
        refuse(place->path, ": the connection to the server was lost in the middle of its answer");
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec - patience->last > CALM_SECONDS || answer->follow.offset != patience->offset)
        patience->tries = 0;
    patience->last = now.tv_sec;
    patience->offset = answer->follow.offset;
    if (++patience->tries > TRIES)
        refuse(place->path, ": the server breaks off every connection (see ", server_log(place, log), ")");
    shift = patience->tries - QUICK_TRIES;
    if (shift >= 0)
        pause_ms(shift < 7 ? 1L << shift : LONGEST_PAUSE_MS);
}

/* A set-user-ID ts would run programs of its user's environment, and jobs, with the rights of its owner. */
static void check_rights(void)
{
    if (getauxval(AT_UID) != getauxval(AT_EUID) || getauxval(AT_GID) != getauxval(AT_EGID))
        refuse("this program must not be set-user-ID or set-group-ID (chmod ug-s it)");
}

/* Help works whatever is wrong with the queue or its server, and describes this program. */
static void answer_alone(char **words)
{
    static const char version[] = "tsfast " TSFAST_VERSION "\n";

    if (!words[0])
        return;
    if (strcmp(words[0], "-h") == 0 || strcmp(words[0], "--help") == 0)
        exec_help();
    if (strcmp(words[0], "-V") == 0 || strcmp(words[0], "--version") == 0) {
        show(STDOUT_FILENO, version, sizeof(version) - 1);
        leave(0);
    }
}

int main(int argc, char **argv)
{
    static struct place place;
    static struct request request;
    static struct answer answer;
    struct patience patience = {0};
    char **words = argv + (argc > 0);
    int connection = -1, next;

    open_standard_descriptors(&request.head.request);
    check_rights();
    answer_alone(words);
    read_patience();
    find_place(&place);
    collect_request(&request, words);
    for (;;) {
        if (connection < 0)
            connection = connect_to_server(&place);
        if (connection < 0)
            connection = start_server(&place, words, &answer.forwarding);
        if (connection >= 0) {
            change_version(&request, answer.version1);
            request.head.request.counted = answer.counted;
            send_request(&request, &place, connection);
            next = -1;
            if (take_answer(&answer, &place, connection, words)) {
                next = succeed_server(&place, connection, request.head.frame.version, &answer.forwarding);
                request.head.frame.release = 0; /* whatever is there now is to serve us: this is tried once */
                answer.unsure = true;
                answer.version1 = false;
            }
            close(connection);
            connection = next;
        }
        if (connection < 0)
            prepare_next_try(&patience, &place, &answer);
    }
}
