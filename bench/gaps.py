"""Job end to next start: the idle time of a slot between two jobs, as the jobs themselves see it."""

import itertools

from common import Figure, Options, Queue, Stats, await_true, helper, peers


def measure(options: Options) -> list[Figure]:
    figures = []
    stamp = helper("stamp", static=True)
    jobs = options.size(300, 100)
    for queued, goal in ((10, 0.3), (options.size(600, 300), 0.3)):
        gaps: dict[str, list[float]] = {name: [] for name, _ in peers(options)}
        for _ in range(5):
            for name, program in peers(options):
                with Queue(name, program) as queue:
                    gaps[name] += run(queue, min(jobs, queued), queued, stamp)
        series = {name: Stats.of(values) for name, values in gaps.items()}
        figures.append(Figure(f"job end to next start, {queued} queued", "us", series, "tsp", goal))
    return figures


def run(queue: Queue, jobs: int, queued: int, *command: str) -> list[float]:
    """The first `jobs` gaps of a queue that holds `queued` jobs at the start; the command ends with `stamp`."""
    stamps = queue.directory / "stamps"
    queue.block()
    queue.fill(queued, *command, str(stamps))
    queue.unblock()
    await_true(lambda: stamps.exists() and stamps.read_bytes().count(b"\n") >= queued, "the jobs' ends")
    lines = sorted(tuple(map(int, line.split())) for line in stamps.read_text().splitlines())
    lines = lines[: jobs + 1]
    return [(after[0] - before[1]) / 1000 for before, after in itertools.pairwise(lines)]
