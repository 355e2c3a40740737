"""The commands that `tsfast` has besides the words of `ts`. Each has options of its own.

The parsers, the manual page, the completions and a page of the documentation come from this table. Each call of
`tsfast` reads it, so it imports nothing.
"""


class Option:
    """One option; without an operand it is a flag."""

    def __init__(self, name: str, help: str, operand: str = "", default: float | None = None) -> None:
        self.name = name
        self.help = help
        self.operand = operand
        self.default = default


class Command:
    """One command of `tsfast`: `place` is the function that runs it, "module:function"; it takes the words that follow
    and returns the exit code. Exclusive: at most one of the options in a call.
    """

    def __init__(self, place: str, help: str, *options: Option, exclusive: bool = False) -> None:
        self.place = place
        self.help = help
        self.options = options
        self.exclusive = exclusive


COMMANDS = {
    "gpus": Command(
        "tsfast.cli.gpus:run",
        "show the GPUs of the machine, and the holder of each",
        Option("json", "as a JSON array"),
        Option("gpus", "free for a job of -G NUM", "NUM"),
        Option("vram", "free for a job of --vram SIZE", "SIZE"),
        Option("timeout", "patience with each answer of NVML (10 s; 60 s while it starts)", "S"),
    ),
    "events": Command(
        "tsfast.cli.events:run",
        "show each change of a job as it happens, one per line",
        Option("json", "as one JSON object a line"),
        Option("since", "begin after this event (1: with the oldest known)", "SEQ"),
    ),
    "doctor": Command(
        "tsfast.cli.doctor:run",
        "check the installation, the queue and the machine, and give advice",
        Option("json", "as a JSON array"),
        Option("strict", "exit with 1 for warnings too"),
        Option("timeout", "time for each check (10 s; longer for GPUs that have to wake up)", "S"),
    ),
    "stop": Command(
        "tsfast.cli.stop:run",
        "stop the server, but keep the queue; running jobs continue, and the next call starts a server",
        Option("timeout", "how long to wait for its end (10 s)", "S", 10.0),
    ),
    "install-service": Command(
        "tsfast.cli.service:run",
        "let systemd keep a server for the queue, across logout and reboot",
        Option("print", "only show the unit"),
        Option("uninstall", "stop the service and remove the unit; the queue stays"),
        exclusive=True,
    ),
    "serve": Command(
        "tsfast.cli.service:serve",
        "run the server of the queue in the foreground; SIGTERM stops it and keeps the queue",
        Option("after", "what the service runs after it: SIGTERM to the jobs if the machine goes down"),
    ),
}

# Words that later releases give a meaning. They queue nothing already, so that no script comes to depend on that.
RESERVED = frozenset("top web history report trace metrics status queues config reload".split())
