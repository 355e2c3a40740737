"""The reader against what the table itself reads: any order of submissions, changes, forgetting, damage and -K."""

import os
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from support.hypothesis_profile import SETTINGS
from tsfast.client.reader import DAMAGED, NONE, Reader
from tsfast.store.table import TableProbe

SEGMENT = 65536
HOT, COLD = 64, 128
THERE = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12}
RESULT = ("state", "status", "pid", "attempt", "stage", "cause", "start_ns", "duration_ns")
ROW = (*RESULT, "notes", "order", "enqueue_ns", "slots", "flags", "gpus", "gpu_share", "vram")

small, large = st.integers(0, 255), st.integers(0, 2**63)
hots = st.fixed_dictionaries(
    {"state": st.sampled_from([1, 1, *range(1, 14)])},
    optional={
        **dict.fromkeys(("notes", "attempt", "cause", "stage", "pid", "maxrss_kb", "utime_ms"), small),
        **dict.fromkeys(("start_ns", "duration_ns", "order"), large),
        "status": st.sampled_from([0, 9, 15, 1 << 8, 255 << 8]),
    },
)
colds = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("slots", "gpus", "gpu_share", "batch_index"), small),
        **dict.fromkeys(("enqueue_ns", "vram"), large),
        "flags": st.integers(0, 4095),
    },
)


class ReaderMachine(RuleBasedStateMachine):
    @initialize(start=st.sampled_from([0, 1, SEGMENT - 3, SEGMENT]), where=st.sampled_from(["/dev/shm", None]))
    def begin(self, start, where):
        self.place = tempfile.TemporaryDirectory(dir=where)
        self.table = TableProbe(self.opened())
        self.reader = Reader(self.opened())
        self.first = start
        if start:
            self.table.put({}, n=start)
            self.table.drop_all()
        self.forgotten = set()

    def opened(self):
        return os.open(self.place.name, os.O_RDONLY | os.O_DIRECTORY)

    def teardown(self):
        if hasattr(self, "place"):
            self.place.cleanup()

    def some(self, choice):
        """One of the jobs that were submitted since the last -K; None without any."""
        ids = [id for id in range(self.first, self.reader.committed) if id not in self.forgotten]
        return ids[choice % len(ids)] if ids else None

    @rule(hot=hots, cold=colds, count=st.sampled_from([1, 1, 2, 64, 100]))
    def submit(self, hot, cold, count):
        count = min(count, SEGMENT - self.reader.committed % SEGMENT)
        assert self.table.put({**hot, **cold}, n=count) == self.reader.committed - count

    @rule(hot=hots, choice=large)
    def change(self, hot, choice):
        if (id := self.some(choice)) is not None:
            self.table.write(id, hot)

    @rule(choice=large, count=st.sampled_from([1, 1, 200]))
    def forget(self, choice, count):
        for _ in range(count):
            if (id := self.some(choice)) is not None:
                self.table.forget(id)
                self.forgotten.add(id)

    @rule(choice=large, at=st.integers(0, 63), cold=st.booleans(), value=st.integers(1, 255))
    def damage(self, choice, at, cold, value):
        id = self.some(choice)
        if id is None:
            return
        place = (id % SEGMENT) * HOT + at
        if cold:
            place = SEGMENT * HOT + (id % SEGMENT) * COLD + at
        with (Path(self.place.name) / f"seg.{id // SEGMENT:08x}").open("r+b", buffering=0) as file:
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ value]))

    @rule()
    def drop(self):
        self.table.drop_all()
        self.first = self.reader.committed
        self.forgotten = set()

    @rule()
    def another_reader(self):
        self.reader = Reader(self.opened())

    @invariant()
    def same_as_the_table(self):
        if not hasattr(self, "reader"):
            return
        rows = {int(row["id"]): row for row in self.reader.snapshot()}
        ids = range(max(0, self.first - 2), self.reader.committed + 1)
        states = self.reader.states(ids).tolist()
        damaged = 0
        for id, state in zip(ids, states, strict=True):
            hot, cold = self.table.read(id) if self.first <= id < self.reader.committed else (None, None)
            if id < self.first or id in self.forgotten or id == self.reader.committed:
                assert state == NONE
            elif hot is None:
                assert state == DAMAGED
                damaged += 1
            else:
                assert state == (hot["state"] if hot["state"] in THERE else NONE)
                damaged += state != NONE and cold is None
            assert self.reader.state(id) == state
            assert (id in rows) == (state not in (NONE, DAMAGED) and cold is not None)
            if id in rows:
                self.same_job(id, rows[id], hot, cold)
        assert self.reader.damaged == damaged

    def same_job(self, id, row, hot, cold):
        result = self.reader.result(id)
        assert {name: getattr(result, name) for name in RESULT} == {name: hot[name] for name in RESULT}
        assert {name: row[name] for name in ROW} == {name: (hot | cold)[name] for name in ROW}
        assert row["exit_code"] == (-1 if result.exit_code is None else result.exit_code)
        assert row["signal"] == (result.signal or 0)


TestReader = ReaderMachine.TestCase
TestReader.settings = settings(SETTINGS, max_examples=SETTINGS.max_examples // 4, stateful_step_count=30)
