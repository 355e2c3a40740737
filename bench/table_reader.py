"""What reading the table costs a program: the state of one job, of many, and a table of a million jobs as an array; on
a disk, where the records are mapped, and on tmpfs, where they are read."""

import os
import tempfile
import time
import timeit
from collections.abc import Callable

import numpy
from common import Figure, Options, Stats

from tsfast.client.reader import FINISHED, Reader
from tsfast.store.table import TableProbe

SEGMENT = 65536
MEMORY = "/dev/shm"


def measure(options: Options) -> list[Figure]:
    figures = places(options, "", None, goals=True)
    if os.path.isdir(MEMORY):
        figures += places(options, ", tmpfs", MEMORY, goals=False)
    return figures


def places(options: Options, where: str, directory: str | None, goals: bool) -> list[Figure]:
    jobs = options.size(1000000, 100000)
    with tempfile.TemporaryDirectory(prefix="bench-table-", dir=directory) as path:
        reader = table(path, jobs)
        ids = numpy.arange(jobs, dtype=numpy.uint64)
        one = calls(reader.state, jobs // 2, options)
        result = calls(reader.result, jobs // 2, options)
        job = calls(reader.job, jobs // 2, options, less=100)
        states = times(lambda: reader.states(ids), options)
        snapshot = times(reader.snapshot, options)
        assert len(reader.snapshot()) == jobs
    scale = 1000000 / jobs
    return [
        Figure(f"state of a job{where}", "ns", {"ts": Stats.of(one)}, goal=300 if goals else None),
        Figure(f"result of a job{where}", "ns", {"ts": Stats.of(result)}),
        Figure(f"all of a job{where}", "us", {"ts": Stats.of([value / 1000 for value in job])}),
        Figure(f"states of a million jobs{where}", "ms", {"ts": Stats.of([value * scale for value in states])}),
        Figure(
            f"snapshot of a million jobs{where}",
            "ms",
            {"ts": Stats.of([value * scale for value in snapshot])},
            goal=100 if goals else None,
            note="" if jobs == 1000000 else f"scaled from {jobs} jobs",
        ),
    ]


def table(path: str, jobs: int) -> Reader:
    """A table written as the server writes it, of jobs that have ended."""
    writer = TableProbe(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
    fields = {"state": FINISHED, "pid": 1000, "start_ns": 10**18, "duration_ns": 10**9, "enqueue_ns": 10**18}
    for first in range(0, jobs, SEGMENT):
        writer.put(fields, argv=(b"true", b"x" * 95), n=min(SEGMENT, jobs - first))
    return Reader(os.open(path, os.O_RDONLY | os.O_DIRECTORY))


def calls(function: Callable[[int], object], id: int, options: Options, less: int = 1) -> list[float]:
    """Nanoseconds of a call, from Python, itself included."""
    number = options.size(100000, 10000) // less
    timer = timeit.Timer("function(id)", globals={"function": function, "id": id})
    return [value / number * 1e9 for value in timer.repeat(9, number)]


def times(function: Callable[[], object], options: Options) -> list[float]:
    """Milliseconds of a call."""
    function()
    values = []
    for _ in range(options.size(9, 5)):
        begin = time.perf_counter()
        function()
        values.append((time.perf_counter() - begin) * 1e3)
    return values
