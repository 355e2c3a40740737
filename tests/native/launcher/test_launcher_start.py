"""Starting a server, the short way and the slow way."""

import fcntl
import os
import re
import shutil
import stat
import sys

import pytest

from support.launcher_queue import DEADLINE, LauncherQueue, ended
from support.patience import ts_patience, wait_until
from support.wire import EXIT, code, frame


def boots(queue):
    return (queue.tmp_path / "boots").read_text().splitlines()


def test_server_is_started_the_short_way(fresh):
    assert ended(fresh.start("true")) == (0, b"", b"")
    assert boots(fresh) == ["short true"]
    assert stat.S_IMODE((fresh.tmp_path / "socket.lock").stat().st_mode) == 0o600
    assert ended(fresh.start("x", "exec", "a b")) == (7, b"the program ['--', 'x', 'exec', 'a b'] 1 False\n", b"")
    assert boots(fresh) == ["short true"]


def test_default_directory_is_made(fresh):
    base = fresh.tmp_path / "base"
    base.mkdir()
    fresh.path = base / f"tsfast-{os.geteuid()}" / "socket"
    env = {"TS_SOCKET": "", "TMPDIR": str(base)}
    assert ended(fresh.start("true", env=env, umask=0)) == (0, b"", b"")
    assert stat.S_IMODE(fresh.path.parent.stat().st_mode) == 0o700


def test_relative_socket_is_made_absolute_for_the_server(fresh):
    child = fresh.start("true", env={"TS_SOCKET": "socket"}, cwd=fresh.tmp_path)
    assert ended(child) == (0, b"", b"")
    assert boots(fresh) == ["short true"]


def test_racing_first_calls_start_one_server(fresh):
    children = [fresh.start("true") for _ in range(60)]
    assert [ended(child) for child in children] == [(0, b"", b"")] * 60
    assert boots(fresh) == ["short true"]


def test_words_that_need_no_server(fresh):
    assert ended(fresh.start("-K")) == (3, b"nothing there\n", b"")
    assert not fresh.path.exists()


@pytest.mark.parametrize("broken", ["", "wrong", "long"])
def test_help_and_version_need_no_queue(fresh, broken):
    env = {"TS_SOCKET": {"": "", "wrong": "/dev/null", "long": "x" * 5000}[broken], "TS_PATIENCE": "x"}
    for words in (("-V",), ("--version", "-z")):
        assert ended(fresh.start(*words, env=env)) == (0, b"tsfast 1.2.3\n", b"")
    for words in (("-h",), ("--help", "-z")):
        assert ended(fresh.start(*words, env={**env, "PYTHONHOME": "/nonexistent"})) == (0, b"help 1 1\n", b"")
    shutil.rmtree(fresh.installation.package)  # the slow way
    assert ended(fresh.start("-h", env=env)) == (7, b"the program ['-h'] 0 False\n", b"")
    assert not (fresh.tmp_path / "socket.lock").exists()


def test_words_that_are_longer_than_a_pipe(fresh):
    words = ["x" * 100_000] * 4
    assert ended(fresh.start(*words)) == (0, b"", b"")
    assert boots(fresh) == ["short " + " ".join(words)]


def test_server_that_does_not_get_to_its_start(fresh):
    said = fresh.tmp_path / "said"
    with said.open("wb") as err:  # which the server that is about to start has open too
        assert (
            fresh.start("x", "held", env={"TS_PATIENCE": ts_patience(1)}, stdout=err, stderr=err).wait(DEADLINE) == 255
        )
    assert re.fullmatch(rb"ts: the server \(pid \d+\) has not started\n", said.read_bytes())
    (fresh.tmp_path / "socket.go").touch()
    wait_until(fresh.path.exists)  # nothing else has to be done


