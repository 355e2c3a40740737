"""Files shown as they grow, descriptors passed, signals forwarded."""

import os
import signal
import subprocess

import pytest

from support import layouts
from support.launcher_queue import DEADLINE, ended, read_exactly
from support.wire import ENDED, EXIT, FOLLOW, SEND_DESCRIPTORS, SIGNAL, code, frame


def follow(path, lines=-1):
    return frame(FOLLOW, bytes(layouts.tsf_follow(lines)) + os.fsencode(path))


def test_follow_growth_until_ended(queue, tmp_path):
    path = tmp_path / "out"
    with path.open("wb", buffering=0) as output:
        output.write(b"first\n")
        child = queue.start("-c")
        peer = queue.accept()
        peer.request()
        peer.send(follow(path))
        assert read_exactly(child.stdout, 6) == b"first\n"
        for i in range(20):
            output.write(b"%d\n" % i)
            assert read_exactly(child.stdout, len(b"%d\n" % i)) == b"%d\n" % i
        output.write(b"last")
        peer.send(frame(ENDED, code(42)))
        assert ended(child) == (42, b"last", b"")


def test_follow_of_an_ended_job_is_one_step(queue, tmp_path):
    path = tmp_path / "out"
    path.write_bytes(os.urandom(200_000))
    child = queue.start("-c")
    peer = queue.accept()
    peer.request()
    peer.send(follow(path), frame(ENDED, code(0)))
    assert ended(child) == (0, path.read_bytes(), b"")


@pytest.mark.parametrize(
    ("text", "lines", "shown"),
    [
        (b"1\n2\n3\n", 2, b"2\n3\n"),
        (b"1\n2\n3", 2, b"2\n3"),
        (b"1\n2\n3\n", 3, b"1\n2\n3\n"),
        (b"1\n2\n3\n", 9, b"1\n2\n3\n"),
        (b"1\n2\n", 0, b""),
        (b"", 5, b""),
        (b"\n\n\n", 1, b"\n"),
        (b"x" * 70_000 + b"\n" + b"y" * 65_536 + b"\n", 1, b"y" * 65_536 + b"\n"),
        (b"a\n" + b"y" * 65_535 + b"\n", 1, b"y" * 65_535 + b"\n"),
        (b"a\n" * 100_000, 60_000, b"a\n" * 60_000),
    ],
)
def test_last_lines(queue, tmp_path, text, lines, shown):
    path = tmp_path / "out"
    path.write_bytes(text)
    child = queue.start("-t")
    peer = queue.accept()
    peer.request()
    peer.send(follow(path, lines), frame(ENDED, code(0)))
    assert ended(child) == (0, shown, b"")


def test_follow_goes_on_after_a_broken_connection(queue, tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"one\n")
    child = queue.start("-c")
    peer = queue.accept()
    token = peer.request()["token"]
    peer.send(follow(path))
    assert read_exactly(child.stdout, 4) == b"one\n"
    peer.close()
    peer = queue.accept()
    assert peer.request()["token"] == token
    with path.open("ab") as output:
        output.write(b"two\n")
    peer.send(follow(path), frame(ENDED, code(0)))
    assert ended(child) == (0, b"two\n", b"")


def test_follow_ends_when_nobody_reads(queue, tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"one\n")
    child = queue.start("-t")
    peer = queue.accept()
    peer.request()
    peer.send(follow(path))
    assert read_exactly(child.stdout, 4) == b"one\n"
    child.stdout.close()
    assert child.wait(DEADLINE) == -signal.SIGPIPE


def test_follow_of_a_missing_file(queue, tmp_path):
    child = queue.start("-c")
    peer = queue.accept()
    peer.request()
    peer.send(follow(tmp_path / "none"), frame(ENDED, code(0)))
    status, out, err = ended(child)
    assert (status, out, err.count(b"\n")) == (255, b"", 1)
    assert b"No such file" in err


def test_descriptors_are_passed_and_signals_forwarded(queue):
    child = queue.start("-f", "cat", stdin=subprocess.PIPE)
    peer = queue.accept()
    peer.request()
    peer.send(frame(SEND_DESCRIPTORS))
    passed = peer.descriptors()
    os.write(passed[1], b"from the job\n")
    child.stdin.write(b"hello")
    child.stdin.close()
    assert os.read(passed[0], 100) == b"hello"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        child.send_signal(number)
        assert peer.frame() == (SIGNAL, code(number))
    for fd in passed:
        os.close(fd)
    peer.send(frame(EXIT, code(130)))
    child.stdin = None
    assert ended(child) == (130, b"from the job\n", b"")


def test_signal_during_a_broken_connection_reaches_the_next_one(queue):
    child = queue.start("-f", "sleep")
    peer = queue.accept()
    peer.request()
    peer.send(frame(SEND_DESCRIPTORS))
    kept = peer.descriptors()
    peer.close()
    peer = queue.accept()
    child.send_signal(signal.SIGINT)
    peer.request()
    peer.send(frame(SEND_DESCRIPTORS))
    again = peer.descriptors()
    assert peer.frame() == (SIGNAL, code(signal.SIGINT))
    peer.send(frame(EXIT, code(0)))
    for fd in kept + again:
        os.close(fd)
    assert ended(child)[0] == 0


def test_ignored_signals_stay_ignored(queue):
    child = queue.start("-f", "sleep", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    peer = queue.accept()
    peer.request()
    peer.send(frame(SEND_DESCRIPTORS))
    for fd in peer.descriptors():
        os.close(fd)
    child.send_signal(signal.SIGHUP)
    child.send_signal(signal.SIGUSR1)
    assert peer.frame() == (SIGNAL, code(signal.SIGUSR1))
    peer.send(frame(EXIT, code(0)))
    assert ended(child)[0] == 0


def test_a_signal_before_the_descriptors_ends_the_launcher(queue):
    child = queue.start("-w")
    queue.accept().request()
    child.send_signal(signal.SIGINT)
    assert ended(child)[0] == -signal.SIGINT
