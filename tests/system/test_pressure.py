"""The disk of the queue is busy with syncs, and the kernel drops the pages of its files: jobs start and end, and
nothing is lost. No time is asserted."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from support.queues import Queue

STORM = """
import os, sys
directory, state = sys.argv[1:]
fd = os.open(os.path.join(directory, f"storm.{os.getpid()}"), os.O_RDWR | os.O_CREAT, 0o600)
print("ready", flush=True)
while True:
    os.pwrite(fd, os.urandom(4096) * 64, 0)
    os.fsync(fd)
    for folder, _, files in os.walk(state):
        for name in files:
            try:
                file = os.open(os.path.join(folder, name), os.O_RDONLY)
            except OSError:
                continue
            os.fdatasync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)
"""
JOBS = 120


@pytest.fixture
def storm(queue: Queue) -> Iterator[None]:
    command = [sys.executable, "-c", STORM, str(queue.directory), str(queue.state_dir)]
    others = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    for other in others:
        assert other.stdout and other.stdout.readline() == b"ready\n"
    yield
    for other in others:
        assert other.poll() is None
        other.kill()
        other.communicate()


@pytest.mark.parametrize("durable", ["0", "1"])
def test_jobs_go_on(queue: Queue, storm: None, durable: str) -> None:
    queue.environment |= {"TS_DURABLE": durable, "TS_SLOTS": "3"}
    notes = queue.directory / "notes"
    notes.touch()
    ids = []
    for number in range(JOBS):
        options = ("-D", ids[-1]) if number % 7 == 3 else ("-W", ids[0]) if number % 7 == 5 else ()
        ids.append(queue.submit(*options, "sh", "-c", f"echo $TS_JOBID >> {notes}; exit {number % 5}"))
        if number == JOBS // 2:
            queue.kill_server()
    assert [queue.wait(job) for job in ids] == [number % 5 for number in range(JOBS)]
    assert sorted(map(int, notes.read_text().split())) == ids == sorted(queue.ids())
