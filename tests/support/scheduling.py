"""Runs of the scheduler as tests drive it: everything that can start, be skipped or run."""


def start_all(probe):
    started = []
    while (id := probe.next_start()) is not None:
        started.append(id)
    return started


def skip_all(probe):
    skipped = []
    while (id := probe.next_skipped()) is not None:
        skipped.append(id)
    return skipped


def run_all(probe):
    """Runs everything that can run; ids in the order of their start."""
    order = []
    while batch := start_all(probe):
        order += batch
        for id in batch:
            assert probe.finish(id)
    return order
