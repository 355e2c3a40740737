"""Job end to next start: the idle time of a slot between two jobs, as the jobs themselves see it."""

import itertools
from pathlib import Path

from common import Figure, Options, Queue, Stats, await_true, helper, peers, percentile, ts_program

GOAL = 0.3
P99_GOAL_US = 1000


def measure(options: Options) -> list[Figure]:
    figures = []
    stamp = helper("stamp", static=True)
    jobs = options.size(300, 100)
    tsp: list[float] = []
    for queued in (10, options.size(600, 300)):
        gaps: dict[str, list[float]] = {name: [] for name, _ in peers(options)}
        for _ in range(5):
            for name, program in peers(options):
                with Queue(name, program) as queue:
                    gaps[name] += run(queue, min(jobs, queued), queued, stamp)
        figures += figures_of(queued, gaps)
        tsp = gaps.get("tsp", [])
    many = options.size(1_000_000, 100_000)
    ours = of_many(many, options.size(2000, 500), stamp)
    figures += figures_of(many, {"ts": ours} | ({"tsp": tsp} if tsp else {}))
    figures[-2].note = "tsp with as many as it takes: those of the row above"
    return figures


def figures_of(queued: int, gaps: dict[str, list[float]]) -> list[Figure]:
    """The median beside the peer's, and the 99th percentile."""
    name = f"job end to next start, {queued:,} queued"
    series = {who: Stats.of(values) for who, values in gaps.items()}
    slow = {who: Stats.of([percentile(values, 99)]) for who, values in gaps.items()}
    return [
        Figure(name, "us", series, "tsp", GOAL),
        Figure(f"p99 of {name}", "us", slow, goal=P99_GOAL_US, note=f"{len(gaps['ts'])} gaps"),
    ]


def run(queue: Queue, jobs: int, queued: int, *command: str) -> list[float]:
    """The first `jobs` gaps of a queue that holds `queued` jobs at the start; the command ends with `stamp`."""
    stamps = queue.directory / "stamps"
    queue.block()
    queue.fill(queued, *command, str(stamps))
    queue.unblock()
    return gaps_in(stamps, queued)[:jobs]


def of_many(queued: int, jobs: int, stamp: str) -> list[float]:
    """The first gaps of a queue that is filled by one batch, and dropped before it has run them all."""
    with Queue("ts", ts_program()) as queue:
        stamps = queue.directory / "stamps"
        queue.block()
        queue.fill_at_once([[stamp, str(stamps)]] * queued)
        queue.unblock()
        return gaps_in(stamps, jobs + 1)[:jobs]


def gaps_in(stamps: Path, count: int) -> list[float]:
    """Wait for `count` jobs; microseconds from each end to the next start."""
    await_true(lambda: stamps.exists() and stamps.read_bytes().count(b"\n") >= count, "the jobs' ends")
    lines = sorted(tuple(map(int, line.split())) for line in stamps.read_text().splitlines()[:count])
    return [(after[0] - before[1]) / 1000 for before, after in itertools.pairwise(lines)]
