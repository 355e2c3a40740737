"""The queue: named cases. What every sequence of calls must keep is in test_queue_model.py."""

import pytest

from support.scheduling import run_all, skip_all, start_all
from tsfast.scheduler.scheduler import SchedulerProbe

# ---- order and slots ------------------------------------------------------------------------------------------------


def test_empty_queue():
    probe = SchedulerProbe(1)
    assert probe.next_start() is None
    assert probe.next_skipped() is None
    assert probe.last_added() is None
    assert probe.next_id() is None
    assert (probe.live(), probe.running(), probe.ended()) == ([], [], [])
    assert probe.get(0) is None
    for call in (probe.started, probe.requeue, probe.finish, probe.remove, probe.forget, probe.hold, probe.release):
        assert not call(0)
    assert not probe.urgent(0)
    assert not probe.swap(0, 1)
    probe.check_invariants()


def test_in_order_of_adding():
    probe = SchedulerProbe(3)
    for id in range(10):
        assert probe.add(id)
    assert start_all(probe) == [0, 1, 2]
    assert probe.finish(1)
    assert start_all(probe) == [3]
    assert probe.counts()["used_slots"] == 3


def test_big_job_is_not_starved():
    probe = SchedulerProbe(2)
    probe.add(0)
    assert start_all(probe) == [0]
    probe.add(1, slots=2)
    for id in range(2, 22):
        probe.add(id)
    assert start_all(probe) == []
    probe.finish(0)
    assert start_all(probe) == [1]
    probe.finish(1)
    assert start_all(probe) == [2, 3]


def test_jobs_without_slots_always_start():
    probe = SchedulerProbe(1)
    probe.add(0)
    probe.add(1)
    probe.add(2, slots=0)
    probe.add(3, slots=0)
    assert start_all(probe) == [0, 2, 3]
    probe.set_slots(0)
    probe.add(4, slots=0)
    assert start_all(probe) == [4]
    probe.check_invariants()


def test_oversize_job_holds_up_nobody():
    probe = SchedulerProbe(2)
    probe.add(0, slots=7)
    probe.add(1, slots=5)
    probe.add(2)
    assert start_all(probe) == [2]
    probe.set_slots(5)
    assert start_all(probe) == []  # 1 is first now and needs the slot that 2 has
    probe.finish(2)
    assert start_all(probe) == [1]
    probe.set_slots(7)
    probe.finish(1)
    assert start_all(probe) == [0]


def test_lowering_the_slots():
    probe = SchedulerProbe(4)
    for id in range(8):
        probe.add(id, slots=1 + id % 2 * 2)
    assert start_all(probe) == [0, 1]
    probe.set_slots(1)
    assert start_all(probe) == []
    probe.check_invariants()
    probe.finish(1)
    assert start_all(probe) == []
    probe.finish(0)
    assert run_all(probe) == [2, 4, 6]
    probe.check_invariants()
    probe.set_slots(3)
    assert run_all(probe) == [3, 5, 7]


def test_requeue_keeps_the_place():
    probe = SchedulerProbe(1)
    probe.add(0)
    probe.add(1)
    assert probe.next_start() == 0
    assert probe.requeue(0)
    assert not probe.requeue(0)
    assert probe.live() == [0, 1]
    assert probe.next_start() == 0
    assert probe.started(0)
    assert not probe.requeue(0)


def test_most_slots_a_number_can_say():
    most = 2**32 - 1
    probe = SchedulerProbe(most)
    probe.add(0, slots=most)
    probe.add(1, slots=most)
    assert start_all(probe) == [0]
    assert probe.counts()["used_slots"] == most


# ---- urgent, swap ---------------------------------------------------------------------------------------------------


def test_urgent():
    probe = SchedulerProbe(1)
    for id in range(5):
        probe.add(id, slots=id % 2)
    probe.add(5, after=[0])
    assert probe.urgent(3)
    assert probe.urgent(5)
    assert probe.urgent(4)
    assert probe.live() == [4, 5, 3, 0, 1, 2]
    probe.check_invariants()
    assert start_all(probe) == [4, 3, 0, 2]


