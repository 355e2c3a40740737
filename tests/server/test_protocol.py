"""Callers that break the rules of the wire: their connection is closed, and nobody else notices."""

import os
import resource
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from support.processes import sleeping
from support.queues import Queue
from support.wire import (
    DESCRIPTORS,
    EXIT,
    FRAME_MAX,
    REQUEST,
    SIGNAL,
    UNKNOWN,
    code,
    connect,
    drained,
    frame,
    request,
    send,
)


@pytest.fixture
def client(queue: Queue) -> Iterator[socket.socket]:
    queue.get("-l")
    with connect(queue) as client:
        yield client


def test_request_of_our_own(queue: Queue, client: socket.socket) -> None:
    client.sendall(request("-S"))
    assert b"1\n" in drained(client)


def test_request_byte_by_byte(queue: Queue, client: socket.socket) -> None:
    for byte in request("-L", "slow", "true"):
        client.sendall(bytes([byte]))
    assert b"0\n" in drained(client)
    assert queue.get("-a", 0) == "slow"


def test_same_token_is_the_same_job(queue: Queue) -> None:
    queue.get("-l")
    answers = set()
    for _ in range(3):
        with connect(queue) as client:
            client.sendall(request("true", token=77))
            answers.add(drained(client))
    assert len(answers) == 1
    assert queue.ids() == [0]
    queue.kill_server()
    queue.get("-l")
    with connect(queue) as client:
        client.sendall(request("true", token=77))
        answers.add(drained(client))
    assert len(answers) == 1 and queue.ids() == [0]


def test_removal_whose_answer_was_lost(queue: Queue) -> None:
    """The call is made again, with its token, of the same server: it is done, and removes nothing else."""
    queue.blocker()
    job, other = queue.submit("true"), queue.submit("true")
    for _ in range(2):
        with connect(queue) as client:
            client.sendall(request("-r", str(job), token=78))
            assert drained(client) == frame(EXIT, code(0))
    assert queue.ids() == [0, other]


