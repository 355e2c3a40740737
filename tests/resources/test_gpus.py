"""The rules of docs/gpus.md by name, each in the smallest case that shows it."""

from collections import Counter

import pytest

from support.gpu_machine import MOST, WHOLE, machine, start, uuid, waits
from tsfast.monitor.records import ANSWERS, DEVICE, VISIBLE, Record, pack
from tsfast.resources.gpus import GpusProbe, why_not

# ---- whole GPUs -----------------------------------------------------------------------------------------------------


def test_a_job_gets_as_many_whole_gpus_as_it_asks_for():
    probe = machine(4)
    first, mine = start(probe, count=3)
    assert len(mine) == 3
    assert waits(probe, count=2)
    _, last = start(probe)
    assert not mine & last
    assert waits(probe)
    probe.give_back(first, mine, 2)
    assert not waits(probe, count=3)


@pytest.mark.parametrize(
    "flags",
    [("answers",), ("visible",), *(("visible", "answers", why) for why in ("foreign", "prohibited", "divided"))],
)
def test_a_whole_gpu_must_be_visible_and_usable(flags):
    assert waits(machine(1, flags=flags))


def test_a_whole_gpu_must_be_empty():
    probe = machine(1, total=1000, free=900)
    assert waits(probe)
    probe.set_free_percent(89)
    assert not waits(probe)


def test_a_gpu_of_exclusive_mode_on_which_somebody_computes_is_not_used():
    probe = machine(1, flags=("visible", "answers", "exclusive", "busy"))
    assert waits(probe)
    probe.report(uuid(0), 0, flags=("visible", "answers", "exclusive"))
    assert not waits(probe)


def test_in_default_mode_a_process_of_the_same_user_is_no_hindrance():
    assert not waits(machine(1, flags=("visible", "answers", "busy")))


def test_a_whole_gpu_is_not_one_that_is_shared():
    probe = machine(1)
    start(probe, share=10)
    assert waits(probe)


def test_a_leased_gpu_is_for_nobody_here():
    probe = machine(1)
    assert not waits(probe)
    probe.set_leased(0, True)
    assert waits(probe)
    assert waits(probe, share=500)
    probe.clear_leased()
    assert not waits(probe)


def test_whole_gpus_of_so_much_memory():
    probe = machine(2, total=[1000, 2000], free=[1000, 2000])
    assert start(probe, vram=1500)[1] == {1}
    assert waits(probe, vram=1500)
    assert not waits(probe, vram=1000)


# ---- groups ---------------------------------------------------------------------------------------------------------


def test_several_gpus_come_from_one_link_group():
    for seed in range(1, 30):
        probe = machine(6, seed, link=[1, 2, 1, 2, 1, 2], numa=0)
        assert start(probe, count=3)[1] in ({0, 2, 4}, {1, 3, 5})


def test_the_smallest_link_group_that_suffices():
    for seed in range(1, 30):
        probe = machine(9, seed, link=[1, 1, 1, 1, 2, 2, 2, 3, 3])
        assert start(probe, count=3)[1] == {4, 5, 6}
        assert start(probe, count=2)[1] == {7, 8}
        assert start(probe, count=2)[1] < {0, 1, 2, 3}


def test_without_a_link_group_that_suffices_one_numa_node():
    for seed in range(1, 30):
        probe = machine(8, seed, link=[1, 1, 2, 2, 3, 3, 4, 4], numa=[0, 1, 0, 1, 0, 1, -1, -1])
        assert start(probe, count=3)[1] in ({0, 2, 4}, {1, 3, 5})


def test_a_node_that_is_not_known_is_none():
    chosen = {frozenset(start(machine(4, seed, numa=-1), count=2)[1]) for seed in range(1, 200)}
    assert len(chosen) == 6


def test_without_link_group_and_node_any():
    probe = machine(4, link=[1, 1, 2, 2], numa=[0, 1, 0, 1])
    assert start(probe, count=4)[1] == {0, 1, 2, 3}