def test_urgent_on_the_first_and_on_a_running_job():
    probe = SchedulerProbe(1)
    probe.add(0)
    probe.add(1)
    assert probe.urgent(0)
    assert probe.live() == [0, 1]
    assert probe.next_start() == 0
    assert not probe.urgent(0)
    probe.started(0)
    assert not probe.urgent(0)
    assert probe.urgent(1)
    assert probe.urgent(1)
    probe.finish(0)
    assert not probe.urgent(0)
    assert start_all(probe) == [1]


def test_swap():
    probe = SchedulerProbe(1)
    for id in range(4):
        probe.add(id)
    probe.add(4, after=[0])
    assert probe.swap(0, 3)
    assert probe.swap(4, 1)
    assert probe.live() == [3, 4, 2, 0, 1]
    assert not probe.swap(1, 1)
    assert not probe.swap(1, 9)
    probe.check_invariants()
    assert probe.next_start() == 3
    assert not probe.swap(3, 1)
    assert not probe.swap(1, 3)
    probe.finish(3)
    assert run_all(probe) == [2, 0, 4, 1]


# ---- dependencies ---------------------------------------------------------------------------------------------------


def test_after_and_after_ok():
    probe = SchedulerProbe(9)
    probe.add(0)
    probe.add(1)
    probe.add(2, after=[0, 1])
    probe.add(3, after_ok=[0, 1])
    probe.add(4, after=[3])
    probe.add(5, after_ok=[3])
    assert start_all(probe) == [0, 1]
    probe.finish(0)
    assert start_all(probe) == []
    probe.finish(1, bad=True)
    assert start_all(probe) == [2]
    assert skip_all(probe) == [3, 5]
    assert start_all(probe) == [4]
    assert probe.get(3)["bad"]
    assert probe.ended() == [0, 1, 3, 5]


def test_forgotten_jobs_count_as_ended_but_not_as_well():
    probe = SchedulerProbe(1)
    probe.add(0)
    run_all(probe)
    assert probe.add(1, after_ok=[0])
    probe.forget(0)
    assert not probe.forget(0)
    assert probe.add(2, after=[0])
    assert not probe.add(3, after_ok=[0])
    assert skip_all(probe) == [3]
    assert run_all(probe) == [1, 2]


def test_same_id_many_times_and_its_own():
    probe = SchedulerProbe(1)
    probe.add(0)
    probe.add(1, after=[0] * 50, after_ok=[0] * 50)
    probe.add(2, after=[2, 3])
    assert not probe.add(3, after_ok=[3])
    probe.check_invariants()
    assert skip_all(probe) == [3]
    assert run_all(probe) == [0, 1, 2]


def test_removing_counts_as_bad():
    probe = SchedulerProbe(1)
    probe.add(0)
    probe.add(1, after=[0])
    probe.add(2, after_ok=[1])
    probe.add(3, after=[1])
    assert probe.remove(1)
    assert not probe.remove(1)
    assert probe.get(1) is None
    assert probe.counts()["ghosts"] == 1
    probe.check_invariants()
    assert skip_all(probe) == [2]
    assert run_all(probe) == [0, 3]
    assert probe.counts()["ghosts"] == 0


def test_skipped_while_it_still_waits_for_others():
    probe = SchedulerProbe(2)
    probe.add(0)
    probe.add(1)
    probe.add(2, after_ok=[0, 1], holds=1)
    start_all(probe)
    probe.finish(0, bad=True)
    assert not probe.release(2)
    assert skip_all(probe) == [2]
    assert probe.forget(2)
    assert probe.counts()["ghosts"] == 1
    probe.finish(1)
    assert probe.counts()["ghosts"] == 0
    probe.check_invariants()


