/* What clients and the server say to each other over the queue's socket (SOCK_STREAM): frames of a header and `length`
 * bytes. Numbers are in the machine's byte order. A frame with another version, an unknown type or a length over
 * TSF_FRAME_MAX ends the connection.
 *
 *   client                                   server
 *   BATCH              ->                     any number, instead of REQUEST
 *                      <-  ADDED              one for each, in their order; warnings before it as ERR
 *                      <-  REFUSED            instead of it; nothing of the frame is queued, later frames are not read
 *   REQUEST            ->
 *                      <-  OUT, ERR          text for stdout and stderr, any number
 *                      <-  SEND_DESCRIPTORS  (-f) then the client sends DESCRIPTORS; later SIGNAL as often as it likes
 *                      <-  MOMENT            (-i) stdout too: a time of day, any number, between texts
 *                      <-  PROGRESS          (-w on a terminal) how far it is, any number
 *                      <-  COUNTED           (-w of several jobs, --wait-all) what a repeated request is to hand back
 *                      <-  LOOK              (after a submission) warn if one of these things will fail
 *                      <-  FOLLOW            (-c, -t) show this file as it grows
 *                      <-  ENDED             after FOLLOW: show the rest of the file, exit with code
 *                      <-  EXIT              exit with code
 *                      <-  EXIT_AT_CLOSE     exit with code once the connection is closed (-K)
 *                      <-  EXEC              exec the Python command line with the same words
 *                      <-  ALIVE             (to a client with TSF_HEARS_ALIVE that has to wait) the server lives
 *                      <-  GIVE_WAY          to a client of a later release, see below
 *   WATCH              ->                    instead of REQUEST
 *                      <-  EVENTS            at once, and after each change of a job, until the connection ends
 *
 * GIVE_WAY: the client takes the lock for starting a server and sends TAKE_OVER; then the server ends without further
 * replies, which the client sees by the end of the connection, and the client starts the server of its own release. All
 * other clients repeat their requests. A client that disappears instead changes nothing. The server serves clients of
 * earlier releases: of two on one machine the later one stays.
 *
 * If a connection breaks before EXIT, ENDED, EXIT_AT_CLOSE or EXEC, the client reconnects and sends the same REQUEST
 * with the same token: the server does not queue the job twice. What the latest COUNTED said goes with it.
 *
 * Version 1 is that of tsfast 0.1.0. Its server ends a connection with a frame of version 2 at once; asked in version 1
 * (TSF_REQUEST1_BYTES, TSF_WIRE_VERSION1) it gives way. */
#ifndef TSFAST_WIRE_H
#define TSFAST_WIRE_H

#include <stdint.h>
#include <string.h>

#include "table.h"

#define TSF_WIRE_VERSION 0x74730002u
#define TSF_WIRE_VERSION1 0x74730001u
#define TSF_FRAME_MAX (8u << 20)
#define TSF_EXIT_ERROR 255
#define TSF_SOCKET_NAME_MOST 88u /* bytes: with /proc/self/fd/N/ before it, it has to fit into an address */

enum tsf_frame_type {
    TSF_FRAME_REQUEST = 1,
    TSF_FRAME_DESCRIPTORS = 2, /* no payload; stdin, stdout, stderr as SCM_RIGHTS with its first byte */
    TSF_FRAME_SIGNAL = 3,      /* struct tsf_code: a signal number for the foreground job */
    TSF_FRAME_TAKE_OVER = 4,  /* no payload; after GIVE_WAY */
    TSF_FRAME_BATCH = 5,
    TSF_FRAME_WATCH = 6,      /* struct tsf_watch */