def test_one_gpu_does_not_split_a_larger_group_than_it_must():
    for seed in range(1, 30):
        probe = machine(6, seed, link=[1, 1, 1, 2, 2, 0])
        assert start(probe)[1] == {5}
        assert start(probe)[1] < {3, 4}
        assert start(probe)[1] < {3, 4}
        assert start(probe)[1] < {0, 1, 2}


def test_links_that_change_count_from_the_next_choice_on():
    probe = machine(4, link=[1, 1, 2, 2])
    assert not waits(probe, count=2)
    for i, link in enumerate([1, 2, 2, 1]):
        probe.report(uuid(i), i, link=link)
    probe.check_invariants()
    assert start(probe, count=2)[1] in ({0, 3}, {1, 2})


def test_among_equals_each_is_as_likely():
    probe = machine(8, seed=5, link=[1, 1, 2, 2, 3, 3, 4, 4])
    number = probe.class_of(count=1)
    single = Counter(min(probe.choose(number)) for _ in range(8000))
    assert len(single) == 8
    assert all(850 < times < 1150 for times in single.values())
    number = probe.class_of(count=2)
    pairs = Counter(frozenset(probe.choose(number)) for _ in range(8000))
    assert len(pairs) == 4
    assert all(1800 < times < 2200 for times in pairs.values())


def test_each_set_of_equals_is_as_likely():
    probe = machine(4, seed=5)
    number = probe.class_of(count=2)
    sets = Counter(frozenset(probe.choose(number)) for _ in range(6000))
    assert len(sets) == 6
    assert all(850 < times < 1150 for times in sets.values())


def test_the_same_seed_chooses_the_same():
    def chosen(seed):
        probe = machine(16, seed)
        number = probe.class_of(count=3)
        return [probe.choose(number) for _ in range(20)]

    assert chosen(7) == chosen(7) != chosen(8)
    assert chosen(0)


# ---- parts of GPUs --------------------------------------------------------------------------------------------------


def test_shares_of_one_gpu_add_up_to_one_at_most():
    probe = machine(1)
    start(probe, share=500)
    start(probe, share=499)
    assert waits(probe, share=2)
    start(probe, share=1)
    assert waits(probe, share=1)


def test_a_shared_gpu_is_filled_before_another_is_begun():
    for seed in range(1, 30):
        probe = machine(3, seed)
        _, first = start(probe, share=300)
        _, second = start(probe, share=800)
        assert first != second
        assert start(probe, share=200)[1] == second
        assert start(probe, share=200)[1] == first
        assert not waits(probe)


def test_the_fullest_by_memory():
    for seed in range(1, 30):
        probe = machine(2, seed)
        _, first = start(probe, share=0, vram=400)
        _, second = start(probe, share=0, vram=700)
        assert first != second
        assert start(probe, share=0, vram=100)[1] == second


def test_a_part_without_memory_is_taken_only_of_an_empty_gpu():
    probe = machine(1, free=500)
    assert waits(probe, share=500)
    start(probe, share=500, vram=300)
    assert not waits(probe, share=200)


def test_memory_is_promised_from_the_start_on():
    probe = machine(1)
    start(probe, share=0, vram=600)
    assert waits(probe, share=0, vram=401)
    start(probe, share=0, vram=400)
    assert waits(probe, share=0, vram=1)


def test_what_may_be_promised_is_what_was_free_when_the_gpu_was_taken():
    probe = machine(1, free=500)
    start(probe, share=0, vram=300)
    probe.report(uuid(0), 0, free=1000)
    assert waits(probe, share=0, vram=201)
    assert not waits(probe, share=0, vram=200)


def test_what_the_first_jobs_use_by_now_is_not_counted_twice():
    probe = machine(1)
    start(probe, share=0, vram=300)
    probe.report(uuid(0), 0, free=700)
    start(probe, share=0, vram=300)
    assert waits(probe, share=0, vram=401)
    assert not waits(probe, share=0, vram=400)


def test_never_more_than_is_free_now():
    probe = machine(1)
    start(probe, share=0, vram=300)
    probe.report(uuid(0), 0, free=199)
    assert waits(probe, share=0, vram=200)
    assert not waits(probe, share=0, vram=199)


