"""-f and -nf: the job has the caller's descriptors, signals and exit code."""

import os
import signal
import subprocess

import pytest

from support.patience import wait_until
from support.processes import alive, sleeping
from support.queues import Queue


def test_stdin_reaches_the_job_and_output_its_file(queue: Queue) -> None:
    done = queue.run("-f", "sh", "-c", "cat; echo err >&2; exit 7", stdin="from the caller\n")
    assert (done.returncode, done.stderr) == (7, "")
    job = int(done.stdout)
    assert queue.output(job) == "from the caller\nerr\n"
    assert queue.state(job) == "finished"


def test_nothing_is_stored_with_nf(queue: Queue) -> None:
    done = queue.run("-nf", "sh", "-c", "cat; echo err >&2; exit 200", stdin="x" * 200_000)
    assert (done.returncode, done.stdout, done.stderr) == (200, "x" * 200_000, "err\n")
    assert queue.ids() == []
    assert list(queue.out.iterdir()) == []


def test_f_and_n_in_any_order(queue: Queue) -> None:
    for words in (("-f", "-n"), ("-fn",), ("-n", "-f")):
        assert queue.get(*words, "echo", "here") == "here"
    assert queue.ids() == []


def test_waits_for_its_turn(queue: Queue) -> None:
    blocker, gate = queue.blocker()
    caller = queue.start("-nf", "sh", "-c", "echo turn; exit 3")
    queue.wait_until(lambda: len(queue.ids()) == 2)
    assert queue.state(1) == "queued"
    gate.open()
    assert caller.communicate(timeout=20) == (b"turn\n", b"")
    assert caller.returncode == 3
    assert queue.ids() == [blocker]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signals_reach_the_job(queue: Queue, number: int) -> None:
    script = f"trap 'echo got; exit 9' {number}; echo ready; while :; do sleep 0.01; done"
    caller = queue.start("-nf", "sh", "-c", script)
    assert caller.stdout.read(6) == b"ready\n"
    caller.send_signal(number)
    assert caller.communicate(timeout=20)[0] == b"got\n"
    assert caller.returncode == 9


def test_interrupt_ends_a_plain_job(queue: Queue) -> None:
    caller = queue.start("-f", "sh", "-c", "echo go > ready; exec sleep 1000")
    queue.wait_until((queue.work / "ready").exists)
    caller.send_signal(signal.SIGINT)
    assert caller.wait(20) == 255
    assert queue.info(0)["Exit status"] == "killed by signal 2"


def test_interrupt_of_a_queued_job_removes_it(queue: Queue) -> None:
    blocker, _ = queue.blocker()
    caller = queue.start("-f", "true")
    queue.wait_until(lambda: len(queue.ids()) == 2)
    queue.wait_until(lambda: sleeping(caller.pid))
    caller.send_signal(signal.SIGINT)
    assert caller.wait(20) == 130
    assert queue.ids() == [blocker]


def test_killed_caller_of_a_queued_job_removes_it(queue: Queue) -> None:
    blocker, _ = queue.blocker()
    caller = queue.start("-f", "true")
    queue.wait_until(lambda: len(queue.ids()) == 2)
    caller.kill()
    queue.wait_until(lambda: queue.ids() == [blocker])


def test_killed_caller_of_a_running_job_does_not_free_its_slot(queue: Queue) -> None:
    gate = queue.gate()
    caller = queue.start("-f", *gate.command)
    queue.wait_until(lambda: queue.ids() and "Time running" in queue.info(0))
    pid = int(queue.get("-p", 0))
    queued = queue.submit("true")
    caller.kill()
    caller.wait()
    assert alive(pid)
    assert (queue.state(0), queue.state(queued)) == ("running", "queued")
    gate.open(4)
    assert queue.wait(0) == 4
    assert queue.wait(queued) == 0


def test_terminal_is_the_job_s(queue: Queue) -> None:
    """-nf: isatty() of all three; the terminal belongs to the caller's session."""
    controller, terminal = os.openpty()
    caller = queue.start(
        "-nf", "sh", "-c", "test -t 0 && test -t 1 && test -t 2 && exit 11",
        stdin=terminal, stdout=terminal, stderr=terminal,
    )  # fmt: skip
    os.close(terminal)
    assert caller.wait(20) == 11
    os.close(controller)


def test_pipe_of_the_caller_ends_with_the_job(queue: Queue) -> None:
    """Neither the server nor an idle runner holds the caller's descriptors."""
    done = subprocess.run(
        ["sh", "-c", "ts -nf echo one | cat; ts -nf cat < /dev/null | wc -c"],
        env=queue.env(), cwd=queue.work, capture_output=True, timeout=20,
    )  # fmt: skip
    assert done.stdout == b"one\n0\n"


def test_foreground_job_that_is_skipped(queue: Queue) -> None:
    failed = queue.finish("false")
    done = queue.run("-f", "-W", failed, "true")
    assert done.returncode == 255
    blocker, gate = queue.blocker()
    caller = queue.start("-f", "-W", blocker, "true")
    queue.wait_until(lambda: len(queue.ids()) == 4)
    gate.open(1)
    assert caller.wait(20) == 255


def test_removed_while_its_caller_waits(queue: Queue) -> None:
    queue.blocker()
    caller = queue.start("-f", "true")
    queue.wait_until(lambda: len(queue.ids()) == 2)
    queue.get("-r", 1)
    _, err = caller.communicate(timeout=20)
    assert caller.returncode == 255 and err.count(b"\n") == 1


def test_many_foreground_jobs_at_once(queue: Queue) -> None:
    queue.get("-S", "8")
    callers = [queue.start("-nf", "sh", "-c", f"echo {number}; exit {number}") for number in range(60)]
    for number, caller in enumerate(callers):
        assert caller.communicate(timeout=30) == (b"%d\n" % number, b"")
        assert caller.returncode == number
    wait_until(lambda: queue.ids() == [])
