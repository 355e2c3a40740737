"""What reports of the poller, the end of a job and a restart do to the choice of GPUs: docs/gpus.md."""

from support.gpu_machine import MOST, machine, start, uuid, waits
from tsfast.resources.gpus import GpusProbe

# ---- reports --------------------------------------------------------------------------------------------------------


def test_a_slot_stays_with_its_uuid():
    probe = machine(3)
    assert probe.report(uuid(2), 0) == 2
    assert probe.slot_by_index(0) == 2
    assert probe.slot_by_index(2) == -1
    assert probe.device(0)["index"] is None
    assert probe.report(uuid(0), 2) == 0
    probe.check_invariants()
    number = probe.class_of(exact=b"0")
    assert probe.choose(number) == {2}


def test_a_gpu_that_is_gone_and_comes_back_elsewhere():
    probe = machine(2)
    number, slots = start(probe, exact=b"GPU-0")
    probe.report(uuid(1), 0)
    probe.round_end()
    probe.check_invariants()
    assert probe.masks()["present"] == {1}
    assert probe.device(0)["index"] is None
    assert waits(probe, exact=b"GPU-0")
    assert probe.report(uuid(0), 5) == 0
    assert probe.device(0)["holders"] == 1
    assert probe.slot_by_index(5) == 0
    probe.give_back(number, slots, 2)
    assert not waits(probe, exact=b"5")


def test_a_report_from_before_the_last_change_says_nothing_of_memory_and_processes():
    probe = machine(1)
    number, slots = start(probe)
    probe.report(uuid(0), 0, free=10, measured_ns=50)
    probe.give_back(number, slots, 100)
    assert not waits(probe)
    probe.report(uuid(0), 0, free=10, measured_ns=99, flags=("visible", "answers", "foreign"), numa=1)
    assert not waits(probe)
    assert probe.device(0)["numa"] == 1
    probe.report(uuid(0), 0, free=10, measured_ns=100)
    assert waits(probe)


def test_after_a_job_that_left_processes_the_next_report_decides():
    probe = machine(1)
    number, slots = start(probe)
    probe.report(uuid(0), 0, measured_ns=50)
    probe.give_back(number, slots, 100, True)
    assert waits(probe)
    assert waits(probe, share=0, vram=1)
    probe.report(uuid(0), 0, measured_ns=99)
    assert waits(probe)
    probe.report(uuid(0), 0, measured_ns=101)
    assert not waits(probe)


def test_processes_left_on_a_shared_gpu_are_remembered_until_its_last_job_ends():
    probe = machine(1)
    first, slots = start(probe, share=500)
    second, _ = start(probe, share=100)
    probe.give_back(first, slots, 100, True)
    probe.report(uuid(0), 0, free=950, measured_ns=101)
    probe.give_back(second, slots, 200)
    assert waits(probe)
    probe.report(uuid(0), 0, free=950, measured_ns=201)
    assert not waits(probe)


def test_a_gpu_that_was_not_empty_when_it_was_given_is_not_so_afterwards():
    probe = machine(1, free=100)
    number, slots = start(probe, exact=b"0")
    probe.report(uuid(0), 0, free=1000, measured_ns=2)
    probe.give_back(number, slots, 3)
    assert waits(probe)


def test_a_foreign_process_beside_a_job_counts_at_once():
    probe = machine(1)
    number, slots = start(probe)
    probe.report(uuid(0), 0, flags=("visible", "answers", "foreign"), measured_ns=2)
    assert probe.masks()["usable"] == set()
    probe.give_back(number, slots, 3)
    assert waits(probe)


def test_in_exclusive_mode_the_own_job_is_not_taken_for_a_stranger():
    probe = machine(1, flags=("visible", "answers", "exclusive"))
    number, slots = start(probe)
    probe.report(uuid(0), 0, flags=("visible", "answers", "exclusive", "busy"), measured_ns=2)
    probe.give_back(number, slots, 3)
    assert not waits(probe)


def test_when_nvml_fails_nothing_is_usable_until_it_is_reported_again():
    probe = machine(2)
    probe.failed(b"Driver Not Loaded")
    assert waits(probe)
    assert probe.device(0)["why"] == b"Driver Not Loaded"
    assert not waits(probe, exact=b"0")
    probe.report(uuid(1), 1)
    assert start(probe)[1] == {1}
    assert probe.device(1)["why"] == b""


