"""2,000 callers wait for one job: from its last moment until the first and the last of them have ended. Beside them
as many processes that wait for nothing but the opening of a FIFO, which the kernel wakes all at once."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

from commands import last_stamp
from common import PATIENCE_S, Figure, Options, Queue, Stats, await_true, beside, helper, memory, ts_program

WAITERS = 2000
ROUNDS = 5


def measure(options: Options) -> list[Figure]:
    ours: list[tuple[float, float]] = []
    floor: list[float] = []
    for _ in range(ROUNDS):
        ours.append(of_a_job(WAITERS))
        floor.append(of_a_fifo(WAITERS))
    first, last = (Stats.of([pair[i] for pair in ours]) for i in (0, 1))
    note = f"the first after {first.median:.1f} ms; each is a process, whose end is counted"
    series = {"ts": last, "floor": Stats.of(floor)}
    return [
        Figure(f"{WAITERS:,} waiters awake", "ms", {"ts": last}, goal=50, note=note),
        Figure("the same beside a FIFO's", "ms", series, "floor"),
    ]


def of_a_job(count: int) -> tuple[float, float]:
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
            # one may have been counted before: the submission's own
            await_true(lambda: len(os.listdir(f"/proc/{server}/fd")) >= before + count - 1, "the waiters' connections")
            queue.run("-s", job)  # all that came before has been read by now
            with gate.open("w") as fifo:
                fifo.write("\n")
            out, _ = waiting.communicate(timeout=PATIENCE_S)
        first, last = map(int, out.split())
        end = last_stamp(stamps)
    return (first - end) / 1e6, (last - end) / 1e6


def of_a_fifo(count: int) -> float:
    """Milliseconds after the FIFO was opened."""
    with tempfile.TemporaryDirectory(dir=memory()) as directory:
        gate, ready = Path(directory, "gate"), Path(directory, "ready")
        os.mkfifo(gate)
        words = [helper("waiters"), str(count), str(ready), helper("hold", static=True), str(gate)]
        with beside(words, stdout=subprocess.PIPE) as waiting:
            await_true(ready.exists, "the waiters' start")
            await_true(lambda: asleep(waiting.pid) >= count, "the waiters' sleep")
            begin = time.monotonic_ns()
            with gate.open("w"):
                out, _ = waiting.communicate(timeout=PATIENCE_S)
    return (int(out.split()[1]) - begin) / 1e6


def asleep(parent: int) -> int:
    """How many children of a process sleep."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return sum(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "S" for child in children)
