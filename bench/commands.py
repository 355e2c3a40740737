"""Looking at a queue: `-l` and `-s` with 900 jobs in it, `-c` of a job that has ended, how soon `-w` wakes."""

from pathlib import Path

from common import Figure, Options, Queue, Stats, await_true, compare_calls, drive, helper, peers, queues


def measure(options: Options) -> list[Figure]:
    figures = []
    with queues(options) as each:
        ended = [queue.run("echo", "hello") for queue in each]
        for queue, job in zip(each, ended, strict=True):
            queue.run("-w", job)
        figures.append(calls(options, "-c of an ended job", each, [["-c", job] for job in ended], 0.4))
        last = []
        for queue in each:
            queue.block()
            queue.fill(900)
            last.append(queue.run("true"))
        figures.append(compare_calls(Options(True), "-l, 900 queued", each, "-l", goal=0.2))
        figures.append(calls(options, "-s, 900 queued", each, [["-s", job] for job in last], 0.25))
    figures.append(wake_up(options))
    return figures


def calls(options: Options, name: str, each: list[Queue], words: list[list[str]], goal: float) -> Figure:
    """As compare_calls, with different words for each."""
    commands = [queue.command(*own) for queue, own in zip(each, words, strict=True)]
    samples = drive(options.size(300, 60), *commands)
    series = {
        queue.name: Stats.of([(end - begin) / 1000 for begin, end in taken])
        for queue, taken in zip(each, samples, strict=True)
    }
    return Figure(name, "us", series, "tsp", goal)


def wake_up(options: Options) -> Figure:
    """From the last moment of the job to the end of the process that waited for it."""
    times: dict[str, list[float]] = {name: [] for name, _ in peers(options)}
    with queues(options) as each:
        for _ in range(options.size(40, 12)):
            for queue in each:
                stamps = queue.directory / "stamps"
                stamps.unlink(missing_ok=True)
                job = queue.run("sh", "-c", f"sleep 0.03; exec {helper('stamp', static=True)} {stamps}")
                [[(_, end)]] = drive(1, queue.command("-w", job))
                times[queue.name].append((end - last_stamp(stamps)) / 1000)
    return Figure("-w wakes after the job's end", "us", {n: Stats.of(v) for n, v in times.items()}, "tsp", 0.5)


def last_stamp(path: Path) -> int:
    await_true(lambda: path.exists() and path.read_text().endswith("\n"), "the job's stamp")
    return int(path.read_text().split()[-1])
