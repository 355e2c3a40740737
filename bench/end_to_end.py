"""Many short jobs from the first call to the end of the last one, at 1, 2 and 8 slots, by a shell loop. Beside it the
floor: a loop in C that only starts the jobs, with the same set-up for each."""

import subprocess
import tempfile
from pathlib import Path

from common import Figure, Options, Queue, Stats, helper, peers

GOALS = {"true": {1: 2.0, 2: 2.0, 8: 2.0}, "noop": {1: 4.5, 2: 3.5, 8: 3.5}}


def measure(options: Options) -> list[Figure]:
    figures = []
    count = options.size(800, 200)
    for job, command in (("true", "/bin/true"), ("noop", helper("noop", static=True))):
        for slots in (1, 2, 8):
            if options.quick and slots == 2:
                continue
            rates: dict[str, list[float]] = {name: [] for name, _ in [*peers(options), ("floor", "")]}
            for _ in range(5):
                for name, program in peers(options):
                    with Queue(name, program, slots) as queue:
                        queue.run("-w", queue.run("true"))  # the start of the server is another question
                        rates[name].append(count / queue.shell(loop(count, slots, command)))
                rates["floor"].append(floor(count, slots, command))
            series = {name: Stats.of(values) for name, values in rates.items()}
            goal = GOALS[job][slots] if job == "true" else None
            note = f"{count} jobs by shell; ours is {series['ts'].median / series['floor'].median:.2f} of the floor"
            figures.append(Figure(f"end to end, {job}, {slots} slots", "1/s", series, "tsp", goal, ">=", note))
    return figures


def loop(count: int, slots: int, command: str) -> str:
    """Submit, then wait for the last jobs: one may still run beside each other slot."""
    return (
        f'i=1; while [ $i -lt {count} ]; do "$ts" {command}; i=$((i+1)); done; j=$("$ts" {command}); '
        f'k=0; while [ $k -lt {slots} ]; do "$ts" -w $((j-k)); k=$((k+1)); done'
    )


def floor(count: int, parallel: int, command: str) -> float:
    """Jobs per second without any spooler."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:
        words = [helper("floor"), str(count), str(parallel), directory, command]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return count / (int(done.stdout) / 1e9)