def test_holds():
    probe = SchedulerProbe(1)
    probe.add(0, holds=2)
    assert probe.release(0)
    assert start_all(probe) == []
    assert probe.release(0)
    assert not probe.release(0)
    assert probe.hold(0)
    assert start_all(probe) == []
    assert probe.release(0)
    assert start_all(probe) == [0]
    assert not probe.hold(0)
    probe.add(1, after=[0])
    assert not probe.release(1)  # that it waits for 0 is no hold
    probe.hold(1)
    probe.remove(1)
    probe.finish(0)
    probe.check_invariants()
    assert probe.counts()["ghosts"] == 0


def test_chain_of_skips():
    length = 100_000
    probe = SchedulerProbe(1)
    probe.add(0)
    for id in range(1, length + 1):
        probe.add(id, after_ok=[id - 1])
    assert probe.next_start() == 0
    probe.finish(0, bad=True)
    assert skip_all(probe) == list(range(1, length + 1))
    assert probe.counts()["ended"] == length + 1
    probe.check_invariants()


def test_fan_out():
    width = 100_000
    probe = SchedulerProbe(width)
    probe.add(0)
    for id in range(1, width + 1):
        probe.add(id, after_ok=[0])
    assert probe.next_start() == 0
    probe.finish(0)
    assert start_all(probe) == list(range(1, width + 1))
    probe.check_invariants()


