"""The command `tsfast`: the command line of `ts`, and commands that need Python, such as `tsfast gpus`.

The native launcher gets short replies from the server; it runs this program for what the server leaves to its clients
(lists of more than 2,000 jobs, paths, the command of TS_ENV), and to start a server if it cannot find the package
itself.
"""

import os
import sys

from tsfast.base.text import as_line
from tsfast.cli.commands import COMMANDS, RESERVED
from tsfast.location import programs

TYPE_CHECKING = False  # as in tsfast/__init__.py
if TYPE_CHECKING:
    from types import TracebackType


def end_quietly(kind: type[BaseException], error: BaseException, trace: "TracebackType | None") -> None:
    """Ctrl-C ends the program without a traceback, like any other; Python sends itself the signal after this."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)


def command() -> int:
    """The script `tsfast`. An installer's script cannot make the interpreter ignore the user's Python environment, so
    if there is one, this restarts without it."""
    if sys.executable and not sys.flags.ignore_environment and any(name.startswith(b"PYTHON") for name in os.environb):
        words = programs.isolated("cli.main", *sys.argv[1:], program=sys.argv[0], site=True)
        os.execve(words[0], words, programs.environment())
    return main()


def main() -> int:
    """Run the command line of the process; the exit code."""
    sys.excepthook = end_quietly
    words = sys.argv[1:]
    if words[:1] == ["--boot"]:
        from tsfast.daemon import boot

        boot.main(words[1:])
    if words[:1] in (["-h"], ["--help"]):  # as `ts` does: it needs no queue
        from tsfast.daemon import boot

        boot.print_help()
    if words and words[0] in COMMANDS:  # a job of that name comes from `ts` behind a --
        from importlib import import_module

        module, function = COMMANDS[words[0]].place.split(":")
        return int(getattr(import_module(module), function)(words[1:]))
    if words and words[0] in RESERVED:
        text = f"'{words[0]}' is a word of a later release; `ts {words[0]}` queues a command of that name"
        os.write(2, as_line(f"tsfast: {text}"))
        return 255
    from tsfast.grammar import options

    try:
        parsed = options.parse_words([os.fsencode(word) for word in words])
    except options.GrammarError as error:
        os.write(2, as_line(f"ts: {error}"))
        return 255
    if parsed["action"] == options.ACTIONS["list"]:
        from tsfast.cli import listing

        chosen = [os.fsencode(word) for word in words] if parsed["ranges"] or parsed["filters"] else None
        if (code := listing.run(parsed["format"], chosen)) is not None:
            return code
    elif parsed["filters"]:
        from tsfast.cli import selectors

        return selectors.run(options.spelling_of(parsed["action"]), words)
    if parsed["action"] == options.ACTIONS["batch"]:
        from tsfast.cli import batch

        return batch.run(os.fsdecode(parsed["text"] or b""), parsed["no_block"])
    if parsed["action"] == options.ACTIONS["set_logdir"]:
        from tsfast.cli import logdir

        return logdir.check(parsed["text"]) or launch(words, {b"TSFAST_LOGDIR_CHECKED": b"1"})
    follows = {options.ACTIONS["cat"]: None, options.ACTIONS["tail"]: 10}
    if parsed["action"] in follows and (answer := os.environb.get(b"TSFAST_ANSWER")):
        if answer.startswith(b"array "):
            from tsfast.cli import elements

            return elements.show(programs.launcher(), answer, follows[parsed["action"]])
        from tsfast.cli import compressed

        return compressed.show(programs.launcher(), answer, follows[parsed["action"]])
    if parsed["action"] == options.ACTIONS["submit"] and parsed["env_text"] is None and os.environ.get("TS_ENV"):
        from tsfast.cli import env

        if (completed := env.completed(words, os.environ["TS_ENV"])) is None:
            return 130
        words = completed
    if parsed["action"] == options.ACTIONS["submit"]:
        from tsfast.cli import log

        if log.wants_check(parsed):
            return log.check(parsed) or launch(words, log.mark())
    return launch(words)


def launch(words: list[str], marks: dict[bytes, bytes] | None = None) -> int:
    """Let the launcher ask the server. marks: variables for it."""
    launcher = programs.launcher()
    try:
        os.execve(launcher, ["ts", *words], {**programs.environment(), **(marks or {})})
    except OSError as error:
        what = f"the launcher {launcher} cannot be run: {error.strerror}" if launcher else "the launcher is not there"
        os.write(2, as_line(f"ts: {what}: install tsfast-spooler again"))
        return 255