def test_a_part_without_memory_counts_as_that_part_of_the_memory():
    probe = machine(1)
    start(probe, share=500)
    assert waits(probe, share=0, vram=501)
    start(probe, share=0, vram=500)
    assert waits(probe, share=500), "in whichever order they come"


def test_share_and_memory_must_both_be_there():
    probe = machine(1)
    start(probe, share=600, vram=100)
    assert waits(probe, share=500, vram=100)
    assert waits(probe, share=400, vram=901)
    start(probe, share=400, vram=900)


def test_parts_of_several_gpus_prefer_a_link_group_that_is_shared_already():
    for seed in range(1, 30):
        probe = machine(6, seed, link=[1, 1, 1, 1, 2, 2])
        number, _ = start(probe, count=3, share=0, vram=100)
        assert start(probe, count=2, share=0, vram=100)[1] < {0, 1, 2, 3}
        assert start(probe, count=2, share=WHOLE)[1] == {4, 5}
        assert number > 0


def test_an_exclusive_gpu_is_not_shared():
    probe = machine(1, flags=("visible", "answers", "exclusive"))
    assert waits(probe, share=500)
    assert waits(probe, share=0, vram=1)
    assert not waits(probe)


def test_a_gpu_in_the_hands_of_one_job_is_not_shared():
    probe = machine(1)
    number, slots = start(probe)
    assert waits(probe, share=1)
    probe.give_back(number, slots, 2)
    start(probe, exact=b"0")
    assert waits(probe, share=1)


# ---- exact ones -----------------------------------------------------------------------------------------------------


def test_exact_gpus_free_or_not():
    probe = machine(3, free=[0, 1000, 1000], flags=[("answers",), ("visible", "foreign"), ("visible", "answers")])
    probe.set_leased(2, True)
    start(probe, exact=b"0,1,2")
    start(probe, exact=b"2")


def test_exact_gpus_must_be_there():
    probe = machine(2)
    assert waits(probe, exact=b"1,2")
    probe.report(uuid(2), 2)
    assert not waits(probe, exact=b"1,2")


@pytest.mark.parametrize("why", ["divided", "prohibited"])
def test_exact_gpus_must_be_possible(why):
    assert waits(machine(1, flags=("visible", "answers", why)), exact=b"0")


def test_exact_gpus_by_uuid_in_the_order_of_the_list():
    probe = machine(4)
    number = probe.class_of(exact=b"GPU-3,0,2")
    assert probe.choose(number) == {0, 2, 3}
    assert probe.exact_slots(number) == [3, 0, 2]
    assert probe.exact_slots(probe.class_of(exact=b"1,GPU-1,GPU-7,0")) == [1, 0]


def test_the_same_gpu_by_index_and_uuid_is_one():
    probe = machine(2)
    _, slots = start(probe, exact=b"1,GPU-1")
    assert slots == {1}


def test_others_do_not_get_what_an_exact_job_has():
    probe = machine(2)
    number, slots = start(probe, exact=b"0")
    assert start(probe)[1] == {1}
    assert waits(probe)
    probe.give_back(number, slots, 2)
    assert not waits(probe)


@pytest.mark.parametrize(
    "text",
    [
        *("", ",", "0,", ",0", "0,,1", "0 ,1", "-1", "+1", "1024", "00001", "0,0", "0,00", "GPU-0,GPU-0", "0x1", "a"),
        *("GPU-", "gpu-0", "GPU-a b", "GPU-ä", "XYZ-0", "GPU-" + "a" * 60, ",".join(map(str, range(1025)))),
    ],
)
def test_a_bad_list_is_refused(text):
    assert machine(1).class_of(exact=text.encode()) == -2


def test_longest_lists():
    probe = machine(MOST)
    _, slots = start(probe, exact=",".join(map(str, range(MOST))).encode())
    assert len(slots) == MOST
    assert probe.class_of(exact=b"GPU-" + b"a" * 59) > 0
    assert probe.class_of(exact=b"MIG-GPU-0/1/2") > 0


