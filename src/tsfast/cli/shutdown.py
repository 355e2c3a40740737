"""The unit runs this after each end of its server. If the user manager itself ends, because the machine goes down or
the last session without lingering is over, jobs get SIGTERM and some time: the user manager by itself only sends
SIGKILL.
"""

import os
import shutil
import signal
import subprocess

from tsfast.cli import processes
from tsfast.daemon import boot
from tsfast.location import state

RUNNER = "ts-run"
STATE_DIR_FD = 4  # of a runner: TSF_RUNNER_STATE_DIR of native/runs.h
MOST_S = 60
MANAGER_S = 5.0


def grace() -> int:
    """Seconds for the jobs, as --cancel gives them. Raises boot.BootError."""
    return min(boot.number("TS_CANCEL_GRACE"), MOST_S)


def after_server(socket: str) -> None:
    """Raises OSError, boot.BootError, paths.StateError."""
    if not manager_ends():
        return
    place = state.find(socket, os.environ)
    if place is not None:
        processes.wait_for(end_jobs(place), grace())


def manager_ends() -> bool:
    if shutil.which("systemctl") is None:
        return False
    call = ["systemctl", "--user", "is-system-running"]
    try:
        done = subprocess.run(
            call, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=MANAGER_S, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.stdout.strip() == "stopping"


def end_jobs(place: str) -> set[int]:
    """Sends SIGTERM to the jobs of our control group, and SIGCONT to stopped ones; returns their runners, which leave
    the results for the next server. Raises OSError."""
    where = os.stat(place)
    known = {int(name): found for name in os.listdir("/proc") if name.isdigit() and (found := processes.fields(name))}
    runners = {pid for pid in known if is_runner(pid, where)}
    told = set()
    for pid, (_, parent, _, session, *_) in known.items():
        if int(parent) in runners and int(session) == pid:
            try:
                os.killpg(pid, signal.SIGTERM)
                os.killpg(pid, signal.SIGCONT)
            except OSError:
                continue  # it has ended, or its pid belongs to another user now
            told.add(int(parent))
    return told


def is_runner(pid: int, where: os.stat_result) -> bool:
    """A runner of the queue with this state directory, started by the service."""
    if processes.content(pid, "comm") != f"{RUNNER}\n":
        return False
    try:
        there = os.stat(f"/proc/{pid}/fd/{STATE_DIR_FD}")
    except OSError:
        return False
    own = processes.content(pid, "cgroup") == processes.content("self", "cgroup")
    return own and os.path.samestat(there, where)