    TSF_FRAME_OUT = 16,
    TSF_FRAME_ERR = 17,
    TSF_FRAME_EXIT = 18,          /* struct tsf_code */
    TSF_FRAME_EXIT_AT_CLOSE = 19, /* struct tsf_code */
    TSF_FRAME_SEND_DESCRIPTORS = 20,
    TSF_FRAME_FOLLOW = 21, /* struct tsf_follow, then the path, no NUL */
    TSF_FRAME_ENDED = 22,  /* struct tsf_code */
    TSF_FRAME_EXEC = 23, /* text, may be empty: what that program finds in TSFAST_ANSWER */
    TSF_FRAME_PROGRESS = 24, /* text for a terminal on stderr that takes the place of the one before */
    TSF_FRAME_GIVE_WAY = 25,
    TSF_FRAME_ADDED = 26,  /* struct tsf_added */
    TSF_FRAME_REFUSED = 27, /* struct tsf_refused, then a text */
    TSF_FRAME_EVENTS = 28, /* any number of struct tsf_event */
    TSF_FRAME_LOOK = 29, /* uint32_t, enum tsf_look; then a path, no NUL */
    TSF_FRAME_ALIVE = 30, /* no payload */
    TSF_FRAME_MOMENT = 31, /* struct tsf_moment: a text as OUT, of that moment in the client's time zone */
    TSF_FRAME_COUNTED = 32 /* struct tsf_counted */
};

/* What a client is to look at when its job has been queued, since it would surely fail later. */
enum tsf_look {
    TSF_LOOK_HOOK = 1, /* its TS_ONFINISH */
    TSF_LOOK_MAIL = 2, /* who gets the mail, and who sends it */
    TSF_LOOK_LOG = 4   /* the path, of the output file */
};

struct tsf_frame {
    uint32_t version; /* TSF_WIRE_VERSION */
    uint32_t type;    /* enum tsf_frame_type */
    uint32_t length;  /* of the payload, at most TSF_FRAME_MAX */
    uint32_t release; /* of a client's REQUEST: its tsf_release; else 0 */
};

/* A version as a number that grows: the first three numbers of "tsfast 1.2.3rc4". */
static inline uint32_t tsf_release(const char *version)
{
    uint32_t release = 0;

    version += strcspn(version, "0123456789");
    for (int i = 0; i < 3; i++) {
        uint32_t part = 0;

        while (*version >= '0' && *version <= '9')
            part = part * 10 + (uint32_t)(*version++ - '0');
        release = release * 1000 + part % 1000;
        version += *version == '.';
    }
    return release;
}

enum tsf_tty {
    TSF_TTY_STDIN = 1,
    TSF_TTY_STDOUT = 2,
    TSF_TTY_STDERR = 4,
    TSF_HEARS_ALIVE = 8, /* the client understands ALIVE, and takes long silence for a server that hangs */
    TSF_SHOWS_MOMENTS = 16 /* it understands MOMENT */
};

/* What a call that waits for several jobs has had counted, and what the table of the next server no longer tells. All 0
 * in a call that is made for the first time. */
struct tsf_counted {
    uint64_t since;    /* --wait-all: a place in the order of ending; what ended from there on belongs to the wait */
    uint64_t gone;     /* jobs of the wait that have ended and were forgotten since */
    uint64_t bad;      /* of these: without a good end */
    uint64_t bad_id;   /* the first of the bad ones, and its error level */
    int32_t bad_level;
    uint32_t reserved;
};

/* After the struct: argv_len bytes (argc NUL-terminated words, the program's name not among them), cwd_len bytes (the
 * last one a NUL), env_len bytes (env_count NUL-terminated strings), affinity_len bytes of processor mask. */
struct tsf_request {
    uint64_t token[2]; /* random, except for the highest 32 bits: the pid of the client of a foreground job */
    uint32_t argc;
    uint32_t argv_len;
    uint32_t cwd_len;
    uint32_t env_count;
    uint32_t env_len;
    uint32_t affinity_len;
    uint32_t umask;
    int32_t nice;
    uint32_t columns; /* of the terminal on stdout, 0 if unknown */
    uint32_t tty;     /* enum tsf_tty, a bit set */
    uint64_t limits[TSF_LIMITS][2];
    struct tsf_counted counted;
    uint64_t reserved[2]; /* 0 */
};

#define TSF_REQUEST1_BYTES offsetof(struct tsf_request, counted) /* of version 1 */

