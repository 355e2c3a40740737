"""The compiled queue against the model of queue_model.py: the same calls, the same answers, after every step.

HYPOTHESIS_PROFILE=deep looks much longer.
"""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from support.hypothesis_profile import SETTINGS
from support.queue_model import LIVE, QueueModel
from tsfast.scheduler.scheduler import SchedulerProbe

# Numbers that choose among the jobs of the moment.
choices = st.integers(0, 1 << 12)


def some(*states):
    """The rule makes sense when there are such jobs."""
    return precondition(lambda self: self.model.ids(*states))


class QueueMachine(RuleBasedStateMachine):
    @initialize(slots=st.integers(1, 6))
    def begin(self, slots):
        self.model = QueueModel(slots)
        self.probe = SchedulerProbe(slots)
        self.given = []  # every id ever given out
        self.next_id = 0
        self.lowered = False
        self.arrays = {}  # number in the model: number in the queue, limit, slots, class of GPUs

    def choose(self, choice, *states):
        """Mostly the id of a job in one of the states, sometimes any id."""
        ids = self.model.ids(*states)
        if not ids or choice % 8 == 7:
            ids = [*self.given, self.next_id]
        return ids[choice // 8 % len(ids)]

    def same(self, name, *values):
        expected = getattr(self.model, name)(*values)
        assert getattr(self.probe, name)(*values) == expected

    # ---- rules ------------------------------------------------------------------------------------------------

    @rule(
        slots=st.integers(0, 5),
        after=st.lists(choices, max_size=4),
        after_ok=st.lists(choices, max_size=4),
        holds=st.sampled_from([0, 0, 0, 0, 1, 2]),
        gap=st.sampled_from([0, 0, 0, 0, 0, 1, 5000, 1 << 33]),
        gpu_class=st.sampled_from([0, 0, 1, 2, 5]),
    )
    def add(self, slots, after, after_ok, holds, gap, gpu_class):
        self.next_id += gap
        states = (*LIVE, "skipping")
        after = [self.choose(choice, *states) for choice in after]
        after_ok = [self.choose(choice, *states) for choice in after_ok]
        self.same("add", self.next_id, slots, after, after_ok, holds, gpu_class)
        if gpu_class in self.model.open:  # the owner opens a class once a job has made it
            self.probe.open_class(gpu_class, True)
        self.given.append(self.next_id)
        self.next_id += 1

    @rule(slots=st.integers(0, 3))
    def add_plain(self, slots):
        self.add(slots, [], [], 0, 0, 0)

    @rule(
        limit=st.integers(1, 3),
        slots=st.integers(0, 3),
        gpu_class=st.sampled_from([0, 0, 0, 1, 2]),
        members=st.integers(1, 8),
        after_ok=st.lists(choices, max_size=1),
        holds=st.sampled_from([0, 0, 0, 1]),
    )
    def add_array(self, limit, slots, gpu_class, members, after_ok, holds):
        name = len(self.model.limits) + 1
        self.model.limits[name] = limit
        self.arrays[name] = (self.probe.new_array(limit, slots, gpu_class), slots, gpu_class)
        after_ok = [self.choose(choice, *LIVE) for choice in after_ok]
        for _ in range(members):
            self.add_member(name, after_ok, holds)

    def add_member(self, name, after_ok, holds):
        array, slots, gpu_class = self.arrays[name]
        expected = self.model.add(self.next_id, slots, [], after_ok, holds, gpu_class, name)
        assert self.probe.add(self.next_id, slots, [], after_ok, holds, array=array) == expected
        if gpu_class in self.model.open:
            self.probe.open_class(gpu_class, True)
        self.given.append(self.next_id)
        self.next_id += 1

    def array_lives(self, name):
        return any(job.array == name and job.state != "ended" for job in self.model.jobs.values())

    @rule(choice=choices)
    def add_to_array(self, choice):
        live = [name for name in self.arrays if self.array_lives(name)]
        if live:
            self.add_member(live[choice % len(live)], [], 0)

    @rule(limit=st.integers(1, 3))
    def array_without_members(self, limit):
        self.probe.drop_array(self.probe.new_array(limit))

    @some(*LIVE)
    @rule(choice=choices, slots=st.integers(0, 2))
    def add_after_ok(self, choice, slots):
        self.add(slots, [], [choice], 0, 0, 0)

    @rule(gpu_class=st.sampled_from([1, 2, 5]), open=st.booleans())
    def open_class(self, gpu_class, open):
        (self.model.open.add if open else self.model.open.discard)(gpu_class)
        self.probe.open_class(gpu_class, open)
        ready = [
            job
            for job in self.model.jobs.values()
            if job.gpu_class == gpu_class and job.state == "ready" and not self.model.held_back(job)
        ]
        if not ready:
            assert not self.probe.class_waits(gpu_class)
        elif all(job.slots <= self.model.max_slots for job in ready):
            assert self.probe.class_waits(gpu_class)

    @rule()
    def start_all(self):
        while True:
            id = self.model.next_start()
            assert self.probe.next_start() == id
            if id is None:
                break
            if self.model.jobs[id].slots:
                assert self.model.used_slots() <= self.model.max_slots
                self.lowered = False
        # No job waits that could start.
        assert self.model.startable() is None

    @rule()
    def start_one(self):
        self.same("next_start")

    @some("skipping")
    @rule()
    def skip_one(self):
        self.same("next_skipped")

    @some("skipping")
    @rule()
    def skip_all(self):
        while self.model.skips:
            self.same("next_skipped")
        assert self.probe.next_skipped() is None

    @some("starting")
    @rule(choice=choices)
    def started(self, choice):
        self.same("started", self.choose(choice, "starting"))

    @some("starting")
    @rule(choice=choices)
    def requeue(self, choice):
        self.same("requeue", self.choose(choice, "starting"))

    @some("starting", "running")
    @rule(choice=choices, bad=st.booleans())
    def finish(self, choice, bad):
        self.same("finish", self.choose(choice, "starting", "running"), bad)

    @some("blocked", "ready")
    @rule(choice=choices)
    def remove(self, choice):
        self.same("remove", self.choose(choice, "blocked", "ready"))

    @some("blocked", "ready")
    @rule(choice=choices)
    def cancel(self, choice):
        self.same("cancel", self.choose(choice, "blocked", "ready"))

    @some("ended")
    @rule(choice=choices)
    def forget(self, choice):
        self.same("forget", self.choose(choice, "ended"))

    @some("blocked", "ready")
    @rule(choice=choices)
    def hold(self, choice):
        self.same("hold", self.choose(choice, "blocked", "ready"))

    @some("blocked")
    @rule(choice=choices)
    def release(self, choice):
        self.same("release", self.choose(choice, "blocked"))

    @some("blocked", "ready")
    @rule(choice=choices)
    def urgent(self, choice):
        self.same("urgent", self.choose(choice, "blocked", "ready"))

    @some("blocked", "ready")
    @rule(a=choices, b=choices)
    def swap(self, a, b):
        self.same("swap", self.choose(a, "blocked", "ready"), self.choose(b, "blocked", "ready"))

    @rule(slots=st.integers(1, 6))
    def set_slots(self, slots):
        self.lowered = self.lowered or slots < self.model.max_slots
        self.model.max_slots = slots
        self.probe.set_slots(slots)

    @precondition(lambda self: not self.model.skips)
    @rule()
    def restart(self):
        fresh = SchedulerProbe(self.model.max_slots)
        self.model.restart()
        jobs = sorted(self.model.jobs.values(), key=lambda job: job.id)
        for name, (_, slots, gpu_class) in self.arrays.items():
            if self.array_lives(name):
                self.arrays[name] = (fresh.new_array(self.model.limits[name], slots, gpu_class), slots, gpu_class)
        for job in jobs:
            state = "ready" if job.state == "blocked" else job.state
            order = self.probe.get(job.id)["order"]
            array = self.arrays[job.array][0] if job.array and job.state != "ended" else 0
            fresh.restore(job.id, job.slots, order, state, job.bad, job.gpu_class, array)
        for job in jobs:
            after = [id for id, ok in job.waits if not ok]
            after_ok = [id for id, ok in job.waits if ok]
            if after or after_ok or job.holds:
                assert fresh.link(job.id, after, after_ok, job.holds)
        for id in self.model.running:
            assert fresh.latest_start(id)
        for gpu_class in self.model.open:
            fresh.open_class(gpu_class, True)
        self.probe = fresh

    # ---- after each step --------------------------------------------------------------------------------------

    @invariant()
    def sound(self):
        self.probe.check_invariants()

    @invariant()
    def same_state(self):
        model, probe = self.model, self.probe
        assert probe.counts() == model.counts()
        assert probe.live() == model.order
        assert probe.live(3) == model.order[:3]
        assert probe.running() == model.running
        assert probe.ended() == model.ended
        assert probe.last_added() == max(model.jobs, default=None)
        for id in self.given:
            seen, job = probe.get(id), model.jobs.get(id)
            if job is None:
                assert seen is None
            else:
                expected = (job.slots, job.state, job.bad, len(job.waits) + job.holds)
                assert (seen["slots"], seen["state"], seen["bad"], seen["pending"]) == expected
                assert seen["held_back"] == model.held_back(job)
        listed, id = [], probe.next_id()
        while id is not None:
            listed.append(id)
            id = probe.next_id(id)
        assert listed == sorted(model.jobs)
        for id in self.given:
            assert probe.next_id(id) == min((other for other in model.jobs if other > id), default=None)

    @invariant()
    def limits_hold(self):
        for name, limit in self.model.limits.items():
            assert self.model.active(name) <= limit

    @invariant()
    def slots_hold(self):
        assert self.lowered or self.model.used_slots() <= self.model.max_slots


TestQueue = QueueMachine.TestCase
TestQueue.settings = SETTINGS
