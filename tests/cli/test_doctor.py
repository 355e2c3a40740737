"""`tsfast doctor`: what it says of queues and installations that are well, and of those that are not."""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import tsfast
from support.fake_nvml import FakeNvml
from support.installation import BIN
from support.patience import patient, wait_until
from support.places import ROOT
from support.queues import Queue
from tsfast.cli.doctor import installation
from tsfast.cli.doctor.finding import Check, Finding, ok, together
from tsfast.cli.doctor.variables import KNOWN
from tsfast.store.table import TableProbe

DOCS = ROOT / "docs"
PACKAGE = Path(tsfast.__file__).parent
NOBODY = 65534

Found = list[dict[str, str]]


def doctor(queue: Queue, *words: str, **env: str | None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [BIN / "tsfast", "doctor", "--timeout", str(patient(30)), *words],
        env=queue.env(env),
        cwd=queue.work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=patient(90),
    )


def look(queue: Queue, *words: str, **env: str | None) -> Found:
    return json.loads(doctor(queue, "--json", *words, **env).stdout)


def told(found: Found, check: str, level: str) -> list[str]:
    return [f"{one['text']}; {one['advice']}" for one in found if (one["check"], one["level"]) == (check, level)]


def only(found: Found, check: str, level: str) -> str:
    """The one thing that is told at this level, and no other check finds an error. (Warnings the machine may
    have of its own.)"""
    assert {one["check"] for one in found if one["level"] == "error"} <= {check}
    (text,) = told(found, check, level)
    return text


def tree(directory: Path) -> set[str]:
    return {str(path) for path in directory.rglob("*")}


# ---- all is well -----------------------------------------------------------------------------------------------------


def test_nothing_is_there_and_nothing_is_made(queue: Queue) -> None:
    before = tree(queue.directory)
    done = doctor(queue)
    assert (done.returncode, done.stderr) == (0, "")
    assert tree(queue.directory) == before
    assert queue.processes() == []
    lines = done.stdout.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "warning"}
    assert any(line.startswith("ok       server") and "none runs" in line for line in lines)
    assert any(
        line.startswith("ok       state") and f"the first call makes {queue.state_dir}" in line for line in lines
    )


def test_a_queue_that_is_well(queue: Queue) -> None:
    queue.finish("true")
    server, before = queue.server_pid(), tree(queue.directory)
    found = look(queue)
    assert [one for one in found if one["level"] == "error"] == []
    (line,) = told(found, "server", "ok")
    assert line.startswith(f"pid {server}, tsfast {tsfast.__version__}, up 0 min, answers in ")
    assert told(found, "queue", "ok") == ["0 jobs have not ended; 1 jobs in all so far; "]
    assert str(queue.state_dir) in told(found, "state", "ok")[0]
    assert str(queue.out) in told(found, "output", "ok")[0]
    assert (queue.server_pid(), tree(queue.directory)) == (server, before)
    assert all(set(one) == {"level", "check", "text", "advice"} for one in found)


def test_exit_codes(queue: Queue) -> None:
    queue.finish("true")
    queue.state_dir.chmod(0o755)
    assert doctor(queue).returncode == 0
    assert doctor(queue, "--strict").returncode == 1
    assert doctor(queue, TS_SLOTS="x").returncode == 1
    assert doctor(queue, "--wrong").returncode == 255
    assert "--json" in doctor(queue, "--help").stdout


def test_ts_doctor_is_a_job(queue: Queue) -> None:
    program = queue.work / "doctor"
    program.write_text("#!/bin/sh\necho a job\n")
    program.chmod(0o755)
    job = queue.finish("doctor", env={"PATH": f"{queue.work}:{queue.environment['PATH']}"})
    assert queue.output(job) == "a job\n"


# ---- the server ------------------------------------------------------------------------------------------------------


def test_jobs_without_a_server(queue: Queue) -> None:
    _, gate = queue.blocker()
    queue.submit("true")
    queue.kill_server()
    found = look(queue)
    assert only(found, "queue", "warning").startswith("2 jobs have not ended, and no server; ")
    assert queue.servers() == []
    queue.get("-l")
    gate.open()


def test_a_server_that_does_not_answer(queue: Queue) -> None:
    queue.finish("true")
    pid = queue.server_pid()
    os.kill(pid, signal.SIGSTOP)
    seconds = patient(3)
    first, second = told(look(queue, "--timeout", str(seconds)), "server", "error")
    assert first.startswith(f"it does not answer within {0.8 * seconds:g} s; look at {queue.state_dir}/log")
    assert second == f"process {pid} is stopped, by a signal or a debugger; kill -CONT {pid}"
    queue.socket.unlink()
    found = look(queue)
    assert only(found, "server", "error").startswith(f"process {pid} holds the queue and does not listen")
    os.kill(pid, signal.SIGCONT)


