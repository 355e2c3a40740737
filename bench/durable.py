"""TS_DURABLE: what an acknowledged submission has been synced for. Counted by strace, timed without it."""

import re
import shutil
import subprocess
import time

from common import BUILD, PATIENCE_S, Figure, Options, Queue, Stats, drive, ts_program

SINGLES = 50
BATCH = 10_000
SYNCS = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?(?:fsync|fdatasync|sync_file_range|syncfs)\(", re.MULTILINE)


def measure(options: Options) -> list[Figure]:
    BUILD.mkdir(parents=True, exist_ok=True)
    figures = []
    if shutil.which("strace"):
        with on_disk(True) as queue:
            queue.block()
            singles = syncs(queue, lambda: queue.fill(SINGLES)) / SINGLES
            batch = syncs(queue, lambda: queue.fill_at_once([["true"]] * BATCH))
        figures = [
            Figure("syncs of a durable submission", "", {"ts": Stats.of([singles])}, goal=1.0),
            Figure(f"syncs of a durable batch of {BATCH:,}", "", {"ts": Stats.of([batch])}, goal=6),
        ]
    with on_disk(True) as durable, on_disk(False) as usual:
        for queue in (durable, usual):
            queue.block()
        count = options.size(300, 60)
        samples = drive(count, *(queue.command("true") for queue in (durable, usual)))
        batches = Stats.of([batch_rate(durable) for _ in range(5)])
    series = {
        name: Stats.of([(end - begin) / 1000 for begin, end in taken])
        for name, taken in zip(("ts", "not durable"), samples, strict=True)
    }
    kind = subprocess.run(["stat", "-f", "-c", "%T", BUILD], check=True, stdout=subprocess.PIPE, text=True).stdout
    figures.append(Figure("durable submit", "us", series, "not durable", note=f"on {kind.strip()}"))
    figures.append(Figure(f"durable batch of {BATCH:,}", "1/s", {"ts": batches}))
    return figures


def on_disk(durable: bool) -> Queue:
    queue = Queue("ts", ts_program(), directory=str(BUILD))
    if durable:
        queue.environment["TS_DURABLE"] = "1"
        queue.assigned.append("TS_DURABLE")
    return queue


def batch_rate(queue: Queue) -> float:
    begin = time.perf_counter()
    queue.fill_at_once([["true"]] * BATCH)
    return BATCH / (time.perf_counter() - begin)


def syncs(queue: Queue, work: object) -> int:
    """How often the server syncs meanwhile."""
    log = queue.directory / "strace"
    words = ["strace", "-f", "-o", str(log), "-e", "trace=fsync,fdatasync,sync_file_range,syncfs"]
    with subprocess.Popen([*words, "-p", str(queue.server())], stderr=subprocess.PIPE, text=True) as tracer:
        tracer.stderr.readline()  # "attached"
        work()  # type: ignore[operator]
        tracer.terminate()
        tracer.wait(PATIENCE_S)
    return len(SYNCS.findall(log.read_text()))
