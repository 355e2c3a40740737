# --- Help, made once from the table

_TITLES = (
    "Queueing a command:",
    "Looking at jobs:",
    "Following a job; these exit as the job does:",
    "Changing the queue:",
    "About:",
)


# Named in the help of another option, and so without a line of their own.
_NAMED_ELSEWHERE = {
    "append", "truncate", "get_logdir", "setenv", "unsetenv", "help", "version", "vram", "wait-all",
    "get_gpu_free_perc", "get_gpu_wait", "set_gpu_wait", "l", "batch", "T",
}


def options():
    """The rows of the table, for completions and the manual page."""
    rows = []
    for option in TABLE:
        if option.group == HIDDEN:
            continue
        rows.append({
            "letter": chr(option.letter) if option.letter else "",
            "name": option.name.decode(),
            "operand": option.operand.decode(),
            "optional": option.takes == VALUE_UNLESS_LAST or option.takes == VALUE_OR_RUN_LAST,
            "without": "" if option.takes < VALUE_UNLESS_LAST or b"ID" not in option.operand
                       else "the job run last" if option.takes == VALUE_OR_RUN_LAST else "the job added last",
            "action": 0 <= option.does < SET_NO_OUTPUT,
            "group": _TITLES[option.group].rstrip(":"),
            "help": option.help.decode(),
        })
    return rows


def _make_help():
    lines = ["ts [options] command [argument...]   queue a command (--batch FILE: each line)",
             "ts [option]                          without one, or with -l: list of the jobs",
             "ts -h, --help                        this text (-V, --version: the version)"]
    rows = options()
    for title in _TITLES:
        if title == "About:":
            continue                     # its options stand in the first lines
        lines.append(title)
        for row in rows:
            if row["group"] == title.rstrip(":") and (row["name"] or row["letter"]) not in _NAMED_ELSEWHERE:
                names = [f"-{row['letter']}"] if row["letter"] else ["   "]
                if row["name"]:
                    names.append(f"--{row['name']}")
                left = ", ".join(names).replace("   , ", "    ") + (" " + row["operand"] if row["operand"] else "")
                footnote = " *" if row["without"] == "the job run last" else ""
                lines.append(f"  {left:<23} {row['help']}{footnote}")
    lines.append("IDS: 3,7-12,5[7], or filters like state=failed label~train (-l takes them too).")
    lines.append("Without, as the last word: the job added last; *: run last.")
    lines.append("More: tsfast gpus, events, doctor, stop, install-service, serve (-h: options).")
    return "\n".join(lines).encode() + b"\n"


cdef bytes _help = _make_help()
cdef const char *_help_start = _help


cdef const char *help_text() noexcept nogil:
    return _help_start


def help_bytes():
    return _help


# --- For Python and the tests

class GrammarError(ValueError):
    """A wrong command line; the text is one line for the user."""


def spelling_of(int action):
    """The option of an action, as it can be given; empty for a submission."""
    cdef char[32] name
    cdef int i
    for i in range(OPTIONS):
        if TABLE[i].does == action:
            return spelling(name, &TABLE[i]).decode()
    return ""


cdef dict _as_dict(const Command *command):
    cdef size_t i
    return {
        "action": command.action,
        "format": command.format,
        "id": command.id if command.has_id else None,
        "id2": command.id2 if command.action == ACTION_SWAP else None,
        "number": command.number if command.has_number else None,
        "text": None if command.text == NULL else <bytes>command.text,
        "flags": command.flags,
        "no_block": bool(command.no_block),
        "after_last": bool(command.after_last),
        "slots": command.slots,
        "gpus": command.gpus,
        "gpu_share": command.gpu_share,
        "vram": command.vram,
        "gpu_exact": None if command.gpu_exact == NULL else <bytes>command.gpu_exact,
        "label": None if command.label == NULL else <bytes>command.label,
        "name": None if command.name == NULL else <bytes>command.name,
        "env_text": None if command.env_text == NULL else <bytes>command.env_text,
        "log": None if command.log == NULL else <bytes>command.log,
        "array": (command.array_first, command.array_count, command.array_limit) if command.array_count else None,
        "after": [command.after[i] for i in range(command.n_after)],
        "after_ok": [command.after_ok[i] for i in range(command.n_after_ok)],
        "words": command.words,
        "ranges": [(command.ranges[i].first, command.ranges[i].last)
                   + ((command.ranges[i].index, command.ranges[i].last_index) if command.ranges[i].element else ())
                   for i in range(command.n_ranges)],
        "filters": command.n_filters,
    }


def parse_words(list words not None):
    """The command line as a dictionary with the fields of `Command`; absent values are None."""
    cdef Command command
    cdef const char **argv
    cdef Py_ssize_t i, count = len(words)
    cdef const char *word
    if count > INT_MAX:
        raise GrammarError("too many words")
    argv = <const char **>malloc((<size_t>count + 1) * sizeof(char *))
    if argv == NULL:
        raise MemoryError
    try:
        for i in range(count):
            if not isinstance(words[i], bytes) or b"\0" in words[i]:
                raise TypeError("words are bytes without NUL")
            word = words[i]
            argv[i] = word
        if parse(argv, <int>count, &command) < 0:
            raise GrammarError((<bytes>command.error).decode(errors="replace"))
        try:
            return _as_dict(&command)
        finally:
            command_free(&command)
    finally:
        free(argv)


ACTIONS = {
    "list": ACTION_LIST, "submit": ACTION_SUBMIT, "slots": ACTION_SLOTS, "tail": ACTION_TAIL, "cat": ACTION_CAT,
    "pid": ACTION_PID, "output": ACTION_OUTPUT, "info": ACTION_INFO, "state": ACTION_STATE, "remove": ACTION_REMOVE,
    "wait": ACTION_WAIT, "wait_all": ACTION_WAIT_ALL, "kill": ACTION_KILL, "cancel": ACTION_CANCEL,
    "kill_all": ACTION_KILL_ALL,
    "urgent": ACTION_URGENT, "swap": ACTION_SWAP, "clear": ACTION_CLEAR, "kill_server": ACTION_KILL_SERVER,
    "count_running": ACTION_COUNT_RUNNING, "last_id": ACTION_LAST_ID, "label": ACTION_LABEL,
    "full_command": ACTION_FULL_COMMAND, "why": ACTION_WHY, "get_logdir": ACTION_GET_LOGDIR,
    "set_logdir": ACTION_SET_LOGDIR, "getenv": ACTION_GETENV, "setenv": ACTION_SETENV, "unsetenv": ACTION_UNSETENV,
    "gpus": ACTION_GPUS, "get_gpu_free_perc": ACTION_GET_GPU_FREE, "set_gpu_free_perc": ACTION_SET_GPU_FREE,
    "get_gpu_wait": ACTION_GET_GPU_WAIT, "set_gpu_wait": ACTION_SET_GPU_WAIT,
    "batch": ACTION_BATCH, "help": ACTION_HELP, "version": ACTION_VERSION,
}
FLAGS = {
    "no_output": TSF_JOB_NO_OUTPUT, "foreground": TSF_JOB_FOREGROUND, "split_stderr": TSF_JOB_SPLIT_STDERR,
    "log": TSF_JOB_LOG, "append": TSF_JOB_APPEND, "truncate": TSF_JOB_TRUNCATE,
    "gzip": TSF_JOB_GZIP, "array": TSF_JOB_ARRAY,
}
FORMATS = {"default": FORMAT_DEFAULT, "json": FORMAT_JSON, "tab": FORMAT_TAB}
