"""Full and read-only file systems, each a small tmpfs of its own."""

import os
import subprocess
from pathlib import Path

import pytest

from support.queues import Queue

pytestmark = pytest.mark.root


def fill(directory: Path) -> Path:
    """Takes all room and all but one page; the file that does."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
    return ballast


def use_up_inodes(directory: Path) -> None:
    try:
        for number in range(100_000):
            (directory / f"inode.{number}").touch()
    except OSError:
        pass


def test_no_room_for_the_output_file(queue: Queue, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,nr_inodes=4", small_disk], check=True)
    queue.get("--set_logdir", small_disk)
    use_up_inodes(small_disk)
    job = queue.submit("true")
    queue.wait_until(lambda: "No space left on device" in queue.info(job).get("Waits", ""))
    (small_disk / "inode.0").unlink()
    assert queue.wait(job) == 0


def test_no_room_for_what_a_job_writes(queue: Queue, small_disk: Path) -> None:
    queue.get("--set_logdir", small_disk)
    fill(small_disk)
    job = queue.finish("sh", "-c", "echo lost")
    assert queue.wait(job) != 0  # the shell's own error
    assert (queue.get("-n", "true"), queue.run("-w").returncode) == ("", 0)


def test_read_only_log_directory(queue: Queue, small_disk: Path) -> None:
    queue.get("--set_logdir", small_disk)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    job = queue.finish("true")
    assert queue.wait(job) == 255
    assert "Read-only file system" in queue.get("-i", job)
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert queue.wait(queue.submit("true")) == 0


def test_no_room_for_the_queue(queue: Queue, small_disk: Path) -> None:
    """A submission that cannot be recorded fails; what was there stays, and all works again when there is room."""
    subprocess.run(["mount", "-o", "remount,size=2m", small_disk], check=True)
    queue.state_dir = small_disk / "state"
    queue.environment["TS_STATE"] = str(queue.state_dir)
    blocker, gate = queue.blocker()
    queued = queue.submit("sh", "-c", "exit 3")
    ballast = fill(small_disk)
    env = {"BIG": "x" * 60_000}
    message = queue.refused("true", env=env)
    assert "No space left on device" in message
    assert queue.ids() == [blocker, queued]
    assert queue.get("-q") == str(queued)
    ballast.unlink()
    last = queue.submit("true", env=env)
    assert last == queued + 1
    gate.open()
    assert [queue.wait(job) for job in (blocker, queued, last)] == [0, 3, 0]
    queue.kill_server()
    assert queue.wait(queued) == 3


def test_many_refused_submissions_leave_nothing_behind(queue: Queue, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=2m", small_disk], check=True)
    queue.environment["TS_STATE"] = str(small_disk / "state")
    queue.get("-l")
    ballast = fill(small_disk)
    for number in range(20):
        queue.refused("true", env={"BIG": "x" * 60_000, "N": str(number)})
    ballast.unlink()
    free = os.statvfs(small_disk).f_bavail
    for number in range(20):
        job = queue.submit("true", env={"BIG": "x" * 60_000, "N": str(number)})
    assert queue.wait(job) == 0
    assert job == 19 and os.statvfs(small_disk).f_bavail > free - 100


def test_end_of_a_job_that_the_disk_refuses(queue: Queue, small_disk: Path) -> None:
    """Jobs that were queued before the disk was full run to their end, and their results are kept."""
    subprocess.run(["mount", "-o", "remount,size=2m", small_disk], check=True)
    queue.environment["TS_STATE"] = str(small_disk / "state")
    blocker, gate = queue.blocker()
    jobs = [queue.submit("sh", "-c", f"exit {number}") for number in range(5)]
    ballast = fill(small_disk)
    gate.open(9)
    assert queue.wait(blocker) == 9
    assert [queue.wait(job) for job in jobs] == list(range(5))
    ballast.unlink()
    queue.kill_server()
    assert [queue.wait(job) for job in jobs] == list(range(5))


def test_no_room_to_begin(queue: Queue, small_disk: Path) -> None:
    queue.environment["TS_STATE"] = str(small_disk / "state")
    ballast = fill(small_disk)
    message = queue.refused("true")
    assert "space" in message
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=2m", small_disk], check=True)
    assert queue.submit("true") == 0
