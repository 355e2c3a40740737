"""The first call in a fresh queue, which starts the server: from spawn to the end of the caller."""

from common import Figure, Options, Queue, Stats, drive, peers


def measure(options: Options) -> list[Figure]:
    times: dict[str, list[float]] = {name: [] for name, _ in peers(options)}
    for _ in range(options.size(15, 7)):
        for name, program in peers(options):
            with Queue(name, program) as queue:
                [[(begin, end)]] = drive(1, queue.command("true"))
                times[name].append((end - begin) / 1e6)
    ours = Stats.of(times["ts"])
    return [
        Figure("first call in a fresh queue", "ms", {"ts": ours}, goal=40),
        Figure("first call against tsp", "ms", {name: Stats.of(values) for name, values in times.items()}, peer="tsp"),
    ]
