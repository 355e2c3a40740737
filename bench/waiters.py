"""2,000 callers wait for one job: from its last moment until the first and the last of them have ended."""

import os
import subprocess

from commands import last_stamp
from common import PATIENCE_S, Figure, Options, Queue, Stats, await_true, beside, helper, ts_program

WAITERS = 2000
ROUNDS = 5


def measure(options: Options) -> list[Figure]:
    times = [one(options.size(WAITERS, WAITERS)) for _ in range(ROUNDS)]
    first, last = (Stats.of([pair[i] for pair in times]) for i in (0, 1))
    note = f"the first after {first.median:.1f} ms; each is a process, whose end is counted"
    return [Figure(f"{WAITERS:,} waiters awake", "ms", {"ts": last}, goal=50, note=note)]


def one(count: int) -> tuple[float, float]:
    """Milliseconds after the job's end."""
    with Queue("ts", ts_program()) as queue:
        gate, stamps, ready = (queue.directory / name for name in ("gate", "stamps", "ready"))
        os.mkfifo(gate)
        job = queue.run("sh", "-c", f"read line < {gate}; exec {helper('stamp', static=True)} {stamps}")
        server = queue.server()
        before = len(os.listdir(f"/proc/{server}/fd"))
        words = [helper("waiters"), str(count), str(ready), queue.program, "-w", job]
        with beside(words, env=queue.environment, stdout=subprocess.PIPE) as waiting:
            await_true(ready.exists, "the waiters' start")
            await_true(lambda: len(os.listdir(f"/proc/{server}/fd")) >= before + count, "the waiters' connections")
            queue.run("-s", job)  # all that came before has been read by now
            with gate.open("w") as fifo:
                fifo.write("\n")
            out, _ = waiting.communicate(timeout=PATIENCE_S)
        first, last = map(int, out.split())
        end = last_stamp(stamps)
    return (first - end) / 1e6, (last - end) / 1e6
