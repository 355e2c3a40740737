"""Damaged or foreign files: what cannot be trusted is said and not run, the rest goes on."""

import os
import subprocess
import sys
import time

import pytest

from support import installation
from support.fault_queue import PATIENCE
from support.layouts import tsf_header, tsf_run, tsf_runs_header
from support.processes import kill
from support.state_files import ENTRY, changed, cold_at, flip, hot_at


@pytest.fixture
def stopped_queue(queue):
    """Three queued jobs behind one that has ended; no server."""
    queue.start_server()
    queue.job("ended", "exit 3")
    queue.wait(0)
    queue.job("blocker", "true", "-N", 99)
    for name in ("one", "two", "three"):
        queue.job(name, "exit 4", "-D", 1)
    queue.job("follower", "true", "-W", 3)
    queue.kill_server()
    return queue


def go_on(queue):
    queue.ts("-S", 99)
    return queue.server()


@pytest.mark.parametrize("half", ["hot", "cold", "blob"])
def test_damaged_job_is_held_and_the_others_go_on(stopped_queue, half):
    queue = stopped_queue
    segment, blob = queue.state_dir / "seg.00000000", queue.state_dir / "blob.00000000"
    if half == "hot":
        flip(segment, hot_at(3) + 20)
    elif half == "cold":
        flip(segment, cold_at(3) + 60)
    else:
        data = blob.read_bytes()
        flip(blob, data.index(b"echo two"))
    go_on(queue)
    assert "job 3: its record is damaged" in queue.log()
    assert [queue.wait(job) for job in (2, 4)] == [4, 4]
    listed = [line.split()[:2] for line in queue.ts("-l").splitlines()]
    assert ["3", "unreadable"] in listed
    assert ["5", "queued"] in listed, "nobody knows whether it may run"
    assert queue.wait(0) == 3
    # It stays so over a restart; whoever removes it decides for those who wait for it.
    queue.kill_server()
    queue.ts("-r", 3)
    assert queue.wait(5) == 255
    assert queue.ts("-s", 5) == "skipped\n"
    assert sorted(queue.started()) == ["blocker", "ended", "one", "three"]
    queue.kill_server()
    assert queue.ts("-s", 3, code=None) == "ts: job 3 is no longer known\n"


def test_every_damaged_blob_is_told_in_the_log(queue):
    """Whether its job waits for others, runs, has ended, or is alone in its segment's group."""
    queue.start_server()
    ended = queue.job("ended", "exit 3")
    queue.wait(ended)
    running = queue.job("running", queue.until_opened("running"))
    queue.until_running(running)
    queued = [queue.job(f"queued-{n}", "exit 4", "-N", 3) for n in range(150)]
    long = queue.job("long", f"exit 5; : {'x' * 100_000}", "-N", 3)
    queue.kill_server()
    data = (queue.state_dir / "blob.00000000").read_bytes()
    for name in ("ended", "running", "queued-0", "queued-149", "long"):
        flip(queue.state_dir / "blob.00000000", data.index(b"echo " + name.encode() + b" "))
    queue.start_server()
    broken = {ended, running, queued[0], queued[149], long}
    told = {id for id in range(long + 1) if f"job {id}: its record is damaged" in queue.log()}
    assert told == broken
    queue.open_gate("running")
    assert {queue.wait(id) for id in queued[1:149]} == {4}
    assert queue.wait(running) == 0
    listed = {int(line.split()[0]) for line in queue.ts("-l").splitlines() if line.split()[1] == "unreadable"}
    assert listed == broken
    assert len(queue.started()) == 2 + 148


def test_blob_damaged_under_the_server_is_told_in_the_log(queue):
    queue.start_server()
    blocker = queue.job("blocker", queue.until_opened("blocker"), "-N", 3)
    job = queue.job("victim", "exit 4")
    data = (queue.state_dir / "blob.00000000").read_bytes()
    flip(queue.state_dir / "blob.00000000", data.index(b"echo victim"))
    queue.until_running(blocker)
    queue.open_gate("blocker")
    assert queue.wait(job) == 255
    assert f"job {job}: not started: its record cannot be read" in queue.log()
    assert queue.started() == ["blocker"]


def test_damaged_record_of_a_running_job(queue):
    queue.start_server()
    job = queue.job("one", queue.until_opened("one"))
    queue.until_running(job)
    queue.kill_server()
    flip(queue.state_dir / "seg.00000000", hot_at(job) + 30)
    queue.start_server()
    assert f"job {job}: its record is damaged" in queue.log()
    queue.open_gate("one")
    queue.wait_until(lambda: not queue.runners(), "the runner's end")
    assert queue.wait(queue.job("two", "exit 5")) == 5
    assert queue.started() == ["one", "two"]


