"""The wall clock is set forward and back while jobs run and wait: nothing that waits looks at it, and no time that is
shown is negative. The server's clock is another one than its runners' then, as after a jump between two looks at it."""

import re
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support import compiled
from support.processes import alive, sleeping
from support.queues import Queue

YEAR_S = 365 * 86400
JUMPS = [-3600, 3600, -50 * YEAR_S, 50 * YEAR_S, 0]


@pytest.fixture(scope="session")
def skew() -> Path:
    return compiled.preload("skew")


@pytest.fixture
def jump(queue: Queue, skew: Path) -> Callable[[int], None]:
    clock = queue.directory / "clock"
    clock.write_bytes(bytes(8))
    queue.environment |= {"LD_PRELOAD": str(skew), "TSFAST_SKEW": str(clock)}

    def jump(seconds: int) -> None:
        with clock.open("r+b") as file:
            file.write(struct.pack("=q", seconds))

    return jump


def times(queue: Queue) -> list[float]:
    """All that are shown as such."""
    shown = [float(job["Time_ms"]) for job in queue.jobs() if job.get("Time_ms") is not None]
    for row in queue.get("-l").splitlines()[1:]:
        shown += [float(number) for number in re.findall(r" (-?[0-9.]+)[smhd] ", row)]
    for job in queue.ids():
        shown += [float(value.rstrip("s")) for name, value in queue.info(job).items() if name.startswith("Time run")]
    return shown


def test_jobs_run_and_wait_through_jumps(queue: Queue, jump: Callable[[int], None]) -> None:
    queue.get("-S", "2")
    for seconds in JUMPS:
        running, gate = queue.blocker()
        waiter = queue.start("-w", running)
        after = queue.submit("-W", running, "sh", "-c", "exit 3")
        queue.wait_until(lambda waiter=waiter: sleeping(waiter.pid))
        jump(seconds)
        assert queue.wait(queue.submit("sh", "-c", "exit 4")) == 4
        assert abs(queue.jobs()[-1]["Enqueue_Time"] - time.time() - seconds) < 600
        assert min(times(queue)) >= 0, times(queue)
        gate.open()
        assert waiter.wait(20) == 0 and queue.wait(after) == 3
        assert min(times(queue)) >= 0, times(queue)
    taken = [queue.info(job)["Time run"] for job in queue.ids()]
    assert all(float(text.rstrip("s")) < 3600 for text in taken), taken


def test_the_grace_of_a_cancelled_job_is_not_the_wall_clock_s(queue: Queue, jump: Callable[[int], None]) -> None:
    queue.environment["TS_CANCEL_GRACE"] = "1"
    job = queue.submit("sh", "-c", "trap '' TERM; echo ready; while :; do read line < /dev/zero || :; done")
    queue.wait_until(lambda: "ready" in queue.output(job))
    pid = int(queue.get("-p", job))
    jump(-10 * YEAR_S)
    queue.get("--cancel", job)
    queue.wait_until(lambda: not alive(pid), "it is killed after its grace")
    queue.wait_for_state(job, "cancelled")


def test_a_restart_before_its_jobs_were_queued(queue: Queue, jump: Callable[[int], None]) -> None:
    """A machine whose clock is wrong at first: running jobs are adopted, queued ones keep their order."""
    running, gate = queue.blocker()
    queued = [queue.submit("sh", "-c", f"exit {number}") for number in range(3)]
    queue.kill_server()
    jump(-20 * YEAR_S)
    later = queue.submit("sh", "-c", "exit 9")
    assert min(times(queue)) >= 0, times(queue)
    gate.open(5)
    assert [queue.wait(job) for job in (running, *queued, later)] == [5, 0, 1, 2, 9]
    assert [job["ID"] for job in queue.jobs()] == [running, *queued, later]