/* BATCH: jobs of one client. A struct tsf_request without words and its strings, this struct, `parts` struct
 * tsf_batch_part, and `count` times a struct tsf_batch_job and its strings; without padding between. A batch can be
 * sent in several frames, each one's length a multiple of 8 (zeros at its end). All have the same token[0], which stays
 * with the jobs: it names the batch. In it `@N` stands, among the ids of -D and -W, for its Nth job, counted from 0; an
 * earlier one. */
struct tsf_batch {
    uint64_t place; /* in the batch, of the first job of this frame */
    uint32_t count;
    uint32_t parts; /* what is known of earlier frames */
    uint32_t flags; /* enum tsf_batch_flag, a bit set */
    uint32_t reserved;
};

enum tsf_batch_flag { TSF_BATCH_NO_BLOCK = 1 }; /* refused at once if the queue has no room */

struct tsf_batch_part {
    uint64_t place; /* of its first job */
    uint64_t first; /* and the id that it got; the following jobs got the following ids */
};

/* argv_len bytes: argc NUL-terminated words of the command line of ts. cwd_len bytes: its directory, the last one a
 * NUL, or 0: the client's. env_len bytes: env_count NUL-terminated strings, NAME=VALUE or NAME for one to be unset. */
struct tsf_batch_job {
    uint32_t argc;
    uint32_t argv_len;
    uint32_t cwd_len;
    uint32_t env_count;
    uint32_t env_len;
};

struct tsf_added {
    uint64_t first; /* the ids are this one and the following ones */
    uint32_t count;
    uint32_t reserved;
};

enum tsf_refusal {
    TSF_REFUSED_JOB = 1,    /* its words */
    TSF_REFUSED_ID = 2,     /* it is to wait for a job that does not exist */
    TSF_REFUSED_FULL = 3,   /* no room in the queue (-B, or the frame is larger than the queue may be) */
    TSF_REFUSED_SYSTEM = 4, /* memory, disk */
    TSF_REFUSED_CALLER = 5  /* its directory is gone */
};

struct tsf_refused {
    uint32_t place; /* of the job in its frame, UINT32_MAX: it is none's fault alone */
    int32_t reason; /* enum tsf_refusal */
};

struct tsf_code {
    int32_t code;
};

struct tsf_moment {
    int64_t seconds; /* since 1970; shown by strftime as TSF_MOMENT_FORMAT */
};

#define TSF_MOMENT_FORMAT "%a %b %e %H:%M:%S %Y\n"

struct tsf_follow {
    int32_t lines; /* begin this many lines before the end, -1: at the start */
};

struct tsf_watch {
    uint64_t since; /* number of an event: later ones come first; 0: only new events */
};

enum tsf_event_kind {
    TSF_EVENT_CHANGE = 0, /* a job is in another state */
    TSF_EVENT_HEAD = 1,   /* the first one: the newest event has this number; nothing is missed from here on */
    TSF_EVENT_GAP = 2     /* the events up to this number are missing */
};

struct tsf_event {
    uint64_t seq; /* grows by 1; begins with the time of the server's start, in microseconds */
    uint64_t id;
    uint64_t time_ns; /* CLOCK_REALTIME */
    int32_t status;   /* from wait(2), if `waited` */
    uint8_t state;    /* enum tsf_state */
    uint8_t kind;     /* enum tsf_event_kind; all but CHANGE have only number and time */
    uint8_t waited;
    uint8_t end;      /* enum tsf_end, once it has ended */
    uint8_t tries;    /* that have ended before this one */
    uint8_t group;    /* tsf_cold.group */
    uint8_t reserved[6];
};

_Static_assert(sizeof(struct tsf_event) == 40, "no padding");
_Static_assert(sizeof(struct tsf_frame) == 16, "no padding");
_Static_assert(sizeof(struct tsf_counted) == 40 && sizeof(struct tsf_request) == 56 + 16 * TSF_LIMITS + 56,
               "no padding");
_Static_assert(sizeof(struct tsf_batch) == 24 && sizeof(struct tsf_batch_part) == 16, "no padding");
_Static_assert(sizeof(struct tsf_batch_job) == 20 && sizeof(struct tsf_added) == 16, "no padding");
_Static_assert(sizeof(struct tsf_refused) == 8, "no padding");

#endif