def test_half_a_frame_blocks_nobody(queue: Queue, client: socket.socket) -> None:
    whole = request("true")
    client.sendall(whole[: len(whole) // 2])
    assert queue.wait(queue.submit("true")) == 0
    client.sendall(whole[len(whole) // 2 :])
    assert b"1\n" in drained(client)


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 3,
        b"\0" * 16,
        b"\0" * 100_000,
        b"\xff" * 64,
        b"GET / HTTP/1.0\r\n\r\n",
        frame(REQUEST, length=FRAME_MAX + 1),
        frame(REQUEST, length=0xFFFFFFFF),
        frame(REQUEST),
        frame(REQUEST, b"x" * 56),
        frame(REQUEST, b"\xff" * 1000),
        frame(DESCRIPTORS),
        frame(SIGNAL, code(0)),
        frame(UNKNOWN, b"x"),
        request("true")[:-1] + b"x",
    ],
    ids=lambda data: f"{data[:20]!r}",
)
def test_garbage(queue: Queue, client: socket.socket, data: bytes) -> None:
    send(client, data)
    client.shutdown(socket.SHUT_WR)
    drained(client)
    assert queue.wait(queue.submit("true")) == 0
    assert queue.ids() == [0]


def test_random_changes_of_a_request(queue: Queue) -> None:
    """Each byte of the head in turn is turned over."""
    queue.get("-S", "50")
    server = queue.server_pid()
    good = request("-L", "label", "true", env=("A=b",))
    for place in range(16 + 56):
        with connect(queue) as client:
            send(client, good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
            client.shutdown(socket.SHUT_WR)
            drained(client)
    assert queue.server_pid() == server
    assert queue.wait(queue.submit("true")) == 0


def test_reader_that_never_reads(queue: Queue, client: socket.socket) -> None:
    """A list of many megabytes to somebody who does not take it; others go on, and its end is no trouble."""
    queue.blocker()
    for _ in range(30):
        queue.submit("echo", "x" * 100_000)
    client.sendall(request("-l"))
    assert queue.get("-S") == "1"
    lazy = subprocess.Popen(
        [queue.environment["PATH"].split(":")[0] + "/ts"], env=queue.env(), stdout=subprocess.PIPE, bufsize=0
    )
    queue.children.append(lazy)
    assert lazy.stdout.read(4) == b"ID  "
    queue.wait_until(lambda: sleeping(lazy.pid))
    assert queue.state(0) == "running"
    lazy.stdout.close()
    assert lazy.wait(20) in (-signal.SIGPIPE, 141)
    assert queue.state(0) == "running"
    assert len(queue.log()) < 1000


def test_client_killed_in_the_middle_of_its_message(queue: Queue) -> None:
    queue.get("-l")
    for size in (1, 15, 16, 17, 100, 300):
        with connect(queue) as client:
            client.sendall(request("true", env=("X=" + "y" * 1000,))[:size])
    switches = idle_switches(queue)
    assert queue.ids() == []
    assert switches < 20


def idle_switches(queue: Queue) -> int:
    """Times that the server was woken while nobody asked it anything (50 looks at /proc long)."""
    status = Path(f"/proc/{queue.server_pid()}/status")

    def switches() -> int:
        return sum(int(line.split()[1]) for line in status.read_text().splitlines() if "ctxt_switches" in line)

    before = switches()
    for _ in range(50):
        queue.processes()
    return switches() - before


def test_many_idle_connections(queue: Queue) -> None:
    queue.get("-l")
    clients = [connect(queue) for _ in range(500)]
    assert queue.wait(queue.submit("true")) == 0
    for client in clients:
        client.close()
    assert queue.wait(queue.submit("true")) == 0
    descriptors = f"/proc/{queue.server_pid()}/fd"
    queue.wait_until(lambda: len(os.listdir(descriptors)) < 40)


def test_idle_server_sleeps(queue: Queue) -> None:
    """With a running job, a queued one, a waiting client and an open connection: no timer, no poll."""
    job, _ = queue.blocker()
    queue.submit("-D", job, "true")
    waiter = queue.start("-w", job)
    with connect(queue):
        queue.wait_until(lambda: sleeping(waiter.pid) and sleeping(queue.server_pid()))
        assert idle_switches(queue) <= 1


def test_too_many_descriptors(queue: Queue) -> None:
    """Of what comes with a message three are taken; the room for control messages is padded to four."""
    queue.get("-l")
    server = queue.server_pid()
    for count in (3, 4, 5, 200):
        queue.wait_until(lambda: sleeping(server))
        before = len(os.listdir(f"/proc/{server}/fd"))
        with connect(queue) as client, open(os.devnull) as null:
            socket.send_fds(client, [request("-S")], [null.fileno()] * count)
            assert b"1\n" in drained(client)
        queue.wait_until(lambda n=before: len(os.listdir(f"/proc/{server}/fd")) == n, "descriptors are closed")
    assert queue.server_pid() == server


def test_no_descriptor_for_a_caller(queue: Queue) -> None:
    """Nobody is connected whose leaving could tell the server that there is room again."""
    queue.get("-l")
    server = queue.server_pid()
    _, hard = resource.prlimit(server, resource.RLIMIT_NOFILE)
    queue.wait_until(lambda: sleeping(server))
    taken = {int(fd) for fd in os.listdir(f"/proc/{server}/fd")}
    free = next(fd for fd in range(len(taken) + 1) if fd not in taken)
    resource.prlimit(server, resource.RLIMIT_NOFILE, (free, hard))
    try:
        caller = queue.start("-S")
        with pytest.raises(subprocess.TimeoutExpired):
            caller.wait(0.6)
        spent = sum(psutil.Process(server).cpu_times()[:2])
        with pytest.raises(subprocess.TimeoutExpired):
            caller.wait(0.6)
        assert sum(psutil.Process(server).cpu_times()[:2]) - spent < 0.2
    finally:
        resource.prlimit(server, resource.RLIMIT_NOFILE, (hard, hard))
    assert caller.wait(20) == 0


def test_submission_in_the_turn_of_dash_k(queue: Queue) -> None:
    """What the ended server has not done is done by the next one, or not at all."""
    queue.get("true")
    server = queue.server_pid()
    with connect(queue) as killer, connect(queue) as client:
        queue.wait_until(lambda: sleeping(server), "both are accepted")
        os.kill(server, signal.SIGSTOP)
        killer.sendall(request("-K"))
        client.sendall(request("true", token=5))
        os.kill(server, signal.SIGCONT)
        answer = drained(client)
        drained(killer)
    assert b"1\n" not in answer
    assert queue.submit("true") == 1
