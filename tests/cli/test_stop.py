"""`tsfast stop`: the server ends, the queue stays."""

import os
import signal
import subprocess

import pytest

from support.installation import BIN
from support.patience import patient
from support.processes import alive
from support.queues import Queue


def stop(queue: Queue, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "tsfast", "stop", *words],
        env=queue.env(),
        cwd=queue.work,
        capture_output=True,
        text=True,
        timeout=patient(30),
    )


def test_queue_is_kept(queue: Queue) -> None:
    running, gate = queue.blocker()
    waiting = queue.submit("true")
    pid = queue.server_pid()
    done = stop(queue)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"{queue.socket}: the server, pid {pid}, has ended; the queue is kept, and running jobs go on\n"
    )
    assert not alive(pid)
    assert [queue.state(job) for job in (running, waiting)] == ["running", "queued"]
    assert queue.server_pid() != pid
    gate.open()
    assert [queue.wait(job) for job in (running, waiting)] == [0, 0]


def test_without_a_server(queue: Queue) -> None:
    done = stop(queue)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{queue.socket}: no server runs\n", "")
    assert not queue.socket.exists(), "none is started"


NOTHING = ["no state", "no server", "an empty queue", "no directory of the default's socket"]


@pytest.mark.parametrize("there", NOTHING)
@pytest.mark.parametrize("terminal", [False, True])
def test_there_is_nothing_to_end(queue: Queue, there: str, terminal: bool) -> None:
    """-K has one answer: nothing is said, and all is well."""
    if there == NOTHING[3]:
        del queue.environment["TS_SOCKET"]
    elif there != NOTHING[0]:
        queue.get("-S")
        if there == NOTHING[1]:
            assert stop(queue).returncode == 0
    for program in (BIN / "ts", BIN / "tsfast"):
        main, side = os.openpty() if terminal else os.pipe()
        done = subprocess.run([program, "-K"], env=queue.env(), stdout=side, stderr=side, timeout=patient(30))
        os.close(side)
        try:
            said = os.read(main, 1000)
        except OSError:  # the end of a terminal
            said = b""
        os.close(main)
        assert (done.returncode, said) == (0, b"")
        assert queue.servers() == []


def test_a_socket_in_a_directory_that_is_not_there(queue: Queue) -> None:
    """Mistyped: whatever is asked, there is no queue."""
    queue.environment["TS_SOCKET"] = str(queue.directory / "missing" / "socket")
    expected = "missing is not there, so it cannot hold a queue: make it, or correct TS_SOCKET"
    for words in (["-K"], ["-l"], ["-R"], ["-q"], ["true"]):
        assert expected in queue.refused(*words)
    done = stop(queue)
    assert (done.returncode, done.stdout) == (255, "") and expected in done.stderr
    assert not (queue.directory / "missing").exists()


def test_a_new_queue(queue: Queue) -> None:
    assert queue.get("-l").count("\n") == 0
    assert queue.get("-R") == "0"
    assert "no job was added yet" in queue.refused("-q")


def test_server_that_does_not_end(queue: Queue) -> None:
    queue.submit("true")
    pid = queue.server_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        done = stop(queue, "--timeout", "0.1")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (done.returncode, done.stdout) == (255, "")
    assert done.stderr == (f"tsfast: the server, pid {pid}, has not ended in 0.1 s; SIGKILL keeps the queue as well\n")


def test_several_at_once(queue: Queue) -> None:
    queue.submit("true")
    calls = [
        subprocess.Popen([BIN / "tsfast", "stop"], env=queue.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(5)
    ]
    for call in calls:
        out, err = call.communicate(timeout=patient(30))
        assert (call.returncode, err) == (0, b"")
        assert b"has ended" in out or b"no server runs" in out


def test_wrong_words(queue: Queue) -> None:
    queue.submit("true")
    pid = queue.server_pid()
    for words in (["now"], ["--timeout", "-1"], ["--timeout", "nan"]):
        done = stop(queue, *words)
        assert (done.returncode, done.stdout) == (255, "")
        assert done.stderr.startswith("tsfast: ") and done.stderr.count("\n") == 1
    assert queue.server_pid() == pid


def test_something_else_behind_the_socket(queue: Queue) -> None:
    queue.socket.write_text("")
    done = stop(queue)
    assert (done.returncode, done.stdout) == (0, f"{queue.socket}: no server runs\n")
    assert queue.socket.read_text() == ""
