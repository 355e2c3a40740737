"""What one job costs as queues grow: each thing done at 1,000, 10,000, ... jobs. The ratio is the cost at the largest
size to that at the smallest; the goal is that of O(log n)."""

import math
import os
import signal
import time
from collections.abc import Callable

from common import Figure, Options, Queue, Stats, alive, await_true, drive, seconds, ts_program
from memory import everything

ROUNDS = 5
LONG = 10_000  # shorter lists are written by the server, longer ones by a program of Python that has to start
NOISE = 1.25  # at 1,000 jobs a thing may take less than what else the machine does

Costs = dict[str, dict[int, list[float]]]


def measure(options: Options) -> list[Figure]:
    sizes = (1_000, 10_000, 100_000, *(() if options.quick else (1_000_000,)))
    costs: Costs = {}
    for turn in range(ROUNDS):
        for size in sizes:
            if size < 1_000_000 or turn == 0:  # the largest once: it takes as long as all the others
                for what, cost in at_size(size).items():
                    costs.setdefault(what, {}).setdefault(size, []).append(cost)
    return [figure(what, by_size) for what, by_size in costs.items()]


def figure(what: str, by_size: dict[int, list[float]]) -> Figure:
    smallest, largest = min(by_size), max(by_size)
    series = {f"{size:,}": Stats.of(values) for size, values in by_size.items()}
    series["ts"] = series.pop(f"{largest:,}")
    goal = NOISE * math.log(largest) / math.log(smallest)
    curve = {size: Stats.of(values).median for size, values in by_size.items()}
    name, _, unit = what.rpartition(", ")
    note = ", ".join(f"{size:,}: {cost:,.3g}" for size, cost in curve.items())
    plot: dict[str, object] = {"curve": curve}
    return Figure(f"{name}, {largest:,} jobs", unit, series, f"{smallest:,}", round(goal, 2), "<=", note, plot)


def at_size(size: int) -> dict[str, float]:
    """Each cost, by its name and unit."""
    costs = {}
    with Queue("ts", ts_program()) as queue:
        first = milliseconds(lambda: queue.run("-R"))
        costs["first call of an empty queue, ms"] = first
        queue.block()
        queue.fill_at_once([["true"]])
        before = everything(queue)
        begin = time.perf_counter()
        ids = queue.fill_at_once([["true"]] * size)
        costs["submit, by batch, us"] = (time.perf_counter() - begin) / size * 1e6
        costs["memory of a queued job, bytes"] = (everything(queue) - before) / size
        costs["one submit, us"] = call(queue, "true")
        costs["one submit with a label, us"] = call(queue, "-L", "label", "true")
        costs["one submit after the last one, us"] = call(queue, "-d", "true")
        costs["-s, us"] = call(queue, "-s", str(ids[size // 2]))
        if size >= LONG:
            costs["-l, us"] = listing(queue) / size
        costs["-u of the last, us"] = call(queue, "-u", str(ids[-1]))
        costs["restart, us"] = restart(queue) / size
        begin = time.perf_counter()
        queue.run("--cancel", f"{ids[0]}-{ids[-1]}")
        costs["end of a queued job, us"] = (time.perf_counter() - begin) / size * 1e6
        costs["one submit, others ended, us"] = call(queue, "true")
        costs["-s of an ended job, us"] = call(queue, "-s", str(ids[size // 2]))
        if size >= LONG:
            costs["-l of ended jobs, us"] = listing(queue) / size
        costs["restart, others ended, us"] = restart(queue) / size
    return costs


def milliseconds(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return (time.perf_counter() - begin) * 1000


def call(queue: Queue, *words: str) -> float:
    """Microseconds of a call, from spawn to end."""
    [samples] = drive(30, queue.command(*words))
    return Stats.of([(end - begin) / 1000 for begin, end in samples]).median


def listing(queue: Queue) -> float:
    """Microseconds of the whole list."""
    return seconds([queue.program, "-l"], queue.environment) * 1e6


def restart(queue: Queue) -> float:
    """Microseconds of the first call after the server's death."""
    server = queue.server()
    os.kill(server, signal.SIGKILL)
    await_true(lambda: not alive(server), "the server's death")
    return milliseconds(lambda: queue.run("-R")) * 1000
