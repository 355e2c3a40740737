"""What the launcher sends, and what it does with the frames of the answer."""

import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import termios
import threading
from functools import partial

import pytest

from support import layouts
from support.launcher_queue import DEADLINE, ended
from support.wire import (
    COUNTED,
    ENDED,
    ERR,
    EXEC,
    EXIT,
    EXIT_AT_CLOSE,
    FOLLOW,
    FRAME_MAX,
    GIVE_WAY,
    HEAD,
    HEARS_ALIVE,
    MOMENT,
    OUT,
    REQUEST,
    SEND_DESCRIPTORS,
    SHOWS_MOMENTS,
    TAKE_OVER,
    VERSION,
    VERSION1,
    code,
    frame,
)


def test_request_says_everything_about_the_caller(queue, tmp_path):
    child = queue.start(
        "-L", "", "a b", "\xff", env={"X": "1"}, cwd=tmp_path, umask=0o27, preexec_fn=partial(os.nice, 3)
    )
    peer = queue.accept()
    request = peer.request()
    peer.send(frame(OUT, b"7\n"), frame(EXIT, code(0)))
    assert ended(child) == (0, b"7\n", b"")
    assert request["words"] == [b"-L", b"", b"a b", "\xff".encode()]
    assert request["cwd"] == os.fsencode(tmp_path) + b"\0"
    assert b"X=1" in request["environment"]
    assert (request["umask"], request["nice"]) == (0o27, os.nice(0) + 3)
    assert (request["columns"], request["tty"]) == (0, HEARS_ALIVE | SHOWS_MOMENTS)
    assert request["token"] != bytes(16)
    mask = int.from_bytes(request["affinity"], "little")
    assert {i for i in range(mask.bit_length()) if mask >> i & 1} == os.sched_getaffinity(0)
    assert request["limits"][7][0] > 0


def test_what_was_counted_goes_with_the_request_that_is_made_again(queue):
    child = queue.start("--wait-all")
    peer = queue.accept()
    assert peer.request()["counted"] == bytes(layouts.tsf_counted())
    told = [bytes(layouts.tsf_counted(since=5)), bytes(layouts.tsf_counted(5, 3, 2, 8, 7))]
    peer.send(*(frame(COUNTED, counted) for counted in told))
    peer.close()
    peer = queue.accept()
    assert peer.request()["counted"] == told[-1]
    peer.send(frame(EXIT, code(7)))
    assert ended(child) == (7, b"", b"")


def test_server_of_the_first_version_gives_way(queue):
    """It ends the connection at the first frame; asked in its own words it lets the next server come."""
    child = queue.start("-l")
    peer = queue.accept()
    words = peer.request()["words"]
    peer.send(frame(EXIT, code(255), version=VERSION1))
    peer.close()
    peer = queue.accept()
    kind, payload = peer.frame(VERSION1)
    assert kind == REQUEST
    head = layouts.tsf_request.from_buffer_copy(payload.ljust(ctypes.sizeof(layouts.tsf_request)))
    own = head.argv_len + head.cwd_len + head.env_len + head.affinity_len
    assert len(payload) == layouts.tsf_request.counted.offset + own
    peer.send(frame(GIVE_WAY, version=VERSION1))
    assert peer.frame(VERSION1) == (TAKE_OVER, b"")
    peer.close()
    peer = queue.accept()
    assert peer.request()["words"] == words
    peer.send(frame(EXIT, code(3)))
    assert ended(child) == (3, b"", b"")


def test_terminal_and_its_width(queue):
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 77, 0, 0))
    child = queue.start(stdout=slave)
    peer = queue.accept()
    request = peer.request()
    peer.send(frame(EXIT, code(0)))
    assert ended(child)[0] == 0
    assert (request["columns"], request["tty"]) == (77, 2 | HEARS_ALIVE | SHOWS_MOMENTS)
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize(("number", "status"), [(0, 0), (200, 200), (-1, 255)])
def test_exit_code(queue, number, status):
    child = queue.start("-w")
    peer = queue.accept()
    peer.request()
    peer.send(frame(ERR, b"why\n"), frame(EXIT, code(number)))
    assert ended(child) == (status, b"", b"why\n")


def test_answer_byte_by_byte(queue):
    child = queue.start("x")
    peer = queue.accept()
    peer.request()
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
    for byte in (
        frame(OUT, b"one\n") + frame(ERR, b"two\n") + frame(OUT) + frame(OUT, b"three\n") + frame(EXIT, code(3))
    ):
        peer.send(bytes([byte]))
    assert ended(child) == (3, b"one\nthree\n", b"two\n")


@pytest.mark.parametrize(
    ("zone", "shown"),
    [("UTC0", "Sat Jan 31 20:00:01 2026"), ("JST-9", "Sun Feb  1 05:00:01 2026"), ("", "Sat Jan 31 20:00:01 2026")],
)
def test_moment_in_the_time_zone_of_the_caller(queue, zone, shown):
    child = queue.start("-i", env={"TZ": zone})
    peer = queue.accept()
    peer.request()
    moment = frame(MOMENT, bytes(layouts.tsf_moment(1769889601)))
    peer.send(frame(OUT, b"at "), moment, moment, frame(OUT, b".\n"), frame(EXIT, code(0)))
    assert ended(child) == (0, f"at {shown}\n{shown}\n.\n".encode(), b"")


