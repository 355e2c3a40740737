"""State and output on file systems that are read-only, gone, or do not answer."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from integration.spool_harness import Queue


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
    """The server goes on; jobs that can no longer be read say so instead of running something else."""
    running, gate = queue.blocker()
    queued = queue.submit("sh", "-c", "exit 3")
    server = queue.server_pid()
    shutil.rmtree(queue.state_dir)
    gate.open(5)
    assert queue.wait(running) == 5
    assert queue.wait(queued) in (3, 255)  # 3 if the runner of the first one had all it needs open
    done = queue.run("true", env={"NEW": "x" * 10_000})
    assert done.returncode == 255 and "No such file or directory" in done.stderr
    assert queue.get("-S") == "1"
    assert queue.server_pid() == server
    queue.kill_server()
    assert "gone" in queue.refused("-l")


def test_log_on_a_fifo_that_nobody_reads(queue: Queue) -> None:
    """The stand-in for a file system that does not answer to open: refused, and neither server nor runner hangs."""
    os.mkfifo(queue.work / "fifo")
    job = queue.finish("--log", queue.work / "fifo", "--append", "true")
    assert queue.wait(job) == 255
    assert "No such device or address" in queue.get("-i", job)
    assert queue.wait(queue.submit("true")) == 0
