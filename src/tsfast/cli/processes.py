"""Other processes, as /proc shows them; needs nothing newer of the kernel."""

import os
import time
from collections.abc import Iterable

_LOOK_S = 0.02


def content(pid: int | str, name: str) -> str:
    """The content of a file of the process; empty if it is gone or hidden (hidepid). Raises OSError."""
    try:
        with open(f"/proc/{pid}/{name}", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return ""


def fields(pid: int | str) -> list[str]:
    """Of proc_pid_stat(5), from the state on: state, parent, group, session; empty if it is gone."""
    return content(pid, "stat").rpartition(")")[2].split()


def has_ended(pid: int) -> bool:
    """It is gone, or only its exit code is left."""
    return fields(pid)[:1] in ([], ["Z"], ["X"])


def wait_for(pids: Iterable[int], seconds: float) -> set[int]:
    """Wait until they have ended; returns those that have not."""
    end = time.monotonic() + seconds
    left = set(pids)
    while left := {pid for pid in left if not has_ended(pid)}:
        if time.monotonic() >= end:
            break
        time.sleep(_LOOK_S)
    return left


def server_of(place: str) -> int | None:
    """The pid of the server that holds a state directory; None if there is none, or it is hidden. Servers of earlier
    releases hold `lock` alone."""
    from tsfast.cli import gpu_holders

    locks = gpu_holders.held()
    return gpu_holders.holder(place, locks) or gpu_holders.holder(os.path.join(place, "lock"), locks)
