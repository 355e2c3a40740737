"""Sequences of calls that Hypothesis makes up, on both spoolers in step: after each call the lists become the same.

Left out, because they are rows of differences.py or end tsp's server: -u while a job runs (its place in the list),
-N, -r of the first job, -k of what does not run. Jobs end when told; the list is compared once both have settled.
"""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.patience import wait_until
from system.compat.spoolers import Ours, Row, Theirs, gate

JOBS = st.integers(0, 9)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("submit")),
        st.tuples(st.just("submit")),
        st.tuples(st.just("after"), JOBS),
        st.tuples(st.just("finish"), JOBS, st.sampled_from([0, 0, 1, 127])),
        st.tuples(st.just("finish"), JOBS, st.sampled_from([0, 0, 1, 127])),
        st.tuples(st.just("kill"), JOBS),
        st.tuples(st.just("remove"), JOBS),
        st.tuples(st.just("urgent"), JOBS),
        st.tuples(st.just("swap"), JOBS, JOBS),
        st.tuples(st.just("slots"), st.integers(1, 4)),
        st.tuples(st.just("clear")),
        st.tuples(st.just("wait"), JOBS),
        st.tuples(st.just("state"), JOBS),
    ),
    min_size=3,
    max_size=14,
)


class Pair:
    """Both spoolers, and what the calls so far have made of their queue."""

    def __init__(self, theirs: Theirs, ours: Ours) -> None:
        self.both = (theirs, ours)
        self.rows: list[Row] = []

    def call(self, *words: object) -> tuple[int, str]:
        answers = [spooler.run(*map(spooler.expand, words)) for spooler in self.both]
        tsp, ts = ((done.returncode, done.stdout) for done in answers)
        assert ts == tsp, f"{words}: tsp answers {tsp}, ts {ts}"
        return ts

    def settle(self) -> None:
        """Until both show the same list, in which nothing is left to start."""

        def same() -> bool:
            (self.head, self.rows), ours = (spooler.table() for spooler in self.both)
            return (self.head, by_id(self.rows)) == (ours[0], by_id(ours[1])) and not self.startable()

        try:
            wait_until(same)
        except AssertionError:
            tables = [spooler.table() for spooler in self.both]
            raise AssertionError("tsp: {}\nts:  {}".format(*tables)) from None
        theirs, ours = (spooler.table()[1] for spooler in self.both)
        for states in (("queued",), ("finished", "skipped")):
            assert order(theirs, states) == order(ours, states)

    def startable(self) -> bool:
        """tsp looks for jobs to start in steps of its own: a list in between can be the same on both sides."""
        running, slots = self.head
        ended = {row[0] for row in self.rows if row[1] in ("finished", "skipped")}
        waiting = [row for row in self.rows if row[1] == "queued"]
        known = {row[0] for row in self.rows}
        free = [row for row in waiting if not (found := dependency(row)) or found[0] in ended or found[0] not in known]
        return bool(free) and running < slots

    def pick(self, number: int, *states: str) -> int | None:
        ids = [row[0] for row in self.rows if row[1] in states]
        return ids[number % len(ids)] if ids else None

    def perform(self, verb: str, *numbers: int) -> None:
        getattr(self, verb)(*numbers)
        self.settle()

    def submit(self, *options: object) -> None:
        name = str(self.next_gate)
        self.next_gate += 1
        for spooler in self.both:
            spooler.fifo(name)
        for spooler in self.both:
            words = (*(spooler.after_ok if options else ()), *options, "-L", f"g{name}", *gate(name))
            done = spooler.run(*map(spooler.expand, words))
            assert done.returncode == 0, done
            spooler.last = int(done.stdout)
        assert self.both[0].last == self.both[1].last

    next_gate = 0

    def after(self, number: int) -> None:
        job = self.pick(number, "queued", "running", "finished", "skipped")
        if job is not None and not self.head[0] < self.head[1] and self.ended_badly(job):
            job = None  # tsp skips the new job when a slot is free, ts at once
        self.submit(*(() if job is None else (job,)))

    def skips_late(self, job: int) -> bool:
        """Whether tsp would skip those that wait for the job only when others, which get its slot first, have ended."""
        queued = [dependency(row) == [job] for row in self.rows if row[1] == "queued"]
        return any(queued) and not all(queued)

    def ended_badly(self, job: int) -> bool:
        return any(row[0] == job and row[1] in ("finished", "skipped") and row[3] != "0" for row in self.rows)

    def gate_of(self, job: int) -> str:
        command = next(row[4] for row in self.rows if row[0] == job)
        return command.rpartition("gate.")[2]

    def finish(self, number: int, code: int = 0) -> None:
        job = self.pick(number, "running")
        if job is not None:
            name = self.gate_of(job)
            if self.skips_late(job):
                code = 0
            for spooler in self.both:
                spooler.let_end(name, code)
            self.call("-w", job)

    def kill(self, number: int) -> None:
        job = self.pick(number, "running")
        if job is not None and not self.skips_late(job):
            for spooler in self.both:
                wait_until(lambda spooler=spooler: spooler.is_up(job))
            self.call("-k", job)
            self.call("-w", job)

    def remove(self, number: int) -> None:
        job = self.pick(number, "queued", "finished", "skipped")
        if job is not None and job != self.rows[0][0] and not any(dependency(row) == [job] for row in self.rows):
            self.call("-r", job)

    def urgent(self, number: int) -> None:
        job = self.pick(number, "queued")
        if job is not None and job != self.rows[0][0]:
            self.call("-u", job)

    def swap(self, one: int, two: int) -> None:
        jobs = self.pick(one, "queued"), self.pick(two, "queued")
        if None not in jobs and self.rows[0][0] not in jobs:
            self.call("-U", "{}-{}".format(*jobs))

    def slots(self, number: int) -> None:
        self.call("-S", number)
        assert self.call("-S") == (0, f"{number}\n")

    def clear(self) -> None:
        if not any(dependency(row) for row in self.rows if row[1] == "queued"):
            self.call("-C")

    def wait(self, number: int) -> None:
        job = self.pick(number, "finished", "skipped")
        if job is not None:
            self.call("-w", job)

    def state(self, number: int) -> None:
        job = self.pick(number, "queued", "running", "finished", "skipped")
        if job is not None:
            self.call("-s", job)

    def empty(self) -> None:
        self.settle()
        while any(row[1] in ("queued", "running") for row in self.rows):
            if any(row[1] == "running" for row in self.rows):
                self.finish(0)
            self.settle()
        self.call("-C")
        self.call("-S", 1)
        self.settle()
        assert self.rows == []


def by_id(rows: list[Row]) -> list[Row]:
    return sorted(rows)


def order(rows: list[Row], states: tuple[str, ...]) -> list[int]:
    return [row[0] for row in rows if row[1] in states]


def dependency(row: Row) -> list[int]:
    head = row[4].partition("]&& ")
    return [int(head[0][1:])] if head[1] else []


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, tsp_version: str) -> Iterator[Pair]:
    directory = tmp_path_factory.mktemp("generated")
    spoolers = Theirs(directory / "tsp"), Ours(directory / "ts")
    yield Pair(*spoolers)
    assert [spooler.close() for spooler in spoolers] == [[], []]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(steps=STEPS)
def test_generated(pair: Pair, steps: list[tuple[object, ...]]) -> None:
    pair.settle()
    try:
        for step in steps:
            pair.perform(*step)
    finally:
        pair.empty()
