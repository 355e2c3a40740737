"""A job's state, and all jobs as an array, from Python: `Queue.state` and `Queue.jobs` of a queue on a disk, whose
server runs, but is not asked. table_reader.py measures what is below them."""

import random
import time

from common import BUILD, Figure, Options, Queue, Stats, ts_program

ROUNDS = 7


def measure(options: Options) -> list[Figure]:
    import tsfast

    count = options.size(1_000_000, 100_000)
    BUILD.mkdir(parents=True, exist_ok=True)
    with Queue("ts", ts_program(), directory=str(BUILD)) as queue:
        queue.block()
        ids = queue.fill_at_once([["true"]] * count)
        view = tsfast.Queue(str(queue.directory / "socket"))
        some = random.Random(1).choices(ids, k=20_000)
        same = [one_by_one(view, [ids[count // 2]] * len(some)) for _ in range(ROUNDS)]
        states = [one_by_one(view, some) for _ in range(ROUNDS)]
        snapshots = [snapshot(view, count) for _ in range(ROUNDS)]
    return [
        Figure("state of one job, Queue.state", "ns", {"ts": Stats.of(same)}, goal=300),
        Figure(f"state of any of {count:,} jobs", "ns", {"ts": Stats.of(states)}, goal=300, note="ids at random"),
        Figure(f"{count:,} jobs as an array", "ms", {"ts": Stats.of(snapshots)}, goal=100 * count / 1_000_000),
    ]


def one_by_one(view: object, ids: list[int]) -> float:
    """Nanoseconds of one call, the loop around it included."""
    state = view.state  # type: ignore[attr-defined]
    begin = time.perf_counter_ns()
    for job in ids:
        state(job)
    return (time.perf_counter_ns() - begin) / len(ids)


def snapshot(view: object, count: int) -> float:
    begin = time.perf_counter()
    jobs = view.jobs()  # type: ignore[attr-defined]
    taken = (time.perf_counter() - begin) * 1000
    if len(jobs) < count:
        raise SystemExit(f"the array has {len(jobs)} of {count} jobs")
    return taken
