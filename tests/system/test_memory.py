"""No memory for the server, for a runner, for `ts`: what needs it is refused with one line, the rest goes on."""

import errno
import mmap
import os
import resource
import struct
import subprocess
from pathlib import Path

import pytest

from engine.test_shortage import no_inodes
from support import compiled
from support.processes import alive, parent
from support.queues import Queue

pytestmark = pytest.mark.unsanitized("ASan gives up where it gets no memory itself")

HELD_AT_FIRST = 16  # jobs for which lifecycle/pauses.pyx gets memory at once
NO_MEMORY = ("out of memory", "Cannot allocate memory", "no memory", "than there is memory for")


def address_space(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmSize")) << 10


def limit(pid: int, size: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))


def is_refusal(done: "subprocess.CompletedProcess[str]") -> bool:
    line = done.stderr.startswith("ts: ") and done.stderr.count("\n") == 1
    return done.returncode == 255 and done.stdout == "" and line and any(text in done.stderr for text in NO_MEMORY)


def test_no_memory_for_long_requests(queue: Queue) -> None:
    blocker, gate = queue.blocker()
    queued = queue.submit("sh", "-c", "exit 3")
    server = queue.server_pid()
    words = ["x" * 100_000] * 18
    limit(server, address_space(server))
    assert is_refusal(queue.run("true", *words))
    assert queue.submit("true") == queued + 1  # what is at hand is enough for this
    assert queue.get("-q") == str(queued + 1)
    limit(server, resource.RLIM_INFINITY)
    last = queue.submit("true", *words)
    gate.open()
    assert [queue.wait(job) for job in (blocker, queued, queued + 1, last)] == [0, 3, 0, 0]
    assert queue.ids() == list(range(last + 1)) and queue.server_pid() == server


def test_no_memory_for_a_runner(queue: Queue) -> None:
    """A job whose record does not fit is tried again, by another runner: what this one may have is not its fault."""
    first, gate = queue.blocker()
    runner = parent(int(queue.get("-p", first)))
    big = queue.submit("true", *["x" * 100_000] * 18)
    limit(runner, address_space(runner) + (256 << 10))
    gate.open(2)
    assert [queue.wait(job) for job in (first, big)] == [2, 0]
    assert f"starts wait: no record can be read ({os.strerror(errno.ENOMEM)}); the server tries again" in queue.log()
    queue.wait_until(lambda: not alive(runner), "it has left")
    assert queue.wait(queue.submit("sh", "-c", "exit 4")) == 4


def test_no_memory_for_the_caller(queue: Queue) -> None:
    queue.get("-l")
    done = queue.run("true", *["x" * 100_000] * 18, preexec_fn=little_memory)
    assert done.returncode == 0 or is_refusal(done)
    assert queue.get("-S") == "1"


def little_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 << 20, 4 << 20))


@pytest.fixture(scope="session")
def starve() -> Path:
    return compiled.preload("starve")


def test_each_allocation_of_the_server_fails_once(queue: Queue, starve: Path, tmp_path: Path) -> None:
    """Whatever was answered with an id is there and runs once; whatever was not, says so or is asked again."""
    counters = tmp_path / "allocations"
    counters.write_bytes(bytes(16))
    notes = queue.directory / "notes"
    notes.touch()
    queue.environment |= {"TS_SLOTS": "3", "TS_MAXFINISHED": "5"}
    queue.get("-l", env={"LD_PRELOAD": str(starve), "TSFAST_STARVE": str(counters)})
    server = queue.server_pid()
    given: dict[int, int] = {}
    refused = 0

    def submit(code: int, *options: object, **more: object) -> None:
        nonlocal refused
        done = queue.run(*options, "sh", "-c", f"echo $TS_JOBID >> {notes}; exit {code}", **more)
        if done.returncode == 0:
            given[int(done.stdout)] = code
        else:
            assert is_refusal(done), done
            refused += 1

    with counters.open("r+b") as file, mmap.mmap(file.fileno(), 16) as shared:

        def count() -> int:
            return struct.unpack_from("=Q", shared)[0]

        def act(number: int) -> None:
            submit(number % 5, env={"N": str(number)})
            last = max(given)
            submit(3, "-L", f"label {number}", "-D", last, "-W", last, env={"BIG": "x" * 90_000})
            submit(0, "-N", 2)
            for words in (("-l",), ("-M", "json"), ("-w", max(given)), ("-S",), ("--why", max(given))):
                done = queue.run(*words)
                assert done.returncode in (0, 3, *range(5)) or is_refusal(done), done

        given[int(queue.get("sh", "-c", f"echo $TS_JOBID >> {notes}; exit 0"))] = 0
        before = count()
        act(0)
        total = count() - before
        for number in range(1, total + 1):
            struct.pack_into("=Q", shared, 8, count() + number)
            act(number)
            struct.pack_into("=Q", shared, 8, 0)
            assert queue.server_pid() == server
    print(f"{total} allocations, {refused} calls refused")
    queue.wait_until(lambda: all(job["State"] in ("finished", "skipped") for job in queue.jobs()), "the end of all")
    started = [int(line) for line in notes.read_text().split()]
    assert len(started) == len(set(started)) and set(started) <= set(given)


@pytest.mark.root
def test_no_memory_to_hold_a_job_aside(queue: Queue, starve: Path, small_disk: Path, tmp_path: Path) -> None:
    """One that has no room for its output stays queued all the same, and runs once when there is some."""
    counters, marks = tmp_path / "allocations", tmp_path / "marks"
    counters.write_bytes(bytes(16))
    queue.environment["TS_SLOTS"] = "2"
    queue.get("-l", env={"LD_PRELOAD": str(starve), "TSFAST_STARVE": str(counters)})
    _, gate = queue.blocker("--log", queue.directory / "log")
    queue.get("--set_logdir", small_disk)
    with no_inodes(small_disk), counters.open("r+b") as file, mmap.mmap(file.fileno(), 16) as shared:
        held = [queue.submit("true") for _ in range(HELD_AT_FIRST)]
        queue.wait_until(lambda: all("No space left" in queue.get("--why", job) for job in held), "none has room")
        last = queue.submit("-N", 2, "sh", "-c", f"echo ran >> {marks}")
        struct.pack_into("=QQ", shared, 0, 0, 1)
        gate.open()
        queue.wait_until(lambda: "starts wait: " in queue.log(), "there was no memory to hold one more aside")
        struct.pack_into("=Q", shared, 8, 0)
    assert [queue.wait(job) for job in (*held, last)] == [0] * (HELD_AT_FIRST + 1)
    assert marks.read_text() == "ran\n"
