"""The compiled choice of GPUs against the model of gpu_model.py: the same events, the same answers, after every step.

HYPOTHESIS_PROFILE=deep looks much longer.
"""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from support.gpu_model import WHOLE, GpuModel, Need
from support.hypothesis_profile import SETTINGS
from tsfast.resources.gpus import GpusProbe

UUIDS = [f"GPU-{letter}" for letter in "abcdefgh"]
TOTAL = 1000
VERDICTS = (
    *("hidden", "divided", "prohibited", "alone", "unshared", "small", "silent"),
    *("foreign", "busy", "used", "leased", "occupied", "fits"),
)
choices = st.integers(0, 1 << 12)
elements = st.one_of(st.integers(0, 9), st.sampled_from(UUIDS))
needs = st.one_of(
    st.builds(Need, count=st.integers(1, 5)),
    st.builds(Need, count=st.integers(1, 2), vram=st.sampled_from([500, 950])),
    st.builds(Need, count=st.integers(1, 3), share=st.sampled_from([0, 1, 250, 333, 500, 999]), vram=st.just(0)).filter(
        lambda need: need.share
    ),
    st.builds(
        Need,
        count=st.integers(1, 3),
        share=st.sampled_from([0, 0, 250, 500]),
        vram=st.sampled_from([1, 100, 300, 500, 1000]),
    ),
    st.builds(Need, exact=st.lists(elements, min_size=1, max_size=3, unique=True).map(tuple)),
)
odd = st.sampled_from(
    [(), (), (), (), (), (), ("exclusive",), ("exclusive", "busy"), ("prohibited",), ("divided",), ("mig",)]
)
odder = st.sampled_from(
    [(), (), (), (), (), (), (), ("foreign",), ("foreign", "unseen", "busy"), ("hidden",), ("silent",), ("busy",)]
)
frees = st.sampled_from([1000, 1000, 1000, 1000, 901, 900, 500, 300, 100, 0])