def test_queue_that_is_taken_up_for_long(fresh, tmp_path):
    """It is no silence, for the call that starts the server and for those that wait for it."""
    env = {"TS_PATIENCE": ts_patience(1)}
    first = fresh.start("alive", "held", env=env)
    lock = tmp_path / "socket.lock"
    wait_until(lambda: lock.exists() and lock.read_text().endswith(" alive\n"))
    second = fresh.start("true", env=env)
    (tmp_path / "clock").mkdir()
    clock = LauncherQueue(fresh.program, tmp_path / "clock" / "socket", tmp_path)
    clock.listen()
    assert ended(clock.start("true", env={"TS_PATIENCE": ts_patience(2)}))[0] == 255
    clock.close()
    assert (first.poll(), second.poll()) == (None, None)
    (tmp_path / "socket.go").touch()
    assert ended(first) == ended(second) == (0, b"", b"")


def test_call_that_holds_the_lock_and_does_not_go_on(fresh, tmp_path):
    with (tmp_path / "socket.lock").open("w") as lock:
        os.fchmod(lock.fileno(), 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, out, err = ended(fresh.start("true", env={"TS_PATIENCE": ts_patience(1)}))
        assert (status, out, err) == (
            255,
            b"",
            b"ts: the server at %a has not started\n".replace(b"%a", os.fsencode(fresh.path)),
        )
        fresh.listen()  # a server is there all the same
        child = fresh.start("true", env={"TS_PATIENCE": ts_patience(1)})
        peer = fresh.accept()
        peer.request()
        peer.send(frame(EXIT, code(4)))
        assert ended(child)[0] == 4
        fresh.path.unlink()


def test_server_that_dies_at_its_start(fresh):
    status, out, err = ended(fresh.start("die"))
    assert (status, out, err.count(b"\n")) == (255, b"", 1)
    assert b"could not be started" in err


@pytest.mark.parametrize("quote", ['"', "'", ""])
def test_interpreter_behind_a_shell(fresh, quote):
    fresh.installation.write_script(f"#!/bin/sh\n'''exec' {quote}{sys.executable}{quote} \"$0\" \"$@\"\n' '''\n")
    assert ended(fresh.start("true")) == (0, b"", b"")
    assert boots(fresh) == ["short true"]


@pytest.mark.parametrize("what", ["two packages", "no package", "unknown interpreter"])
def test_server_is_started_the_slow_way(fresh, what):
    place = fresh.installation
    if what == "two packages":
        shutil.copytree(place.package, place.root / "lib" / "python3.99" / "dist-packages" / "tsfast")
    elif what == "no package":
        shutil.rmtree(place.package)
    else:
        place.write_script(f"#!/usr/bin/env -S {sys.executable}\n")
    surroundings = {"PYTHONHOME": "/nonexistent", "PYTHONHASHSEED": "bad"}  # would stop any interpreter
    assert ended(fresh.start("true", env=surroundings)) == (0, b"", b"")
    assert boots(fresh) == ["slow true"]


@pytest.mark.parametrize("way", ["path", "variable"])
def test_launcher_without_its_sibling(fresh, way):
    place = fresh.installation
    lonely = fresh.tmp_path / "lonely-ts"
    shutil.move(place.launcher, lonely)
    fresh.program = lonely
    assert ended(fresh.start("true"))[0] == 255
    if way == "path":
        child = fresh.start("true", env={"PATH": f"relative::{place.root}/bin:/usr/bin"})
    else:
        child = fresh.start("true", env={"TSFAST_PROGRAM": str(place.script)})
    assert ended(child) == (0, b"", b"")
    assert boots(fresh) == ["short true"]


@pytest.mark.parametrize("kind", ["link", "directory", "pipe"])
def test_lock_that_is_no_file(fresh, kind):
    lock = fresh.tmp_path / "socket.lock"
    if kind == "link":
        lock.symlink_to("elsewhere")
    elif kind == "directory":
        lock.mkdir()
    else:
        os.mkfifo(lock)
    status, _, err = ended(fresh.start("true"))
    assert (status, err.count(b"\n")) == (255, 1)
    assert b"regular file" in err
    assert not (fresh.tmp_path / "elsewhere").exists()
