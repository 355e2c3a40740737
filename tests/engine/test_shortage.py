"""Processes, descriptors or room that are not to be had when a job starts, through no fault of the job: it keeps its
place in the queue and runs when there are some again."""

import contextlib
import itertools
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from support.fixtures import ended
from support.gpu_queue import GpuQueue
from support.processes import alive
from support.queues import Queue

pytestmark = pytest.mark.root

numbers = itertools.count()
NO_PROCESS = "no process can be created (Resource temporarily unavailable)"
NO_ROOM = "no output file can be created (No space left on device)"


class UserQueue(Queue):
    """The queue of a user who has no other processes: a limit on them does not count for root. The capabilities are for
    the tests' directory and interpreter, which are root's."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.uid = 1_000_000 + (os.getpid() << 6) + next(numbers)  # zombies that nobody reaps count too
        rights = "+dac_override,+dac_read_search"
        self.user = ["setpriv", "--reuid", str(self.uid), "--clear-groups"]
        self.user += ["--inh-caps", rights, "--ambient-caps", rights]
        self.program = directory / "ts"
        self.program.write_text(f'#!/bin/sh\nexec {" ".join(self.user)} "{Queue.program}" "$@"\n')
        self.program.chmod(0o755)

    def begin(self, processes: int, slots: int) -> None:
        """A server that may have so many processes, runners and jobs included."""
        words = [*self.user, "prlimit", f"--nproc={processes}:{processes}", Queue.program, "-S", str(slots)]
        done = subprocess.run(words, env=self.env(), cwd=self.work, capture_output=True, timeout=30, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), (done, self.log())
        assert psutil.Process(self.server_pid()).uids().real == self.uid

    def submit(self, *words: object, **options: object) -> int:
        """Each call may have more processes than the server, and is warned."""
        done = self.run(*words, **options)
        assert done.returncode == 0 and "RLIMIT_NPROC" in done.stderr, done
        return int(done.stdout)


@pytest.fixture
def user_queue(tmp_path: Path) -> Iterator[UserQueue]:
    queue = UserQueue(tmp_path)
    yield queue
    ended(queue)


def waits(queue: Queue, job: int, reason: str) -> bool:
    """It is queued for that reason, and all who ask hear of it."""
    return (
        f"it waits: {reason}, tried again" in queue.get("--why", job)
        and queue.info(job).get("Waits") == f"{reason}, tried again"
        and queue.state(job) == "queued"
    )


def test_too_few_processes(user_queue: UserQueue) -> None:
    """Most of these jobs cannot start at first, and each of them runs once."""
    user_queue.begin(12, 20)
    marks = user_queue.directory / "marks"
    marks.mkdir(mode=0o777)
    jobs = [user_queue.submit("sh", "-c", f"exec 3>{marks}/$TS_JOBID.$$; exec sleep 0.1") for _ in range(40)]
    assert user_queue.run("--wait-all").returncode == 0
    assert {user_queue.info(job)["Exit status"] for job in jobs} == {"died with exit code 0"}
    assert sorted(int(mark.stem) for mark in marks.iterdir()) == jobs
    assert user_queue.log().count("starts wait") == user_queue.log().count(NO_PROCESS) == 1


def test_shortage_is_told_and_outlives_the_server(user_queue: UserQueue) -> None:
    """The running jobs go on, and a server that comes later finds all in their places."""
    user_queue.begin(8, 20)
    gates = [user_queue.gate() for _ in range(20)]
    jobs = [user_queue.submit(*gate.command) for gate in gates]
    user_queue.wait_until(lambda: waits(user_queue, jobs[-1], NO_PROCESS), "it is told why it waits")
    assert user_queue.run("-l").stderr == f"ts: starts wait: {NO_PROCESS}; the server tries again\n"
    gates[0].open(3)
    assert user_queue.wait(jobs[0]) == 3
    user_queue.kill_server()
    user_queue.get("-S")
    for gate in gates[1:]:
        gate.open()
    assert [user_queue.wait(job) for job in jobs] == [3] + [0] * 19


def test_foreground_jobs_and_hooks_wait_too(user_queue: UserQueue, tmp_path: Path) -> None:
    """The caller goes on waiting with its descriptors, and nothing is told of an end that was none."""
    hooks = tmp_path / "hooks"
    hook = tmp_path / "hook"
    hook.write_text(f'#!/bin/sh\necho "$1 $2" >> "{hooks}"\n')
    hook.chmod(0o755)
    hooks.touch()
    hooks.chmod(0o666)
    user_queue.begin(7, 20)
    gates = [user_queue.gate() for _ in range(8)]
    jobs = [user_queue.submit(*gate.command) for gate in gates]
    user_queue.wait_until(lambda: waits(user_queue, jobs[-1], NO_PROCESS))
    hooked = int(user_queue.run("true", env={"TS_ONFINISH": str(hook)}).stdout)
    caller = user_queue.start("-nf", "sh", "-c", "echo to its caller; exit 5")
    user_queue.wait_until(lambda: user_queue.get("-q") == str(hooked + 1))
    assert hooks.read_text() == ""
    user_queue.get("--cancel", f"{jobs[0]}-{jobs[-1]}")
    assert caller.wait(30) == 5 and caller.stdout.read() == b"to its caller\n"
    assert user_queue.wait(hooked) == 0
    user_queue.wait_until(lambda: hooks.read_text() == f"{hooked} 0\n", "the hook has run once")


def test_signal_to_a_job_whose_start_is_short_of_processes(user_queue: UserQueue) -> None:
    """-k of a queued job is refused, and -r takes it out: it does not come back."""
    user_queue.begin(7, 20)
    jobs = [user_queue.submit(*user_queue.gate().command) for _ in range(8)]
    user_queue.wait_until(lambda: waits(user_queue, jobs[-1], NO_PROCESS))
    assert "is not running" in user_queue.refused("-k", jobs[-1])
    user_queue.get("-r", jobs[-1])
    user_queue.get("--cancel", jobs[-2])
    assert user_queue.state(jobs[-2]) == "cancelled"
    assert jobs[-1] not in user_queue.ids()


def test_shortage_that_concerns_no_job_any_more_is_not_told(user_queue: UserQueue) -> None:
    user_queue.begin(7, 20)
    jobs = [user_queue.submit(*user_queue.gate().command) for _ in range(8)]
    user_queue.wait_until(lambda: waits(user_queue, jobs[-1], NO_PROCESS))

    def none_waits() -> bool:
        for job in user_queue.ids():
            user_queue.run("-r", job)  # refused while its start is tried
        return {job["State"] for job in user_queue.jobs()} == {"running"} and user_queue.run("-l").stderr == ""

    user_queue.wait_until(none_waits, "the jobs that waited are gone, and so is the reason")


def test_no_descriptor_for_a_runner(queue: Queue) -> None:
    """The next runner has some."""
    queue.get("-S", 2)
    blocker, gate = queue.blocker()
    queue.finish("true")
    idle = [pid for pid in queue.processes() if Path(f"/proc/{pid}/comm").read_text() == "ts-run\n"]
    for pid in idle:
        open_ones = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
        free = next(fd for fd in range(1000) if fd not in open_ones)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, free))
    job = queue.submit("echo", "ran")
    assert queue.wait(job) == 0 and queue.output(job) == "ran\n"
    assert "Too many open files" in queue.log() or not any(alive(pid) for pid in idle)
    gate.open()
    assert queue.wait(blocker) == 0


@contextlib.contextmanager
def no_inodes(directory: Path) -> Iterator[None]:
    """Files that cannot be made there, until the end of this."""
    subprocess.run(["mount", "-o", "remount,nr_inodes=6", directory], check=True)
    with contextlib.suppress(OSError):
        for number in range(10):
            (directory / f"taken.{number}").touch()
    yield
    subprocess.run(["mount", "-o", "remount,nr_inodes=1000", directory], check=True)


@pytest.mark.parametrize("options", [(), ("-E",), ("-z",)], ids=["plain", "two files", "compressed"])
def test_no_room_for_the_output_file(queue: Queue, small_disk: Path, options: tuple[str, ...]) -> None:
    """Its job waits in its place, those with output elsewhere pass it, and nothing is left of the tries."""
    with no_inodes(small_disk):
        queue.get("--set_logdir", small_disk)
        job = queue.submit(*options, "sh", "-c", "echo ran")
        later = [queue.submit("true") for _ in range(3)]
        queue.wait_until(lambda: waits(queue, job, NO_ROOM), "the job waits for room")
        queue.get("-n", "true")
        assert queue.wait(int(queue.get("-q"))) == 0
        assert queue.wait(queue.submit("--log", queue.directory / "log", "true")) == 0
        queue.wait_until(lambda: all(waits(queue, other, NO_ROOM) for other in later))
        assert queue.log().count(f"in {small_disk}") == 1
        queue.get("-r", later.pop())
        queue.get("-u", later[-1])
    assert [queue.wait(other) for other in (job, *later)] == [0, 0, 0]
    outputs = [name for name in os.listdir(small_disk) if not name.startswith("taken") and not name.endswith(".e")]
    assert len(outputs) == 3


def test_job_that_waits_for_gpus_does_not_keep_the_room_from_others(gpu_queue: GpuQueue, small_disk: Path) -> None:
    """It was the first one without room, and would be tried first; but meanwhile somebody else has its GPUs."""
    gpu_queue.learn()
    with no_inodes(small_disk):
        gpu_queue.get("--set_logdir", small_disk)
        first = gpu_queue.submit("-G", 8, "true")
        gpu_queue.wait_until(lambda: waits(gpu_queue, first, NO_ROOM))
        holder, gate = gpu_queue.hold("--log", gpu_queue.directory / "log", "-G", 8)
        gpu_queue.wait_until(lambda: "0 of 8 are available" in gpu_queue.why(first), "it is let go, to be tried")
        later = [gpu_queue.submit("true") for _ in range(3)]
        gpu_queue.wait_until(lambda: all(waits(gpu_queue, job, NO_ROOM) for job in later))
    assert [gpu_queue.wait(job) for job in later] == [0, 0, 0]
    gate.open()
    assert [gpu_queue.wait(job) for job in (holder, first)] == [0, 0]


def test_room_comes_back_under_another_server(queue: Queue, small_disk: Path) -> None:
    """Nothing of a shortage is on the disk: the next server tries by itself."""
    with no_inodes(small_disk):
        queue.get("--set_logdir", small_disk)
        jobs = [queue.submit("sh", "-c", f"exit {number}") for number in range(3)]
        array = queue.submit("--array", "0-2", "--", "sh", "-c", "exit {}")
        queue.wait_until(lambda: waits(queue, jobs[0], NO_ROOM))
        queue.kill_server()
        queue.wait_until(lambda: waits(queue, jobs[2], NO_ROOM))
        queue.kill_server(signal.SIGTERM)
    assert [queue.wait(job) for job in (*jobs, f"{array}[0]", array + 1, array + 2)] == [0, 1, 2, 0, 1, 2]


def test_what_fails_again_for_this_job_alone_ends_it(queue: Queue) -> None:
    missing, denied, there = (queue.directory / name for name in ("missing", "denied", "there"))
    there.mkdir()
    denied.write_text("")
    for path in (missing / "log", denied / "log", there):
        job = int(queue.run("--log", path, "--append", "true").stdout)
        queue.wait(job)
        assert queue.state(job) == "finished" and queue.info(job)["Exit status"].startswith("not started: ")
    gone = queue.directory / "gone"
    gone.mkdir()
    blocker, gate = queue.blocker()
    job = queue.submit("true", cwd=gone)
    gone.rmdir()
    gate.open()
    assert queue.wait(job) == 255
    assert "cannot enter the working directory" in queue.info(job)["Exit status"]
    assert queue.wait(blocker) == 0 and "wait: " not in queue.log()
