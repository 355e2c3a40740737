"""The findings of a check, and parallel checks, each in a process of its own.

So none can delay the others: neither one that waits for a dead network file system or a driver, nor one whose module
crashes.
"""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

OK, WARNING, ERROR = "ok", "warning", "error"
CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Finding:
    level: str
    check: str
    text: str
    advice: str = ""


def ok(check: str, text: str) -> Finding:
    return Finding(OK, check, text)


def warning(check: str, text: str, advice: str) -> Finding:
    return Finding(WARNING, check, text, advice)


def error(check: str, text: str, advice: str) -> Finding:
    return Finding(ERROR, check, text, advice)


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    find: Callable[[], Iterator[Finding]]
    seconds: float


class _Running:
    """A check in its process, and its findings so far."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self.data = b""
        self.deadline = time.monotonic() + check.seconds
        self.fd, write_end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _be(check, write_end)
        os.close(write_end)

    def read(self) -> bool:
        """Read what has arrived; whether more may come."""
        data = os.read(self.fd, CHUNK)
        self.data += data
        return bool(data)

    def findings(self, late: bool) -> Iterator[Finding]:
        """Its findings, and how it ended if it failed."""
        os.close(self.fd)
        name = self.check.name
        for line in self.data.split(b"\n")[:-1]:
            yield Finding(**json.loads(line))
        if late:
            os.kill(self.pid, signal.SIGKILL)  # not waited for: one that hangs in the kernel cannot be ended
            text = f"the check did not end within {self.check.seconds:g} s"
            what = "a file system, a driver or a process does not answer, or the machine is slow: try --timeout 60"
            yield error(name, text, what)
            return
        _, status = os.waitpid(self.pid, 0)
        if os.WIFSIGNALED(status):
            yield error(name, f"the check died of signal {os.WTERMSIG(status)}", "install tsfast-spooler again")


def _be(check: Check, fd: int) -> None:
    """The process of a check; never returns."""
    code = 0
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        for finding in check.find():
            os.write(fd, json.dumps(asdict(finding)).encode() + b"\n")
    except BaseException as failure:
        what = f"the check failed: {type(failure).__name__}: {failure}"
        os.write(fd, json.dumps(asdict(error(check.name, what, "please report this"))).encode() + b"\n")
        code = 1
    finally:
        os._exit(code)


def together(checks: list[Check]) -> Iterator[Finding]:
    """All findings, in the order of the checks."""
    sys.stdout.flush()  # each child would inherit the buffer's content
    running = [_Running(check) for check in checks]
    left = {one.fd: one for one in running}
    poll = select.poll()
    for fd in left:
        poll.register(fd, select.POLLIN)
    while left:
        now = time.monotonic()
        for one in [one for one in left.values() if one.deadline <= now]:
            poll.unregister(one.fd)
            del left[one.fd]
        nearest = min((one.deadline for one in left.values()), default=now)
        for fd, _ in poll.poll(max(0, int((nearest - now) * 1000) + 1)) if left else ():
            if not left[fd].read():
                left[fd].deadline = float("inf")
                poll.unregister(fd)
                del left[fd]
    for one in running:
        yield from one.findings(late=one.deadline != float("inf"))