# ---- needs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "need", [{"count": 0}, {"count": 1025}, {"share": 1001}, {"share": 0}, {"vram": 1 << 50}, {"share": 0, "count": 0}]
)
def test_a_need_that_makes_no_sense_is_refused(need):
    assert machine(1).class_of(**need) == -2


def test_equal_needs_are_one_class():
    probe = machine(1)
    needs = [{"count": 1}, {"count": 2}, {"share": 500}, {"share": 500, "vram": 1}, {"exact": b"0"}, {"exact": b"0,1"}]
    numbers = [probe.class_of(**need) for need in needs]
    assert len(set(numbers)) == len(needs)
    assert min(numbers) == 1
    assert [probe.class_of(**need) for need in needs] == numbers
    assert probe.class_of(count=7, share=3, vram=5, exact=b"0,1") == numbers[-1]
    assert probe.need_of(numbers[-1]) == (2, 0, 0, b"0,1")
    for number in 2 * numbers:
        probe.class_release(number)
        probe.check_invariants()


def test_numbers_of_classes_are_used_again():
    probe = machine(1)
    for _ in range(3):
        numbers = [probe.class_of(share=0, vram=1 + i) for i in range(300)]
        assert sorted(numbers) == list(range(1, 301))
        probe.check_invariants()
        for number in numbers[::2] + numbers[1::2]:
            probe.class_release(number)
        probe.check_invariants()


def test_without_memory_nothing_has_changed():
    need = {"exact": b"0"}
    failed, nth = 0, 0
    while True:
        probe = machine(1)
        nth += 1
        GpusProbe.fail_allocation(nth)
        number = probe.class_of(**need)
        if GpusProbe.fail_allocation(0):
            break
        failed += 1
        assert number == -1
        probe.check_invariants()
        assert probe.fits(probe.class_of(**need))
        probe.check_invariants()
    assert number == 1
    assert failed == 3


# ---- counts ---------------------------------------------------------------------------------------------------------


def test_counts_say_what_keeps_each_gpu_from_the_job():
    visible = ("visible", "answers")
    probe = machine(
        7,
        flags=[visible, ("answers",), (*visible, "foreign"), visible, visible, visible, (*visible, "exclusive")],
        free=[1000, 1000, 1000, 1000, 1000, 500, 1000],
    )
    probe.set_leased(3, True)
    number = probe.class_of(exact=b"4")
    probe.take(number, {4})
    names = ("wanted", "present", "absent", "hidden", "foreign", "used", "leased", "occupied", "fits")
    counts = probe.counts(probe.class_of(count=3))
    assert [counts[name] for name in names] == [3, 7, 0, 1, 1, 1, 1, 1, 2]
    counts = probe.counts(probe.class_of(share=500, vram=500))
    assert (counts["fits"], counts["foreign"], counts["unshared"], counts["occupied"]) == (2, 1, 1, 0)
    counts = probe.counts(probe.class_of(exact=b"4,9,GPU-0"))
    assert (counts["wanted"], counts["present"], counts["absent"], counts["fits"]) == (3, 2, 1, 2)


GIB = 1 << 30
ALL = ("visible", "answers")


