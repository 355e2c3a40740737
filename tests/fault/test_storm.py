"""Random kills while jobs are queued, waited for, moved and removed; then the books must balance.

TSFAST_STORM_SEED repeats a storm's choices (not its timing), TSFAST_STORM_KILLS makes it longer."""

import os
import random
import re
import select
import threading
import time

import pytest

from fault.fault_harness import FINAL, PATIENCE, kill

SEED = int(os.environ.get("TSFAST_STORM_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
KILLS = int(os.environ.get("TSFAST_STORM_KILLS", "30"))


class Killer(threading.Thread):
    """Kills the server, or a runner, until it has killed often enough."""

    def __init__(self, queue, rng, runners_too):
        super().__init__()
        self.queue, self.rng, self.runners_too = queue, rng, runners_too
        self.kills = self.runner_kills = 0
        self.end = time.monotonic() + 2 * PATIENCE

    def run(self):
        while self.kills < KILLS and time.monotonic() < self.end:
            select.select([], [], [], self.rng.uniform(0.0, 0.15))
            server, runners = self.queue.server(), list(self.queue.runners().values())
            if self.runners_too and runners and self.rng.random() < 0.6:
                kill(self.rng.choice(runners))
                self.runner_kills += 1
                self.kills += 1
            if server and (not self.runners_too or self.rng.random() < 0.6):
                kill(server)
                self.kills += 1


class Storm:
    def __init__(self, queue, rng):
        self.queue, self.rng = queue, rng
        self.ids, self.removed, self.maybe_removed, self.waiters = [], set(), set(), []

    def some(self):
        return self.rng.choice(self.ids[-12:])

    def submit(self):
        if len(self.ids) % 20 == 0:  # no faster than the jobs run
            self.queue.until(lambda: len(unfinished(self.queue)) < 40, "a short queue")
        options = []
        if self.ids and self.rng.random() < 0.5:
            options = [self.rng.choice(["-D", "-W"]), self.some()]
        seconds = self.rng.choice([0, 0, 0.01, 0.07])
        script = f"echo $TS_JOBID >> {self.queue.journal}; sleep {seconds}; exit {self.code()}"
        slots = self.rng.choice([0, 1, 1, 1, 2, 3])
        self.ids.append(int(self.queue.ts("-N", slots, *options, "sh", "-c", script)))

    def code(self):
        return self.rng.choice([0, 0, 0, 1, 7, 200])

    def step(self):
        kind = self.rng.random()
        if kind < 0.6 or len(self.ids) < 3:
            self.submit()
        elif kind < 0.75:
            job = self.some()
            self.waiters.append((job, self.queue.begin("-w", job)))
        elif kind < 0.85:
            job = self.some()
            call = self.queue.begin("-r", job)
            self.queue.end(call, None)
            (self.maybe_removed if call.returncode else self.removed).add(job)
        elif kind < 0.95:
            self.queue.ts("-u", self.some(), code=None)
        else:
            self.queue.ts("-U", f"{self.some()}-{self.some()}", code=None)


def unfinished(queue):
    return [id for id, job in queue.jobs().items() if job["State"] not in FINAL]


def check(queue, storm, lost_allowed):
    while left := unfinished(queue):
        queue.until(lambda: len(unfinished(queue)) < len(left), f"an end of one of {left}")
    jobs = queue.jobs()
    started = [int(line) for line in queue.started()]
    assert len(started) == len(set(started)), f"started twice: {sorted(started)}"
    gone = set(storm.ids) - set(jobs)
    assert storm.removed <= gone <= storm.removed | storm.maybe_removed, "lost an acknowledged job"
    assert len(set(storm.ids)) == len(storm.ids), "an id was given twice"
    assert set(jobs) <= set(storm.ids), "a job was queued twice"
    lost = {id for id, job in jobs.items() if job["State"] == "finished" and "lost" in queue.info(id)}
    assert len(lost) <= lost_allowed, f"lost: {lost}"
    for id, job in jobs.items():
        expected = int(re.search(r"exit (\d+)", job["Command"])[1])
        if job["State"] == "skipped":
            assert id not in started
        elif id not in lost:
            assert job["E-Level"] == expected, (id, job)
            assert id in started
    for id, call in storm.waiters:
        if "breaks off every connection" in queue.end(call, None):
            continue  # it has seen more deaths in a row than a launcher bears
        if id in jobs:
            level = jobs[id]["E-Level"]
            assert call.returncode == (255 if level in (None, -1) else level), (id, call.returncode, jobs[id])
        else:
            assert call.returncode in (0, 1, 7, 200, 255)


@pytest.mark.parametrize("runners_too", [False, True], ids=["servers", "servers and runners"])
def test_storm(queue, runners_too):
    print(f"TSFAST_STORM_SEED={SEED}")
    queue.env["TS_MAXFINISHED"] = "100000"
    queue.start()
    storm = Storm(queue, random.Random(SEED))
    killer = Killer(queue, random.Random(SEED + 1), runners_too)
    killer.start()
    try:
        while killer.is_alive():
            storm.step()
    finally:
        killer.join()
    print(f"{len(storm.ids)} jobs, {killer.kills} kills, {killer.runner_kills} of them of runners")
    assert killer.kills >= KILLS
    check(queue, storm, killer.runner_kills)