def test_a_gpu_that_the_poller_leaves_out_stays_there_but_not_usable():
    probe = machine(2)
    assert probe.without(1, b"hangs") == 1
    assert probe.without(7, b"hangs") == -1
    probe.report(uuid(0), 0)
    probe.round_end()
    assert probe.masks()["present"] == {0, 1}
    assert probe.masks()["usable"] == {0}
    assert probe.device(1)["why"] == b"hangs"
    probe.report(uuid(1), 1)
    assert probe.masks()["usable"] == {0, 1}
    probe.round_end()
    assert probe.masks()["present"] == {1}


def test_a_report_without_uuid_is_about_the_gpu_of_this_index():
    probe = machine(2)
    assert probe.report(b"", 1, flags=(), why=b"GPU is lost") == 1
    probe.report(uuid(0), 0)
    probe.round_end()
    assert probe.masks()["usable"] == {0}
    assert probe.masks()["present"] == {0, 1}
    assert probe.report(b"", 2, flags=()) == -1


def test_a_report_that_makes_no_sense_is_refused():
    probe = machine(1)
    assert probe.report(uuid(1), MOST) == -1
    assert probe.report(b"x" * 64, 1) == -1
    assert probe.gpus.n_devices == 1
    assert probe.report(uuid(0), 0, total=(1 << 64) - 1, free=(1 << 64) - 1) == 0
    probe.check_invariants()
    assert not waits(probe)


def test_the_devices_of_the_largest_machine():
    probe = machine(MOST, link=[1 + i // 8 for i in range(MOST)], numa=[i // 512 for i in range(MOST)])
    assert probe.report(uuid(MOST), 0) == -1
    taken = set()
    for _ in range(MOST // 8):
        _, slots = start(probe, count=8)
        assert len({slot // 8 for slot in slots}) == 1
        assert not slots & taken
        taken |= slots
    assert len(taken) == MOST
    assert waits(probe)
    probe.round_end()
    probe.round_end()
    assert probe.masks()["present"] == set()


def test_changed_grows_only_when_an_answer_may_have_changed():
    probe = machine(2)
    number = probe.class_of()
    before = probe.gpus.changed
    probe.report(uuid(0), 0, measured_ns=2)
    probe.report(uuid(1), 1, free=990, measured_ns=2)
    probe.set_leased(0, False)
    probe.clear_leased()
    probe.set_free_percent(90)
    probe.round_end()
    assert probe.gpus.changed == before
    assert probe.fits(number)
    probe.class_of(share=0, vram=1)
    probe.report(uuid(1), 1, free=980, measured_ns=3)
    assert probe.gpus.changed > before


# ---- after a restart ------------------------------------------------------------------------------------------------


def test_gpus_of_running_jobs_stay_theirs():
    probe = GpusProbe()
    number = probe.class_of()
    slot = probe.slot_for(uuid(1), 1)
    assert probe.slot_for(uuid(1)) == slot
    assert probe.slot_for(b"nonsense") == -1
    probe.restore(number, {slot})
    assert probe.device(slot)["index"] == 1
    assert probe.masks()["present"] == set()
    for i in range(2):
        probe.report(uuid(i), i)
    probe.round_end()
    assert start(probe)[1] == {probe.slot_of(uuid(0))}
    assert waits(probe)
    probe.give_back(number, {slot}, 2)
    assert waits(probe)
    probe.report(uuid(1), 1, measured_ns=3)
    assert not waits(probe)


def test_a_shared_gpu_takes_no_new_jobs_until_those_of_before_have_ended():
    probe = GpusProbe()
    slot = probe.slot_for(uuid(0))
    first, second = probe.class_of(share=100), probe.class_of(share=0, vram=100)
    probe.restore(first, {slot})
    probe.restore(second, {slot})
    probe.report(uuid(0), 0)
    assert waits(probe, share=100)
    probe.give_back(first, {slot}, 2)
    probe.report(uuid(0), 0, measured_ns=3)
    assert waits(probe, share=100)
    probe.give_back(second, {slot}, 4)
    probe.report(uuid(0), 0, measured_ns=5)
    assert not waits(probe, share=100)
