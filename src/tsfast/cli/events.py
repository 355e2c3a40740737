"""`tsfast events`: a line for each change of a job, as it happens."""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable

from tsfast.base.text import as_line
from tsfast.cli import parsing
from tsfast.client import events
from tsfast.client.errors import QueueError
from tsfast.client.events import Event, EventStream


def run(words: list[str]) -> int:
    """The exit code."""
    options = parsing.parse("events", words)
    if isinstance(options, int):
        return options
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    form = as_json if options.json else as_text
    try:
        with EventStream(since=options.since) as stream:
            return show(stream, form)
    except (QueueError, OSError) as error:
        os.write(2, as_line(f"tsfast: {error}"))
        return 255


def show(stream: EventStream, form: Callable[[Event], str]) -> int:
    """Print lines until their reader is gone."""
    watched = select.poll()
    watched.register(stream.fileno(), select.POLLIN)
    watched.register(1, 0)  # tells when its reader is gone, which a write would only with the next event
    while all(fd != 1 for fd, _ in watched.poll()):
        text = "".join(map(form, stream.read(0)))
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            break
    os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
    return 141  # as a shell shows a death by SIGPIPE


def ending(event: Event) -> tuple[int | None, int | None]:
    """The exit code of an ended job, or the signal that ended it."""
    if event.status is None:
        return None, None
    code = os.waitstatus_to_exitcode(event.status)
    return (code, None) if code >= 0 else (None, -code)


def as_json(event: Event) -> str:
    told: dict[str, object] = {"kind": event.kind, "seq": event.seq, "time": event.time}
    if event.kind == events.CHANGE:
        code, signal_number = ending(event)
        told |= {"id": event.id, "state": event.state, "exit_code": code, "signal": signal_number}
    return json.dumps(told) + "\n"


def as_text(event: Event) -> str:
    if event.kind == events.HEAD:
        return ""
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time)) + f".{int(event.time * 1000) % 1000:03}"
    if event.kind == events.GAP:
        return f"{moment}  changes before this line are missing: look at the list\n"
    code, signal_number = ending(event)
    how = f"{code}" if code is not None else f"signal {signal_number}" if signal_number is not None else ""
    return f"{moment}  {event.id:<6}  {event.state:<13}  {how}".rstrip() + "\n"
