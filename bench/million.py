"""A million queued jobs: what each costs in memory, all counted, and how long a server takes to be there again."""

import os
import signal
import time

from common import Figure, Options, Queue, Stats, alive, await_true, ts_program
from memory import everything

COMMAND_BYTES = 100


def measure(options: Options) -> list[Figure]:
    count = options.size(1_000_000, 100_000)
    with Queue("ts", ts_program()) as queue:
        queue.block()
        before = everything(queue)
        last = queue.fill_at_once(commands(count))[-1]
        each = (everything(queue) - before) / count - COMMAND_BYTES
        restarts = Stats.of([restart(queue, last) for _ in range(5)])
    name = f"restart with {count:,} queued jobs"
    return [
        Figure(f"memory of each of {count:,}, beyond its command", "bytes", {"ts": Stats.of([each])}, goal=350),
        Figure(name, "ms", {"ts": restarts}, goal=1500 * count / 1_000_000, note="from the call that starts it"),
    ]


def commands(count: int) -> list[list[str]]:
    """Commands of 100 bytes, the end of each word counted, that differ."""
    return [["true", f"{i:0{COMMAND_BYTES - 6}d}"] for i in range(count)]


def restart(queue: Queue, last: int) -> float:
    """Milliseconds of the first call after the server was killed."""
    server = queue.server()
    os.kill(server, signal.SIGKILL)
    await_true(lambda: not alive(server), "the server's death")
    begin = time.perf_counter()
    state = queue.run("-s", str(last))
    taken = (time.perf_counter() - begin) * 1000
    if state != "queued":
        raise SystemExit(f"after a restart job {last} is {state}")
    return taken
