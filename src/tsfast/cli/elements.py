"""`-c` and `-t` of an array: the outputs of its elements, each after a line `==> PATH <==`, as tail prints it."""

import os
import select
import signal
import sys
import zlib
from typing import TYPE_CHECKING

from tsfast.base.text import as_line, oneline
from tsfast.cli.compressed import CHUNK, LOOK_AGAIN_S, TAIL_KEPT, Reader, last_lines
from tsfast.client.errors import QueueError
from tsfast.location import paths, state

if TYPE_CHECKING:
    from tsfast.render.listing import WholeJob

ENDS_SHOWN = 10


class Plain:
    """The content of a growing file."""

    def __init__(self, path: bytes, last: int | None = None) -> None:
        """last: start at most so many bytes before its end."""
        self.file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
        if last is not None and (size := os.fstat(self.file).st_size) > last:
            os.lseek(self.file, size - last, os.SEEK_SET)

    def read(self) -> bytes:
        return os.read(self.file, CHUNK)


class Waiter:
    """A `ts -w` of the array: its exit code is ours, and its message comes last."""

    def __init__(self) -> None:
        self.words = os.memfd_create("words", 0)
        self.pid = 0
        self.code: int | None = None

    def start(self, launcher: str, array: int) -> None:
        environment = {name: value for name, value in os.environb.items() if name != b"TSFAST_ANSWER"}
        actions: list[tuple[int, int, str, int, int] | tuple[int, int, int]] = [
            (os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1)
        ]
        actions.append((os.POSIX_SPAWN_DUP2, self.words, 2))
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # otherwise it could begin unnoticed
        try:
            words = ["ts", "-w", str(array)]
            self.pid = os.posix_spawn(launcher, words, environment, file_actions=actions, setsigmask=before)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def ended(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status) & 255
        return self.code is not None

    def finish(self) -> int:
        """Its exit code, after everything has been shown."""
        while not self.ended():
            select.select([], [], [], LOOK_AGAIN_S)
        os.write(2, os.pread(self.words, CHUNK, 0))
        return self.code or 0

    def stop(self) -> None:
        if self.pid and self.code is None:
            os.kill(self.pid, signal.SIGTERM)


class Elements:
    def __init__(self, first: int, count: int) -> None:
        """Raises paths.StateError, QueueError, OSError."""
        from tsfast.client.reader import NONE, QUEUED, RUNNING, STARTING
        from tsfast.client.reader import Reader as TableReader

        place = state.find(paths.canonical(paths.socket_path()), os.environ)
        if place is None:
            raise QueueError("there is no queue any more")
        self.table = TableReader(state.open_place(place))
        self.known = NONE
        self.waiting = (QUEUED,)
        self.live = (QUEUED, STARTING, RUNNING)
        self.ids = [id for id in range(first, first + count) if self.table.state(id) != self.known]
        self.shown = 0
        self.lost = 0

    # ---- -c

    def show(self, waiter: Waiter) -> None:
        for id in self.ids:
            self._show_one(id, waiter)

    def _show_one(self, id: int, waiter: Waiter) -> None:
        reader = None
        while True:
            done = waiter.ended()  # checked first: a job that no longer runs has written everything
            now = self.table.state(id)
            if reader is None and now not in self.waiting:
                job = self._job(id)
                if job is None:
                    self.lost += 1
                    return
                if job["output"]:
                    reader = self._begin(job)
            if reader is not None:
                while text := reader.read():
                    sys.stdout.buffer.write(text)
            sys.stdout.buffer.flush()
            if done or now not in self.live:
                break
            select.select([], [], [], LOOK_AGAIN_S)
        if reader is not None:
            os.close(reader.file)

    def _job(self, id: int) -> "WholeJob | None":
        return self.table.job(id) if self.table.state(id) != self.known else None

    def _begin(self, job: "WholeJob") -> Plain | Reader:
        self._head(job["output"])
        return Reader(job["output"]) if job["gzip"] else Plain(job["output"])

    def _head(self, path: bytes) -> None:
        sys.stdout.buffer.write((b"\n" if self.shown else b"") + b"==> " + oneline(path) + b" <==\n")
        self.shown += 1

    # ---- -t

    def show_ends(self, lines: int) -> int:
        """The elements that run and started last, or else those that ended last; and how many more of them there
        are."""
        ids = [id for id in self.ids if self.table.state(id) in self.live and self.table.state(id) not in self.waiting]
        if not ids:
            ids = [id for id in self.ids if self.table.state(id) not in self.live]
        jobs = sorted((self._moment(id), id) for id in ids)
        for id in sorted(id for _, id in jobs[-ENDS_SHOWN:]):
            job = self._job(id)
            if job is not None and job["output"]:
                self._head(job["output"])
                sys.stdout.buffer.write(last_lines(self._end_of(job), lines))
        sys.stdout.buffer.flush()
        return max(0, len(jobs) - ENDS_SHOWN)

    def _moment(self, id: int) -> int:
        result = self.table.result(id)
        return result.start_ns + result.duration_ns if result is not None else 0

    @staticmethod
    def _end_of(job: "WholeJob") -> bytes:
        reader = Reader(job["output"]) if job["gzip"] else Plain(job["output"], TAIL_KEPT)
        text = b""
        while piece := reader.read():
            text = (text + piece)[-TAIL_KEPT:]
        os.close(reader.file)
        return text


def complain(text: str) -> int:
    os.write(2, as_line(f"ts: {text}"))
    return 255


def show(launcher: str, answer: bytes, lines: int | None) -> int:
    """The array for which the server has replied `array FIRST COUNT`: all its output until it ends, and the exit code
    of `-w`; or the last lines of a few elements."""
    first, count = (int(word) for word in answer.split()[1:3])
    waiter = None
    try:
        elements = Elements(first, count)
        if all(job["no_output"] for id in elements.ids[:1] if (job := elements.table.job(id)) is not None):
            return complain(f"array {first} was added with -n: its output is not stored")
        if lines is not None:
            more = elements.show_ends(lines)
            if elements.shown == 0:
                return complain(f"no element of array {first} has output yet")
            if more:
                os.write(2, as_line(f"ts: {more} more like these; name an element to see it, as {first}[7]"))
            return 0
        waiter = Waiter()
        waiter.start(launcher, first)
        elements.show(waiter)
        code = waiter.finish()
        if elements.lost:
            return complain(f"{elements.lost} of {count} elements were forgotten before their output was shown")
        return code
    except BrokenPipeError:
        os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
        return 141  # as a shell shows a death by SIGPIPE
    except (paths.StateError, QueueError, OSError, zlib.error) as error:
        return complain(str(error))
    finally:
        if waiter is not None:
            waiter.stop()
