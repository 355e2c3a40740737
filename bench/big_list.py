"""`ts -l` with a million jobs in the table, and `ts -s` while such a list is being written."""

import subprocess
import time

from common import PATIENCE_S, Figure, Options, Queue, Stats, beside, drive, ts_program

ROUNDS = 5


def measure(options: Options) -> list[Figure]:
    count = options.size(1_000_000, 100_000)
    with Queue("ts", ts_program()) as queue:
        queue.block()
        last = queue.fill_at_once([["true", str(i)] for i in range(count)])[-1]
        seconds = [whole_list(queue, count) for _ in range(ROUNDS)]
        alone: list[float] = []
        meanwhile: list[float] = []
        for _ in range(ROUNDS):
            alone += states(queue, last)
            again = ["/bin/sh", "-c", 'while "$0" -l; do :; done', queue.program]
            with beside(again, env=queue.environment, stdout=subprocess.DEVNULL):
                time.sleep(0.1)  # the list is on its way
                meanwhile += states(queue, last)
    series = {"ts": Stats.of(meanwhile), "alone": Stats.of(alone)}
    return [
        Figure(f"-l, {count:,} jobs", "s", {"ts": Stats.of(seconds)}, goal=1.5 if count == 1_000_000 else None),
        Figure(f"-s while -l lists {count:,} jobs", "us", series, "alone", 1.1, note="the list takes a processor"),
    ]


def whole_list(queue: Queue, count: int) -> float:
    begin = time.perf_counter()
    done = subprocess.run(
        [queue.program, "-l"], env=queue.environment, check=True, stdout=subprocess.PIPE, timeout=PATIENCE_S
    )
    seconds = time.perf_counter() - begin
    lines = done.stdout.count(b"\n")
    if lines < count:
        raise SystemExit(f"the list has {lines} lines for {count} jobs")
    return seconds


def states(queue: Queue, job: int) -> list[float]:
    [samples] = drive(60, queue.command("-s", str(job)))
    return [(end - begin) / 1000 for begin, end in samples]
