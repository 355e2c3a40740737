# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""The option table and what its rows do.

The rules are those of getopt in POSIX order: options stop at the first word that is not one, `--` ends them, short ones
can be clustered, long ones shortened as long as one candidate is left. Two rules are this program's own: the argument
of VALUE_UNLESS_LAST and VALUE_OR_RUN_LAST can be absent only where the option is the last word, and options of a
submission are ignored where there is nothing to submit.
"""
from libc.limits cimport INT_MAX
from libc.stdint cimport uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memset, strchr, strlen, strncmp, strstr

from tsfast.layout.gpus cimport TSF_GPUS, TSF_GPU_WHOLE
from tsfast.layout.table cimport (
    TSF_JOB_APPEND, TSF_JOB_ARRAY, TSF_JOB_FOREGROUND, TSF_JOB_GZIP, TSF_JOB_LOG, TSF_JOB_MAIL, TSF_JOB_NO_OUTPUT,
    TSF_JOB_SPLIT_STDERR, TSF_JOB_TRUNCATE, TSF_JOB_VOLATILE,
)
from tsfast.base.limits cimport ARRAY_MAX, ENV_TEXT_MAX
from tsfast.grammar.numbers cimport read_decimal, read_number, read_range, read_size
from tsfast.grammar.selectors cimport Filter, is_filter, read_filter
from tsfast.grammar.words cimport is_word
from tsfast.base.text cimport tsf_show

cdef enum:
    MAX_LABEL = 65536
    MAX_NAME = 200
    MAX_RANGES = 65536
    MAX_FILTERS = 64
    MAX_DEPENDENCIES = 1000000    # of a range in -D and -W
    MAX_LOG = 4095
    MAX_SLOTS = 1000000
    MAX_GPU_LIST = 65535
    MAX_SECONDS = 1000000
    SHOWN = 60                # bytes of a wrong value that an error repeats
    OPTIONS = 56
    MAX_INDEX = 1000000000

cdef enum Takes:
    NOTHING
    VALUE
    VALUE_UNLESS_LAST         # without: the job added last, if it is an id
    VALUE_OR_RUN_LAST         # likewise, but the job run last

# What an option does: an ActionKind, or one of these.
cdef enum Does:
    SET_NO_OUTPUT = 100
    SET_FOREGROUND
    SET_SPLIT_STDERR
    SET_NO_BLOCK
    SET_AFTER_LAST
    SET_AFTER
    SET_AFTER_OK
    SET_LABEL
    SET_NAME
    SET_SLOTS
    SET_MAIL
    SET_ENV_TEXT
    SET_LOG
    SET_APPEND
    SET_TRUNCATE
    SET_GZIP
    SET_GPUS
    SET_VRAM
    SET_ARRAY

cdef enum Kind:               # of the argument
    NO_KIND
    ID
    ID_SET                    # 3,7-12
    IDS
    ID_PAIR
    COUNT                     # 1..MAX_SLOTS
    COUNT_OR_0
    FORMAT
    LABEL
    NAME
    PATH
    VARIABLE                  # a name without =
    ASSIGNMENT                # NAME=VALUE
    ENV_TEXT
    LOG
    GPU_COUNT                 # 2, or a part of one: 0.5
    GPU_LIST                  # indices and UUIDs: 0,3,GPU-...
    MEMORY                    # 20G
    PERCENT                   # 1..100
    SECONDS
    ARRAY                     # 1-1000, 1-1000%50

cdef enum Group:              # as the help shows them
    QUEUEING
    LOOKING
    FOLLOWING
    CHANGING
    ABOUT
    HIDDEN                    # for tsfast itself

cdef struct Option:
    char letter               # 0: it has none
    const char *name          # long name, empty: it has none
    int takes                 # Takes
    int kind                  # Kind
    int does                  # ActionKind or Does
    int group
    const char *operand       # as the help writes it
    const char *help

cdef const uint64_t MAX_ID = 0x7fffffffffffffff
cdef const uint64_t MAX_MEMORY = (1 << 50) - 1

# The only place that knows an option.
cdef Option[OPTIONS] TABLE = [
    Option(c"n", b"", NOTHING, NO_KIND, SET_NO_OUTPUT, QUEUEING, b"", b"do not store the output, print no id"),
    Option(c"f", b"", NOTHING, NO_KIND, SET_FOREGROUND, QUEUEING, b"",
           b"stay in the foreground (-nf: with this terminal)"),
    Option(c"z", b"", NOTHING, NO_KIND, SET_GZIP, QUEUEING, b"", b"compress the stored output"),
    Option(c"E", b"", NOTHING, NO_KIND, SET_SPLIT_STDERR, QUEUEING, b"", b"store stderr in a second file (.e)"),
    Option(c"O", b"", VALUE, NAME, SET_NAME, QUEUEING, b"NAME", b"call the output file NAME.XXXXXX"),
    Option(0, b"log", VALUE, LOG, SET_LOG, QUEUEING, b"PATH", b"exactly this output file (also: --append, --truncate)"),
    Option(0, b"append", NOTHING, NO_KIND, SET_APPEND, QUEUEING, b"",
           b"with --log: append to an existing file"),
    Option(0, b"truncate", NOTHING, NO_KIND, SET_TRUNCATE, QUEUEING, b"", b"with --log: empty an existing file"),
    Option(c"m", b"", NOTHING, NO_KIND, SET_MAIL, QUEUEING, b"", b"mail the result"),
    Option(c"d", b"", NOTHING, NO_KIND, SET_AFTER_LAST, QUEUEING, b"", b"run it after the job added last"),
    Option(c"D", b"", VALUE, IDS, SET_AFTER, QUEUEING, b"ID,...", b"run it after these, however they end"),
    Option(c"W", b"", VALUE, IDS, SET_AFTER_OK, QUEUEING, b"ID,...", b"run it only if all of these succeed"),
    Option(c"L", b"", VALUE, LABEL, SET_LABEL, QUEUEING, b"TEXT", b"label shown in the list"),
    Option(c"N", b"", VALUE, COUNT_OR_0, SET_SLOTS, QUEUEING, b"NUM", b"number of slots it takes (1)"),
    Option(c"G", b"gpus", VALUE, GPU_COUNT, SET_GPUS, QUEUEING, b"NUM",
           b"GPUs, or a share of one: 0.5 (--vram 20G: by memory)"),
    Option(0, b"vram", VALUE, MEMORY, SET_VRAM, QUEUEING, b"SIZE", b"this much memory of each GPU, which it may share"),
    Option(c"g", b"gpu_indices", VALUE_UNLESS_LAST, GPU_LIST, ACTION_GPUS, QUEUEING, b"[GPUS]",
           b"these GPUs, free or not; alone: which job has which"),
    Option(0, b"batch", VALUE, PATH, ACTION_BATCH, QUEUEING, b"FILE",
           b"queue each line of FILE (-: stdin); print the ids"),
    Option(0, b"array", VALUE, ARRAY, SET_ARRAY, QUEUEING, b"RANGE",
           b"jobs for {} = 1 to 100, at most 8 at once: 1-100%8"),
    Option(c"B", b"", NOTHING, NO_KIND, SET_NO_BLOCK, QUEUEING, b"", b"exit with 2 at once if the queue is full"),

    Option(c"l", b"", NOTHING, NO_KIND, ACTION_LIST, LOOKING, b"", b"list of the jobs"),
    Option(c"M", b"serialize", VALUE_UNLESS_LAST, FORMAT, ACTION_LIST, LOOKING, b"[FMT]",
           b"list of the jobs as default, json or tab"),
    Option(c"s", b"", VALUE_UNLESS_LAST, ID_SET, ACTION_STATE, LOOKING, b"[IDS]", b"state of the job"),
    Option(c"i", b"", VALUE_OR_RUN_LAST, ID_SET, ACTION_INFO, LOOKING, b"[IDS]", b"everything known about the job"),
    Option(0, b"why", VALUE_UNLESS_LAST, ID_SET, ACTION_WHY, LOOKING, b"[IDS]",
           b"what it waits for, or why it ended"),
    Option(c"F", b"full_cmd", VALUE_UNLESS_LAST, ID, ACTION_FULL_COMMAND, LOOKING, b"[ID]", b"its whole command"),
    Option(c"a", b"get_label", VALUE_UNLESS_LAST, ID, ACTION_LABEL, LOOKING, b"[ID]", b"its label"),
    Option(c"o", b"", VALUE_OR_RUN_LAST, ID, ACTION_OUTPUT, LOOKING, b"[ID]", b"path of its output file"),
    Option(c"p", b"", VALUE_OR_RUN_LAST, ID, ACTION_PID, LOOKING, b"[ID]", b"its process id"),
    Option(c"q", b"last_queue_id", NOTHING, NO_KIND, ACTION_LAST_ID, LOOKING, b"", b"id of the job added last"),
    Option(c"R", b"count_running", NOTHING, NO_KIND, ACTION_COUNT_RUNNING, LOOKING, b"", b"how many jobs run"),

    Option(c"t", b"", VALUE_OR_RUN_LAST, ID, ACTION_TAIL, FOLLOWING, b"[ID]",
           b"last lines of its output; follow it until it ends"),
    Option(c"c", b"", VALUE_OR_RUN_LAST, ID, ACTION_CAT, FOLLOWING, b"[ID]",
           b"all of its output; follow it until it ends"),
    Option(c"w", b"", VALUE_UNLESS_LAST, ID_SET, ACTION_WAIT, FOLLOWING, b"[IDS]",
           b"wait until they have ended (--wait-all: all jobs)"),
    Option(0, b"wait-all", NOTHING, NO_KIND, ACTION_WAIT_ALL, FOLLOWING, b"",
           b"wait for all jobs that are queued or run now"),

    Option(c"S", b"", VALUE_UNLESS_LAST, COUNT, ACTION_SLOTS, CHANGING, b"[NUM]", b"show or set the number of slots"),
    Option(c"u", b"", VALUE_UNLESS_LAST, ID_SET, ACTION_URGENT, CHANGING, b"[IDS]", b"start this one next"),
    Option(c"U", b"", VALUE, ID_PAIR, ACTION_SWAP, CHANGING, b"ID-ID", b"swap two queued jobs"),
    Option(c"r", b"", VALUE_UNLESS_LAST, ID_SET, ACTION_REMOVE, CHANGING, b"[IDS]", b"remove a job that does not run"),
    Option(c"k", b"", VALUE_OR_RUN_LAST, ID_SET, ACTION_KILL, CHANGING, b"[IDS]",
           b"send SIGTERM to a running job (-T: to all that run)"),
    Option(0, b"cancel", VALUE_UNLESS_LAST, ID_SET, ACTION_CANCEL, CHANGING, b"[IDS]",
           b"take it out of the queue, or end all its processes"),
    Option(c"T", b"", NOTHING, NO_KIND, ACTION_KILL_ALL, CHANGING, b"", b"send SIGTERM to all running jobs"),
    Option(c"C", b"", NOTHING, NO_KIND, ACTION_CLEAR, CHANGING, b"", b"forget the jobs that have ended"),
    Option(0, b"get_logdir", NOTHING, NO_KIND, ACTION_GET_LOGDIR, CHANGING, b"", b"show where new output files go"),
    Option(0, b"set_logdir", VALUE, PATH, ACTION_SET_LOGDIR, CHANGING, b"PATH",
           b"where new output files go (--get_logdir shows it)"),
    Option(0, b"getenv", VALUE, VARIABLE, ACTION_GETENV, CHANGING, b"VAR",
           b"the server's environment (also: --setenv, --unsetenv)"),
    Option(0, b"setenv", VALUE, ASSIGNMENT, ACTION_SETENV, CHANGING, b"VAR=VAL", b"set a variable of the server"),
    Option(0, b"unsetenv", VALUE, VARIABLE, ACTION_UNSETENV, CHANGING, b"VAR", b"unset a variable of the server"),
    Option(0, b"get_gpu_free_perc", NOTHING, NO_KIND, ACTION_GET_GPU_FREE, CHANGING, b"",
           b"show how much free memory makes a GPU free"),
    Option(0, b"set_gpu_free_perc", VALUE, PERCENT, ACTION_SET_GPU_FREE, CHANGING, b"NUM",
           b"free memory of a free GPU in % (--set_gpu_wait)"),
    Option(0, b"get_gpu_wait", NOTHING, NO_KIND, ACTION_GET_GPU_WAIT, CHANGING, b"",
           b"show the pause after the start of a GPU job"),
    Option(0, b"set_gpu_wait", VALUE, SECONDS, ACTION_SET_GPU_WAIT, CHANGING, b"SEC",
           b"pause between the starts of GPU jobs"),
    Option(c"K", b"", NOTHING, NO_KIND, ACTION_KILL_SERVER, CHANGING, b"", b"stop the server and drop the queue"),

    Option(c"h", b"help", NOTHING, NO_KIND, ACTION_HELP, ABOUT, b"", b"this text (-V, --version: the version)"),
    Option(c"V", b"version", NOTHING, NO_KIND, ACTION_VERSION, ABOUT, b"", b"the version"),
    Option(0, b"text_of_ts_env", VALUE, ENV_TEXT, SET_ENV_TEXT, HIDDEN, b"TEXT", b""),
]


# --- Errors: one line; values are shortened and escaped for a terminal.

cdef void shown(char *room, const char *value, size_t size) noexcept nogil:
    """Writes `value` into room[SHOWN + 4]."""
    room[tsf_show(room, SHOWN, value, size)] = 0


cdef const char *spelling(char *room, const Option *option) noexcept nogil:
    """Writes the option as the user knows it into room[32]: -k, or --set_logdir if it has no letter."""
    if option.letter:
        snprintf(room, 32, "-%c", <int>option.letter)
    else:
        snprintf(room, 32, "--%s", option.name)
    return room


cdef int wrong_option(Command *command, const char *dashes, const char *value, size_t size) noexcept nogil:
    cdef char[SHOWN + 4] word
    shown(word, value, size)
    snprintf(command.error, sizeof(command.error), "unknown option '%s%s' (-h lists all)", dashes, <char *>word)
    return -1


cdef int wrong_value(Command *command, const Option *option, const char *value, size_t size,
                     const char *what) noexcept nogil:
    cdef char[SHOWN + 4] word
    cdef char[32] name
    shown(word, value, size)
    snprintf(command.error, sizeof(command.error), "%s: '%s' %s", spelling(name, option), <char *>word, what)
    return -1


cdef int option_error(Command *command, const Option *option, const char *what, const char *more) noexcept nogil:
    cdef char[32] name
    snprintf(command.error, sizeof(command.error), "%s %s%s", spelling(name, option), what, more)
    return -1


include "values.pxi"


# --- Options

cdef struct Parser:
    const char *const *argv
    int argc
    int at                    # the next word
    const Option *action      # the last one given, NULL: none


cdef int apply(Parser *parser, Command *command, const Option *option, const char *value) noexcept nogil:
    """`value`: the argument in the option's own word (-N2, --opt=2), otherwise NULL; takes the next word if
    necessary."""
    if option.takes == NOTHING:
        if value != NULL:
            return wrong_value(command, option, value, strlen(value), "is unexpected: the option takes no argument")
    elif value == NULL and parser.at < parser.argc:
        value = parser.argv[parser.at]
        parser.at += 1
    elif value == NULL and option.takes == VALUE:
        return option_error(command, option, "needs an argument: ", option.operand)

    if option.does < SET_NO_OUTPUT and not (option.kind == GPU_LIST and value != NULL):
        parser.action = option
        command.action = option.does
        command.has_id = command.has_number = False
        command.run_last = option.takes == VALUE_OR_RUN_LAST
        command.id = command.id2 = 0
        command.n_ranges = command.n_filters = 0
        command.number = 0
        command.text = NULL
        if option.kind == FORMAT:
            command.format = FORMAT_DEFAULT
    elif option.does == SET_NO_OUTPUT:
        command.flags |= TSF_JOB_NO_OUTPUT
    elif option.does == SET_FOREGROUND:
        command.flags |= TSF_JOB_FOREGROUND
    elif option.does == SET_SPLIT_STDERR:
        command.flags |= TSF_JOB_SPLIT_STDERR
    elif option.does == SET_MAIL:
        command.flags |= TSF_JOB_MAIL
    elif option.does == SET_NO_BLOCK:
        command.no_block = True
    elif option.does == SET_AFTER_LAST:
        command.after_last = True
    elif option.does == SET_LOG:
        command.flags |= TSF_JOB_LOG
    elif option.does == SET_APPEND:
        command.flags |= TSF_JOB_APPEND
    elif option.does == SET_TRUNCATE:
        command.flags |= TSF_JOB_TRUNCATE
    elif option.does == SET_GZIP:
        command.flags |= TSF_JOB_GZIP
    elif option.does == SET_ARRAY:
        command.flags |= TSF_JOB_ARRAY
    return 0 if value == NULL else read_value(command, option, value)


cdef int parse_cluster(Parser *parser, Command *command, const char *word) noexcept nogil:
    cdef const Option *option
    cdef int i
    while word[0]:
        option = NULL
        for i in range(OPTIONS):
            if TABLE[i].letter == word[0]:
                option = &TABLE[i]
                break
        if option == NULL:
            # The whole character, if it is one of several bytes
            i = 1
            while i < 4 and (<unsigned char>word[0] & 0xc0) == 0xc0 and (<unsigned char>word[i] & 0xc0) == 0x80:
                i += 1
            return wrong_option(command, b"-", word, <size_t>i)
        word += 1
        if option.takes == NOTHING:
            if apply(parser, command, option, NULL) < 0:
                return -1
        else:
            if word[0] == 0:
                word = NULL
            return apply(parser, command, option, word)
    return 0


cdef bint begins(const char *name, const char *word, size_t size) noexcept nogil:
    """Whether a long name begins so; - and _ are the same in it."""
    cdef size_t i
    for i in range(size):
        if name[i] != word[i] and not ((name[i] == c"-" or name[i] == c"_") and (word[i] == c"-" or word[i] == c"_")):
            return False
    return True


cdef int parse_long(Parser *parser, Command *command, const char *word) noexcept nogil:
    """`word`: after the two dashes. The whole name wins over longer names that begin with it."""
    cdef const char *equals = strchr(word, c"=")
    cdef size_t size = strlen(word) if equals == NULL else <size_t>(equals - word)
    cdef const Option *option = NULL
    cdef int i, candidates = 0
    cdef size_t used
    cdef char[SHOWN + 4] given
    for i in range(OPTIONS):
        if TABLE[i].group == HIDDEN and strlen(TABLE[i].name) != size:
            continue
        if size and begins(TABLE[i].name, word, size):
            option = &TABLE[i]
            candidates += 1
            if strlen(option.name) == size:
                candidates = 1
                break
    if candidates == 0:
        return wrong_option(command, b"--", word, size)
    if candidates == 1:
        if equals != NULL:
            equals += 1
        return apply(parser, command, option, equals)
    shown(given, word, size)
    used = <size_t>snprintf(command.error, sizeof(command.error), "--%s is ambiguous:", <char *>given)
    for i in range(OPTIONS):
        if used < sizeof(command.error) and begins(TABLE[i].name, word, size):
            used += <size_t>snprintf(command.error + used, sizeof(command.error) - used, " --%s", TABLE[i].name)
    return -1


cdef void settle_gpus(Command *command) noexcept nogil:
    """What -G and --vram mean together."""
    if command.vram:
        if command.gpu_share == 0:
            command.gpus = 1
        elif command.gpu_share == TSF_GPU_WHOLE:
            command.gpu_share = 0            # so much memory of each of several
    elif command.gpu_exact != NULL:
        command.gpu_share = TSF_GPU_WHOLE
    elif command.gpus == 0:
        command.gpu_share = 0


cdef int disagreement(Command *command) noexcept nogil:
    """Options of a submission that make no sense together."""
    cdef const char *what = NULL
    cdef uint32_t flags = command.flags
    if flags & TSF_JOB_APPEND and flags & TSF_JOB_TRUNCATE:
        what = b"--append and --truncate exclude each other"
    elif flags & (TSF_JOB_APPEND | TSF_JOB_TRUNCATE) and not flags & TSF_JOB_LOG:
        what = b"--append needs --log" if flags & TSF_JOB_APPEND else b"--truncate needs --log"
    elif flags & TSF_JOB_LOG and flags & TSF_JOB_NO_OUTPUT:
        what = b"--log and -n exclude each other"
    elif flags & TSF_JOB_LOG and command.name != NULL:
        what = b"--log and -O exclude each other"
    elif flags & TSF_JOB_ARRAY and flags & TSF_JOB_FOREGROUND:
        what = b"--array and -f exclude each other"
    elif (flags & TSF_JOB_ARRAY and flags & TSF_JOB_LOG and command.array_count > 1
          and not flags & TSF_JOB_APPEND
          and strstr(command.log, b"{id}") == NULL and strstr(command.log, b"{index}") == NULL):
        what = b"--array and --log: each element needs its own file; use {index} or {id} in the path"
    elif command.gpu_exact != NULL and (command.gpu_share or command.vram):
        what = b"-g names the GPUs, and excludes -G and --vram"
    elif command.vram and command.gpu_share and command.gpus == 0:
        what = b"--vram needs a GPU, and -G 0 asks for none"
    if what == NULL:
        settle_gpus(command)
        return 0
    snprintf(command.error, sizeof(command.error), "%s", what)
    return -1


cdef bint takes_selectors(const Option *action) noexcept nogil:
    """Whether the words behind an action choose its jobs."""
    return action.kind == ID_SET or action.does == ACTION_LIST


cdef int parse_words_after_options(Parser *parser, Command *command) noexcept nogil:
    cdef const char *word
    cdef char[SHOWN + 4] unexpected
    cdef char[32] name
    if parser.at >= parser.argc:
        return 0
    if parser.action == NULL:
        if command.flags & TSF_JOB_MAIL and command.flags & TSF_JOB_NO_OUTPUT:
            snprintf(command.error, sizeof(command.error), "-m mails the output, and -n stores none")
            return -1
        if command.flags & TSF_JOB_MAIL and command.flags & TSF_JOB_GZIP:
            snprintf(command.error, sizeof(command.error), "-m mails the output as it is, and -z compresses it")
            return -1
        command.action = ACTION_SUBMIT
        command.words = parser.at
        if command.flags & TSF_JOB_FOREGROUND and command.flags & TSF_JOB_NO_OUTPUT:
            command.flags |= TSF_JOB_VOLATILE
        if command.flags & TSF_JOB_NO_OUTPUT:
            command.flags &= ~<uint32_t> TSF_JOB_GZIP
        return disagreement(command)
    if command.action == ACTION_HELP or command.action == ACTION_VERSION:
        return 0
    word = parser.argv[parser.at]
    shown(unexpected, word, strlen(word))
    snprintf(command.error, sizeof(command.error), "unexpected '%s': %s takes %s argument", <char *>unexpected,
             spelling(name, parser.action), b"no" if parser.action.takes == NOTHING else b"one")
    return -1


cdef int parse(const char *const *argv, int argc, Command *command) noexcept nogil:
    cdef Parser parser
    cdef const char *word
    cdef int failed = 0
    memset(command, 0, sizeof(Command))
    command.slots = 1
    parser.argv = argv
    parser.argc = argc
    parser.at = 0
    parser.action = NULL
    while not failed and parser.at < argc:
        word = argv[parser.at]
        if word[0] != c"-" or word[1] == 0:
            if parser.action == NULL or not takes_selectors(parser.action):
                break
            parser.at += 1
            failed = read_selector(command, parser.action, word)
            continue
        parser.at += 1
        if word[1] != c"-":
            failed = parse_cluster(&parser, command, word + 1)
        elif word[2] == 0:
            break
        else:
            failed = parse_long(&parser, command, word + 2)
    if failed or parse_words_after_options(&parser, command) < 0:
        command_free(command)
        return -1
    return 0


cdef int add_id(uint64_t **ids, size_t *count, uint64_t id) noexcept nogil:
    cdef uint64_t *grown = <uint64_t *>realloc(ids[0], (count[0] + 1) * sizeof(uint64_t))
    if grown == NULL:
        return -1
    ids[0] = grown
    grown[count[0]] = id
    count[0] += 1
    return 0


cdef void command_free(Command *command) noexcept nogil:
    free(command.after)
    free(command.after_ok)
    free(command.ranges)
    free(command.filters)
    command.ranges = NULL
    command.filters = NULL
    command.n_ranges = command.n_filters = 0
    command.after = command.after_ok = NULL
    command.n_after = command.n_after_ok = 0


include "python.pxi"
