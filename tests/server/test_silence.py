"""A server that says nothing is given up, what was given up does not happen later, and waiting is no silence."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import tsfast
from support.patience import patient, ts_patience
from support.processes import alive, cmdline, kill, sleeping
from support.queues import Queue
from support.wire import ALIVE, EXIT, HEARS_ALIVE, code, connect, drained, frame, request
from tsfast.client.events import EventStream

LIVES = frame(ALIVE)
SOON = {"TS_PATIENCE": ts_patience(1)}


@contextmanager
def stopped(queue: Queue) -> Iterator[int]:
    server = queue.server_pid()
    os.kill(server, signal.SIGSTOP)
    queue.wait_until(lambda: Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    yield server
    os.kill(server, signal.SIGCONT)


def hearing(*words: str) -> bytes:
    """A request of a caller that understands LIVES."""
    return request(*words, tty=HEARS_ALIVE)


def test_a_call_that_was_given_up_is_not_obeyed(queue: Queue) -> None:
    queue.get("-S", "2")
    with stopped(queue) as server:
        for words in (("touch", "ran"), ("-S", "7"), ("--setenv", "A=b"), ("-w",)):
            assert queue.refused(*words, env=SOON) == f"ts: the server (pid {server}) does not answer\n"
    assert queue.ids() == [] and queue.get("-S") == "2"
    assert "A=b" not in queue.get("--getenv", "A")
    assert queue.submit("true") == 0


def test_a_call_that_was_killed_is_not_obeyed(queue: Queue) -> None:
    queue.get("-l")
    with stopped(queue):
        callers = [queue.start("touch", "ran"), queue.start("-f", "touch", "ran"), queue.start("-S", "7")]
        queue.wait_until(lambda: all(sleeping(caller.pid) for caller in callers))
        for caller in callers:
            kill(caller.pid)
            caller.wait()
    assert queue.ids() == [] and queue.get("-S") == "1"


def test_a_caller_that_only_shuts_its_side_down_is_still_there(queue: Queue) -> None:
    queue.get("-l")
    with connect(queue) as client:
        with stopped(queue):
            client.sendall(request("true", cwd=str(queue.work), env=("PATH=/usr/bin:/bin",)))
            client.shutdown(socket.SHUT_WR)
        assert b"0\n" in drained(client)
    assert queue.wait(0) == 0


def test_a_caller_that_waits_hears_that_the_server_lives(queue: Queue) -> None:
    """If it understands that."""
    job, gate = queue.blocker()
    exit_3 = frame(EXIT, code(3))
    with connect(queue) as new, connect(queue) as old:
        for client, call in ((old, request("-w", str(job))), (new, hearing("-w", str(job)))):
            client.sendall(call)
        assert new.recv(len(LIVES), socket.MSG_WAITALL) == LIVES
        gate.open(3)
        assert drained(new) == exit_3 and drained(old) == exit_3


def test_waiting_for_room_is_no_silence(queue: Queue) -> None:
    queue.environment["TS_MAXCONN"] = "1"
    _, gate = queue.blocker()
    with connect(queue) as client:
        client.sendall(hearing("true"))
        assert client.recv(len(LIVES), socket.MSG_WAITALL) == LIVES
    caller = queue.start("true", env={"TS_PATIENCE": ts_patience(2)})
    pass_time(queue)
    assert caller.poll() is None
    gate.open()
    assert caller.wait(patient(20)) == 0


def pass_time(queue: Queue) -> None:
    """More than the patience that others have, by a call to a place where nobody accepts."""
    path = queue.directory / "clock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        queue.refused("-l", env={"TS_SOCKET": str(path), "TS_PATIENCE": ts_patience(3)})
    path.unlink()


def test_python_gives_up(queue: Queue, api: tsfast.Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.get("-l")
    monkeypatch.setenv("TS_PATIENCE", ts_patience(1))
    huge = [["echo", "x" * 100_000]] * 40  # more than the socket takes
    with stopped(queue) as server, EventStream() as events:
        for call in (
            lambda: api.submit(["touch", "ran"]),
            lambda: api.submit_many(huge),
            lambda: api.ask("-S", "7"),
            events.read,
        ):
            with pytest.raises(tsfast.ServerUnavailable, match=rf"^the server \(pid {server}\) does not answer$"):
                call()
    assert queue.ids() == [] and queue.get("-S") == "1"
    monkeypatch.delenv("TS_PATIENCE")
    assert api.submit(["true"]) == 0
    monkeypatch.setenv("TS_PATIENCE", "soon")
    with pytest.raises(tsfast.ServerUnavailable, match=r"^TS_PATIENCE is 'soon', allowed is a number from 0"):
        tsfast.Queue().submit(["true"])


def test_python_waits_for_room(queue: Queue, api: tsfast.Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long, also where more is sent than the server reads meanwhile."""
    monkeypatch.setenv("TS_MAXCONN", "10000")
    monkeypatch.setenv("TS_PATIENCE", ts_patience(2))
    queue.environment["TS_MAXCONN"] = "10000"
    gate = queue.gate()
    assert queue.submit(*gate.command) == 0
    api.submit_many([["true"]] * 9000)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.extend(api.submit_many([["true", "x" * 1000]] * 9900)))
    thread.start()
    pass_time(queue)
    assert thread.is_alive()
    assert not found
    gate.open()
    api.cancel(range(1, 9001))
    thread.join(patient(60))
    assert len(found) == 9900
    api.cancel(found)


def test_the_first_caller_s_words_are_not_the_server_s(queue: Queue) -> None:
    job = queue.submit("sh", "-c", "cat < /dev/null; : train.py password")
    server = queue.server_pid()
    assert b"train.py" not in cmdline(server) and b"password" not in cmdline(server)
    assert str(queue.socket).encode() in cmdline(server)
    assert not any("memfd" in name for name in map(os.readlink, Path(f"/proc/{server}/fd").iterdir()))
    assert queue.wait(job) == 0
    queue.kill_server()
    queue.get("-L", "password", "true")
    assert b"password" not in cmdline(queue.server_pid())


def test_help_and_version_beside_a_stopped_server(queue: Queue) -> None:
    queue.get("-l")
    version = f"tsfast {tsfast.__version__}"
    with stopped(queue):
        assert queue.get("-V") == queue.get("--version") == version
        assert queue.get("-h") == queue.get("--help")
        assert queue.get("-h").startswith("ts [options] command")
        assert "does not answer" in queue.refused("-n", "-h", env=SOON)
    odd = {"HOME": None, "TS_SOCKET": "/nonexistent/a/b", "TS_SLOTS": "x", "TMPDIR": "/nonexistent", "TS_PATIENCE": "x"}
    assert queue.get("-V", env=odd, cwd="/") == version
    assert queue.get("-h", env=odd, cwd="/") == queue.get("-h")


def test_server_that_is_stopped_and_killed_later(queue: Queue) -> None:
    """The next server gets what the call asked for, once."""
    queue.get("-l")
    with stopped(queue) as server:
        caller = queue.start("true")
        queue.wait_until(lambda: sleeping(caller.pid))
        kill(server)
    assert caller.wait(patient(20)) == 0
    queue.wait_until(lambda: not alive(server))
    assert queue.ids() == [0]
