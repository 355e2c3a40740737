"""One `ts true` while the queue is busy: what a person and a script wait for, and whether it grows with the queue."""

from contextlib import ExitStack

from common import Figure, Options, Queue, Stats, compare_calls, drive, peers, queues, ts_program
from peers import submitters


def measure(options: Options) -> list[Figure]:
    figures = []
    with queues(options) as each:
        for queue in each:
            queue.block()
        figures.append(compare_calls(options, "submit, queue busy", each, "true", goal=0.3))
    with queues(options) as each:
        for queue in each:
            queue.block()
            queue.fill(800)
        # tsp lets its callers wait at about 1,000 jobs
        figures.append(compare_calls(Options(quick=True), "submit, 800 queued", each, "true", goal=0.2))
    figures.append(flat(options))
    figures.append(others(options))
    return figures


def flat(options: Options) -> Figure:
    """With very many jobs queued, beside a queue with ten."""
    many = options.size(1_000_000, 100_000)
    with Queue("ts", ts_program()) as full, Queue("ten", ts_program()) as short:
        for queue, count in ((full, many), (short, 10)):
            queue.block()
            queue.fill_at_once([["true"]] * count)
        name = f"submit, {many:,} queued"
        figure = compare_calls(options, name, [full, short], "true", goal=1.1)
    return figure.against("ten", 1.1, "<=")


def others(options: Options) -> Figure:
    """The same for spoolers of other kinds, few calls: some keep a process for each job."""
    with ExitStack() as stack:
        each = [stack.enter_context(Queue(name, program)) for name, program in peers(options)]
        each += [stack.enter_context(peer) for peer in submitters()]
        for queue in each:
            queue.block()
        samples = drive(options.size(60, 20), *(queue.command("true") for queue in each))
    series = {
        queue.name: Stats.of([(end - begin) / 1000 for begin, end in taken])
        for queue, taken in zip(each, samples, strict=True)
    }
    return Figure("submit, other spoolers", "us", series, "nq")
