"""Processes of the machine, as /proc shows them to tests."""

import contextlib
import os
import signal
from pathlib import Path


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; none if the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def state(pid: int) -> str:
    """The letter of its state, empty if it is gone."""
    return next(iter(_stat(pid)), "")


def alive(pid: int) -> bool:
    return state(pid) not in ("", "Z", "X")


def stopped(pid: int) -> bool:
    return state(pid) == "T"


def sleeping(pid: int) -> bool:
    """It waits in a system call with a socket open: a client that has sent its request and waits for the answer."""
    return state(pid) == "S" and any(name.startswith("socket:") for name in open_files(pid))


def parent(pid: int) -> int:
    """Of a process; 0 if it is gone."""
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def open_files(pid: int) -> list[str]:
    """What the descriptors of a process lead to, without those that it closes meanwhile."""
    names = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            names.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return names


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
