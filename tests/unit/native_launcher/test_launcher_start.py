"""Starting a server, the short way and the slow way."""

import os
import shutil
import stat
import sys

import pytest

from unit.native_launcher.launcher_harness import ended


def boots(queue):
    return (queue.tmp_path / "boots").read_text().splitlines()


def test_server_is_started_the_short_way(fresh):
    assert ended(fresh.start("true")) == (0, b"", b"")
    assert boots(fresh) == ["short true"]
    assert stat.S_IMODE((fresh.tmp_path / "socket.lock").stat().st_mode) == 0o600
    assert ended(fresh.start("x", "exec", "a b")) == (7, b"the program ['--', 'x', 'exec', 'a b'] False\n", b"")
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
    assert ended(fresh.start("-V")) == (3, b"version\n", b"")
    assert not fresh.path.exists()


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
    assert ended(fresh.start("true")) == (0, b"", b"")
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
