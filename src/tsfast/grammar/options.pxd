"""The one grammar of the command line: option table, getopt rules, values. Used by the server and the Python CLI.

Pure: no I/O, no environment. Texts are bytes as the user typed them; nothing is copied, pointers point into argv.
"""
from libc.stdint cimport uint32_t, uint64_t

from tsfast.grammar.selectors cimport Filter

cdef enum ActionKind:
    ACTION_LIST = 0
    ACTION_SUBMIT
    ACTION_SLOTS             # -S [N]: number = N, has_number
    ACTION_TAIL              # -t
    ACTION_CAT               # -c
    ACTION_PID               # -p
    ACTION_OUTPUT            # -o
    ACTION_INFO              # -i
    ACTION_STATE             # -s
    ACTION_REMOVE            # -r
    ACTION_WAIT              # -w
    ACTION_WAIT_ALL          # --wait-all
    ACTION_KILL              # -k
    ACTION_CANCEL            # --cancel
    ACTION_KILL_ALL          # -T
    ACTION_URGENT            # -u
    ACTION_WHY               # --why
    ACTION_SWAP              # -U id-id: id, id2
    ACTION_CLEAR             # -C
    ACTION_KILL_SERVER       # -K
    ACTION_COUNT_RUNNING     # -R
    ACTION_LAST_ID           # -q
    ACTION_LABEL             # -a
    ACTION_FULL_COMMAND      # -F
    ACTION_GET_LOGDIR
    ACTION_SET_LOGDIR        # text
    ACTION_GETENV            # text: a name
    ACTION_SETENV            # text: NAME=VALUE
    ACTION_UNSETENV          # text: a name
    ACTION_GPUS              # -g, the last word
    ACTION_GET_GPU_FREE
    ACTION_SET_GPU_FREE      # number: percent
    ACTION_GET_GPU_WAIT
    ACTION_SET_GPU_WAIT      # number: seconds
    ACTION_BATCH             # text: a file's path or -, no_block
    ACTION_HELP
    ACTION_VERSION

cdef enum ListFormat:
    FORMAT_DEFAULT = 0
    FORMAT_JSON
    FORMAT_TAB

cdef enum:
    PLACE_BIT = 63           # set in an id of -D and -W: it is `@N`, the Nth job of a batch

cdef struct IdRange:
    uint64_t first, last     # first <= last
    bint element             # id[index], id[from-to]: elements of the array `first`
    uint32_t index, last_index

cdef struct Command:
    int action               # ActionKind
    int format               # ListFormat, of ACTION_LIST
    bint has_id              # exactly one id
    bint run_last            # without an id: the job run last, not the one added last
    uint64_t id, id2
    IdRange *ranges          # -s -i -w -u -r -k --cancel: the ids as given, malloc'ed, freed by command_free. Of the
    size_t n_ranges          # actions that take one id only where it is an element of an array
    Filter *filters          # FIELD=VALUE behind an action, malloc'ed, freed by command_free: the caller's side turns
    size_t n_filters         # them into ids
    bint has_number
    uint32_t number
    const char *text
    # ACTION_SUBMIT
    uint32_t flags           # enum tsf_job_flag of native/table.h
    bint no_block            # -B
    bint after_last          # -d
    uint32_t slots           # -N, default 1
    uint32_t array_first     # --array: index of the first element
    uint32_t array_count     # how many, 0: no array
    uint32_t array_limit     # how many at once, 0: as many as can
    uint32_t gpus            # -G, --vram: how many it needs, 0: none. With -g: how many its list has
    uint32_t gpu_share       # thousandths of each, 1000: whole ones, 0: by memory alone
    uint64_t vram            # --vram: bytes of each, 0 if not given
    const char *gpu_exact    # -g: a list of indices and UUIDs, NULL if none
    const char *label        # NULL if none
    const char *name         # -O, NULL if none
    const char *env_text     # what the command of TS_ENV printed, NULL: it was not run
    const char *log          # --log, NULL if none
    uint64_t *after          # -D ids, malloc'ed, freed by command_free
    size_t n_after
    uint64_t *after_ok       # -W ids
    size_t n_after_ok
    int words                # index in argv of the first word of the job's command
    # when parse() returns -1: one line without newline, without the leading "ts: "
    char error[256]

# argv: the words after the program's name. 0, or -1 with `error` set (nothing to free then).
cdef int parse(const char *const *argv, int argc, Command *command) noexcept nogil
# One more id at the end of a malloc'ed list. 0, or -1 without memory.
cdef int add_id(uint64_t **ids, size_t *count, uint64_t id) noexcept nogil
cdef void command_free(Command *command) noexcept nogil
# The help text of -h, NUL-terminated, and of the version line's number.
cdef const char *help_text() noexcept nogil
