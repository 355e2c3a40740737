"""An idle server: does it ever wake up, and how much of it is resident?"""

import shutil
import subprocess
import time
from pathlib import Path

from common import Figure, Options, Queue, Stats, ts_program

RUNNERS_LEAVE_S = 6.0


def measure(options: Options) -> list[Figure]:
    with Queue("ts", ts_program()) as queue:
        queue.run("-w", queue.run("true"))
        time.sleep(RUNNERS_LEAVE_S)  # an idle runner ends after some seconds, which the server notices
        server = queue.server()
        time.sleep(0.2)
        watched = options.size(10, 4)
        before = switches(server)
        calls, how = watch(server, watched)
        woken = switches(server) - before
        resident = int(Path(f"/proc/{server}/status").read_text().partition("VmRSS:")[2].split()[0]) / 1000
    return [
        Figure("wake-ups of an idle server", "calls", {"ts": Stats.of([calls])}, goal=0, note=f"{how}, {watched} s"),
        Figure("context switches of it meanwhile", "", {"ts": Stats.of([woken])}, note="tracing makes some"),
        Figure("resident memory of an idle server", "MB", {"ts": Stats.of([resident])}, goal=20),
    ]


def switches(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return sum(int(line.split()[1]) for line in status.splitlines() if "ctxt_switches" in line)


def watch(pid: int, seconds: int) -> tuple[int, str]:
    """System calls that the process makes; the one in which it sleeps is not one."""
    if not shutil.which("strace"):
        before = switches(pid)
        time.sleep(seconds)
        return switches(pid) - before, "strace is not installed: context switches"
    done = subprocess.run(
        ["timeout", str(seconds), "strace", "-f", "-p", str(pid)], stderr=subprocess.PIPE, text=True, check=False
    )
    return sum(") = " in line for line in done.stderr.splitlines()), "strace -f"