@pytest.mark.parametrize("blocking", [True, False])
def test_text_longer_than_any_buffer(queue, blocking):
    text = os.urandom(1 << 20) * 3
    reading, writing = os.pipe()
    os.set_blocking(writing, blocking)
    child = queue.start("-l", stdout=writing)
    os.close(writing)
    peer = queue.accept()
    peer.request()
    sender = threading.Thread(target=peer.send, args=(frame(OUT, text), frame(EXIT, code(0))))
    sender.start()
    with open(reading, "rb") as stream:
        assert stream.read() == text
    sender.join(DEADLINE)
    assert child.wait(DEADLINE) == 0


def test_long_command(queue):
    word = "x" * 100_000
    child = queue.start(*[word] * 10)
    peer = queue.accept()
    assert peer.request()["words"] == [word.encode()] * 10
    peer.send(frame(EXIT, code(0)))
    assert ended(child)[0] == 0


@pytest.mark.parametrize("read_first", [True, False])
def test_broken_connection_is_made_again_with_the_same_token(queue, read_first):
    child = queue.start("true")
    tokens = []
    for _ in range(5):
        peer = queue.accept()
        if read_first:
            tokens.append(peer.request()["token"])
        peer.send(frame(OUT, b"lost")[: HEAD - 1])
        peer.close()
    peer = queue.accept()
    tokens.append(peer.request()["token"])
    peer.send(frame(OUT, b"0\n"), frame(EXIT, code(0)))
    assert ended(child) == (0, b"0\n", b"")
    assert len(set(tokens)) == 1


def test_gives_up_after_many_broken_connections(queue):
    child = queue.start("true")
    tries = 0
    queue.listener.settimeout(0.05)
    while child.poll() is None:
        try:
            queue.accept().close()
            tries += 1
        except TimeoutError:
            pass
    status, out, err = ended(child)
    assert (status, out, err.count(b"\n")) == (255, b"", 1)
    assert os.fsencode(queue.path) in err
    assert 15 <= tries <= 25


def test_text_that_was_shown_is_not_shown_again(queue):
    child = queue.start("-l")
    peer = queue.accept()
    peer.request()
    peer.send(frame(OUT, b"half a list\n"))
    peer.close()
    status, out, err = ended(child)
    assert (status, out, err.count(b"\n")) == (255, b"half a list\n", 1)
    assert b"lost" in err


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
@pytest.mark.no_valgrind("its report takes the lowest descriptor that is free")
def test_closed_standard_descriptors(queue, closed):
    redirections = " ".join(f"{fd}>&-" for fd in closed)
    child = queue.start()
    queue.accept().send(frame(EXIT, code(0)))
    assert ended(child)[0] == 0
    shell = subprocess.Popen(
        ["/bin/sh", "-c", f'"$@" {redirections}; echo $? >status', "sh", *child.args, "x"],
        env={"TS_SOCKET": str(queue.path)},
        cwd=queue.tmp_path,
    )
    queue.children.append(shell)
    peer = queue.accept()
    peer.request()
    peer.send(frame(SEND_DESCRIPTORS))
    passed = peer.descriptors()
    null = os.stat("/dev/null")
    for fd in closed:
        assert os.path.samestat(os.fstat(passed[fd]), null)
    peer.send(frame(OUT, b"out\n") if 1 in closed else b"", frame(EXIT, code(9)))
    assert shell.wait(DEADLINE) == 0
    assert (queue.tmp_path / "status").read_text() == "9\n"
    for fd in passed:
        os.close(fd)


def test_other_version_and_nonsense(queue):
    for answer in (
        frame(EXIT, code(0), version=VERSION + 1),
        frame(99),
        frame(EXIT, b""),
        frame(ENDED, code(0)),
        frame(FOLLOW, b"\0\0"),
        frame(FOLLOW, length=1 << 20),
        frame(OUT, length=FRAME_MAX + 1),
    ):
        child = queue.start("x")
        peer = queue.accept()
        peer.request()
        peer.send(answer)
        status, out, err = ended(child)
        assert (status, out, err.count(b"\n")) == (255, b"", 1)
        assert (b"protocol version" in err) == (not answer.startswith(frame(OUT)[:4]))


def test_exit_at_close(queue):
    child = queue.start("-K")
    peer = queue.accept()
    peer.request()
    peer.send(frame(EXIT_AT_CLOSE, code(0)), frame(OUT, b"."))
    assert child.stdout.read(1) == b"."
    assert child.poll() is None
    peer.close()
    assert ended(child) == (0, b"", b"")


def test_full_disk(queue):
    with open("/dev/full", "wb") as full:
        child = queue.start("-l", stdout=full)
        peer = queue.accept()
        peer.request()
        peer.send(frame(OUT, b"a"), frame(OUT, b"b"), frame(EXIT, code(0)))
        status, _, err = ended(child)
    assert (status, err.count(b"\n")) == (255, 1)
    assert b"No space" in err


def test_nobody_reads_the_text(queue):
    child = queue.start("-l", preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN))
    child.stdout.close()
    peer = queue.accept()
    peer.request()
    peer.send(frame(OUT, b"a"), frame(EXIT, code(0)))
    assert child.wait(DEADLINE) == -signal.SIGPIPE
    assert child.stderr.read() == b""


def test_deleted_directory(queue, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    child = queue.start("true", cwd=gone, preexec_fn=gone.rmdir)
    peer = queue.accept()
    assert peer.request()["cwd"] == b"\0"
    peer.send(frame(EXIT, code(0)))
    assert ended(child)[0] == 0


def test_exec_of_the_program(queue, launcher, installation):
    queue.program = installation.launcher
    child = queue.start("-l", "a b", "")
    peer = queue.accept()
    peer.request()
    peer.send(frame(EXEC))
    assert ended(child) == (7, b"the program ['-l', 'a b', ''] 1 False\n", b"")
