"""Submissions in a row from a shell: the rate of 1,000, and whether 20,000 work at all."""

from common import Figure, Options, Queue, Stats, peers, ts_program


def measure(options: Options) -> list[Figure]:
    count = options.size(900, 300)
    rates: dict[str, list[float]] = {name: [] for name, _ in peers(options)}
    for _ in range(5):
        for name, program in peers(options):
            with Queue(name, program) as queue:
                queue.block()
                rates[name].append(count / queue.shell(loop(count)))
    series = {name: Stats.of(values) for name, values in rates.items()}
    note = f"{count} submissions, fresh queue; tsp lets callers wait at about 1,000"
    figures = [Figure("submissions in a shell loop", "1/s", series, "tsp", 4.5, ">=", note)]

    many = options.size(20000, 3000)
    with Queue("ts", ts_program()) as queue:
        queue.block()
        seconds = queue.shell(loop(many))
        last = int(queue.run("true"))
        queued = last - int(queue.run("-l").count("sleep"))
    note = f"{queued} jobs were queued; tsp blocks its callers near 1,000, so there is nothing to compare with"
    if queued < many:
        note = f"FAILED: only {queued} of {many} jobs were queued"
    figures.append(Figure(f"{many} submissions in a row", "1/s", {"ts": Stats.of([many / seconds])}, note=note))
    return figures


def loop(count: int) -> str:
    return f'i=0; while [ $i -lt {count} ]; do "$ts" true; i=$((i+1)); done'
