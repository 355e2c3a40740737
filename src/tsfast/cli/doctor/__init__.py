"""`tsfast doctor`: checks the installation and the queue, and gives advice. It changes nothing."""

import json
import os
import signal
import sys
from dataclasses import asdict

from tsfast.base.text import shown
from tsfast.cli import parsing
from tsfast.cli.doctor import directories, inherited, installation, machine, server, variables
from tsfast.cli.doctor.finding import ERROR, OK, WARNING, Check, Finding, together

PATIENCE_S = 10.0
GPUS_S = 600.0  # they have time limits of their own: many GPUs may have to wake up, one after the other


def run(words: list[str]) -> int:
    """The exit code: 0, or 1 for an error, with --strict for a warning too."""
    options = parsing.parse("doctor", words)
    if isinstance(options, int):
        return options
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    findings = list(together(checks(options.timeout)))
    text = json.dumps([asdict(one) for one in findings], indent=2) + "\n" if options.json else lines(findings)
    try:
        sys.stdout.buffer.write(text.encode("utf-8", "replace"))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
        return 141  # as a shell shows a death by SIGPIPE
    bad = {ERROR, WARNING} if options.strict else {ERROR}
    return int(any(one.level in bad for one in findings))


def checks(given: float | None) -> list[Check]:
    """The checks in the order of their display. Those with a time limit of their own end a little earlier, with a
    reason. given: the seconds of --timeout."""
    seconds = PATIENCE_S if given is None else given
    own = 0.8 * seconds
    of_queue = [
        Check("server", lambda: server.check(own), seconds),
        Check(inherited.NAME, inherited.check, seconds),
        Check("state", directories.state_directory, seconds),
        Check("output", lambda: directories.log_directory(own), seconds),
        Check("queue", directories.queue, seconds),
    ]
    return [
        Check("package", installation.package, seconds),
        Check("launcher", lambda: installation.launcher(own), seconds),
        Check("runner", installation.runner, seconds),
        Check("path", installation.path, seconds),
        Check("extras", installation.extras, seconds),
        Check("variables", variables.check, seconds),
        Check("socket", server.name, seconds),
        *(of_queue if server.is_named() else []),
        Check("limits", machine.limits, seconds),
        Check("clock", machine.clock, seconds),
        Check("gpus", lambda: machine.devices(None if given is None else own), GPUS_S if given is None else seconds),
        *([Check("other queues", directories.others, seconds)] if server.is_named() else []),
    ]


def lines(findings: list[Finding]) -> str:
    """One line each: level, check, finding; advice."""
    width = max((len(one.check) for one in findings), default=0)
    text = ""
    for one in findings:
        found = f"{one.text}; {one.advice}" if one.advice and one.level != OK else one.text
        text += shown(f"{one.level:<7}  {one.check:<{width}}  {found}") + "\n"
    return text
