"""Many callers at once, and long queues."""

import os
import subprocess

import pytest

from support.installation import BIN
from support.patience import patient
from support.processes import sleeping
from support.queues import Queue


def ids_of(children: list["subprocess.Popen[bytes]"]) -> list[int]:
    ids = []
    for child in children:
        out, err = child.communicate(timeout=60)
        assert (child.returncode, err) == (0, b"")
        ids.append(int(out))
    return sorted(ids)


def in_parallel(queue: Queue, count: int) -> list[int]:
    """As many callers as there are jobs, started together: each waits for the end of one pipe."""
    start, go = os.pipe()
    children = [
        queue.start("-c", "read go; exec ts true </dev/null", stdin=start, executable="/bin/sh") for _ in range(count)
    ]
    os.close(start)
    os.close(go)
    return ids_of(children)


def test_racing_first_calls_get_one_server(queue: Queue) -> None:
    assert in_parallel(queue, 200) == list(range(200))
    assert len(queue.servers()) == 1
    queue.wait_until(lambda: all(queue.wait(job) == 0 for job in range(200)))
    assert queue.log().count("serving") == 1


def test_concurrent_submissions(queue: Queue) -> None:
    queue.get("-S", "4")
    for turn in range(3):
        assert in_parallel(queue, 200) == list(range(turn * 200, turn * 200 + 200))
    assert [queue.wait(job) for job in range(590, 600)] == [0] * 10


def test_mixed_callers(queue: Queue) -> None:
    """Listing, asking and adding at the same time, while jobs run."""
    queue.get("-S", "8")
    script = """
        for i in 1 2 3 4 5 6 7 8 9 10; do
            id=$(ts -L "$0" sh -c 'exit 3') || exit 1
            ts -s "$id" >&2 || exit 2
            ts >&2 || exit 3
            ts -M json >&2 || exit 4
            ts -w "$id"; [ $? = 3 ] || exit 5
        done
        echo fine
    """
    workers = [
        queue.start("-c", script, str(number), executable="/bin/sh", stderr=subprocess.DEVNULL) for number in range(10)
    ]
    for worker in workers:
        assert worker.communicate(timeout=60)[0] == b"fine\n", worker.returncode
    assert len(queue.ids()) == 100


def test_many_waiters(queue: Queue) -> None:
    job, gate = queue.blocker()
    waiters = [queue.start("-w", job) for _ in range(300)]
    queue.wait_until(lambda: all(sleeping(waiter.pid) for waiter in waiters))
    gate.open(6)
    assert {waiter.wait(30) for waiter in waiters} == {6}


def submit_many(queue: Queue, count: int) -> None:
    """One after the other, as a shell loop does."""
    done = subprocess.run(
        ["sh", "-c", f'seq {count} | xargs -n 1 -P 2 "$0" true', str(BIN / "ts")],
        env=queue.env(), cwd=queue.work, capture_output=True, timeout=patient(110),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert sorted(map(int, done.stdout.split())) == list(range(1, count + 1))


def test_list_that_the_server_leaves_to_its_caller(queue: Queue) -> None:
    """Beyond 2,000 rows the launcher runs the Python command line, which reads the table."""
    _, gate = queue.blocker()
    submit_many(queue, 2500)
    lines = queue.get().splitlines()
    assert len(lines) == 2502
    assert lines[0].endswith("[run=1/1]")
    assert [int(line.split()[0]) for line in lines[1:]] == list(range(2501))
    assert len(queue.jobs()) == 2501
    assert len(queue.get("-M", "tab").splitlines()) == 2501
    queue.get("-u", 2500)
    assert queue.jobs()[1]["ID"] == 2500
    gate.open()
    assert queue.wait(2500) == 0


@pytest.mark.slow
def test_long_queue(queue: Queue) -> None:
    queue.blocker()
    submit_many(queue, 20000)
    last = subprocess.run(["sh", "-c", "ts | tail -n 1"], env=queue.env(), capture_output=True, timeout=30)
    assert last.stdout.split()[:2] == [b"20000", b"queued"] and last.stderr == b""
    assert queue.state(12345) == "queued"
    queue.kill_server()
    assert queue.get("-q") == "20000"
    assert queue.submit("true") == 20001
    assert len(queue.get().splitlines()) == 20003
    queue.get("-r", 10000)
    assert "no longer known" in queue.refused("-s", 10000)
