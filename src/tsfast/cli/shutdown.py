"""What the unit runs after each end of its server. If the user manager itself ends, because the machine goes down or
the last session without lingering is over, jobs get SIGTERM and some time: all that it does by itself is SIGKILL.
"""

import os
import select
import shutil
import signal
import subprocess
import time

from tsfast import boot, state

RUNNER = "ts-run"
MOST_S = 60


def grace() -> int:
    """Seconds for the jobs, as --cancel gives them. Raises boot.BootError."""
    return min(boot.number("TS_CANCEL_GRACE"), MOST_S)


def after_server(socket: str) -> None:
    """Raises OSError, boot.BootError, state.StateError."""
    if not manager_ends():
        return
    place = state.find(socket, os.environ)
    if place is not None:
        wait_for(end_jobs(place), grace())


def manager_ends() -> bool:
    if shutil.which("systemctl") is None:
        return False
    done = subprocess.run(["systemctl", "--user", "is-system-running"], capture_output=True, text=True, check=False)
    return done.stdout.strip() == "stopping"


def end_jobs(place: str) -> list[int]:
    """SIGTERM to the groups of the running jobs of our control group. The pidfds of their runners, which leave the
    results for the next server."""
    own, facts = control_group("self"), processes()
    running = groups(place)
    runners: list[int] = []
    told = set()
    for group, parent in facts.values():
        if group in running and group not in told and is_runner(parent) and control_group(str(parent)) == own:
            told.add(group)
            try:
                runners.append(os.pidfd_open(parent))
                os.killpg(group, signal.SIGTERM)
            except ProcessLookupError:
                pass
    return runners


def groups(place: str) -> set[int]:
    """Of the table's running jobs."""
    from tsfast import _reader

    try:
        reader = _reader.Reader(os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        ids = [id for id in range(reader.floor, reader.committed) if reader.state(id) == _reader.RUNNING]
        return {job["pid"] for id in ids if (job := reader.job(id)) is not None and job["pid"] > 1}
    except _reader.TableError as error:
        raise OSError(str(error)) from None


def processes() -> dict[int, tuple[int, int]]:
    """Group and parent of each."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (words := content(name, "stat").rpartition(")")[2].split()):
            found[int(name)] = (int(words[2]), int(words[1]))
    return found


def is_runner(pid: int) -> bool:
    return content(str(pid), "comm").rstrip("\n") == RUNNER


def control_group(pid: str) -> str:
    return content(pid, "cgroup")


def content(pid: str, name: str) -> str:
    """Empty if the process is gone."""
    try:
        with open(f"/proc/{pid}/{name}", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def wait_for(runners: list[int], seconds: float) -> None:
    end = time.monotonic() + seconds
    left = set(runners)
    poll = select.poll()
    for fd in left:
        poll.register(fd, select.POLLIN)
    while left and (now := time.monotonic()) < end:
        for fd, _ in poll.poll(int((end - now) * 1000) + 1):
            poll.unregister(fd)
            left.discard(fd)
