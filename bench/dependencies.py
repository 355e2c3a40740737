"""Chains, fans in and fans out: what an edge costs when jobs are queued by a batch, all of it counted; when they are
queued and end, in the rules of the queue alone (no disk, no socket, no process); and from the command line, where the
call is what costs."""

import time
from collections.abc import Callable

from common import Figure, Options, Queue, Stats, compare_calls, queues, ts_program

from tsfast.scheduler.scheduler import SchedulerProbe

EDGES_GOAL = 200_000


def measure(options: Options) -> list[Figure]:
    figures = []
    shapes: dict[str, Callable[[int], float]] = {"chain": chain, "fan-in": fan_in, "fan-out": fan_out}
    sizes = (1_000, 10_000, 100_000, *(() if options.quick else (1_000_000,)))
    for name, shape in shapes.items():
        rates: dict[int, list[float]] = {size: [] for size in sizes}
        for _ in range(5):
            for size in sizes:
                rates[size].append(shape(size))
        curve = {size: 1e6 / Stats.of(values).median for size, values in rates.items()}
        note = "us an edge: " + ", ".join(f"{size:,}: {cost:.2f}" for size, cost in curve.items())
        series = {"ts": Stats.of(rates[100_000])}
        plot: dict[str, object] = {"curve": curve}
        what = f"{name} of 100,000, queued and ended"
        figures.append(Figure(what, "1/s", series, goal=EDGES_GOAL, sense=">=", note=note, plot=plot))
    figures += [by_batch(options, name, jobs) for name, jobs in BATCHES.items()]
    figures.append(last_of_a_chain(options))
    return figures


def command(**options: object) -> dict[str, object]:
    return {"argv": ["true"], **options}


BATCHES: dict[str, Callable[[int], list[object]]] = {
    "chain": lambda count: [["true"], *(command(after=f"@{i}") for i in range(count))],
    "fan-in": lambda count: [*[["true"]] * count, command(after=[f"@{i}" for i in range(count)])],
    "fan-out": lambda count: [["true"], *[command(after="@0")] * count],
}


def by_batch(options: Options, name: str, jobs: Callable[[int], list[object]]) -> Figure:
    """Jobs with dependencies by the Python API, acknowledged and in the table."""
    sizes = (1_000, 10_000, 100_000)
    rates: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(5):
        for size in sizes:
            batch = jobs(size)
            with Queue("ts", ts_program()) as queue:
                queue.block()
                queue.fill_at_once([["true"]])
                rates[size].append(timed(size, lambda queue=queue, batch=batch: queue.fill_at_once(batch)))
    note = "us an edge: " + ", ".join(f"{size:,}: {1e6 / Stats.of(taken).median:.2f}" for size, taken in rates.items())
    series = {"ts": Stats.of(rates[100_000])}
    return Figure(f"{name} of 100,000 by a batch", "1/s", series, goal=EDGES_GOAL, sense=">=", note=note)


def timed(edges: int, work: Callable[[], object]) -> float:
    """Edges per second."""
    begin = time.perf_counter()
    work()
    return edges / (time.perf_counter() - begin)


def run_all(queue: SchedulerProbe, count: int) -> None:
    """Start and end all jobs in the order that the queue gives."""
    for _ in range(count):
        job = queue.next_start()
        queue.started(job)
        queue.finish(job)
        queue.forget(job)


def chain(count: int) -> float:
    def work() -> None:
        queue = SchedulerProbe()
        queue.add(0)
        for job in range(1, count + 1):
            queue.add(job, 1, (job - 1,))
        run_all(queue, count + 1)

    return timed(count, work)


def fan_in(count: int) -> float:
    def work() -> None:
        queue = SchedulerProbe()
        for job in range(count):
            queue.add(job)
        queue.add(count, 1, range(count))
        run_all(queue, count + 1)

    return timed(count, work)


def fan_out(count: int) -> float:
    def work() -> None:
        queue = SchedulerProbe()
        queue.add(0)
        for job in range(1, count + 1):
            queue.add(job, 1, (0,))
        run_all(queue, count + 1)

    return timed(count, work)


def last_of_a_chain(options: Options) -> Figure:
    """One more job behind a chain of 500, from the shell."""
    with queues(options) as each:
        for queue in each:
            queue.block()
            queue.fill(500, "-d", "true")
        return compare_calls(Options(quick=True), "submit behind a chain of 500", each, "-d", "true")