def test_damaged_context(stopped_queue):
    queue = stopped_queue
    for path in (queue.state_dir / "ctx").iterdir():
        flip(path, path.stat().st_size - 3)
    go_on(queue)
    assert queue.wait(2) != 0
    assert "not startable" in queue.details(2) or "cannot" in queue.details(2), queue.details(2)
    queue.environment["ANOTHER"] = "context"
    assert queue.wait(queue.job("new", "exit 6")) == 6
    assert queue.started() == ["ended", "new"]


def test_damaged_settings(stopped_queue):
    queue = stopped_queue
    flip(queue.state_dir / "header", tsf_header.slots.offset)
    queue.environment["TS_SLOTS"] = "100"
    assert queue.ts("-S") == "100\n"
    assert [queue.wait(job) for job in (2, 3, 4)] == [4, 4, 4]


def test_damaged_result_is_lost(queue):
    queue.start_server("runner-exited:kill")
    queue.kill_server()
    queue.start_server("runner-exited:kill")
    job = queue.job("one", queue.until_opened("one"))
    queue.until_running(job)
    entry = next(iter(queue.runners()))
    queue.kill_server()
    queue.open_gate("one")
    queue.wait_until(lambda: not queue.runners(), "the runner's end")
    flip(queue.state_dir / "runs", entry * ENTRY + tsf_run.status.offset)
    assert queue.wait(job) == 255
    assert "lost" in queue.details(job)


@pytest.mark.parametrize("file", ["header", "runs"])
def test_newer_format_is_refused_with_one_line(stopped_queue, file):
    queue = stopped_queue
    before = (queue.state_dir / file).read_bytes()
    structure, field = {"header": (tsf_header, "format"), "runs": (tsf_runs_header, "version")}[file]
    with changed(queue.state_dir / file, structure) as found:
        setattr(found, field, getattr(found, field) + 1)
    error = queue.ts("-l", code=None)
    assert error.count("\n") == 1
    assert error.startswith("ts: ")
    assert "format" in error or "layout" in error
    assert not queue.server()
    (queue.state_dir / file).write_bytes(before)
    go_on(queue)
    assert queue.wait(2) == 4


def test_running_jobs_of_another_boot_are_lost(queue):
    server = queue.start_server()
    job = queue.job("one", queue.until_opened("one"))
    pid = queue.until_running(job)
    runner = queue.runner_of(pid)
    kill(server, 19)
    queue.kill(runner)
    queue.kill(server)
    with open(queue.state_dir / "runs", "r+b") as runs:
        runs.seek(16)
        runs.write(b"another boot\0")
    assert queue.wait(job) == 255
    assert "lost" in queue.details(job)
    kill(pid)
    assert queue.wait(queue.job("two", "exit 5")) == 5


# ---- who serves -----------------------------------------------------------------------------------------------------


def boot(queue, *words):
    """What the launcher does, without its own lock: the process and the pipe on which it reports."""
    read, write = os.pipe()
    os.set_inheritable(write, True)
    program = "import sys; sys.path.append(sys.argv.pop(1)); from tsfast.daemon.boot import main; main()"
    command = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        program,
        str(installation.PACKAGES),
        queue.environment["TS_SOCKET"],
        *words,
    ]
    process = subprocess.Popen(
        command,
        env={**queue.environment, "TSFAST_BOOT_FD": str(write)},
        pass_fds=[write],
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    return process, read


def test_racing_boots_make_one_server(queue):
    boots = [boot(queue, "-l") for _ in range(8)]
    for process, report in boots:
        told = os.read(report, 1)
        os.close(report)
        assert told == b"L", f"exit {process.wait(PATIENCE)}: {process.stderr.read()}"
    server = queue.server()
    for process, _ in boots:
        if process.pid != server:
            process.wait(PATIENCE)
    assert [process.pid for process, _ in boots if process.poll() is None] == [server]
    assert queue.wait(queue.job("one", "exit 5")) == 5
    kill(server)
    for process, _ in boots:
        process.communicate()


def test_stopped_server_is_reported_after_patience(queue):
    """It holds the lock and its socket is gone: whoever calls gets one line, not silence."""
    server = queue.start_server()
    kill(server, 19)
    os.unlink(queue.environment["TS_SOCKET"])
    begin = time.monotonic()
    error = queue.ts("-l", code=None)
    assert time.monotonic() - begin < 15
    assert error.count("\n") == 1
    assert "another server holds the queue" in error
    kill(server, 18)
    queue.ts("-l")
    assert queue.server() == server
