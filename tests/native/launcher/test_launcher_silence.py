"""A server that says nothing: when that is told, when it is given up, and what is no silence."""

import contextlib
import os
import socket
import subprocess
import tty

import pytest

from support.launcher_queue import DEADLINE, ended
from support.patience import ts_patience
from support.wire import ALIVE, ERR, EXIT, FOLLOW, OUT, PROGRESS, SEND_DESCRIPTORS, code, frame

SOON = {"TS_PATIENCE": ts_patience(1)}


def silence():
    return b"ts: the server (pid %d) does not answer\n" % os.getpid()


def test_a_call_that_hears_nothing_is_given_up(queue):
    assert ended(queue.start("-l", env=SOON)) == (255, b"", silence())


def test_on_a_terminal_it_is_told_before(queue):
    master, slave = os.openpty()
    tty.setraw(slave)
    child = queue.start("-l", env=SOON, stderr=slave)
    os.close(slave)
    said = b""
    with contextlib.suppress(OSError):  # its end
        while True:
            said += os.read(master, 1000)
    os.close(master)
    assert child.wait(DEADLINE) == 255
    assert said == silence().replace(b"answer", b"answer yet") + silence()


@pytest.mark.parametrize("kind", [ALIVE, PROGRESS, FOLLOW, SEND_DESCRIPTORS])
def test_whoever_waits_for_a_job_hears_that_the_server_lives(queue, tmp_path, kind):
    (tmp_path / "followed").touch()
    payload = {PROGRESS: b"1 of 2", FOLLOW: code(-1) + os.fsencode(tmp_path / "followed")}.get(kind, b"")
    child = queue.start("-w", env=SOON)
    peer = queue.accept()
    peer.request()
    peer.send(frame(kind, payload))
    if kind == SEND_DESCRIPTORS:
        for fd in peer.descriptors():
            os.close(fd)
    queue_time_passes(queue)
    assert child.poll() is None
    peer.send(frame(EXIT, code(3)))
    assert ended(child)[0] == 3


def queue_time_passes(queue):
    """Longer than the patience of a call that was started before."""
    assert ended(queue.start("-l", env={"TS_PATIENCE": ts_patience(2)}))[0] == 255


def test_text_is_a_sign_of_life_for_the_moment(queue):
    child = queue.start("-l", env=SOON)
    peer = queue.accept()
    peer.request()
    peer.send(frame(OUT, b"some\n"), frame(ERR, b"more\n"))
    assert ended(child) == (255, b"some\n", b"more\n" + silence())


def test_patience_without_end(queue):
    child = queue.start("-l", env={"TS_PATIENCE": "0"})
    queue_time_passes(queue)
    assert child.poll() is None
    peer = queue.accept()
    peer.request()
    peer.send(frame(EXIT, code(0)))
    assert ended(child)[0] == 0


def test_requests_larger_than_what_the_socket_takes(queue):
    child = queue.start(*["x" * 100_000] * 20, env=SOON)
    assert ended(child) == (255, b"", silence())
    child = queue.start(*["x" * 100_000] * 20)
    queue.accept()  # the one that was given up
    peer = queue.accept()
    assert peer.request()["argc"] == 20
    peer.send(frame(EXIT, code(0)))
    assert ended(child)[0] == 0


def test_more_callers_than_the_kernel_lets_wait(idle_queue):
    idle_queue.listen()
    idle_queue.listener.listen(0)
    waiting = []
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        waiting.append(client)
        try:
            client.connect(str(idle_queue.path))
        except BlockingIOError:
            break
    said = b"ts: the server at %s does not answer\n" % os.fsencode(idle_queue.path)
    assert ended(idle_queue.start("-l", env=SOON)) == (255, b"", said)
    child = idle_queue.start("-l")
    for client in waiting:
        client.close()
    for _ in waiting[:-1]:
        idle_queue.accept()
    peer = idle_queue.accept()
    peer.request()
    peer.send(frame(EXIT, code(0)))
    assert ended(child) == (0, b"", b"")


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "1000001", "10000000000000000000", " 1"])
def test_wrong_patience(queue, value):
    said = b"ts: TS_PATIENCE is '%s', allowed is a number from 0 to 1000000\n" % value.encode()
    assert ended(queue.start("-l", env={"TS_PATIENCE": value})) == (255, b"", said)
    queue.listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        queue.listener.accept()


def test_interrupted_by_a_stop_of_its_own(queue):
    """Its time counts while it runs: a call that was stopped for long does not give up as it goes on."""
    child = queue.start("-l", env={"TS_PATIENCE": ts_patience(4)}, stderr=subprocess.PIPE)
    peer = queue.accept()
    peer.request()
    child.send_signal(19)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    assert ended(queue.start("-l", env={"TS_PATIENCE": ts_patience(5)}))[0] == 255
    child.send_signal(18)
    peer.send(frame(EXIT, code(0)))
    assert ended(child) == (0, b"", b"")
