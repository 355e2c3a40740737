"""Two spoolers behind one face: Debian's tsp and our ts, each with a directory, a socket and a server of its own.

What they print is brought to one form here, and only what is told by neither's promise is lost: times, the names of
output files, and how a word is quoted.
"""

import contextlib
import errno
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from support.installation import BIN
from support.patience import wait_until
from support.processes import kill
from support.queues import Queue

TSP = Path("/usr/bin/tsp")
TSP_VERSIONS = ("1.0.1", "1.0.3")  # of Debian 12, and of what will be Debian 14

ROW = re.compile(
    r"(?P<id>\d+) +(?P<state>queued|running|finished|skipped) +"
    r"(?P<output>\((?:file|no output|\.\.\.)\)|stdout|/\S+) +"
    r"(?:(?P<level>-?\d+) +)?(?:[\d.]+(?:/[\d.]+/[\d.]+|[smhd]) )? *(?P<command>.*)"
)
HEADER = re.compile(r"ID +State +Output +E-Level +Time\S* +Command \[run=(\d+)/(\d+)\]")

Row = tuple[int, str, str, str, str]


class Spooler(Queue):
    """Calls, jobs that end when told, and lists in one form."""

    name = ""

    def __init__(self, directory: Path, **environment: str) -> None:
        directory.mkdir()
        super().__init__(directory)
        self.environment.update(environment)
        self.started: dict[str, object] = {}

    def expand(self, word: object) -> str:
        """`@` at the start of a word, or after a space or `=` in it, is this spooler's directory."""
        return re.sub(r"(^|(?<=[ =]))@(?=/)", str(self.directory), str(word))

    def neutral(self, text: str) -> str:
        text = text.replace(str(self.directory), "@")
        return re.sub(r"(@/out/[^\s.]+)\.\w{6}\b", r"\1.XXXXXX", text)

    # ---- jobs that end when told ----

    def fifo(self, name: str) -> Path:
        path = self.directory / f"gate.{name}"
        if not path.exists():
            os.mkfifo(path)
        return path

    def _open_gate(self, name: str) -> int:
        """The writing end, once a job waits behind the gate."""
        path = self.fifo(name)

        def writer() -> int:
            try:
                return os.open(path, os.O_WRONLY | os.O_NONBLOCK) + 1
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                return 0

        return int(wait_until(writer, f"{self.name}: a job waits behind gate {name}")) - 1

    def is_up(self, job: int) -> bool:
        """A job behind a gate has come so far; -o answers, and a signal will reach it."""
        command = next(row[4] for row in self.table()[1] if row[0] == job)
        return Path(self.expand(command.split()[-1]) + ".up").exists() and self.run("-o", job).returncode == 0

    def let_end(self, name: str, code: int) -> None:
        descriptor = self._open_gate(name)
        os.write(descriptor, f"{code}\n".encode())
        os.close(descriptor)

    # ---- the list ----

    def words_of(self, command: str) -> str:
        return command

    def table(self, raw: bool = False) -> tuple[tuple[int, int], list[Row]]:
        """Running jobs and slots; then id, state, output, level and command of each row."""
        header, *lines = self.get("-l").splitlines()
        found = HEADER.fullmatch(header)
        assert found, (self.name, header)
        rows = []
        for line in lines:
            parts = ROW.fullmatch(line)
            assert parts, (self.name, line)
            starting = parts["state"] == "running" and parts["output"] in ("(...)", "(file)")
            output = "path" if starting or parts["output"].startswith("/") else parts["output"]
            command = self.neutral(parts["command"] if raw else self.words_of(parts["command"]))
            rows.append((int(parts["id"]), parts["state"], output, parts["level"] or "", command))
        return (int(found[1]), int(found[2])), rows

    def close(self) -> list[int]:
        return self.end()


class Ours(Spooler):
    name = "ts"
    program = BIN / "ts"
    after_ok = ("-W",)

    def words_of(self, command: str) -> str:
        """Dependencies and label as they are, then the words without quotes."""
        head, rest = re.fullmatch(r"((?:\[[\d,]*\]&& )?(?:\[[^\]]*\])?)(.*)", command).groups()
        return head + " ".join(shlex.split(rest))


class Theirs(Spooler):
    name = "tsp"
    program = TSP
    after_ok = ("-D",)

    def close(self) -> list[int]:
        """-K may return before the server is gone, and leaves jobs running."""
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.communicate()
        if self.socket.exists():
            self.run("-K")

        def gone() -> bool:
            for pid in (left := self.processes()):
                kill(pid)
            return not left

        with contextlib.suppress(AssertionError):  # what is left then is returned
            wait_until(gone, "the end of all processes")
        return self.processes()


def gate(name: str) -> Sequence[str]:
    """The words of a job that runs until `open_gate(name, code)`."""
    return ("sh", "-c", ': > "$0.up"; read code < "$0"; exit $code', f"@/gate.{name}")
