"""Job end to next start while others load the disk that the queue is on: a `dd` of large blocks, and many small writes,
each synced."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator

from common import BUILD, Figure, Options, Queue, Stats, beside, helper, percentile, ts_program
from gaps import run

STORM = """
while :; do dd if=/dev/zero of=big bs=1M count=64 conv=fsync; done 2>/dev/null &
i=0; while :; do dd if=/dev/zero of=small.$((i % 50)) bs=4k count=1 conv=fsync; i=$((i+1)); done 2>/dev/null
"""


def measure(options: Options) -> list[Figure]:
    jobs = options.size(300, 100)
    BUILD.mkdir(parents=True, exist_ok=True)
    quiet: list[float] = []
    loaded: list[float] = []
    for _ in range(5):
        quiet += gaps(jobs)
        with storm():
            loaded += gaps(jobs)
    series = {"ts": Stats.of([percentile(loaded, 99) / 1000]), "quiet": Stats.of([percentile(quiet, 99) / 1000])}
    kind = subprocess.run(["stat", "-f", "-c", "%T", BUILD], check=True, stdout=subprocess.PIPE, text=True).stdout
    note = f"on {kind.strip()}; the median is {Stats.of(loaded).median:,.0f} us, without the load "
    note += f"{Stats.of(quiet).median:,.0f} us and p99 {percentile(quiet, 99) / 1000:.1f} ms"
    return [Figure("p99 of job end to next start, disk loaded", "ms", series, goal=20, note=note)]


def gaps(jobs: int) -> list[float]:
    """All of the queue's files are on the disk of the build directory."""
    with Queue("ts", ts_program(), directory=str(BUILD)) as queue:
        return run(queue, jobs, jobs, helper("stamp", static=True))


@contextlib.contextmanager
def storm() -> Iterator[None]:
    folder = tempfile.TemporaryDirectory(prefix="storm-", dir=BUILD, ignore_cleanup_errors=True)
    with folder as directory, beside(["/bin/sh", "-c", STORM], cwd=directory):
        yield
