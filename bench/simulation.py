"""A day of a busy server in compressed time: jobs that arrive and last as those of a GPU datacenter do, against the
real server. How late is a job that could start, is the order kept, how much of a processor does the server take?

The shape follows the Helios trace (Hu et al., "Characterization and Prediction of Deep Learning Workloads in
Large-Scale GPU Datacenters", SC '21, arXiv:2109.01313; 3,362,981 jobs in six months, 1,580,464 of them with GPUs):
durations of GPU jobs with a median of 206 s and a mean of 6,652 s, of CPU jobs with a median of 2 s and a mean of
629 s, drawn from the log-normal distributions that have these; arrivals that follow the day, few at night, fewer at
noon and in the early evening, in bursts. It is no replay: the trace itself is not used, a day has 200,000 jobs, ten
times as many as there, and all durations are divided so that the slots would be busy for 80 % of the time; the longest
are cut at 5 s."""

import math
import os
import random
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from common import Figure, Options, Queue, Stats, helper, percentile, ts_program

SLOTS = 64
LOAD = 0.8
MOST_S = 5.0
GPU_SHARE = 1_580_464 / 3_362_981
TICK_S = 0.005  # what arrives within it is submitted in one call
BURST = 8  # jobs that one user queues at once, in the mean
# Relative rates of the hours from midnight on: after the description of the daily pattern, not the trace's own numbers.
HOURS = (5, 4, 3, 3, 2, 2, 3, 4, 6, 9, 10, 9, 7, 8, 10, 10, 10, 9, 7, 8, 9, 9, 8, 6)
RECORD = struct.Struct("=QQ")


@dataclass
class Job:
    arrival: float  # seconds from the beginning of the simulated day
    length: float
    sent: float = 0.0  # when the call that submits it began
    start: float = 0.0
    end: float = 0.0


def measure(options: Options) -> list[Figure]:
    count = options.size(200_000, 6_000)
    day = options.size(160, 6)
    jobs = make_day(count, day, random.Random(20260101))
    with Queue("ts", ts_program(), SLOTS) as queue:
        queue.run("-w", queue.run("true"))
        server = queue.server()
        sampler = Sampler(server)
        begin = time.perf_counter()
        sampler.start()
        ids = submit_all(queue, jobs, begin)
        queue.run("--wait-all")
        seconds = time.perf_counter() - begin
        sampler.stop()
        read_times(queue.directory / "naps", jobs, begin)
    return figures(jobs, ids, seconds, sampler, day)


def make_day(count: int, day: float, chance: random.Random) -> list[Job]:
    """Jobs in the order of their arrival."""
    arrivals: list[float] = []
    while len(arrivals) < count:
        hour = chance.choices(range(24), HOURS)[0]
        at = (hour + chance.random()) / 24 * day
        arrivals += [at] * min(count - len(arrivals), 1 + int(chance.expovariate(1 / BURST)))
    lengths = [log_normal(chance, *((206, 6652) if chance.random() < GPU_SHARE else (2, 629))) for _ in arrivals]
    scale = LOAD * SLOTS * day / sum(lengths)
    return [Job(at, min(length * scale, MOST_S)) for at, length in zip(sorted(arrivals), lengths, strict=True)]


def log_normal(chance: random.Random, median: float, mean: float) -> float:
    """A sample of the log-normal distribution that has this median and this mean."""
    return chance.lognormvariate(math.log(median), math.sqrt(2 * math.log(mean / median)))


def submit_all(queue: Queue, jobs: list[Job], begin: float) -> list[int]:
    """Submit each job at its time; their ids."""
    program, place = helper("nap", static=True), queue.directory / "naps"
    place.write_bytes(bytes(RECORD.size * len(jobs)))
    ids: list[int] = []
    while len(ids) < len(jobs):
        now = time.perf_counter() - begin
        due = len(ids)
        while due < len(jobs) and jobs[due].arrival <= now:
            due += 1
        if due > len(ids):
            span = range(len(ids), due)
            for i in span:
                jobs[i].sent = now
            ids += queue.fill_at_once([[program, str(place), str(i), str(int(jobs[i].length * 1e9))] for i in span])
        time.sleep(TICK_S)
    return ids