@pytest.mark.parametrize(
    ("facts", "need", "verdict", "words"),
    [
        ({}, {}, "fits", ""),
        ({"free": 20 * GIB}, {}, "occupied", "25 % free, 90 % needed"),
        ({"free": 72 * GIB}, {}, "occupied", "90 % free, more than 90 % needed"),
        ({"free": 72 * GIB + 1}, {}, "fits", ""),
        ({"free": 20 * GIB}, {"share": 500}, "occupied", "25 % free, 90 % needed"),
        ({"free": 20 * GIB}, {"share": 0, "vram": 20 * GIB}, "fits", ""),
        ({"free": 20 * GIB - 1}, {"share": 0, "vram": 20 * GIB}, "occupied", "19.9G free, 20G needed"),
        ({"free": 300 << 20}, {"share": 0, "vram": 512 << 20}, "occupied", "300M free, 512M needed"),
        ({}, {"share": 0, "vram": 1000 << 40}, "small", "80G in all, 1000T needed"),
        ({}, {"share": 0, "vram": 80 * GIB + 1024}, "small", "80G in all, 80.1G needed"),
        ({"flags": ("answers",)}, {}, "hidden", "not in TS_VISIBLE_DEVICES"),
        ({"flags": ("visible",), "why": b"GPU is lost"}, {}, "silent", "does not answer: GPU is lost"),
        ({"flags": (*ALL, "foreign")}, {}, "foreign", "process 0 of user 0"),
        ({"flags": (*ALL, "exclusive")}, {}, "fits", ""),
        ({"flags": (*ALL, "busy")}, {}, "fits", ""),
        (
            {"flags": (*ALL, "exclusive", "busy")},
            {},
            "busy",
            "compute mode exclusive, and a process computes on it",
        ),
        ({"flags": (*ALL, "exclusive")}, {"share": 1}, "unshared", "compute mode exclusive: jobs cannot share it"),
        ({"flags": (*ALL, "prohibited")}, {}, "prohibited", "compute mode prohibited"),
        ({"flags": (*ALL, "divided")}, {}, "divided", "divided into MIG instances"),
        ({"flags": (*ALL, "mig")}, {}, "fits", ""),
        ({"flags": (*ALL, "mig")}, {"count": 2}, "alone", "a MIG instance, of which a job gets one and no other GPU"),
    ],
)
def test_what_is_said_of_a_gpu(facts, need, verdict, words):
    probe = machine(1, **{"total": 80 * GIB, "free": 80 * GIB, **facts})
    number = probe.class_of(**need)
    assert probe.explain(number, 0) == words
    counts = probe.counts(number)
    assert counts[verdict] == counts["present"] == 1
    assert probe.fits(number) == (verdict == "fits")
    probe.check_invariants()


def test_the_command_judges_as_the_queue_does():
    """Both have one function for it; the command has the records alone."""
    gpus = [
        Record(DEVICE, 0, VISIBLE | ANSWERS, memory_total=80 * GIB, memory_free=20 * GIB, uuid="GPU-0"),
        Record(DEVICE, 1, VISIBLE | ANSWERS, memory_total=80 * GIB, memory_free=80 * GIB, uuid="GPU-1"),
        Record(DEVICE, 2, VISIBLE | ANSWERS, memory_total=80 * GIB, memory_free=80 * GIB, uuid="GPU-2"),
        Record(DEVICE, 3, VISIBLE, why="GPU is lost"),
    ]
    packed = [pack(gpu) for gpu in gpus]
    leased = [False, False, True, False]
    assert why_not(packed, 90, leased) == [
        ("occupied", "25 % free, 90 % needed"),
        ("fits", ""),
        ("leased", "leased by another queue, or without a lease file"),
        ("silent", "does not answer: GPU is lost"),
    ]
    assert why_not(packed, 24, leased)[0] == ("fits", "")
    assert why_not(packed, 90, leased, 1, 0, 20 * GIB)[0] == ("fits", "")
    with pytest.raises(ValueError, match="a record of 255 bytes"):
        why_not([packed[0][1:]], 90, [False])


# ---- where pids are a container's own -------------------------------------------------------------------------------


def test_an_unseen_process_may_be_that_of_a_job_which_shares_the_gpu():
    probe = machine(1)
    first, mine = start(probe, share=250)
    report = {"flags": (*ALL, "foreign", "busy", "unseen")}
    probe.report(uuid(0), 0, measured_ns=2, **report)
    assert not waits(probe, share=250)
    probe.give_back(first, mine, 3)
    assert not waits(probe, share=250), "nothing newer is known"
    probe.report(uuid(0), 0, measured_ns=4, **report)
    assert waits(probe, share=250), "nobody of ours has it, so it is a stranger"
    assert waits(probe)


def test_a_process_of_another_user_that_is_seen_counts_at_once():
    probe = machine(1)
    start(probe, share=250)
    probe.report(uuid(0), 0, measured_ns=2, flags=(*ALL, "foreign", "busy"))
    assert waits(probe, share=250)
