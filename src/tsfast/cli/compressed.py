"""`-c` and `-t` of a job with compressed output: show it as it is written, until the job ends."""

import os
import select
import sys
import zlib

from tsfast.base.text import as_line

LOOK_AGAIN_S = 0.1
CHUNK = 1 << 16
TAIL_KEPT = 1 << 20


class Reader:
    """The uncompressed text of a growing file; consecutive streams count as one."""

    def __init__(self, path: bytes) -> None:
        self.file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
        self.stream = zlib.decompressobj(31)

    def read(self) -> bytes:
        """The next piece, empty at the present end. Raises zlib.error."""
        while data := os.read(self.file, CHUNK):
            pieces = []
            while data:
                if self.stream.eof:
                    self.stream = zlib.decompressobj(31)
                pieces.append(self.stream.decompress(data))
                data = self.stream.unused_data
            if text := b"".join(pieces):
                return text
        return b""


def last_lines(text: bytes, lines: int) -> bytes:
    at = len(text) - text.endswith(b"\n")
    for _ in range(lines):
        at = text.rfind(b"\n", 0, at)
        if at < 0:
            return text
    return text[at + 1 :]


def show(launcher: str, answer: bytes, lines: int | None) -> int:
    """Show the output of the job for which the server has replied `ID PATH`, from its last lines on or all of it;
    returns the job's error level."""
    job, _, path = answer.partition(b" ")
    environment = {name: value for name, value in os.environb.items() if name != b"TSFAST_ANSWER"}
    nowhere = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1)]
    waiter = os.posix_spawn(launcher, ["ts", "-w", os.fsdecode(job)], environment, file_actions=nowhere)
    status = None
    try:
        reader = Reader(path)
        tail: bytes | None = b"" if lines is not None else None
        while True:
            while text := reader.read():
                if tail is None:
                    sys.stdout.buffer.write(text)
                else:
                    tail += text
                    if len(tail) > TAIL_KEPT:
                        tail = last_lines(tail, lines or 0)
            if tail is not None:
                sys.stdout.buffer.write(last_lines(tail, lines or 0))
                tail = None
            sys.stdout.buffer.flush()
            if status is not None:
                return os.waitstatus_to_exitcode(status) & 255
            status = ended(waiter)
    except BrokenPipeError:
        os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
        return 141  # as a shell shows a death by SIGPIPE
    except (OSError, zlib.error) as error:
        os.write(2, as_line(f"ts: {os.fsdecode(path)}: {error}"))
        return 255
    finally:
        if status is None:
            os.kill(waiter, 15)


def ended(child: int) -> int | None:
    """The wait status of the child if it has ended, or ends in a moment."""
    pid, status = os.waitpid(child, os.WNOHANG)
    if pid:
        return status
    select.select([], [], [], LOOK_AGAIN_S)
    return None
