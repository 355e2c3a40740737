"""Random kills of servers, runners, clients and the GPU monitor, alone and all at once, while jobs with and without
GPUs are queued, waited for, moved and removed; then the books must balance, and nothing is left behind.

TSFAST_STORM_SEED repeats a storm's choices (not its timing), TSFAST_STORM_KILLS makes it longer."""

import json
import os
import random
import re
import select
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from support.fake_nvml import FakeNvml
from support.fault_queue import FINAL, PATIENCE, is_free
from support.patience import patient
from support.processes import kill
from support.state_files import entries

SEED = int(os.environ.get("TSFAST_STORM_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
KILLS = int(os.environ.get("TSFAST_STORM_KILLS", "300"))


SLOTS = 4
DEVICES = 2


class Killer(threading.Thread):
    """Kills the server, its GPU monitor, a runner, a client, or all of them, until it has killed often enough."""

    def __init__(self, queue, rng, storm, *, runners_too):
        super().__init__()
        self.queue, self.rng, self.storm, self.runners_too = queue, rng, storm, runners_too
        self.servers = self.runners = self.clients = self.monitors = 0
        self.wanted = KILLS if runners_too else KILLS // 5
        self.end = time.monotonic() + max(2 * PATIENCE, self.wanted)

    @property
    def kills(self):
        return self.servers + self.runners + self.clients + self.monitors

    def run(self):
        while self.kills < self.wanted and time.monotonic() < self.end:
            select.select([], [], [], self.rng.uniform(0.0, 0.12))
            self.kill_some()

    def kill_some(self):
        server, runners, clients = self.queue.server(), list(self.queue.runners().values()), self.storm.victims()
        everybody = self.runners_too and self.rng.random() < 0.05
        asking = self.queue.monitors() if everybody or self.rng.random() < 0.2 else []
        if not everybody:
            runners = self.rng.sample(runners, 1) if runners and self.runners_too and self.rng.random() < 0.6 else []
            clients = self.rng.sample(clients, 1) if clients and self.rng.random() < 0.4 else []
            server = server if not self.runners_too or self.rng.random() < 0.5 else 0
        for pid in (*runners, *asking):
            kill(pid)
        for client in clients:
            client.kill()
        if server:
            kill(server)
        self.servers += bool(server)
        self.runners += len(runners)
        self.clients += len(clients)
        self.monitors += len(asking)


class Storm:
    def __init__(self, queue, rng):
        self.queue, self.rng = queue, rng
        self.ids, self.removed, self.maybe_removed, self.waiters = [], set(), set(), []
        self.unanswered = []

    def victims(self):
        """Calls that may be killed: those that wait, and submissions of which nobody waits for the id."""
        calls = [call for _, call in self.waiters[-6:]] + self.unanswered[-6:]
        return [call for call in calls if call.poll() is None]

    def some(self):
        return self.rng.choice(self.ids[-12:])

    def submit(self):
        if len(self.ids) % 20 == 0:  # no faster than the jobs run
            self.queue.wait_until(lambda: is_short(self.queue), "a short queue")
        options = []
        if self.ids and self.rng.random() < 0.5:
            options = [self.rng.choice(["-D", "-W"]), self.some()]
        seconds = self.rng.choice([0, 0, 0.01, 0.07])
        if self.rng.random() < 0.15:
            self.unanswered.append(
                self.queue.start("sh", "-c", f"echo $TS_JOBID >> {self.queue.journal}; : unanswered; exit 0")
            )
            return
        work = f"sleep {seconds}"
        if self.rng.random() < 0.2:
            options += ["-G", 1]
            taken = f"{self.queue.directory}/taken.$CUDA_VISIBLE_DEVICES"
            work = f"mkdir {taken} || kill -9 $$; {work}; rmdir {taken}"  # it must be the only one on its GPU
        script = f"echo $TS_JOBID >> {self.queue.journal}; echo said; {work}; exit {self.code()}"
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
            self.waiters.append((job, self.queue.start("-w", job)))
        elif kind < 0.85:
            job = self.some()
            call = self.queue.start("-r", job)
            self.queue.answer(call, None)
            (self.maybe_removed if call.returncode else self.removed).add(job)
        elif kind < 0.95:
            self.queue.ts("-u", self.some(), code=None)
        else:
            self.queue.ts("-U", f"{self.some()}-{self.some()}", code=None)


def is_short(queue):
    """A long list whose server is killed in the middle of it is not repeated: it was shown in part."""
    call = queue.start("-M", "json")
    out, _ = call.communicate(timeout=PATIENCE)
    return call.returncode == 0 and sum(job["State"] not in FINAL for job in json.loads(out)) < 40


def unfinished(queue):
    return [id for id, job in queue.by_id().items() if job["State"] not in FINAL]


def check(queue, storm, lost_allowed):
    while left := unfinished(queue):
        queue.wait_until(lambda: len(unfinished(queue)) < len(left), f"an end of one of {left}")
    jobs = queue.by_id()
    started = [int(line) for line in queue.started()]
    assert len(started) == len(set(started)), f"started twice: {sorted(started)}"
    gone = set(storm.ids) - set(jobs)
    for call in storm.unanswered:
        queue.answer(call, None)
    unanswered = {id for id, job in jobs.items() if ": unanswered;" in job["Command"]}
    assert len(unanswered) <= len(storm.unanswered), "a call that was repeated was queued twice"
    assert len(unanswered) >= sum(call.returncode == 0 for call in storm.unanswered), "lost an acknowledged job"
    assert storm.removed <= gone <= storm.removed | storm.maybe_removed, "lost an acknowledged job"
    assert len(set(storm.ids)) == len(storm.ids), "an id was given twice"
    assert set(jobs) <= set(storm.ids) | unanswered, "a job was queued twice"
    lost = {id for id, job in jobs.items() if job["State"] == "finished" and "lost" in queue.details(id)}
    assert len(lost) <= lost_allowed, f"lost: {lost}"
    for id, job in jobs.items():
        expected = int(re.search(r"exit (\d+)", job["Command"])[1])
        if job["State"] == "skipped":
            assert id not in started
        elif id not in lost:
            assert job["E-Level"] == expected, (id, job)
            assert id in started
            assert ": unanswered;" in job["Command"] or Path(job["Output"]).read_text() == "said\n"
    for id, call in storm.waiters:
        if "breaks off every connection" in queue.answer(call, None) or call.returncode == -signal.SIGKILL:
            continue  # it has seen more deaths in a row than a launcher bears, or its own
        if id in jobs:
            level = jobs[id]["E-Level"]
            assert call.returncode == (255 if level in (None, -1) else level), (id, call.returncode, jobs[id])
        else:
            assert call.returncode in (0, 1, 7, 200, 255)


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def processes(queue):
    """Of jobs, hooks and calls: whatever has the queue's environment and is not its server."""
    found = psutil.process_iter(["pid", "environ"])
    return [p.pid for p in found if (p.info["environ"] or {}).get("TS_STATE") == str(queue.state_dir)]


def check_leaks(queue):
    """The last server has seen the end of everything."""
    server = queue.server()
    queue.wait_until(lambda: not queue.runners(), "the runners leave when they have nothing to do")
    queue.wait_until(lambda: processes(queue) in ([], [server]), "no process is left")
    assert not entries(queue.state_dir), "entries are not free"
    queue.wait_until(lambda: all(is_free(path) for path in queue.leases.iterdir()), "the leases are free")
    queue.ts("-C")
    assert queue.by_id() == {}
    queue.wait_until(lambda: not list((queue.state_dir / "ctx").iterdir()), "the contexts are unlinked")
    queue.wait_until(lambda: descriptors(server) <= queue.idle_descriptors, "the descriptors are closed")


@pytest.mark.parametrize("runners_too", [False, True], ids=["servers and clients", "all"])
@pytest.mark.timeout(patient(max(180, 3 * KILLS)))
def test_storm(queue, runners_too):
    print(f"TSFAST_STORM_SEED={SEED}")
    queue.give_gpus(FakeNvml(queue.directory / "nvml", DEVICES))
    queue.environment |= {"TS_MAXFINISHED": "100000", "TS_SLOTS": str(SLOTS)}
    queue.start_server()
    queue.wait(queue.job("0", "exit 0", "-G", 1))
    queue.ts("-r", 0)
    queue.wait_until(lambda: not queue.runners(), "the runner leaves")
    queue.idle_descriptors = descriptors(queue.server()) + 2  # segment and blob are opened at need
    queue.journal.write_text("")
    storm = Storm(queue, random.Random(SEED))
    killer = Killer(queue, random.Random(SEED + 1), storm, runners_too=runners_too)
    killer.start()
    try:
        while killer.is_alive():
            storm.step()
    finally:
        killer.end = 0  # also where a step has failed
        killer.join()
    told = f"{killer.servers} servers, {killer.runners} runners, {killer.clients} clients, {killer.monitors} monitors"
    print(f"{len(storm.ids)} jobs answered, {len(storm.unanswered)} not waited for; {killer.kills} killed: {told}")
    assert killer.kills >= killer.wanted
    check(queue, storm, killer.runners)
    check_leaks(queue)