def test_a_server_without_descriptors(queue: Queue) -> None:
    queue.finish("true")
    pid = queue.server_pid()
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (200, 200))
    seconds = patient(4)
    with contextlib.ExitStack() as callers:
        for _ in range(200):
            callers.enter_context(socket.socket(socket.AF_UNIX)).connect(str(queue.socket))
        wait_until(lambda: len(os.listdir(f"/proc/{pid}/fd")) > 185)
        found = look(queue, "--timeout", str(seconds))
    (text,) = told(found, "server", "warning")
    assert re.match(r"it has \d+ files open and is allowed 200: further clients wait; ", text)
    assert f"it does not answer within {0.8 * seconds:g} s; " in told(found, "server", "error")[0]


def copy_of_the_package(directory: Path) -> Path:
    place = directory / "copy" / "tsfast"
    shutil.copytree(PACKAGE, place, ignore=shutil.ignore_patterns("__pycache__", "*.c", "*.pyx"))
    return place


def doctor_of(place: Path, queue: Queue, *options: str) -> Found:
    done = subprocess.run(
        [sys.executable, *options, "-m", "tsfast", "doctor", "--json"],
        env=queue.env({"PYTHONPATH": str(place.parent), "PYTHONDONTWRITEBYTECODE": "1"}),
        cwd=queue.work,
        capture_output=True,
        check=False,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(("version", "age"), [("99.0", "an earlier"), ("0.0.1", "a later")])
def test_another_release(queue: Queue, version: str, age: str) -> None:
    queue.finish("true")
    pid = queue.server_pid()
    place = copy_of_the_package(queue.directory)
    init = place / "__init__.py"
    init.write_text(init.read_text().replace(f'"{tsfast.__version__}"', f'"{version}"'))
    found = doctor_of(place, queue)
    texts = told(found, "server", "warning")
    assert any(text.startswith(f"it is of {age} release, tsfast {tsfast.__version__}") for text in texts)
    assert any(text.startswith(f"it is of the installation in {PACKAGE}") for text in texts)
    assert any(f"but its files are of {version}" in text for text in told(found, "package", "warning"))
    assert "is of another release than the package" in only(found, "launcher", "error")
    assert queue.server_pid() == pid


# ---- the installation ------------------------------------------------------------------------------------------------


def test_missing_runner_and_module(queue: Queue) -> None:
    place = copy_of_the_package(queue.directory)
    (place / "native" / "ts-run").unlink()
    listed = place / "_compiled.py"
    listed.write_text(listed.read_text().replace("tsfast.server.subscribers", "tsfast.server.absent"))
    found = doctor_of(place, queue)
    assert "ts-run cannot be read: No such file or directory: no job can start" in told(found, "runner", "error")[0]
    assert "compiled modules that cannot be imported: " in told(found, "package", "error")[0]
    assert "tsfast.server.absent (" in told(found, "package", "error")[0]
    (place / "native" / "ts-run").write_text("#!/bin/sh\n")
    assert "ts-run is not an ELF program" in told(doctor_of(place, queue), "runner", "error")[0]


def test_without_any_other_package(queue: Queue) -> None:
    queue.finish("true")
    found = doctor_of(copy_of_the_package(queue.directory), queue, "-S")
    assert told(found, "queue", "ok") == ["0 jobs have not ended; 1 jobs in all so far; "]
    (text,) = told(found, "extras", "warning")
    assert "not there: numpy (arrays in Python), pynvml (GPUs: install nvidia-ml-py)" in text
    assert [one for one in found if one["level"] == "error"] == []


def test_other_programs_of_these_names(queue: Queue) -> None:
    first = queue.directory / "bin"
    first.mkdir()
    (first / "ts").write_text("#!/usr/bin/perl\n")
    (first / "tsp").write_text("\x7fELF ... Task Spooler v1.0.1 - a task queue system for the unix user.")
    for path in first.iterdir():
        path.chmod(0o755)
    texts = told(look(queue, PATH=f"{first}:{queue.environment['PATH']}"), "path", "warning")
    assert texts == [
        f"`ts` is {first}/ts, the time stamper of moreutils; put {BIN} before {first} on PATH, or call tsfast instead",
        f"`tsp` is {first}/tsp, Task Spooler; put {BIN} before {first} on PATH, or call tsfast instead",
    ]
    texts = told(look(queue, PATH="/nowhere"), "path", "warning")
    assert texts == [f"`{name}` is not found; add {BIN} to PATH" for name in ("ts", "tsp", "tsfast")]


# ---- directories -----------------------------------------------------------------------------------------------------


def test_wrong_modes(queue: Queue) -> None:
    queue.finish("true")
    (queue.state_dir / "log").chmod(0o644)
    assert only(look(queue), "state", "warning").startswith(f"wrong modes in {queue.state_dir}: log; chmod ")
    queue.state_dir.chmod(0o755)
    assert f"{queue.state_dir} is open to other users" in told(look(queue), "state", "warning")[0]


@pytest.mark.root
def test_files_of_somebody_else(queue: Queue) -> None:
    queue.finish("true")
    os.chown(queue.state_dir / "header", NOBODY, NOBODY)
    reason = f"{queue.state_dir}/header belongs to user {NOBODY} (if it is yours, chown it; else remove it); chown -R "
    assert only(look(queue), "state", "error").startswith(reason)


@pytest.mark.root
def test_no_room(queue: Queue, small_disk: Path) -> None:
    place = small_disk / "state"
    assert "No space left" in queue.refused("true", env={"TS_STATE": str(place)})
    found = look(queue, TS_STATE=str(place))
    assert only(found, "state", "error").startswith(f"no room in {place}: ")


@pytest.mark.root
def test_no_room_for_output(queue: Queue, small_disk: Path) -> None:
    assert only(look(queue, TMPDIR=str(small_disk)), "output", "error").startswith(f"no room in {small_disk}: ")


def test_log_directory_is_gone(queue: Queue) -> None:
    elsewhere = queue.directory / "elsewhere"
    elsewhere.mkdir()
    queue.get("--set_logdir", elsewhere)
    elsewhere.rmdir()
    assert only(look(queue), "output", "error").startswith(f"{elsewhere}, for the jobs' output, is not a directory")


def test_state_directory_is_gone(queue: Queue) -> None:
    queue.finish("true")
    queue.kill_server()
    shutil.rmtree(queue.state_dir)
    found = look(queue, TS_STATE=None)
    told = only(found, "state", "error")
    assert told.startswith(f"the state directory {queue.state_dir} of {queue.socket} is gone") and "ts -K" in told


def test_another_state_directory_is_wanted(queue: Queue) -> None:
    queue.finish("true")
    text = only(look(queue, TS_STATE="/elsewhere"), "state", "error")
    assert text.startswith(f"TS_STATE is /elsewhere, but the state of {queue.socket} is in {queue.state_dir}")


def test_default_directory_is_open_to_others(queue: Queue) -> None:
    directory = queue.out / f"tsfast-{os.geteuid()}"
    directory.mkdir(mode=0o755)
    found = look(queue, TS_SOCKET=None)
    assert told(found, "socket", "error") == [f"{directory} is open to other users; chmod 700 {directory}"]
    assert "is open to other users" in queue.refused("-l", env={"TS_SOCKET": None})
    directory.rmdir()
    directory.symlink_to(queue.work)
    texts = told(look(queue, TS_SOCKET=None), "socket", "error")
    assert f"{directory} is a symbolic link: `ts` refuses it; remove it, or set TS_SOCKET" in texts
    queue.refused("-l", env={"TS_SOCKET": None})


def test_socket_is_a_file(queue: Queue) -> None:
    queue.socket.touch()
    assert only(look(queue), "socket", "error").startswith(f"{queue.socket} is not a socket; remove it")


@pytest.mark.root
def test_socket_of_somebody_else(queue: Queue) -> None:
    queue.finish("true")
    queue.kill_server()
    os.chown(queue.socket, NOBODY, NOBODY)
    assert only(look(queue), "socket", "error").startswith(f"{queue.socket} is taken by user {NOBODY}; set TS_SOCKET")


def test_damaged_table(queue: Queue) -> None:
    queue.finish("true")
    queue.kill_server()
    with (queue.state_dir / "header").open("r+b") as file:
        file.write(bytes(64))
    assert only(look(queue), "queue", "error").startswith("the job table: ")


def test_stale_state_directory(queue: Queue) -> None:
    """The directory of a queue whose socket nobody can reach any more, with a job that waits in it."""
    gone = queue.directory / "gone"
    gone.mkdir()
    env: dict[str, str | None] = {"TS_SOCKET": str(gone / "socket"), "TS_STATE": None}
    queue.run("-N", 2, "true", env=env)  # with a warning: there is one slot
    (pid,) = queue.servers()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not queue.servers(), "the server is gone")
    shutil.rmtree(gone)
    (text,) = [text for text in told(look(queue), "other queues", "warning") if str(queue.directory) in text]
    assert f" is of {gone}/socket, whose directory is gone; 1 jobs have not ended; TS_SOCKET={gone}/socket ts" in text


