"""A queue whose processes can be made to die or stop at a named point (native/fault.h)."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import select
import subprocess
from collections.abc import Callable
from pathlib import Path

from support.installation import TS
from support.patience import patient, wait_until
from support.places import ROOT
from support.processes import alive, kill, parent
from support.queues import Queue
from support.state_files import ENTRY

SOURCES = ROOT / "src" / "tsfast"
PATIENCE = patient(30.0)
FINAL = {"finished", "skipped"}


def fault_points() -> set[str]:
    """The names of all points in the sources."""
    files = [path for end in ("*.pyx", "*.c") for path in SOURCES.rglob(end)]
    return {name for path in files for name in re.findall(r'tsf_fault\(b?"([a-z-]+)"\)', path.read_text())}


def is_free(path: Path) -> bool:
    """Nobody holds the lease of this GPU."""
    with open(path) as file, contextlib.suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


class FaultQueue(Queue):
    """Each job writes a line to the journal when it starts, so that a second start or none is seen."""

    program = TS

    def __init__(self, directory: Path, slots: int = 3) -> None:
        super().__init__(directory)
        self.environment["TS_SLOTS"] = str(slots)
        self.journal = directory / "journal"
        self.journal.touch()

    # ---- calls ----

    def start(self, *words: object, fault: str = "", once: bool = True, **options: object) -> subprocess.Popen[str]:
        changes = {}
        if fault:
            token = self.directory / "fault"
            token.touch()
            changes["TSFAST_FAULT"] = f"{fault}:{token}" if once else fault
        return super().start(*words, env=changes, text=True, bufsize=-1, **options)

    def answer(self, call: subprocess.Popen[str], code: int | None = 0) -> str:
        """What a call prints that was begun by start(), at its end."""
        out, err = call.communicate(timeout=PATIENCE)
        assert code is None or call.returncode == code, f"exit {call.returncode}: {out}{err}\n{self.report()}"
        return out if call.returncode == 0 or code is not None else err

    def ts(self, *words: object, code: int | None = 0, **options: object) -> str:
        return self.answer(self.start(*words, **options), code)

    def wait(self, job: int) -> int:
        call = self.start("-w", job)
        self.answer(call, None)
        return call.returncode

    def job(self, name: object, script: str = "true", *options: object, **more: object) -> int:
        """Queue a job that notes its name in the journal and goes on with the script."""
        return int(self.ts(*options, *self.words(name, script), **more))

    def words(self, name: object, script: str) -> tuple[str, str, str]:
        return "sh", "-c", f"echo {name} >> {self.journal}; {script}"

    def until_opened(self, name: str) -> str:
        """Script: wait for open_gate(name)."""
        path = self.directory / f"gate-{name}"
        os.mkfifo(path)
        return f"read line < {path}"

    def open_gate(self, name: str) -> None:
        fd = os.open(self.directory / f"gate-{name}", os.O_RDWR)  # does not block; the job reads before we close
        os.write(fd, b"go\n")
        self.wait_until(lambda: not select.select([fd], [], [], 0)[0], f"a job passes gate {name}")
        os.close(fd)

    def start_server(self, fault: str = "", once: bool = True) -> int:
        """Its pid."""
        self.ts("-S", fault=fault, once=once)
        return self.server()

    # ---- questions ----

    def by_id(self) -> dict[int, dict]:
        return {job["ID"]: job for job in json.loads(self.ts("-M", "json"))}

    def details(self, job: int) -> str:
        return self.ts("-i", job)

    def started(self) -> list[str]:
        return self.journal.read_text().split()

    def _locks(self, file: str, kind: str) -> list[tuple[int, int]]:
        inode = (self.state_dir / file).stat().st_ino if (self.state_dir / file).exists() else 0
        found = re.findall(rf"{kind} +ADVISORY +WRITE (\d+) \S+:{inode} (\d+)", Path("/proc/locks").read_text())
        return [(int(pid), int(start)) for pid, start in found]

    def server(self) -> int:
        """Pid of the holder of the state directory's lock, 0 if there is none."""
        return next((pid for pid, _ in self._locks("lock", "FLOCK")), 0)

    def runners(self) -> dict[int, int]:
        """Entry -> pid of the living runners."""
        return {start // ENTRY: pid for pid, start in self._locks("runs", "POSIX") if start}

    def report(self) -> str:
        tail = "\n".join(self.log().splitlines()[-20:])
        return f"journal: {self.started()}\nserver: {self.server()} runners: {self.runners()}\nlog:\n{tail}"

    # ---- conditions ----

    def wait_until(self, condition: Callable[[], object], what: str = "") -> object:
        try:
            return wait_until(condition, what, PATIENCE)
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{self.report()}") from None

    def until_started(self, *names: str) -> None:
        self.wait_until(lambda: set(names) <= set(self.started()), f"start of {names}")

    def until_running(self, job: int) -> int:
        """Pid of the job, once its start is recorded."""
        return self.wait_until(lambda: (self.by_id().get(job) or {}).get("PID"), f"job {job} runs")

    # ---- deaths ----

    def kill_server(self, *_: object) -> int:
        pid = self.server()
        assert pid, "there is no server"
        self.kill(pid)
        return pid

    def kill(self, pid: int) -> None:
        kill(pid)
        self.until_dead(pid)

    def until_dead(self, pid: int) -> None:
        self.wait_until(lambda: not alive(pid), f"death of {pid}")

    def runner_of(self, pid: int) -> int:
        """The runner that is the parent of a job's leader."""
        found = parent(pid)
        assert found in self.runners().values(), self.report()
        return found

    def end(self) -> list[bytes]:
        """Kill everything: what a test has stopped ends in no other way."""
        for call in self.children:
            if call.poll() is None:
                call.kill()
            call.communicate()
        for _ in range(2):  # a server could start one more runner, a runner one more job
            for pid in self.processes():
                kill(pid)
        return []
