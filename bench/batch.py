"""Many jobs in one call: `submit_many` and `ts --batch`, beside HyperQueue's Python API. The jobs are acknowledged and
in the table when the time is taken, and none of them runs."""

import time

from common import Figure, Options, Queue, Stats, interleave, seconds, ts_program
from peers import hyperqueue, hyperqueue_batch

SMALL = 10_000


def measure(options: Options) -> list[Figure]:
    count = options.size(100_000, 20_000)
    taken = interleave({"api": lambda: by_api(count), "file": lambda: by_file(count)})
    figures = [
        Figure(f"submit_many of {count:,}", "1/s", {"ts": taken["api"]}, goal=300_000, sense=">="),
        Figure(f"ts --batch of {count:,}", "1/s", {"ts": taken["file"]}, goal=250_000, sense=">="),
    ]
    contenders = {"ts": lambda: by_api(SMALL)}
    parts: list[dict[str, float]] = []
    if hyperqueue():

        def other() -> float:
            parts.append(hyperqueue_batch(SMALL))
            return SMALL / sum(parts[-1].values())

        contenders["hyperqueue"] = other
    note = ""
    series = interleave(contenders)
    if parts:
        alone = Stats.of([SMALL / part["submit"] for part in parts])
        note = f"HyperQueue's job is built and submitted; the submission alone: {alone.median:,.0f}/s"
    figures.append(Figure(f"batch of {SMALL:,} from Python", "1/s", series, "hyperqueue", 1.0, ">=", note))
    return figures


def by_api(count: int) -> float:
    argvs = [["true", str(i)] for i in range(count)]
    with Queue("ts", ts_program()) as queue:
        queue.block()
        queue.fill_at_once([["true"]])  # the start of modules and connection is another question
        begin = time.perf_counter()
        ids = queue.fill_at_once(argvs)
        taken = time.perf_counter() - begin
        check(queue, ids, count)
    return count / taken


def by_file(count: int) -> float:
    with Queue("ts", ts_program()) as queue:
        queue.block()
        commands = queue.directory / "commands"
        commands.write_text("".join(f"true {i}\n" for i in range(count)))
        taken = seconds([queue.program, "--batch", str(commands)], queue.environment)
        last = int(queue.run("-q"))
        check(queue, list(range(last + 1 - count, last + 1)), count)
    return count / taken


def check(queue: Queue, ids: list[int], count: int) -> None:
    """All of them are there, and queued."""
    states = {queue.run("-s", str(job)) for job in (min(ids), max(ids))}
    if len(set(ids)) != count or states != {"queued"}:
        raise SystemExit(f"{len(set(ids))} of {count} jobs were acknowledged and queued")
