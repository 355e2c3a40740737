"""Queued jobs whose records are damaged: nobody waits for them for ever, and every list has them."""

import json
import os
import signal
import subprocess

import pytest

import tsfast
from support.queues import Queue
from support.state_files import cold_at, flip, hot_at


@pytest.fixture(params=["hot", "cold", "blob"])
def damaged(queue: Queue, request: pytest.FixtureRequest) -> Queue:
    """Job 0 runs till `queue.gate_of_0` opens; the record of job 1 is damaged, 2 waits for it, 3 for 2, 4 for none."""
    _, queue.gate_of_0 = queue.blocker()
    queue.submit("echo", "damaged")
    queue.submit("-D", 1, "true")
    queue.submit("-W", 2, "true")
    queue.submit("sh", "-c", "exit 3")
    queue.kill_server()
    segment, blob = queue.state_dir / "seg.00000000", queue.state_dir / "blob.00000000"
    if request.param == "hot":
        flip(segment, hot_at(1) + 20)
    elif request.param == "cold":
        flip(segment, cold_at(1) + 60)
    else:
        flip(blob, blob.read_bytes().index(b"damaged"))
    queue.get("-S")
    assert "job 1: its record is damaged" in queue.log()
    return queue


def test_who_waits_hears_of_it_at_once(damaged: Queue) -> None:
    queue = damaged
    own = "ts: job 1 has a record that cannot be read and does not run (`ts -r 1` removes it)\n"
    assert queue.refused("-w", 1) == own
    waits = (
        "ts: job {} waits for job 1, which has a record that cannot be read and does not run (`ts -r 1` removes it)\n"
    )
    assert [queue.refused("-w", job) for job in (2, 3)] == [waits.format(2), waits.format(3)]
    for words in (("-o", 1), ("-c", 1), ("-t", 1)):
        assert queue.refused(*words) == own
    assert "record that cannot be read" in queue.refused("-i", 1)
    assert queue.get("-s", 1) == "unreadable"
    assert queue.get("-s", "1-2") == "1 unreadable\n2 queued"
    told = queue.run("-i", "1,4")
    assert told.returncode == 255 and told.stdout.startswith("Job: 1\nhas a record") and "exit 3" in told.stdout
    assert "it waits for the end of job 1, whose record cannot be read: `ts -r 1` removes it" in queue.get("--why", 2)


def test_sets_do_not_wait_for_it(damaged: Queue) -> None:
    queue = damaged
    line = "ts: 3 jobs cannot run: the record of job 1 cannot be read (`ts -r 1` removes it)\n"
    waiters = [queue.start("--wait-all"), queue.start("-w", "0-4")]
    queue.gate_of_0.open()
    for waiter in waiters:
        assert (waiter.wait(30), waiter.stderr.read().decode()) == (255, line)
    assert queue.wait(4) == 3


def test_all_lists_have_it(damaged: Queue) -> None:
    queue = damaged
    tsfast_program = queue.program.parent / "tsfast"
    for program in (queue.program, tsfast_program):
        queue.program = program
        jobs = {job["ID"]: job for job in json.loads(queue.get("-M", "json"))}
        assert sorted(jobs) == [0, 1, 2, 3, 4]
        assert jobs[1].keys() == jobs[2].keys()
        assert [jobs[1].pop(name) for name in ("ID", "State")] == [1, "unreadable"]
        assert set(jobs[1].values()) == {None}
        rows = [line.split("\t") for line in queue.get("-M", "tab").splitlines()]
        assert len({len(row) for row in rows}) == 1
        assert [row[:2] for row in rows if row[0] == "1"] == [["1", "unreadable"]]
        assert ["1", "unreadable"] in [line.split() for line in queue.get("-l").splitlines()]


def test_removing_it_lets_the_others_go_on(damaged: Queue) -> None:
    queue = damaged
    queue.get("-C")
    assert 1 in queue.ids(), "it has not ended"
    queue.gate_of_0.open()
    assert queue.wait(4) == 3
    queue.get("-r", 1)
    assert [queue.wait(job) for job in (2, 3)] == [0, 0]
    assert queue.get("--wait-all") == ""


def test_it_cannot_be_moved(damaged: Queue) -> None:
    """That would write its record anew, and the next server would take it for queued: it may have run long ago."""
    queue = damaged
    own = "ts: job 1 has a record that cannot be read and does not run (`ts -r 1` removes it)\n"
    assert [queue.refused(*words) for words in (("-u", 1), ("-U", "1-4"), ("-U", "4-1"))] == [own] * 3
    assert queue.refused("-u", "2,1") == "ts: job 1 has a record that cannot be read; nothing was moved\n"
    queue.kill_server()
    assert queue.get("-s", 1) == "unreadable"


def test_ended_job_with_a_damaged_record_does_not_run_again(queue: Queue) -> None:
    marks = queue.directory / "marks"
    queue.finish("sh", "-c", f"echo ran >> {marks}")
    caller = queue.start("-f", "sh", "-c", f"echo ran >> {marks}; read line", stdin=subprocess.PIPE)
    queue.wait_until(lambda: marks.exists() and marks.read_text() == "ran\n" * 2)
    os.kill(caller.pid, signal.SIGSTOP)
    queue.kill_server()
    for job in (0, 1):
        flip(queue.state_dir / "seg.00000000", hot_at(job) + 20)
    assert queue.refused("-u", 0) == queue.refused("-U", "0-1").replace("job 1", "job 0")
    caller.stdin.close()
    os.kill(caller.pid, signal.SIGCONT)
    assert caller.wait(30) == 255 and b"record that cannot be read" in caller.stderr.read()
    queue.kill_server()
    queue.finish("true")
    assert [queue.state(job) for job in (0, 1)] == ["unreadable"] * 2
    assert marks.read_text() == "ran\n" * 2


@pytest.mark.parametrize("damaged", ["hot"], indirect=True)
def test_programs_do_not_wait_for_it(damaged: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in damaged.environment.items():
        monkeypatch.setenv(name, value)
    with tsfast.Queue() as api:
        (result,) = api.wait(1, timeout=60)
    assert (result.state, result.ok, result.exit_code) == ("damaged", False, None)


def test_array_with_a_damaged_element(queue: Queue) -> None:
    """Its row is made from another element, and the others run."""
    _, gate = queue.blocker()
    array = queue.submit("--array", "1-4", "--", "echo", "element{}")
    queue.kill_server()
    blob = queue.state_dir / "blob.00000000"
    flip(blob, blob.read_bytes().index(b"element1"))
    queue.get("-S")
    (row,) = [line for line in queue.get("-l").splitlines() if line.startswith(f"{array}[")]
    assert "(3 queued, 1 unreadable)" in row
    gate.open()
    done = queue.run("-w", array)
    assert done.returncode == 255 and "1 job cannot run" in done.stderr
    assert [queue.wait(element) for element in range(array + 1, array + 4)] == [0, 0, 0]