# ---- the rest of the machine -----------------------------------------------------------------------------------------


def test_variables(queue: Queue) -> None:
    found = look(queue, TS_SLOT="3", ts_socket="x", TS_NODE_PROJECT="p", TS_MAXCONN="many", TS_VISIBLE_DEVICES="any")
    assert told(found, "variables", "warning") == [
        "TS_SLOT has no meaning; rename it to TS_SLOTS",
        "ts_socket has no meaning; rename it to TS_SOCKET",
    ]
    assert "TS_NODE_PROJECT is not one of tsfast's; " in told(found, "variables", "ok")
    assert [text.partition(";")[0] for text in told(found, "variables", "error")] == [
        "TS_MAXCONN is 'many', allowed is a number from 0 to 1000000",
        "TS_VISIBLE_DEVICES: 'any' is neither an index nor a UUID",
    ]


def test_all_documented_variables_are_known() -> None:
    assert set(re.findall(r"`(TS_[A-Z_]+)[`=]", (DOCS / "configuration.md").read_text())) == KNOWN


def test_durable_is_wanted_and_is_not(queue: Queue) -> None:
    queue.finish("true")
    text = only(look(queue, TS_DURABLE="1"), "journal", "warning")
    assert text.startswith("TS_DURABLE is 1, but the queue is not durable; it counts when a server starts")
    queue.kill_server(signal.SIGTERM)
    queue.finish("true", env={"TS_DURABLE": "1"})
    assert told(look(queue, TS_DURABLE="1"), "journal", "ok")[0].startswith("durable: ")


