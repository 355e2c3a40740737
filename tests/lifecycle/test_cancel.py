"""`--cancel`: queued jobs end as cancelled, running ones with all their processes."""

import os
import signal
from pathlib import Path

import pytest

from support.patience import wait_until
from support.processes import alive
from support.queues import Queue

STUBBORN = "trap '' TERM; echo $$; while :; do sleep 1000; done"


@pytest.fixture
def queue(queue: Queue) -> Queue:
    queue.environment["TS_CANCEL_GRACE"] = "1"
    return queue


def started(queue: Queue, *words: object, lines: int = 1) -> tuple[int, list[int]]:
    """A running job, and the pids that it printed."""
    job = queue.submit(*words)
    path = Path(queue.get("-o", job))
    wait_until(lambda: path.read_text().count("\n") >= lines, "the job prints its pids")
    return job, [int(word) for word in path.read_text().split()]


def test_queued(queue: Queue) -> None:
    _, gate = queue.blocker()
    job = queue.submit("true")
    hurt, unhurt = queue.submit("-W", job, "true"), queue.submit("-D", job, "true")
    waiting = queue.start("-w", str(job))
    queue.get("--cancel", job)
    assert waiting.wait(20) == 255
    assert [queue.state(id) for id in (job, hurt, unhurt)] == ["cancelled", "skipped", "queued"]
    assert queue.info(job)["Exit status"] == "cancelled"
    assert "cancelled" in queue.get("--why", job)
    assert f"job {job} of its -W was cancelled" in queue.get("--why", hurt)
    (shown,) = (row for row in queue.jobs() if row["ID"] == job)
    assert (shown["State"], shown["E-Level"], shown["Output"], shown["Signal"]) == ("cancelled", -1, None, None)
    (line,) = (line for line in queue.get().splitlines() if line.startswith(f"{job} "))
    assert line.split()[1:5] == ["cancelled", "(no", "output)", "-1"]
    gate.open()
    assert queue.wait(unhurt) == 0
    queue.kill_server()
    assert queue.state(job) == "cancelled"
    queue.get("-r", job)
    assert job not in queue.ids()


def test_running(queue: Queue) -> None:
    job, (pid,) = started(queue, "sh", "-c", "echo $$; exec sleep 1000")
    queue.get("--cancel", job)
    assert queue.wait(job) == 255
    assert not alive(pid)
    assert queue.info(job)["Exit status"] == "cancelled, killed by signal 15"
    (shown,) = queue.jobs()
    assert (shown["State"], shown["E-Level"], shown["Signal"]) == ("cancelled", -1, signal.SIGTERM)
    assert queue.get("-M", "tab").split("\t")[1:4] == ["cancelled", queue.get("-o", job), "-1"]


def test_job_that_ends_in_its_own_way(queue: Queue) -> None:
    job, _ = started(queue, "sh", "-c", "trap 'exit 0' TERM; echo $$; while :; do sleep 0.01; done")
    queue.get("--cancel")
    assert queue.wait(job) == 255
    assert queue.info(job)["Exit status"] == "cancelled, died with exit code 0"


def test_job_that_ignores_the_signal(queue: Queue) -> None:
    job, (pid,) = started(queue, "sh", "-c", STUBBORN)
    queue.get("--cancel", job)
    assert queue.state(job) == "running"
    assert queue.wait(job) == 255
    assert not alive(pid)
    assert queue.info(job)["Exit status"] == "cancelled, killed by signal 9"
    assert queue.wait(queue.submit("true")) == 0


def test_processes_that_left_the_session(queue: Queue) -> None:
    """Also those whose parents are gone, and those that outlive the job's first process."""
    deep = f'setsid sh -c "{STUBBORN}" & setsid setsid sh -c "({STUBBORN}) & echo \\$!" & '
    for end in ("wait", "trap '' TERM; while :; do sleep 1000; done"):
        job, pids = started(queue, "sh", "-c", deep + end, lines=3)
        assert all(alive(pid) for pid in pids)
        queue.get("--cancel", job)
        assert queue.wait(job) == 255
        wait_until(lambda pids=pids: not any(alive(pid) for pid in pids), "all its processes are gone")


def test_stopped_job(queue: Queue) -> None:
    job, (pid,) = started(queue, "sh", "-c", "echo $$; exec sleep 1000")
    os.kill(pid, signal.SIGSTOP)
    queue.get("--cancel", job)
    assert queue.wait(job) == 255
    assert queue.info(job)["Exit status"] == "cancelled, killed by signal 15"


def test_lists_and_ranges(queue: Queue) -> None:
    queue.finish("true")
    ended = queue.finish("true")
    running, _ = queue.blocker()
    first = queue.submit("true")
    chained = [queue.submit("-W", first, "true"), queue.submit("-d", "true")]
    last = queue.submit("true")
    queue.get("--cancel", f"{ended}-{chained[1]}")
    assert queue.wait(running) == 255
    assert queue.wait(last) == 0
    assert {queue.state(job) for job in (running, first, *chained)} == {"cancelled"}
    assert queue.state(ended) == "finished"
    queue.get("--cancel", first)  # once more
    assert "has ended already" in queue.refused("--cancel", f"{ended},{last}")
    assert "have ended already" in queue.refused("--cancel", f"0-{ended}")
    assert "does not exist" in queue.refused("--cancel", "99")


def test_nothing_to_cancel(queue: Queue) -> None:
    assert "there is no job" in queue.refused("--cancel")


def test_right_after_adding(queue: Queue) -> None:
    queue.get("-S", "1000")
    jobs = []
    for _ in range(30):
        jobs.append(queue.submit("sleep", "1000"))
        queue.get("--cancel", jobs[-1])
    assert [queue.wait(job) for job in jobs] == [255] * len(jobs)
    assert {queue.state(job) for job in jobs} == {"cancelled"}


def test_foreground_caller(queue: Queue) -> None:
    queue.blocker()
    caller = queue.start("-f", "true")
    wait_until(lambda: len(queue.ids()) == 2, "it is queued")
    queue.get("--cancel", 1)
    assert caller.wait(20) == 255
    volatile = queue.start("-nf", "true")
    wait_until(lambda: 2 in queue.ids(), "it is queued")
    queue.get("--cancel", 2)
    assert volatile.wait(20) == 255
    wait_until(lambda: 2 not in queue.ids(), "it is forgotten")


def test_server_killed_during_the_grace_time(queue: Queue) -> None:
    job, (pid,) = started(queue, "sh", "-c", STUBBORN)
    queue.get("--cancel", job)
    queue.kill_server()
    assert queue.wait(job) == 255
    assert not alive(pid)
    assert queue.state(job) == "cancelled"


def test_runner_killed_during_the_grace_time(queue: Queue) -> None:
    job, (pid,) = started(queue, "sh", "-c", STUBBORN)
    (runner,) = (
        int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "PPid" in line
    )
    queue.get("--cancel", job)
    os.kill(runner, signal.SIGKILL)
    assert queue.wait(job) == 255
    assert not alive(pid)
    assert queue.state(job) == "cancelled"


def test_runner_and_server_killed_during_the_grace_time(queue: Queue) -> None:
    job, (pid,) = started(queue, "sh", "-c", STUBBORN)
    (runner,) = (
        int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "PPid" in line
    )
    queue.get("--cancel", job)
    os.kill(runner, signal.SIGSTOP)
    queue.kill_server()
    os.kill(runner, signal.SIGKILL)
    queue.get("-l")
    wait_until(lambda: not alive(pid), "it is killed")
    queue.run("-w", job)
    assert queue.state(job) in ("cancelled", "finished")  # lost, where nobody could reap it
