"""Loops that change one environment variable, or the directory, for each job: what a job costs in memory then."""

from common import Figure, Options, Queue, Stats, ts_program
from memory import everything

LOOPS = {
    "one variable changed": 'i=0; while [ $i -lt {count} ]; do X=$i "$ts" true; i=$((i+1)); done',
    "the directory changed": 'i=0; while [ $i -lt {count} ]; do cd "$dirs/$i"; "$ts" true; i=$((i+1)); done',
}


def measure(options: Options) -> list[Figure]:
    count = options.size(100_000, 3_000)
    figures = []
    for what, loop in LOOPS.items():
        with Queue("ts", ts_program()) as queue:
            dirs = queue.directory / "dirs"
            queue.environment["dirs"] = str(dirs)
            for i in range(count if "dirs" in loop else 0):
                (dirs / str(i)).mkdir(parents=True)
            queue.block()
            before = everything(queue)
            taken = queue.shell(loop.format(count=count))
            each = (everything(queue) - before) / count
        note = f"{count:,} jobs, command included; {count / taken:,.0f}/s"
        figures.append(Figure(f"memory of a job, {what}", "bytes", {"ts": Stats.of([each])}, goal=500, note=note))
    return figures
