"""TS_DURABLE=1: what was answered is there after a loss of power, whatever the disk had not synced.

A server is recorded (recorder.c) while calls of all kinds are made, one after the other. For each moment of the record
the disks that there can be are made (disk.py), and a server recovers from each of them, in a process that believes that
the machine was started anew (recovered.py). TSFAST_POWER_CUTS=all tries every moment, else a sample."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from support.disk import Disk, Event, materialise, read_trace
from support.fault_queue import FINAL, PATIENCE, FaultQueue
from support.layouts import TSF_STARTING, tsf_hot
from support.places import SUPPORT
from support.state_files import HOT
from support.wire import EXIT, EXIT_AT_CLOSE, frames

CUTS = os.environ.get("TSFAST_POWER_CUTS", "150")
STARTING = 2  # state of a hot record
BIG = "x" * 9_000


@dataclass
class Facts:
    """What the callers have been told so far."""

    jobs: dict[int, str] = field(default_factory=dict)  # id -> its command
    ended: dict[int, int] = field(default_factory=dict)  # id -> exit code
    cancelled: frozenset[int] = frozenset()
    order: tuple[int, ...] = ()  # of the jobs that wait for slots
    slots: int | None = 1  # None: a dropped queue has those of its next start
    moving: bool = False  # a swap: it may be half done until it is answered


class Scenario:
    """Makes calls; `facts[n]` holds when n calls have been answered."""

    def __init__(self, queue: FaultQueue) -> None:
        self.queue, self.facts = queue, [Facts()]

    def _then(self, **changes: object) -> None:
        self.facts.append(replace(self.facts[-1], moving=False, **changes))

    def call(self, *words: object, code: int = 0, **changes: object) -> None:
        self.queue.ts(*words, code=code)
        self._then(**changes)

    def submit(self, name: str, script: str, *options: object, waits: bool = True) -> int:
        words = ["sh", "-c", f"echo {name} >> {self.queue.journal}; {script}"]
        id = int(self.queue.ts(*options, *words))
        now = self.facts[-1]
        self._then(jobs={**now.jobs, id: name}, order=(*now.order, id) if waits else now.order)
        return id

    def end(self, id: int, code: int) -> None:
        self.call("-w", id, code=code, ended={**self.facts[-1].ended, id: code})

    def remove(self, option: str, *ids: int) -> None:
        now = self.facts[-1]
        self.call(
            *([option, ids[0]] if option == "-r" else [option]),
            jobs={id: name for id, name in now.jobs.items() if id not in ids},
            ended={id: code for id, code in now.ended.items() if id not in ids},
            order=tuple(id for id in now.order if id not in ids),
        )

    def run(self) -> None:
        queue = self.queue
        self.call("-S", 3, slots=3)
        self.submit("gate", queue.until_opened("gate") + "; exit 4", waits=False)
        three = self.submit("three", "exit 3", waits=False)
        self.end(three, 3)
        first = self.submit("first", "exit 5", "-N", 9)
        second = self.submit("second", "exit 6", "-N", 9)
        third = self.submit("third", "exit 7", "-N", 9, "-D", first)
        self.call("-u", second, order=(second, first, third))
        self.call("-U", f"{first}-{second}", order=(first, second, third))
        self.facts[-2] = replace(self.facts[-2], moving=True)
        # Another base context, given up, and made anew before its file is unlinked.
        queue.environment["ANOTHER"] = "x" * 5000
        other = self.submit("other", "true", "-N", 9)
        self.remove("-r", other)
        fourth = self.submit("fourth", "exit 8", "-N", 9)
        self.remove("-r", third)
        big = [self.submit(f"big{n}", f"true {BIG}", "-N", 9) for n in range(10)]
        self.call("--cancel", big[0], cancelled=frozenset({big[0]}), order=(first, second, fourth, *big[1:]))
        for id in big[1:-1]:
            self.remove("-r", id)
        self.remove("-C", three, big[0])
        self.submit("quick", "true", waits=False)
        self.call("-S", 2, slots=2)

    def drop(self) -> None:
        self.call("-K", jobs={}, ended={}, cancelled=frozenset(), order=(), slots=None)
        self.submit("late", "true", "-N", 9)


def record(queue: FaultQueue, recorder: Path) -> None:
    queue.environment |= {
        "TS_DURABLE": "1",
        "LD_PRELOAD": str(recorder),
        "TSFAST_TRACE": str(queue.directory / "trace"),
        "TSFAST_TRACED": str(queue.state_dir),
    }


def answers(events: list[Event]) -> Iterator[int]:
    """Places of the events that end an answer."""
    for place, event in enumerate(events):
        kinds = [kind for kind, _ in frames(event.data)] if event.kind == "t" else []
        if EXIT in kinds or EXIT_AT_CLOSE in kinds:
            yield place


def sample(events: list[Event], begin: int) -> set[int]:
    """Moments at which something is about to become safe, or has just been told."""
    places = [n for n in range(begin, len(events)) if events[n].kind not in "bm"]
    if CUTS == "all":
        return set(places)
    step = max(1, len(places) // int(CUTS))
    return {*places[::step], places[-1]}


class Recovered:
    """Processes that recover the queues of given directories."""

    def __init__(self, count: int) -> None:
        self.local = threading.local()
        self.processes: list[subprocess.Popen[str]] = []
        self.pool = ThreadPoolExecutor(count)

    def ask(self, folder: Path) -> dict:
        if not hasattr(self.local, "process"):
            command = [sys.executable, SUPPORT / "recovered.py"]
            self.local.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self.processes.append(self.local.process)
        self.local.process.stdin.write(f"{folder}\n")
        self.local.process.stdin.flush()
        return json.loads(self.local.process.stdout.readline())

    def close(self) -> None:
        self.pool.shutdown()
        for process in self.processes:
            process.communicate(timeout=PATIENCE)


def check(found: dict, before: Facts, after: Facts, started: set[int], starting: set[int]) -> list[str]:
    """What is wrong, if `before` was told, and `after` perhaps done."""
    if "error" in found:
        return [found["error"]]
    wrong = []
    jobs = {job["ID"]: job for job in found["jobs"]}
    if found["held"] or found["damaged"] or found["truncated"]:
        wrong.append(f"held {found['held']}, damaged {found['damaged']}, truncated {found['truncated']}")
    if missing := (before.jobs.keys() & after.jobs.keys()) - jobs.keys():
        wrong.append(f"jobs {missing} are gone")
    if back := jobs.keys() - (before.jobs.keys() | after.jobs.keys()):
        wrong.append(f"jobs {back} came back, or never were")
    for id, job in jobs.items():
        name = {**before.jobs, **after.jobs}.get(id)
        if f"echo {name} " not in job["Command"] or not job["Workdir"]:
            wrong.append(f"job {id}: {job['Command'][:80]} in {job['Workdir']}")
        if id in started and job["State"] == "queued":
            wrong.append(f"job {id} would run twice")
        if id not in started | starting and job["State"] == "finished":
            wrong.append(f"job {id} was never started, and is {job['State']}")
        if before.ended.get(id, job["E-Level"]) != job["E-Level"]:
            wrong.append(f"job {id} had ended with {before.ended[id]}: {job}")
        if id in before.cancelled and job["State"] != "cancelled":
            wrong.append(f"job {id} was cancelled and is {job['State']}")
    order = tuple(id for id, job in jobs.items() if job["State"] == "queued" and id in {*before.order, *after.order})
    allowed = [tuple(id for id in facts.order if id in order) for facts in (before, after)]
    if not before.moving and order not in allowed:
        wrong.append(f"order {order}, not {allowed}")
    if not {found["slots"], None} & {before.slots, after.slots}:
        wrong.append(f"{found['slots']} slots, not {before.slots}")
    return wrong


def started_by(events: list[Event]) -> set[int]:
    return {struct.unpack_from("=QQ", event.data)[1] for event in events if event.kind == "j"}


def starting_in(events: list[Event]) -> set[int]:
    """Jobs whose start was recorded, but perhaps not more: they come back as lost."""
    hot = [event for event in events if event.path == "seg.00000000" and event.kind == "w" and len(event.data) == HOT]
    return {event.offset // HOT for event in hot if tsf_hot.from_buffer_copy(event.data).state == TSF_STARTING}


@pytest.fixture
def recorded(queue, recorder):
    """A queue whose server is recorded while the scenario runs, and the facts after each answer."""
    record(queue, recorder)
    scenario = Scenario(queue)
    scenario.run()
    return scenario


def after_the_loss(events: list[Event], place: int) -> Disk:
    disk = Disk()
    for event in events[:place]:
        disk.apply(event)
    return disk


@pytest.mark.parametrize("part", [0.35, 0.6, 0.95])
def test_after_the_loss_the_queue_goes_on_and_nothing_runs_twice(recorded, queue, recorder, part):
    """The real server, with real starts, on the disk that has lost all that it may."""
    events = read_trace(queue.directory / "trace")
    ends = list(answers(events))
    place = ends[int(part * len(ends))] + 1
    facts, before = recorded.facts[int(part * len(ends)) + 1], started_by(events[:place])
    for pid in (queue.server(), *queue.runners().values()):
        queue.kill(pid)
    queue.open_gate("gate")
    ran = queue.started()
    _, names, choose = next(iter(after_the_loss(events, place).outcomes()))
    materialise(queue.state_dir, names, choose)
    boot = queue.directory / "boot"
    boot.write_text("another-boot\n")
    queue.environment = {**queue.environment, "TSFAST_BOOT_ID_FILE": str(boot), "TSFAST_TRACED": "/nowhere"}
    queue.ts("-S", 99)
    assert "the journal was replayed" in queue.log()
    queue.wait_until(
        lambda: {job["State"] for job in queue.by_id().values()} <= {*FINAL, "cancelled"}, "the end of all jobs"
    )
    jobs = queue.by_id()
    assert facts.jobs.keys() <= jobs.keys()
    for id, name in facts.jobs.items():
        again = id not in before and id not in facts.cancelled
        assert queue.started().count(name) == ran.count(name) + again, name
        assert again or jobs[id]["State"] in ("finished", "cancelled")
    assert not [id for id in jobs if "not startable" in queue.details(id)]


def test_whatever_was_answered_is_there(recorded, queue):
    recorded.drop()
    events = read_trace(queue.directory / "trace")
    ends = list(answers(events))
    assert len(ends) == len(recorded.facts) - 1, "each call has one answer"
    assert sum(event.kind == "c" and event.path.startswith("journal/") for event in events) >= 3, "it was cut"
    moments, recovered, pending = sample(events, ends[0]), Recovered(2), []
    disk, failures, tried = Disk(), [], 0
    memory = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else queue.directory))

    def attempt(folder: Path, what: str, state: tuple, facts: tuple) -> list[str]:
        materialise(folder, *state)
        return [f"{what}: {text}" for text in check(recovered.ask(folder), *facts)]

    def collect() -> None:
        for place, future in pending:
            failures.extend(f"event {place}, {text}" for text in future.result(PATIENCE))
        pending.clear()

    try:
        for place, event in enumerate(events):
            if place in moments:
                told = sum(end < place for end in ends)
                before = recorded.facts[told]
                after = recorded.facts[min(told + 1, len(recorded.facts) - 1)]
                facts = (before, after, started_by(events[:place]), starting_in(events[:place]))
                for what, names, choose in disk.outcomes():
                    folder = memory / f"disk{tried % 8}"
                    pending.append((place, recovered.pool.submit(attempt, folder, what, (names, choose), facts)))
                    tried += 1
                    if len(pending) == 8:
                        collect()
                collect()
            disk.apply(event)
    finally:
        recovered.close()
        shutil.rmtree(memory)
    print(f"{len(events)} events, {len(ends)} answers, {len(moments)} moments, {tried} disks")
    assert not failures, "\n".join(failures[:40])