def test_clock_was_set_back(queue: Queue) -> None:
    queue.finish("true")
    queue.kill_server()
    directory = os.open(queue.state_dir, os.O_RDONLY | os.O_DIRECTORY)
    probe = TableProbe(directory)
    id = probe.put({"state": 1, "enqueue_ns": time.time_ns() + 3600 * 10**9})
    probe.commit(id + 1)
    (text,) = told(look(queue), "clock", "warning")
    assert text.startswith("the newest jobs are 35") or text.startswith("the newest jobs are 3600")


def test_gpus(gpu_queue: Queue, nvml: FakeNvml) -> None:
    nvml.resize(2)
    found = look(gpu_queue)
    assert told(found, "gpus", "ok")[0].startswith("2 known to NVML, 2 for queues started here, ")
    assert told(found, "leases", "ok") == ["a lease file for each of 2 devices; "]
    (gpu_queue.leases / nvml.uuid(1)).unlink()
    nvml.error("nvmlDeviceGetMemoryInfo", 0, code=999)
    found = look(gpu_queue)
    assert told(found, "gpus", "warning")[0].startswith("GPU 0 does not answer: Unknown Error; ")
    assert told(found, "leases", "warning")[0].startswith("no file in TS_LEASE_DIR for GPU 1: not used; ")
    nvml.error("nvmlDeviceGetMemoryInfo", code=999)
    assert told(look(gpu_queue), "gpus", "error")[0].startswith("no GPU answers: Unknown Error; ")
    found = look(gpu_queue, TS_LEASE_DIR="/nowhere")
    assert told(found, "leases", "error")[0].startswith("TS_LEASE_DIR /nowhere: No such file or directory")


def test_a_driver_that_hangs(gpu_queue: Queue, nvml: FakeNvml) -> None:
    nvml.hang("nvmlInitWithFlags")
    seconds = patient(5)
    found = look(gpu_queue, "--timeout", str(seconds))
    assert told(found, "gpus", "error")[0].startswith(f"NVML did not answer within {0.8 * seconds:g} s; ")
    assert told(found, "other queues", "ok")


# ---- a check can do what it wants ------------------------------------------------------------------------------------


def hangs() -> Iterator[Finding]:
    yield ok("hangs", "first")
    signal.pause()


def crashes() -> Iterator[Finding]:
    os.kill(os.getpid(), signal.SIGKILL)
    yield ok("crashes", "never")


def raises() -> Iterator[Finding]:
    yield ok("raises", "first")
    raise OSError("of the check")


def test_a_check_that_hangs_crashes_or_fails() -> None:
    seconds = patient(1)
    checks = [
        Check("hangs", hangs, seconds),
        Check("crashes", crashes, 60),
        Check("raises", raises, 60),
        Check("fine", lambda: iter([ok("fine", "all of it")]), 60),
    ]
    assert [(one.level, one.check, one.text) for one in together(checks)] == [
        ("ok", "hangs", "first"),
        ("error", "hangs", f"the check did not end within {seconds:g} s"),
        ("error", "crashes", "the check died of signal 9"),
        ("ok", "raises", "first"),
        ("error", "raises", "the check failed: OSError: of the check"),
        ("ok", "fine", "all of it"),
    ]


def test_no_room_for_a_temporary_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a full disk: that is not the launcher's fault."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    (found,) = installation.launcher(patient(30))
    assert (found.level, found.check) == ("warning", "launcher")
    assert "was not tried" in found.text
