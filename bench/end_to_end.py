"""Many short jobs from the first call to the end of the last one, at 1, 2 and 8 slots: submitted by a shell loop, and
by one batch. Beside them tools that only run commands, and the floor: a loop in C that starts the jobs with the same
set-up for each."""

import shutil
import time

from common import Figure, Options, Queue, interleave, peers, ts_program
from peers import floor, gnu_parallel, nq_all, xargs


def measure(options: Options) -> list[Figure]:
    figures = []
    for slots in (1, 2, 8):
        if options.quick and slots == 2:
            continue
        shell, batch = compare(options, "/bin/true", options.size(1000, 200), slots, "/bin/true")
        shell.goal, batch.goal = 2.0, 3.0
        figures += [shell, batch, beside_floor(batch, 0.8)]
    return figures


def compare(options: Options, what: str, count: int, slots: int, command: str) -> tuple[Figure, Figure]:
    """Jobs per second, by shell and by batch."""
    contenders = {
        name: (lambda name=name, program=program: by_shell(name, program, count, slots, command))
        for name, program in peers(options)
    }
    contenders |= {
        "batch": lambda: by_batch(count, slots, command),
        "floor": lambda: floor(count, slots, command),
    }
    if shutil.which("xargs"):
        contenders["xargs -P"] = lambda: xargs(count, slots, command)
    if shutil.which("parallel") and not options.quick:
        contenders["parallel"] = lambda: gnu_parallel(count // 10, slots, command)  # 5 ms a job or more
    if shutil.which("nq") and slots == 1 and not options.quick:
        contenders["nq"] = lambda: nq_all(min(count, 400), command)  # it has a process for each job that waits
    series = interleave(contenders)
    batch = series.pop("batch")
    slotted = f"{slots} slot{'s' if slots > 1 else ''}"
    shell = Figure(f"{what} end to end by shell, {slotted}", "1/s", series, "tsp", None, ">=")
    shell.plot = {"throughput": what, "slots": slots, "batch": batch.median}
    beside = {name: stats for name, stats in series.items() if name in ("tsp", "floor")} | {"ts": batch}
    return shell, Figure(f"{what} end to end by batch, {slotted}", "1/s", beside, "tsp", None, ">=")


def beside_floor(batch: Figure, goal: float) -> Figure:
    figure = batch.against("floor", goal)
    figure.name += ", of the floor"
    return figure


def by_shell(name: str, program: str, count: int, slots: int, command: str) -> float:
    with Queue(name, program, slots) as queue:
        queue.run("-w", queue.run("true"))  # the start of the server is another question
        return count / queue.shell(loop(count, slots, command))


def loop(count: int, slots: int, command: str) -> str:
    """Submit, then wait for the last jobs: one may still run beside each other slot."""
    return (
        f'i=1; while [ $i -lt {count} ]; do "$ts" {command}; i=$((i+1)); done; j=$("$ts" {command}); '
        f'k=0; while [ $k -lt {slots} ]; do "$ts" -w $((j-k)); k=$((k+1)); done'
    )


def by_batch(count: int, slots: int, command: str) -> float:
    with Queue("ts", ts_program(), slots) as queue:
        queue.run("-w", queue.run("true"))
        begin = time.perf_counter()
        queue.fill_at_once([[command]] * count)
        queue.run("--wait-all")
        return count / (time.perf_counter() - begin)
