"""Chains, fans in and fans out: what an edge costs when the jobs are queued and when they end, in the rules of the
queue alone (no disk, no socket), and by the command line, where a call is what costs."""

import time
from collections.abc import Callable

from common import Figure, Options, Stats, compare_calls, queues

from tsfast._jobs import QueueProbe

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
    figures.append(last_of_a_chain(options))
    return figures


def timed(edges: int, work: Callable[[], None]) -> float:
    """Edges per second."""
    begin = time.perf_counter()
    work()
    return edges / (time.perf_counter() - begin)


def run_all(queue: QueueProbe, count: int) -> None:
    """Start and end all jobs in the order that the queue gives."""
    for _ in range(count):
        job = queue.next_start()
        queue.started(job)
        queue.finish(job)
        queue.forget(job)


def chain(count: int) -> float:
    def work() -> None:
        queue = QueueProbe()
        queue.add(0)
        for job in range(1, count + 1):
            queue.add(job, 1, (job - 1,))
        run_all(queue, count + 1)

    return timed(count, work)


def fan_in(count: int) -> float:
    def work() -> None:
        queue = QueueProbe()
        for job in range(count):
            queue.add(job)
        queue.add(count, 1, range(count))
        run_all(queue, count + 1)

    return timed(count, work)


def fan_out(count: int) -> float:
    def work() -> None:
        queue = QueueProbe()
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
