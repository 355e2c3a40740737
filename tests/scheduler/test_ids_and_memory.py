"""The queue: ids that lie far apart, what is done without memory, and how much of it a job takes."""

import os
import subprocess
import sys

import pytest

from support.scheduling import run_all, start_all
from tsfast.scheduler.scheduler import SchedulerProbe

PAGE = 4096  # ids in a page of the directory


def test_ids_must_grow():
    probe = SchedulerProbe(1)
    probe.add(7)
    for id in (7, 0, 2**63, 2**64 - 1):
        with pytest.raises(ValueError, match="refused"):
            probe.add(id)
        with pytest.raises(ValueError, match="refused"):
            probe.restore(id, 1, 1, "ready")
    probe.remove(7)
    with pytest.raises(ValueError, match="refused"):
        probe.add(7)
    probe.add(2**63 - 1)
    assert probe.last_added() == 2**63 - 1
    probe.check_invariants()


def test_newest_removed_many_times():
    probe = SchedulerProbe(1)
    for id in range(50_000):
        probe.add(id)
    for id in range(49_999, 0, -1):
        assert probe.last_added() == id
        assert probe.remove(id)
    assert probe.last_added() == 0
    assert probe.memory()["pages"] == 1
    probe.add(50_000)
    assert probe.last_added() == 50_000
    probe.check_invariants()


def test_directory_with_one_ancient_job():
    probe = SchedulerProbe(1)
    probe.add(0, holds=1)
    for id in range(1, 50 * PAGE):
        probe.add(id, slots=0)
        assert probe.next_start() == id
        assert probe.finish(id)
        assert probe.forget(id)
        if id % PAGE == PAGE // 2:
            assert probe.memory()["pages"] <= 3
    assert probe.memory() == {"jobs": 4096, "edges": 0, "pages": 1, "arrays": 0}
    probe.check_invariants()
    assert probe.get(0)["state"] == "blocked"
    assert probe.next_id(0) is None


def test_ids_far_apart():
    probe = SchedulerProbe(1)
    ids = [id << 40 for id in range(200)]
    for id in ids:
        probe.add(id)
    assert probe.live() == ids
    for id in ids[::3]:
        probe.remove(id)
        assert probe.next_id(id) == id + (1 << 40)
    probe.check_invariants()
    assert probe.memory()["pages"] == 200 - 67


def test_next_id_when_the_last_one_is_gone():
    probe = SchedulerProbe(1)
    for id in (0, 5, PAGE - 1, 3 * PAGE, 9 * PAGE + 1):
        probe.add(id)
    assert [probe.next_id(id) for id in (1, 6, PAGE - 1, PAGE, 4 * PAGE - 1, 9 * PAGE + 1)] == [
        5, PAGE - 1, 3 * PAGE, 3 * PAGE, 9 * PAGE + 1, None,
    ]  # fmt: skip


def test_without_memory_nothing_changes():
    probe = SchedulerProbe(1)
    after = []
    failures = 0
    id = 0
    # Room runs out at every place where add() asks for some: slab, heaps, edges, page.
    while len(after) < 3 * PAGE:
        before = probe.counts(), probe.last_added()
        attempt = 1
        while True:
            probe.fail_allocation(attempt)
            try:
                probe.add(id, after=after[-2:])
                break
            except MemoryError:
                failures += 1
                attempt += 1
                assert (probe.counts(), probe.last_added()) == before
                assert probe.get(id) is None
                probe.check_invariants()
            finally:
                left = probe.fail_allocation(0)
        assert left
        after.append(id)
        id += 1
    assert failures > 10
    assert run_all(probe) == after


def test_transitions_need_no_memory():
    probe = SchedulerProbe(2)
    for id in range(20_000):
        probe.add(id, slots=id % 4, after=[id // 2] if id % 3 == 2 else [], holds=id % 7 == 0)
    probe.fail_allocation(1)
    try:
        for slots in (1, 3, 2, 4):
            probe.set_slots(slots)
            for id in start_all(probe):
                probe.requeue(id)
        for id in range(0, 20_000, 7):
            probe.release(id)
        for id in range(0, 20_000, 3):
            probe.urgent(id)
        for id in range(0, 20_000, 11):
            probe.swap(id, id // 2)
        done = len(run_all(probe))
        assert len(probe.ended()) == done == 20_000
        for id in probe.ended():
            probe.forget(id)
        with pytest.raises(MemoryError):
            probe.add(20_000)
    finally:
        probe.fail_allocation(0)
    probe.check_invariants()


MEASURE = """
from tsfast.scheduler.scheduler import SchedulerProbe

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * {page}

probe = SchedulerProbe(1)
probe.add(0)
before = resident()
for id in range(1, 1_000_001):
    probe.add(id)
print((resident() - before) / 1_000_000)
"""


@pytest.mark.unsanitized("ASan pads every allocation")
def test_memory_of_a_queued_job():
    script = MEASURE.format(page=os.sysconf("SC_PAGE_SIZE"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    told = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert float(told.stdout) <= 96
