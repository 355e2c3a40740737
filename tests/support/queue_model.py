"""The rules of the queue in plain Python: a list in queue order, a dict of jobs, and scans. Slow and easy to check."""

from dataclasses import dataclass, field

LIVE = ("blocked", "ready", "starting", "running")


@dataclass
class ModelJob:
    id: int
    slots: int
    state: str = "ready"
    bad: bool = False
    holds: int = 0
    gpu_class: int = 0
    array: int = 0
    waits: list = field(default_factory=list)  # (id, must end well) of those that have not ended yet


class QueueModel:
    def __init__(self, max_slots):
        self.max_slots = max_slots
        self.jobs = {}  # known ones, by id
        self.order = []  # ids of live ones
        self.running = []  # ids in the order of their start
        self.ended = []  # ids in the order of ending
        self.skips = []  # ids to be skipped
        self.ghosts = []  # gone, but still waiting
        self.open = set()  # classes of GPU jobs whose GPUs are there
        self.limits = {}  # how many of an array may be starting or running at once

    # ---- what follows from the state --------------------------------------------------------------------------

    def used_slots(self):
        return sum(self.jobs[id].slots for id in self.running)

    def startable(self):
        """The job that is to start now, or None."""
        free = self.max_slots - self.used_slots()
        held_up = False
        for id in self.order:
            job = self.jobs[id]
            if job.state != "ready" or job.slots > self.max_slots:
                continue
            if job.gpu_class and job.gpu_class not in self.open:
                continue
            if job.array and self.active(job.array) >= self.limits[job.array]:
                continue
            if job.slots == 0 or (not held_up and job.slots <= free):
                return id
            held_up = True
        return None

    def active(self, array):
        return sum(self.jobs[id].array == array for id in self.running)

    def held_back(self, job):
        return (
            self.limits[job.array]
            if job.state == "ready" and job.array and (self.active(job.array) >= self.limits[job.array])
            else 0
        )

    def ids(self, *states):
        return [id for id, job in self.jobs.items() if job.state in states]

    def counts(self):
        counts = {state: len(self.ids(state)) for state in (*LIVE, "skipping", "ended")}
        return counts | {"known": len(self.jobs), "ghosts": len(self.ghosts), "used_slots": self.used_slots()}

    # ---- transitions: each returns whether it was possible ----------------------------------------------------

    def add(self, id, slots, after, after_ok, holds, gpu_class, array=0):
        job = self.jobs[id] = ModelJob(id, slots, holds=holds, gpu_class=gpu_class, array=array)
        known = {other: self.jobs[other] for other in (*after, *after_ok) if other in self.jobs and other != id}
        if any(other not in known or known[other].bad for other in after_ok):
            self._skip(job)
            return False
        waits = [(other, False) for other in after] + [(other, True) for other in after_ok]
        job.waits = [(other, ok) for other, ok in waits if other in known and known[other].state != "ended"]
        self.order.append(id)
        self._settle(job)
        return True

    def next_start(self):
        id = self.startable()
        if id is not None:
            self.jobs[id].state = "starting"
            self.running.append(id)
        return id

    def next_skipped(self):
        if not self.skips:
            return None
        id = self.skips.pop(0)
        self._end(self.jobs[id], bad=True)
        return id

    def started(self, id):
        if not self._is(id, "starting"):
            return False
        self.jobs[id].state = "running"
        return True

    def requeue(self, id):
        if not self._is(id, "starting"):
            return False
        self.running.remove(id)
        self.jobs[id].state = "ready"
        return True

    def finish(self, id, bad):
        if not self._is(id, "starting", "running"):
            return False
        self.running.remove(id)
        self.order.remove(id)
        self._end(self.jobs[id], bad)
        return True

    def remove(self, id):
        if not self._is(id, "blocked", "ready"):
            return False
        self.order.remove(id)
        self._leave(id)
        self._resolve(id, bad=True)
        return True

    def cancel(self, id):
        if not self._is(id, "blocked", "ready"):
            return False
        self.jobs[id].holds = 0
        self.order.remove(id)
        self._end(self.jobs[id], bad=True)
        return True

    def forget(self, id):
        if not self._is(id, "ended"):
            return False
        self.ended.remove(id)
        self._leave(id)
        return True

    def hold(self, id):
        if not self._is(id, "blocked", "ready"):
            return False
        self.jobs[id].holds += 1
        self._settle(self.jobs[id])
        return True

    def release(self, id):
        if not self._is(id, "blocked") or not self.jobs[id].holds:
            return False
        self.jobs[id].holds -= 1
        self._settle(self.jobs[id])
        return True

    def urgent(self, id):
        if not self._is(id, "blocked", "ready"):
            return False
        self.order.remove(id)
        self.order.insert(0, id)
        return True

    def swap(self, a, b):
        if a == b or not self._is(a, "blocked", "ready") or not self._is(b, "blocked", "ready"):
            return False
        i, j = self.order.index(a), self.order.index(b)
        self.order[i], self.order[j] = b, a
        return True

    def restart(self):
        """What is no longer known after a restart from the table: what ended jobs waited for."""
        for job in self.jobs.values():
            if job.state == "ended":
                job.waits = []
        self.ghosts = []

    # ---- steps ------------------------------------------------------------------------------------------------

    def _is(self, id, *states):
        return id in self.jobs and self.jobs[id].state in states

    def _settle(self, job):
        job.state = "blocked" if job.waits or job.holds else "ready"

    def _skip(self, job):
        job.state = "skipping"
        job.holds = 0
        self.skips.append(job.id)
        if job.id in self.order:
            self.order.remove(job.id)

    def _end(self, job, bad):
        job.state, job.bad = "ended", bad
        self.ended.append(job.id)
        self._resolve(job.id, bad)

    def _leave(self, id):
        job = self.jobs.pop(id)
        if job.waits:
            self.ghosts.append(job)

    def _resolve(self, id, bad):
        for job in sorted(self.jobs.values(), key=lambda job: job.id):
            hurt = bad and (id, True) in job.waits
            waited = any(other == id for other, ok in job.waits)
            job.waits = [(other, ok) for other, ok in job.waits if other != id]
            if waited and job.state == "blocked":
                if hurt:
                    self._skip(job)
                else:
                    self._settle(job)
        for job in self.ghosts:
            job.waits = [(other, ok) for other, ok in job.waits if other != id]
        self.ghosts = [job for job in self.ghosts if job.waits]