def test_fan_in():
    width = 100_000
    probe = SchedulerProbe(width)
    for id in range(width):
        probe.add(id)
    probe.add(width, after=range(width // 2), after_ok=range(width // 2, width))
    assert len(start_all(probe)) == width
    for id in range(width - 1, 0, -1):
        probe.finish(id)
    assert start_all(probe) == []
    probe.finish(0)
    assert start_all(probe) == [width]
    probe.check_invariants()


def test_edges_are_used_again():
    probe = SchedulerProbe(1)
    for id in range(0, 60_000, 2):
        probe.add(id)
        probe.add(id + 1, after=[id])
        assert run_all(probe) == [id, id + 1]
        probe.forget(id)
        probe.forget(id + 1)
    assert probe.memory() == {"jobs": 4096, "edges": 4096, "pages": 0, "arrays": 0}


# ---- arrays ---------------------------------------------------------------------------------------------------------


def test_an_array_that_is_full_holds_up_nobody():
    probe = SchedulerProbe(4)
    array = probe.new_array(2)
    for id in range(5):
        probe.add(id, array=array)
    probe.add(5)
    assert start_all(probe) == [0, 1, 5]
    assert [probe.get(id)["held_back"] for id in range(5)] == [0, 0, 2, 2, 2]
    probe.urgent(4)
    probe.finish(1)
    assert start_all(probe) == [4]
    assert probe.requeue(4) and start_all(probe) == [4]
    probe.swap(2, 3)
    probe.finish(0)
    probe.remove(3)
    assert start_all(probe) == [2]
    probe.check_invariants()


def test_slots_of_an_array():
    probe = SchedulerProbe(4)
    array = probe.new_array(3, slots=2)
    with pytest.raises(ValueError):
        probe.add(0, slots=1, array=array)
    for id in range(4):
        probe.add(id, slots=2, array=array)
    probe.set_slots(1)
    assert start_all(probe) == []
    probe.check_invariants()
    probe.set_slots(20)
    assert start_all(probe) == [0, 1, 2]
    probe.check_invariants()


def test_arrays_are_used_again():
    probe = SchedulerProbe(8)
    for id in range(0, 4000, 4):
        array = probe.new_array(1)
        for member in range(id, id + 4):
            probe.add(member, array=array)
        assert run_all(probe) == [*range(id, id + 4)]
    assert probe.memory()["arrays"] == 16
    with pytest.raises(ValueError):
        probe.add(4000, array=array)
    probe.check_invariants()


def test_thousands_of_arrays_take_turns():
    probe = SchedulerProbe(10_000)
    arrays = [probe.new_array(1) for _ in range(5000)]
    for id in range(15_000):
        probe.add(id, array=arrays[id % 5000])
    for turn in range(3):
        started = start_all(probe)
        assert started == [*range(turn * 5000, (turn + 1) * 5000)]
        for id in started:
            probe.finish(id)
    assert probe.counts()["ready"] == 0


def test_arrays_without_memory():
    probe = SchedulerProbe(8)
    probe.fail_allocation(1)
    try:
        with pytest.raises(MemoryError):
            probe.new_array(3)
        array = probe.new_array(3)
        probe.fail_allocation(4)
        with pytest.raises(MemoryError):
            probe.add(0, array=array)
    finally:
        probe.fail_allocation(0)
    probe.check_invariants()
    for id in range(40):
        probe.add(id, array=array)
    probe.fail_allocation(1)
    try:
        assert run_all(probe) == [*range(40)]
    finally:
        probe.fail_allocation(0)


# ---- recovery -------------------------------------------------------------------------------------------------------

BASE = 1 << 63


def test_restore():
    probe = SchedulerProbe(2)
    probe.restore(0, 1, 3, "ended")
    probe.restore(1, 1, BASE + 1, "running")
    probe.restore(2, 1, 1, "ended", bad=True)
    probe.restore(3, 1, BASE + 3, "ready")
    probe.restore(4, 1, BASE - 1, "ready")
    probe.restore(5, 1, BASE + 5, "running")
    probe.restore(6, 1, BASE + 6, "ready")
    probe.restore(7, 1, 2, "ended")
    probe.restore(9, 1, BASE + 9, "ready")
    assert probe.link(3, after=[1, 2], after_ok=[0, 8, 100, 3])
    assert not probe.link(6, after_ok=[2])
    assert probe.link(9, after_ok=[6])
    probe.check_invariants()
    assert probe.ended() == [2, 7, 0]
    assert probe.running() == [1, 5]
    assert probe.latest_start(1)
    assert not probe.latest_start(3)
    assert probe.running() == [5, 1]
    assert probe.live() == [4, 1, 3, 5, 9]
    assert skip_all(probe) == [6, 9]
    assert start_all(probe) == []
    assert probe.urgent(3)
    assert probe.live()[0] == 3
    probe.finish(1)
    probe.finish(5)
    assert start_all(probe) == [3, 4]
    assert probe.ended() == [2, 7, 0, 6, 9, 1, 5]
    probe.check_invariants()


def test_a_restored_start_can_be_revoked():
    probe = SchedulerProbe(1)
    probe.restore(0, 1, BASE, "starting")
    probe.restore(1, 1, BASE + 1, "ready")
    assert start_all(probe) == []
    assert probe.requeue(0)
    assert start_all(probe) == [0]
    probe.check_invariants()


def test_restored_refusals():
    probe = SchedulerProbe(1)
    probe.restore(0, 1, BASE, "running")
    with pytest.raises(ValueError, match="refused"):
        probe.restore(1, 1, BASE + 1, "blocked")
    for id in (0, 1):
        with pytest.raises(ValueError, match="refused"):
            probe.link(id)


def test_ended_jobs_in_the_worst_order():
    number = 200_000
    probe = SchedulerProbe(1)
    for id in range(number):
        probe.restore(id, 1, (id * 7919) % number + 1, "ended")
    ended = probe.ended()
    assert ended == sorted(range(number), key=lambda id: (id * 7919) % number)
    probe.add(number)
    run_all(probe)
    assert probe.ended()[-1] == number
    assert probe.get(number)["order"] == number + 1


def test_live_after_many_urgent_and_swaps():
    number = 50_000
    probe = SchedulerProbe(1)
    for id in range(number):
        probe.add(id)
    for id in range(0, number, 3):
        probe.urgent(id)
    for id in range(0, number // 2, 5):
        probe.swap(id, number - 1 - id)
    live = probe.live()
    assert live == sorted(range(number), key=lambda id: probe.get(id)["order"])
    assert probe.live(10) == live[:10]
    assert probe.live(0) == []
    assert run_all(probe) == live


def test_the_queue_itself():
    probe = SchedulerProbe(3)
    queue = probe.scheduler
    assert (queue.max_slots, queue.used_slots, queue.known) == (3, 0, 0)
    probe.check_invariants()