def read_times(place: Path, jobs: list[Job], begin: float) -> None:
    for job, (start, end) in zip(jobs, RECORD.iter_unpack(place.read_bytes()), strict=True):
        if not end:
            raise SystemExit("a job of the simulation has not run")
        job.start, job.end = start / 1e9 - begin, end / 1e9 - begin


def latencies(jobs: list[Job]) -> list[float]:
    """How long after it could start each job did: it is sent, as all before it are, and a slot is free. The n-th job
    needs the end of n - SLOTS others."""
    ends = sorted(job.end for job in jobs)
    late = []
    for n, job in enumerate(jobs):
        free = ends[n - SLOTS] if n >= SLOTS else 0.0
        late.append(max(0.0, job.start - max(job.sent, free)))
    return late


def out_of_order(jobs: list[Job]) -> tuple[int, float]:
    """By how many places a job was late at most in the order of the starts, and what share of the jobs by more than the
    slots. The moments are those of the jobs' own processes: of those that are started at once any may be first."""
    starts = sorted(range(len(jobs)), key=lambda i: jobs[i].start)
    late = [place - i for place, i in enumerate(starts)]
    return max(late), sum(places > SLOTS for places in late) / len(jobs)


class Sampler(threading.Thread):
    """The server's processor time, and that of all its runners' jobs, once in a while."""

    def __init__(self, server: int) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.begin = processor_seconds(server)
        self.ended = threading.Event()
        self.peak_kb = 0

    def run(self) -> None:
        while not self.ended.wait(0.2):
            status = Path(f"/proc/{self.server}/status").read_text()
            self.peak_kb = max(self.peak_kb, int(status.partition("VmRSS:")[2].split()[0]))

    def stop(self) -> None:
        self.seconds = processor_seconds(self.server) - self.begin
        self.ended.set()
        self.join()


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def figures(jobs: list[Job], ids: list[int], seconds: float, sampler: Sampler, day: float) -> list[Figure]:
    late = [value * 1e6 for value in latencies(jobs)]
    waits = [job.start - job.arrival for job in jobs]
    most, share_late = out_of_order(jobs)
    in_order = ids == sorted(ids)
    length = Stats.of([job.length * 1000 for job in jobs])
    percents = {percent: percentile(late, percent) for percent in (50, 90, 99, 99.9, 100)}
    note = f"{len(jobs):,} jobs in {seconds:.0f} s on {SLOTS} slots, a day in {day} s; "
    note += f"jobs last {length.median:.2g} ms in the median, {max(job.length for job in jobs):.1f} s at most, "
    note += (
        f"and wait in the queue for {percentile(waits, 50) * 1000:,.1f} ms in the median, {max(waits):,.1f} s at most"
    )
    plot: dict[str, object] = {
        "percentiles": {str(p): percentile(late, p) for p in (1, 5, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.99)},
        "queued": queued_over_time(jobs, 200),
    }
    share = sampler.seconds / seconds * 100
    per_job = sampler.seconds / len(jobs) * 1e6
    cost = f"{per_job:.0f} us a job"
    order = f"at most, in the order of the jobs' first instructions; {share_late:.2%} lost more than there are slots; "
    order += f"ids in the order of submission: {'yes' if in_order else 'NO'}"
    return [
        Figure("simulated day: dispatch latency", "us", {"ts": Stats.of(late)}, note=note, plot=plot),
        *(
            Figure(f"simulated day: latency, {percent:g} %", "us", {"ts": Stats.of([value])})
            for percent, value in percents.items()
        ),
        Figure("simulated day: places that a job lost", "", {"ts": Stats.of([most])}, note=order),
        Figure("simulated day: processor share of the server", "%", {"ts": Stats.of([share])}, note=cost),
        Figure("simulated day: memory of the server", "MB", {"ts": Stats.of([sampler.peak_kb / 1000])}),
    ]


def queued_over_time(jobs: list[Job], points: int) -> list[tuple[float, int, int]]:
    """Moment, queued, running."""
    end = max(job.end for job in jobs)
    arrivals, starts, ends = (sorted(getattr(job, name) for job in jobs) for name in ("arrival", "start", "end"))
    rows = []
    a = s = e = 0
    for point in range(points + 1):
        at = end * point / points
        while a < len(jobs) and arrivals[a] <= at:
            a += 1
        while s < len(jobs) and starts[s] <= at:
            s += 1
        while e < len(jobs) and ends[e] <= at:
            e += 1
        rows.append((round(at, 3), a - s, s - e))
    return rows
