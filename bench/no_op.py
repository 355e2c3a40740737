"""As end_to_end.py, with static programs that do nothing: what is left is the spooler's own cost."""

from common import Figure, Options, helper
from end_to_end import beside_floor, compare

GOALS = {1: 4.5, 2: 3.5, 8: 3.5}


def measure(options: Options) -> list[Figure]:
    figures = []
    for slots, goal in GOALS.items():
        if options.quick and slots == 2:
            continue
        shell, batch = compare(options, "no-op", options.size(800, 200), slots, helper("noop", static=True))
        batch.goal = goal
        figures += [shell, batch, beside_floor(batch, 0.7)]
    return figures