class GpuMachine(RuleBasedStateMachine):
    @initialize(seed=choices, linked=st.sampled_from([0, 1, 2, 3]), nodes=st.sampled_from([0, 1, 2]))
    def begin(self, seed, linked, nodes):
        self.model = GpuModel()
        self.probe = GpusProbe(seed)
        self.now = 100
        self.classes = {}  # Need -> number
        self.running = []  # (job of the model, slots)
        for i, uuid in enumerate(UUIDS[:6]):
            link = 1 + i // linked if linked and i < 5 else 0
            self.tell(uuid, i, {"visible", "answers"}, i % nodes if nodes else -1, link, TOTAL, TOTAL, self.now)
        self.end_of_round()

    def tell(self, uuid, index, flags, numa, link, total, free, measured):
        slot = self.probe.report(
            uuid.encode(), index, flags=flags, numa=numa, link=link, total=total, free=free, measured_ns=measured
        )
        assert self.probe.device(slot)["uuid"] == uuid.encode()
        self.model.report(uuid, index, flags, numa, link, total, free, measured)

    def class_of(self, need):
        if need not in self.classes:
            exact = ",".join(map(str, need.exact)).encode() if need.exact else None
            self.classes[need] = self.probe.class_of(need.count, need.share, need.vram, exact)
            assert self.classes[need] > 0
        return self.classes[need]

    def names(self, slots):
        return {self.probe.device(slot)["uuid"].decode() for slot in slots}

    # ---- rules ------------------------------------------------------------------------------------------------

    @rule(
        which=st.sampled_from(UUIDS),
        index=st.integers(0, 8),
        age=st.sampled_from([0, 0, 0, 0, 0, 1, 5]),
        free=frees,
        kind=odd,
        extra=odder,
        link=st.sampled_from([None, None, None, 0, 1, 2]),
        numa=st.sampled_from([None, None, None, -1, 0, 1]),
        total=st.sampled_from([TOTAL, TOTAL, TOTAL, 999]),
    )
    def report(self, which, index, age, free, kind, extra, link, numa, total):
        known = self.model.devices.get(which)
        if known and known.index is not None and index < 7:
            index = known.index
        flags = {"visible", "answers", *kind, *extra}
        flags -= {"visible"} if "hidden" in extra else {"answers"} if "silent" in extra else set()
        flags -= {"hidden", "silent"}
        link = link if link is not None else known.link if known else 0
        numa = numa if numa is not None else known.numa if known else -1
        self.tell(which, index, flags, numa, link, total, min(free, total), self.now - age)

    @rule()
    def good_round(self):
        """All known devices are there, and free but for what jobs may have."""
        self.now += 1
        for i, (uuid, device) in enumerate(sorted(self.model.devices.items())):
            free = TOTAL - min(TOTAL, self.model.promised(uuid))
            self.tell(uuid, i, {"visible", "answers"}, device.numa, device.link, TOTAL, free, self.now)
        self.end_of_round()

    @rule()
    def end_of_round(self):
        self.probe.round_end()
        self.model.round_end()

    @rule()
    def nvml_fails(self):
        self.probe.failed(b"Driver Not Loaded")
        self.model.failed()

    @rule(index=st.integers(0, 8))
    def left_out(self, index):
        assert (self.probe.without(index, b"hangs") >= 0) == self.model.without(index)

    @rule(percent=st.sampled_from([0, 50, 90, 90, 100]))
    def set_free_percent(self, percent):
        self.probe.set_free_percent(percent)
        self.model.percent = percent

    @rule(which=st.sampled_from(UUIDS), leased=st.booleans())
    def lease(self, which, leased):
        if which in self.model.devices:
            self.probe.set_leased(self.probe.slot_of(which.encode()), leased)
            self.model.devices[which].leased = leased

    @rule()
    def no_leases(self):
        self.probe.clear_leased()
        for device in self.model.devices.values():
            device.leased = False

    @rule(need=needs)
    def want(self, need):
        self.class_of(need)

    @rule(need=needs)
    def start(self, need):
        number = self.class_of(need)
        fits = self.model.fits(need)
        assert self.probe.fits(number) == fits
        slots = self.probe.choose(number)
        assert (slots is not None) == fits
        if not fits:
            return
        chosen = self.names(slots)
        if need.exact:
            assert [self.probe.device(slot)["uuid"].decode() for slot in self.probe.exact_slots(number)] == (
                self.model.listed(need)
            )
            assert chosen == set(self.model.listed(need))
        else:
            assert frozenset(chosen) in self.model.best(need)
        self.probe.take(number, slots)
        assert self.probe.class_of(*self.probe.need_of(number)) == number  # the job's own reference
        self.running.append((self.model.take(need, chosen), slots))

    @rule(
        share=st.sampled_from([0, 0, 100, 250]), vram=st.sampled_from([0, 100, 150, 200, 300]), reported=st.booleans()
    )
    def join(self, share, vram, reported):
        """Small parts, so that several meet on one GPU."""
        if reported:
            self.good_round()
        self.start(Need(share=share if vram else share or 100, vram=vram))

    @precondition(lambda self: self.running)
    @rule(choice=choices, left=st.sampled_from([False, False, False, True]))
    def end(self, choice, left):
        job, slots = self.running.pop(choice % len(self.running))
        self.now += 10
        number = self.classes[job.need]
        self.probe.give_back(number, slots, self.now, left)
        self.probe.class_release(number)
        self.model.give_back(job, self.now, left)

    @precondition(lambda self: self.running)
    @rule()
    def all_end(self):
        """Nothing is leaked: after a report each device is as it was at first."""
        while self.running:
            self.end(0, False)
        self.good_round()
        for slot in range(self.probe.gpus.n_devices):
            device = self.probe.device(slot)
            assert (device["holders"], device["share"], device["promised"], device["fullness"]) == (0, 0, 0, 0)

    @precondition(lambda self: self.classes)
    @rule(choice=choices)
    def forget_class(self, choice):
        in_use = {job.need for job, _ in self.running}
        unused = [need for need in self.classes if need not in in_use]
        if unused:
            self.probe.class_release(self.classes.pop(unused[choice % len(unused)]))

    @rule(seed=choices)
    def restart(self, seed):
        self.probe = GpusProbe(seed)
        self.model.restart()
        self.probe.set_free_percent(self.model.percent)
        self.classes = {}
        uuids = sorted(self.model.devices)
        slots = {uuid: self.probe.slot_for(uuid.encode()) for uuid in uuids}
        for at, (job, _) in enumerate(self.running):
            number = self.class_of(job.need)
            assert self.probe.class_of(*self.probe.need_of(number)) == number
            mine = {slots[uuid] for uuid in job.devices}
            self.probe.restore(number, mine)
            self.running[at] = (job, mine)

    # ---- after each step --------------------------------------------------------------------------------------

    @invariant()
    def sound(self):
        self.probe.check_invariants()

    @invariant()
    def same_answers(self):
        for need, number in self.classes.items():
            assert self.probe.fits(number) == self.model.fits(need), need

    @invariant()
    def same_state(self):
        masks = self.probe.masks()
        for uuid, device in self.model.devices.items():
            slot = self.probe.slot_of(uuid.encode())
            seen = self.probe.device(slot)
            assert (seen["index"], seen["memory_free"]) == (device.index, device.free)
            assert (slot in masks["present"]) == device.present
            assert (slot in masks["usable"]) == self.model.usable(uuid)
            assert seen["holders"] == len(self.model.jobs_on(uuid))
            assert seen["share"] == self.model.share(uuid)
            assert seen["promised"] == self.model.promised(uuid)

    @invariant()
    def nothing_over_committed(self):
        for uuid, device in self.model.devices.items():
            jobs = self.model.jobs_on(uuid)
            assert self.model.share(uuid) <= WHOLE
            whole = [job for job in jobs if job.need.whole]
            assert len(whole) <= 1
            assert not whole or not self.model.sharers(uuid)
            asked = sum(job.need.vram for job in self.model.sharers(uuid))
            assert device.unsure or asked <= device.at_take or not asked

    @invariant()
    def counts_add_up(self):
        for need, number in self.classes.items():
            counts = self.probe.counts(number)
            if need.exact:
                assert counts["wanted"] == len(need.exact)
                assert self.model.fits(need) == (counts["absent"] == 0 and counts["fits"] == counts["present"])
            else:
                assert counts["fits"] == len(self.model.fitting(need))
            assert counts["present"] == sum(counts[name] for name in VERDICTS)


TestGpus = GpuMachine.TestCase
TestGpus.settings = SETTINGS
