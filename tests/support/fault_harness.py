"""A queue of one's own whose processes can be made to die or stop at a named point."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from support.installation import TS
from support.patience import patient
from support.places import ROOT
from support.state_files import ENTRY

SOURCES = ROOT / "src" / "tsfast"
PATIENCE = patient(30.0)
FINAL = {"finished", "skipped"}


def fault_points() -> set[str]:
    """The names of all points in the sources."""
    files = [path for end in ("*.pyx", "*.c") for path in SOURCES.rglob(end)]
    return {name for path in files for name in re.findall(r'tsf_fault\(b?"([a-z-]+)"\)', path.read_text())}


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stopped(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def pollers(server: int) -> list[int]:
    """The processes of a server that ask NVML."""
    try:
        children = psutil.Process(server).children() if server else []
        return [child.pid for child in children if alive(child.pid) and "tsfast.gpus" in " ".join(child.cmdline())]
    except psutil.NoSuchProcess:
        return []


def is_free(path: Path) -> bool:
    """Nobody holds the lease of this GPU."""
    with open(path) as file, contextlib.suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


class Queue:
    """Each job writes a line to the journal when it starts, so that a second start or none is seen."""

    program = TS

    def __init__(self, folder: Path, slots: int = 3) -> None:
        self.folder, self.state, self.journal = folder, folder / "state", folder / "journal"
        self.env = {
            "PATH": f"{TS.parent}:/usr/bin:/bin",
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "TS_SOCKET": str(folder / "socket"),
            "TS_STATE": str(self.state),
            "TSFAST_VAR_TMP": str(folder / "var"),
            "TS_SLOTS": str(slots),
        }
        self.journal.touch()
        self.calls: list[subprocess.Popen[str]] = []
        self.seen: set[int] = set()

    # ---- calls -------------------------------------------------------------------------------------------------
    def begin(self, *words: object, fault: str = "", once: bool = True, **options: object) -> subprocess.Popen[str]:
        env = dict(self.env)
        if fault:
            token = self.folder / "fault"
            token.touch()
            env["TSFAST_FAULT"] = f"{fault}:{token}" if once else fault
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        call = subprocess.Popen([self.program, *map(str, words)], env=env, cwd=self.folder, text=True, **streams)
        self.calls.append(call)
        return call

    def end(self, call: subprocess.Popen[str], code: int | None = 0) -> str:
        out, err = call.communicate(timeout=PATIENCE)
        assert code is None or call.returncode == code, f"exit {call.returncode}: {out}{err}\n{self.report()}"
        return out if call.returncode == 0 or code is not None else err

    def ts(self, *words: object, code: int | None = 0, **options: object) -> str:
        return self.end(self.begin(*words, **options), code)

    def job(self, name: str, script: str = "true", *options: object, **more: object) -> int:
        """Queue a job that notes its name in the journal and goes on with the script."""
        return int(self.ts(*options, *self.words(name, script), **more))

    def words(self, name: str, script: str) -> tuple[str, str, str]:
        return "sh", "-c", f"echo {name} >> {self.journal}; {script}"

    def gate(self, name: str) -> str:
        """Script: wait until open_gate(name)."""
        path = self.folder / f"gate-{name}"
        os.mkfifo(path)
        return f"read line < {path}"

    def open_gate(self, name: str) -> None:
        fd = os.open(self.folder / f"gate-{name}", os.O_RDWR)  # does not block; the job reads before we close
        os.write(fd, b"go\n")
        self.until(lambda: not select.select([fd], [], [], 0)[0], f"somebody passes gate {name}")
        os.close(fd)

    def start(self, fault: str = "", once: bool = True) -> int:
        """Start a server; its pid."""
        self.ts("-S", fault=fault, once=once)
        return self.server()

    # ---- questions ---------------------------------------------------------------------------------------------
    def jobs(self) -> dict[int, dict]:
        return {job["ID"]: job for job in json.loads(self.ts("-M", "json"))}

    def wait(self, id: int) -> int:
        call = self.begin("-w", id)
        self.end(call, None)
        return call.returncode

    def info(self, id: int) -> str:
        return self.ts("-i", id)

    def started(self) -> list[str]:
        return self.journal.read_text().split()

    def _locks(self, file: str, kind: str) -> list[tuple[int, int]]:
        inode = (self.state / file).stat().st_ino if (self.state / file).exists() else 0
        found = re.findall(rf"{kind} +ADVISORY +WRITE (\d+) \S+:{inode} (\d+)", Path("/proc/locks").read_text())
        pairs = [(int(pid), int(start)) for pid, start in found]
        self.seen.update(pid for pid, _ in pairs)
        return pairs

    def server(self) -> int:
        """Pid of whoever holds the lock of the state directory, 0 if nobody does."""
        return next((pid for pid, _ in self._locks("lock", "FLOCK")), 0)

    def runners(self) -> dict[int, int]:
        """Entry -> pid of the living runners."""
        return {start // ENTRY: pid for pid, start in self._locks("runs", "POSIX") if start}

    def log(self) -> str:
        path = self.state / "log"
        return path.read_text() if path.exists() else ""

    def report(self) -> str:
        tail = "\n".join(self.log().splitlines()[-20:])
        return f"journal: {self.started()}\nserver: {self.server()} runners: {self.runners()}\nlog:\n{tail}"

    def until(self, condition: Callable[[], object], what: str) -> object:
        end = time.monotonic() + PATIENCE
        while True:
            value = condition()
            if value:
                return value
            assert time.monotonic() < end, f"not in time: {what}\n{self.report()}"
            select.select([], [], [], 0.003)

    def until_started(self, *names: str) -> None:
        self.until(lambda: set(names) <= set(self.started()), f"start of {names}")

    def until_running(self, id: int) -> int:
        """Pid of the job, once its start is recorded."""
        return self.until(lambda: (self.jobs().get(id) or {}).get("PID"), f"job {id} runs")

    # ---- deaths ------------------------------------------------------------------------------------------------
    def kill_server(self) -> None:
        pid = self.server()
        assert pid, "there is no server"
        self.kill(pid)

    def kill(self, pid: int) -> None:
        kill(pid)
        self.until(lambda: not alive(pid), f"death of {pid}")

    def until_dead(self, pid: int) -> None:
        self.until(lambda: not alive(pid), f"death of {pid}")

    def runner_of(self, pid: int) -> int:
        """The runner that is the parent of a job's leader."""
        parent = psutil.Process(pid).ppid()
        assert parent in self.runners().values(), self.report()
        return parent

    def close(self) -> None:
        for call in self.calls:
            if call.poll() is None:
                call.kill()
            call.communicate()
        for _ in range(2):  # a server could start one more runner, a runner one more job
            found = {self.server(), *self.runners().values(), *self.seen} - {0}
            for process in psutil.process_iter(["pid", "environ"]):
                if (process.info["environ"] or {}).get("TS_STATE") == str(self.state) or self._is_runner(process.pid):
                    found.add(process.pid)
            for pid in found:
                if alive(pid) and self._ours(pid):
                    kill(pid)

    def _is_runner(self, pid: int) -> bool:
        """A runner of this queue, or the child that it has made and that has not executed anything."""
        try:
            return os.readlink(f"/proc/{pid}/fd/4") == str(self.state)
        except OSError:
            return False

    def _ours(self, pid: int) -> bool:
        try:
            process = psutil.Process(pid)
            return process.name() == "ts-run" or process.environ().get("TS_STATE") == str(self.state)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False
