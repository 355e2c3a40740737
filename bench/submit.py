"""One `ts true` while the queue is busy: what a person and a script wait for, and whether it grows with the queue."""

from common import Figure, Options, compare_calls, queues


def measure(options: Options) -> list[Figure]:
    figures = []
    with queues(options) as each:
        for queue in each:
            queue.block()
        figures.append(compare_calls(options, "submit, queue busy", each, "true", goal=0.4, note="later goal 0.30"))
    with queues(options) as each:
        for queue in each:
            queue.block()
            queue.fill(800)
        # tsp lets its callers wait at about 1,000 jobs
        figures.append(compare_calls(Options(quick=True), "submit, 800 queued", each, "true", goal=0.2))
    return figures
