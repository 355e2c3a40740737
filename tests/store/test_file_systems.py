"""State and output on file systems that are read-only, gone, over their quota, or do not answer."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import compiled
from support.processes import sleeping
from support.queues import Queue
from support.slow_disk import CREATE, WRITE, SlowDisk
from tsfast.client.errors import QueueError
from tsfast.client.queue import Queue as ProgramQueue


@pytest.mark.root
def test_read_only_state_directory(queue: Queue, small_disk: Path) -> None:
    """Of a queue without a server: nothing starts, nothing is lost, and all is there when it can be written again."""
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    queue.state_dir = small_disk / "state"
    queue.environment["TS_STATE"] = str(queue.state_dir)
    blocker, gate = queue.blocker()
    queued = queue.submit("sh", "-c", "exit 3")
    gate.open(5)
    assert [queue.wait(job) for job in (blocker, queued)] == [5, 3]
    queue.kill_server()
    queue.wait_until(lambda: queue.processes() == [])  # the runners have it open for writing
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for words in (("true",), ("-S",), ("-w", queued)):
        assert "Read-only file system" in queue.refused(*words)
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert [queue.wait(job) for job in (blocker, queued)] == [5, 3]
    assert queue.wait(queue.submit("true")) == 0


def test_state_directory_deleted_under_the_server(queue: Queue) -> None:
    """The server goes on with what it has; jobs that can no longer be read say so instead of running something else,
    and no id is given out that nobody would find again."""
    running, gate = queue.blocker()
    queued = queue.submit("sh", "-c", "exit 3")
    server = queue.server_pid()
    shutil.rmtree(queue.state_dir)
    gate.open(5)
    assert queue.wait(running) == 5
    assert queue.wait(queued) in (3, 255)  # 3 if the runner of the first one had all it needs open
    for words in (("true",), ("-nf", "true"), ("-G", 1, "true")):
        assert "the state directory was deleted" in queue.refused(*words)
    with pytest.raises(QueueError, match="the state directory was deleted"):
        ProgramQueue(str(queue.socket)).submit_many([["true"], ["true"]])
    assert queue.get("-S") == "1" and queue.ids() == [running, queued]
    assert queue.server_pid() == server
    queue.kill_server()
    assert "gone" in queue.refused("-l")


def test_deleted_queue_that_is_dropped(queue: Queue) -> None:
    """Whoever says -K has seen it: the next call begins an empty queue, in the place that was chosen."""
    queue.submit("true")
    shutil.rmtree(queue.state_dir)
    queue.refused("true")
    assert queue.get("-K") == ""
    assert queue.submit("sh", "-c", "exit 3") == 0
    assert queue.wait(0) == 3


def test_state_directory_moved_under_the_server(queue: Queue) -> None:
    """It is all there: nothing is refused, and once it is back in its place the next server finds it."""
    moved = queue.directory / "moved"
    queue.get("-l")
    queue.state_dir.rename(moved)
    job = queue.submit("sh", "-c", "exit 3")
    assert queue.wait(job) == 3
    queue.kill_server()
    assert "gone" in queue.refused("-l")
    moved.rename(queue.state_dir)
    assert queue.wait(job) == 3


def test_log_on_a_fifo_that_nobody_reads(queue: Queue) -> None:
    """The stand-in for a file system that does not answer to open: refused, and neither server nor runner hangs."""
    os.mkfifo(queue.work / "fifo")
    job = queue.finish("--log", queue.work / "fifo", "--append", "true")
    assert queue.wait(job) == 255
    assert "No such device or address" in queue.get("-i", job)
    assert queue.wait(queue.submit("true")) == 0


@pytest.fixture
def slow_disk(tmp_path: Path) -> Iterator[SlowDisk]:
    with SlowDisk(tmp_path / "mount") as disk:
        yield disk


@pytest.mark.root
def test_log_directory_on_a_mount_that_hangs(queue: Queue, slow_disk: SlowDisk) -> None:
    """Only the jobs whose output is there wait; the server, its other jobs and the next server do not."""
    queue.get("-S", "2")
    queue.get("--set_logdir", slow_disk.path)
    assert queue.wait(queue.submit("sh", "-c", "exit 3")) == 3
    slow_disk.hangs = True
    stuck = queue.submit("sh", "-c", "exit 4")
    queue.wait_until(lambda: slow_disk.asked, "the runner asks the file system")
    assert queue.run("-nf", "sh", "-c", "exit 5").returncode == 5
    assert [job["State"] for job in queue.jobs() if job["ID"] == stuck] == ["running"]
    queue.kill_server()
    assert queue.run("-nf", "sh", "-c", "exit 6").returncode == 6
    waiter = queue.start("-w", stuck)
    slow_disk.break_off()
    assert waiter.wait(20) == 255
    assert "cannot create the output file" in queue.info(stuck)["Exit status"]


@pytest.fixture(scope="session")
def refuse() -> Path:
    return compiled.preload("refuse")


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EIO], ids=["quota", "broken disk"])
def test_queue_that_the_disk_refuses_to_write(queue: Queue, refuse: Path, number: int) -> None:
    """Nothing is given an id that is not on the disk, what runs goes on, and all of it ends once the disk is well."""
    marker = queue.directory / "refuses"
    queue.get("-S", "2", env={"LD_PRELOAD": str(refuse), "TSFAST_REFUSE": str(marker)})
    blocker, gate = queue.blocker()
    queued = [queue.submit("-D", blocker, "sh", "-c", f"exit {code}") for code in (3, 4)]
    waiter = queue.start("-w", blocker)
    queue.wait_until(lambda: sleeping(waiter.pid))
    server = queue.server_pid()
    (queue.directory / "number").write_text(str(number))
    (queue.directory / "number").rename(marker)
    for words in (("true",), ("-nf", "true"), ("-u", queued[1]), ("-r", queued[1]), ("-S", "3"), ("-U", "1-2")):
        assert os.strerror(number) in queue.refused(*words), words
    assert os.strerror(number) in queue.refused("true", env={"BIG": "x" * 50_000})
    gate.open(5)
    queue.wait_until(lambda: (queue.run("-l").returncode, queue.get("-q")) == (0, str(queued[1])))
    assert waiter.poll() is None and queue.server_pid() == server
    marker.unlink()
    assert waiter.wait(20) == 5
    assert [queue.wait(job) for job in queued] == [3, 4]
    assert queue.submit("true") == queued[1] + 1
    queue.kill_server()
    assert [queue.wait(job) for job in (blocker, *queued)] == [5, 3, 4]


@pytest.mark.root
def test_output_beyond_the_quota(queue: Queue, slow_disk: SlowDisk) -> None:
    queue.get("--set_logdir", slow_disk.path)
    slow_disk.refused[CREATE] = errno.EDQUOT
    job = queue.submit("true")
    queue.wait_until(lambda: os.strerror(errno.EDQUOT) in queue.info(job).get("Waits", ""))
    del slow_disk.refused[CREATE]
    assert queue.wait(job) == 0
    slow_disk.refused[WRITE] = errno.EDQUOT
    assert queue.wait(queue.submit("sh", "-c", "echo lost; exit 7")) == 7
    assert queue.wait(queue.submit("echo", "lost")) == 1  # its own error
    assert queue.wait(queue.submit("-z", "sh", "-c", "echo lost; exit 7")) in (7, 255)
    slow_disk.refused.clear()
    assert queue.wait(queue.submit("echo", "kept")) == 0
