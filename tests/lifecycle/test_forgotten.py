"""Jobs that were forgotten: how they ended is not known, and nobody says that they ended well."""

import pytest

from support.processes import sleeping
from support.queues import Queue


@pytest.fixture
def short(queue: Queue) -> Queue:
    """A queue that keeps three ended jobs."""
    queue.environment["TS_MAXFINISHED"] = "3"
    return queue


def test_end_while_the_caller_waits_counts(short: Queue) -> None:
    """Also if there are more jobs than are kept, and another server answers."""
    blocker, gate = short.blocker()
    failing = short.submit("sh", "-c", "exit 7")
    for _ in range(8):
        last = short.submit("true")
    held, second = short.gate(), short.gate()
    after = short.submit(*held.command)
    waiter = short.start("-w", f"{blocker}-{after}")
    short.wait_until(lambda: sleeping(waiter.pid), "the caller waits")
    gate.open()
    short.wait_for_state(after, "running")
    assert short.ids()[0] == after and failing in short.ids(), "what it waits for is kept as long as it waits"
    short.kill_server()
    short.get("-S")
    held.open()
    assert (waiter.wait(30), waiter.stderr.read()) == (7, b"")
    short.wait_until(lambda: short.ids() == [last - 1, last, after], "the others are forgotten")
    assert second.path.exists()


def test_forgotten_ones_in_a_set(short: Queue) -> None:
    jobs = [short.submit("true") for _ in range(6)]
    assert short.wait(jobs[-1]) == 0
    short.wait_until(lambda: short.ids() == jobs[3:])
    known, all_jobs = f"{jobs[3]}-{jobs[5]}", f"{jobs[0]}-{jobs[5]}"
    assert short.get("-w", known) == ""
    line = "ts: 3 of 6 jobs were forgotten: how they ended is not known\n"
    done = short.run("-w", all_jobs)
    assert (done.returncode, done.stdout, done.stderr) == (255, "", line)
    # What is told of each of them is told of those that are known.
    assert short.get("-s", all_jobs) == "\n".join(f"{job} finished" for job in jobs[3:])
    # Ids that were never given out are not forgotten.
    assert short.get("-w", f"{jobs[3]}-100") == ""
    for words in (("-w", jobs[0]), ("-w", f"{jobs[0]},{jobs[5]}"), ("-s", jobs[0]), ("-i", jobs[0]), ("-c", jobs[0])):
        assert short.refused(*words) == f"ts: job {jobs[0]} is no longer known\n"


def test_failure_is_told_beside_forgotten_ones(short: Queue) -> None:
    """The level is that of what nobody knows."""
    for code in (0, 0, 3, 0, 0):
        job = short.submit("sh", "-c", f"exit {code}")
    short.wait(job)
    short.wait_until(lambda: len(short.ids()) == 3)
    done = short.run("-w", f"0-{job}")
    assert (done.returncode, done.stderr) == (255, "ts: 2 of 5 jobs were forgotten: how they ended is not known\n")


def test_clear_while_a_caller_waits(queue: Queue) -> None:
    """It has counted what has ended since it waits."""
    blocker, gate = queue.blocker()
    failing = queue.submit("sh", "-c", "exit 9")
    held = queue.gate()
    last = queue.submit(*held.command)
    waiter = queue.start("-w", f"{blocker}-{last}")
    queue.wait_until(lambda: sleeping(waiter.pid))
    gate.open()
    queue.wait_for_state(last, "running")
    queue.get("-C")
    assert failing not in queue.ids()
    held.open()
    assert (waiter.wait(30), waiter.stderr.read()) == (9, b"")


@pytest.mark.parametrize("words", [("-w", "0-3"), ("--wait-all",)])
def test_what_was_counted_outlives_clear_and_the_server(queue: Queue, words: tuple[str, ...]) -> None:
    """The caller hands to the next server what it has heard of jobs that are forgotten by then."""
    _, gate = queue.blocker()
    for code in (9, 8):
        queue.submit("sh", "-c", f"exit {code}")
    held = queue.gate()
    last = queue.submit(*held.command)
    waiter = queue.start(*words)
    queue.wait_until(lambda: sleeping(waiter.pid))
    gate.open()
    queue.wait_for_state(last, "running")
    queue.get("-C")
    for _ in range(2):
        queue.kill_server()
        assert queue.ids() == [last]
        queue.wait_until(lambda: sleeping(waiter.pid))
    held.open()
    assert (waiter.wait(30), waiter.stderr.read()) == (9, b"")


def test_wait_for_all_counts_what_ended_before_the_server_died(queue: Queue) -> None:
    _, gate = queue.blocker()
    queue.submit("sh", "-c", "exit 7")
    held = queue.gate()
    last = queue.submit(*held.command)
    waiter = queue.start("--wait-all")
    queue.wait_until(lambda: sleeping(waiter.pid))
    gate.open()
    queue.wait_for_state(last, "running")
    queue.kill_server()
    assert len(queue.ids()) == 3
    held.open()
    assert (waiter.wait(30), waiter.stderr.read()) == (7, b"")
    assert queue.run("--wait-all").returncode == 0, "what has ended before is no part of another call"


def test_nothing_is_kept_and_both_kinds_of_wait_know_the_end(queue: Queue) -> None:
    queue.environment["TS_MAXFINISHED"] = "0"
    blocker, gate = queue.blocker()
    job = queue.submit("sh", "-c", "exit 4")
    waiters = [queue.start("-w", job), queue.start("-w", f"{blocker}-{job}"), queue.start("--wait-all")]
    queue.wait_until(lambda: all(sleeping(waiter.pid) for waiter in waiters))
    gate.open()
    assert [waiter.wait(30) for waiter in waiters] == [4, 4, 4]
    assert [waiter.stderr.read() for waiter in waiters] == [b"", b"", b""]
    queue.wait_until(lambda: queue.ids() == [])
    assert queue.refused("-w", f"{blocker}-{job}") == f"ts: job {blocker} is no longer known\n"


def test_row_of_an_array_counts_its_forgotten_elements(short: Queue) -> None:
    array = short.submit("--array", "0-7", "--", "sh", "-c", "exit 0")
    short.wait_until(lambda: len(short.ids()) == 3, "the first ones are forgotten")
    (row,) = [line for line in short.get("-l").splitlines() if line.startswith(f"{array}[")]
    assert "(3 ok, 5 forgotten)" in row
    done = short.run("-w", array)
    assert (done.returncode, done.stderr) == (255, "ts: 5 of 8 jobs were forgotten: how they ended is not known\n")


def test_removed_ones_are_not_forgotten(queue: Queue) -> None:
    """Whoever took a job out of the queue knows that it does not run; also for the next server."""
    blocker, gate = queue.blocker()
    array = queue.submit("--array", "0-3", "--", "true")
    alone = [queue.submit("true") for _ in range(3)]
    queue.get("-r", f"{array}[1]")
    queue.get("-r", alone[1])
    for number in (9, 15):
        (row,) = [line for line in queue.get("-l").splitlines() if line.startswith(f"{array}[")]
        assert "(3 queued)" in row
        queue.kill_server(number)
    gate.open()
    assert [queue.get("-w", ids) for ids in (f"{blocker}-{alone[2]}", array, f"{alone[0]}-{alone[2]}")] == [""] * 3
