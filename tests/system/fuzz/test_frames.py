"""Any bytes, and frames that are nearly right, at a live server: it stays, leaks nothing, and serves the others."""

import itertools
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from support import native
from support.places import TESTS
from support.processes import open_files, sleeping
from support.queues import Queue
from support.wire import connect, drained, request, send
from system.fuzz.mutate import mutated, seeds

FRAMES = os.environ.get("TSFAST_FUZZ_FRAMES", "20000")
SEEDS = seeds()
GROWTH_KB = 1 << 19 if native.SANITIZED else 8192  # ASan keeps 256 MiB of what was freed


@pytest.fixture(scope="module")
def blocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue]:
    """A queue in which nothing that is queued by chance starts."""
    queue = Queue(tmp_path_factory.mktemp("fuzz"))
    queue.environment["TS_MAXCONN"] = "32"
    queue.blocker()
    yield queue
    left = queue.end()
    assert not left


def survives(queue: Queue, data: bytes, cuts: list[int], descriptors: int) -> None:
    assume(b"-K" not in data and b"kill" not in data and b"-S" not in data and b"cancel" not in data)
    server = queue.server_pid()
    with connect(queue) as client, open(os.devnull) as null:
        places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
        for begin, end in itertools.pairwise(places):
            try:
                socket.send_fds(client, [data[begin:end]], [null.fileno()] * descriptors)
            except (BrokenPipeError, ConnectionResetError):
                break
        try:
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        drained(client)
    with connect(queue) as client:
        send(client, request("-S"))
        assert drained(client)
    assert queue.server_pid() == server


def open_descriptors(queue: Queue) -> list[str]:
    """But for the pipe to the process that asks for GPUs, which a job of that kind brings."""
    names = [name.split("[")[0] for name in open_files(queue.server_pid())]
    return sorted(name for name in names if name != "pipe:")


CUTS = st.lists(st.integers(0, 2000), max_size=3)
COUNTS = st.integers(0, 6)


@given(st.binary(max_size=200), CUTS, COUNTS)
def test_any_bytes(blocked: Queue, data: bytes, cuts: list[int], descriptors: int) -> None:
    survives(blocked, data, cuts, descriptors)


@given(st.integers(0, 1 << 32), CUTS, COUNTS)
def test_frames_that_are_nearly_right(blocked: Queue, seed: int, cuts: list[int], descriptors: int) -> None:
    survives(blocked, mutated(SEEDS, random.Random(seed)), cuts, descriptors)


def test_no_descriptor_is_left(blocked: Queue) -> None:
    """Of callers that come with descriptors and end at any point; those that wait here would be found too."""
    blocked.wait_until(lambda: sleeping(blocked.server_pid()))
    before = open_descriptors(blocked)
    rng = random.Random(7)
    for _ in range(500):
        data = mutated(SEEDS, rng)
        if b"-K" not in data and data:
            with connect(blocked) as client, open(os.devnull) as null:
                try:
                    socket.send_fds(client, [data], [null.fileno()] * 3)
                except (BrokenPipeError, ConnectionResetError):
                    pass
    blocked.wait_until(lambda: open_descriptors(blocked) == before, "the descriptors are closed")


def test_many_frames(tmp_path: Path) -> None:
    """The driver of `make fuzz`, for a number of frames. In a process of its own, which becomes a subreaper."""
    code = (
        "import sys, pathlib; from system.fuzz.driver import Queue, run\n"
        f"queue = Queue(pathlib.Path({str(tmp_path)!r}))\n"
        f"try: figures = run(queue, seed=1, frames={int(FRAMES)})\n"
        "finally: queue.end()\n"
        "print(figures)\n"
        f"assert figures.rss_after_kb - figures.rss_before_kb < {GROWTH_KB}, 'memory grows'\n"
        "assert len(figures.latencies) > 10, 'others are not served'\n"
    )
    env = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
