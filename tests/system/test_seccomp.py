"""Kernels and sandboxes that deny newer system calls (ENOSYS or EPERM): queue, run, wait, cancel and restart go on."""

import subprocess
from pathlib import Path

import pytest

from support import compiled
from support.places import PRELOAD
from support.processes import alive, sleeping
from support.queues import Queue

CALLS = [
    "pidfd_open",
    "pidfd_send_signal",
    "close_range",
    "inotify_init1",
    "openat2",
    "epoll_pwait2",
    "clone3",
    "statx",
]
CALLS += ["execveat", "fallocate"]
SETS = {**{name: [name] for name in CALLS}, "all": CALLS}
STATIC = pytest.mark.unsanitized("the launcher is not static: posix_spawn of glibc gives up where clone3 gets EPERM")
CASES = [
    pytest.param(error, names, id=f"{name}-{error}", marks=[STATIC] if error == "EPERM" and "clone3" in names else [])
    for name, names in SETS.items()
    for error in ("ENOSYS", "EPERM")
]


@pytest.fixture(scope="session")
def deny() -> Path:
    return compiled.program(PRELOAD / "deny.c")


def start_under(queue: Queue, deny: Path, error: str, names: list[str]) -> None:
    """The server, and with it runners and jobs, have these calls denied."""
    words = [deny, error, *names, "--", queue.program, "-S", "2"]
    done = subprocess.run(words, env=queue.env(), cwd=queue.work, capture_output=True, timeout=30, text=True)
    assert (done.returncode, done.stderr) == (0, ""), (done, queue.log())
    status = Path(f"/proc/{queue.server_pid()}/status").read_text()
    assert "Seccomp:\t2" in status


@pytest.mark.parametrize(("error", "names"), CASES)
def test_the_core_works(queue: Queue, deny: Path, error: str, names: list[str]) -> None:
    start_under(queue, deny, error, names)
    first = queue.submit("sh", "-c", "echo out; exit 3")
    assert queue.wait(first) == 3 and queue.output(first) == "out\n"
    assert queue.run("-nf", "sh", "-c", "exit 4").returncode == 4
    running, _ = queue.blocker()
    waiter = queue.start("-w", running)
    queue.wait_until(lambda: sleeping(waiter.pid))
    queue.get("-k", running)
    assert waiter.wait(20) == 255
    tree = queue.submit("sh", "-c", "sleep 1000 & sleep 1000")
    queue.wait_for_state(tree, "running")
    queue.get("--cancel", tree)
    queue.wait_for_state(tree, "cancelled")
    survivor, gate = queue.blocker()
    queued = queue.submit("-W", survivor, "sh", "-c", "exit 5")
    queue.kill_server()
    start_under(queue, deny, error, names)
    assert queue.state(survivor) == "running"
    gate.open()
    assert [queue.wait(job) for job in (survivor, queued)] == [0, 5]
    orphan, _ = queue.blocker()
    pid = int(queue.get("-p", orphan))
    queue.kill_server()
    start_under(queue, deny, error, names)
    queue.get("-k", orphan)
    queue.wait_until(lambda: not alive(pid))
    assert queue.run("-w", orphan).returncode == 255
    assert "Traceback" not in queue.log()
