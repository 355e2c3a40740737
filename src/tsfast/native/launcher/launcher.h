/* The interfaces between the parts of the launcher `ts`. The algorithm is at the top of main.c.
 *
 * Descriptors 0 to 2 are open from the first step on, so 0 in a descriptor's field here means: none. */
#ifndef TSFAST_LAUNCHER_H
#define TSFAST_LAUNCHER_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "../wire.h"

#ifndef PATH_MAX
#define PATH_MAX 4096
#endif

/* The path of the queue's socket, and which user may listen there. */
struct place {
    char path[PATH_MAX];
    size_t directory; /* length of the default directory's part of `path`, 0 if TS_SOCKET names the socket */
    uid_t user;
    pid_t server; /* of the last connection */
};

struct request_head {
    struct tsf_frame frame;
    struct tsf_request request;
};

enum { REQUEST_PARTS = 5 };

struct request {
    bool version1; /* to a server that has answered in that version, so that it gives way */
    struct request_head head;
    struct iovec parts[REQUEST_PARTS];
    char cwd[PATH_MAX];
    unsigned long affinity[1024 / sizeof(unsigned long)];
};

/* The followed file (-c, -t); kept over a new connection, so that nothing is shown twice. */
struct follow {
    int file;
    int notify;
    bool notify_failed;
    off_t offset;
    char path[PATH_MAX];
};

/* Signals on their way to the foreground job; kept over a new connection, so that none is lost. */
struct forwarding {
    int source;
    sigset_t caught;
    uint64_t unsent; /* bit N: signal N */
    bool ready;      /* this connection's server has the descriptors, so it knows what the signals are for */
};

struct answer {
    struct follow follow;
    struct forwarding forwarding;
    uint32_t text_left; /* bytes of an OUT or ERR frame that have not arrived yet */
    int text_fd;
    bool printed;
    bool waits;       /* the server lives, and replies when it can */
    bool unsure;      /* it may be of a release that does not report that it lives */
    bool foreground;  /* the job has this process's descriptors: reconnect whatever was printed */
    uint64_t shown;   /* bytes of OUT frames, over all connections */
    uint64_t to_skip; /* of them, those that this connection's reply repeats */
    bool exit_at_close;
    bool succeed;  /* the server gives way to one of this release */
    bool version1; /* it speaks the first version of the protocol */
    int32_t code;
    struct tsf_counted counted; /* what the next request hands back */
    size_t begin, end; /* the unread part of `in` */
    char in[1 << 16];
};

/* Those of limits.c, as they were. */
struct limits {
    uint64_t of[5][2]; /* soft, hard */
};

/* The Python command line beside the launcher. The last two are empty if only the slow way leads to it. */
struct program {
    char path[PATH_MAX];
    char interpreter[PATH_MAX];
    char packages[PATH_MAX];
};

/* output.c */
bool join(char *to, size_t size, ...) __attribute__((sentinel));
void complain(const char *first, ...) __attribute__((sentinel));
#define refuse(...) (complain(__VA_ARGS__, (char *)NULL), leave(TSF_EXIT_ERROR))
const char *decimal(uint64_t number, char text[24]);
void show(int fd, const char *data, size_t size);
_Noreturn void leave(int code);
_Noreturn void die_of_pipe(void);

/* request.c */
void open_standard_descriptors(struct tsf_request *request);
void collect_request(struct request *request, char **words);
void send_request(const struct request *request, const struct place *place, int connection);
void change_version(struct request *request, bool version1);

/* connect.c */
void find_place(struct place *place);
int connect_to_server(struct place *place);
bool directory_exists(struct place *place);
const char *server_log(const struct place *place, char path[PATH_MAX]);

/* silence.c */
void read_patience(void);
int silence_ms(void);
void silence_passed(const struct place *place, pid_t server, const char *what);
void silence_ended(void);
bool to_terminal(void);

/* boot.c */
int start_server(struct place *place, char **words, const struct forwarding *forwarding);
int succeed_server(struct place *place, int connection, uint32_t version, const struct forwarding *forwarding);
_Noreturn void exec_program(char **words, const struct forwarding *forwarding);
_Noreturn void exec_help(void);

/* limits.c */
void lift_limits(struct limits *had);
void restore_limits(const struct limits *had);
void tell_of_its_end(void);

/* program.c */
void find_program(struct program *program);

/* answer.c */
bool take_answer(struct answer *answer, const struct place *place, int connection, char **words);

/* follow.c */
void follow_file(struct follow *follow, const char *path, size_t size, int32_t lines);
void follow_watch(struct follow *follow);
void follow_copy(struct follow *follow);

/* progress.c */
void show_progress(const char *text, size_t size);
void end_progress(void);

/* look.c */
void look(uint32_t what, const char *path, size_t size);

/* forward.c */
void start_forwarding(struct forwarding *forwarding);
void take_signals(struct forwarding *forwarding);
void forward_signals(struct forwarding *forwarding, int connection);

#endif
