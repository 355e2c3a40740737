"""The rules of docs/gpus.md in plain Python: dicts of devices, lists of jobs, scans. Slow and easy to check."""

from dataclasses import dataclass, field
from itertools import combinations

WHOLE = 1000


@dataclass(frozen=True)
class Need:
    count: int = 1
    share: int = WHOLE
    vram: int = 0
    exact: tuple = ()  # indices and UUIDs

    @property
    def sharing(self):
        return not self.exact and self.share < WHOLE

    @property
    def whole(self):
        return not self.exact and self.share == WHOLE


@dataclass
class Job:
    need: Need
    devices: set  # UUIDs
    restored: bool = False


@dataclass
class ModelDevice:
    index: int | None = None
    present: bool = False
    told: bool = False  # in this round
    left_out: bool = False
    answers: bool = False
    facts: set = field(default_factory=set)  # visible, exclusive, prohibited, divided, mig
    foreign: bool = False
    busy: bool = False
    link: int = 0
    numa: int = -1
    total: int = 0
    free: int = 0
    changed: int = 0
    at_take: int = 0  # free when the first of its jobs came
    unsure: bool = False  # only a report after its jobs can tell what is free
    leased: bool = False


class GpuModel:
    def __init__(self):
        self.devices = {}  # by UUID
        self.jobs = []
        self.percent = 90

    # ---- what follows from the state --------------------------------------------------------------------------

    def jobs_on(self, uuid):
        return [job for job in self.jobs if uuid in job.devices]

    def sharers(self, uuid):
        return [job for job in self.jobs_on(uuid) if job.need.sharing]

    def share(self, uuid):
        return sum(job.need.share for job in self.sharers(uuid))

    def promised(self, uuid):
        needs = [job.need for job in self.sharers(uuid)]
        parts = sum(need.share for need in needs if not need.vram)
        return sum(need.vram for need in needs) + parts * self.devices[uuid].total // 1000

    def fullness(self, uuid):
        promised, free = self.promised(uuid), self.devices[uuid].at_take
        part = min(1000, promised * 1000 // free if free else 1000) if promised else 0
        return max(self.share(uuid), part)

    def empty(self, device):
        return device.free * 100 > device.total * self.percent

    def usable(self, uuid):
        device = self.devices[uuid]
        if not device.answers or device.foreign or device.facts & {"prohibited", "divided"}:
            return False
        return bool(self.jobs_on(uuid)) or not ("exclusive" in device.facts and device.busy)

    def device_fits(self, uuid, need):
        device = self.devices[uuid]
        if not (device.present and "visible" in device.facts and self.usable(uuid)) or device.leased:
            return False
        jobs = self.jobs_on(uuid)
        if need.whole:
            return not jobs and self.empty(device) and need.vram <= device.free
        if "exclusive" in device.facts or any(not job.need.sharing or job.restored for job in jobs):
            return False
        if need.vram > device.free or (not need.vram and not jobs and not self.empty(device)):
            return False
        if self.share(uuid) + need.share > WHOLE:
            return False
        asked = need.vram
        if not need.vram and any(job.need.vram for job in jobs):
            asked = device.total // 1000 * need.share
        return not asked or not jobs or self.promised(uuid) + asked <= device.at_take

    def listed(self, need):
        """The UUIDs of a list in its order, or None if one is not there or can never be used."""
        found = []
        for element in need.exact:
            for uuid, device in self.devices.items():
                if element in (uuid, device.index) and device.present:
                    if device.facts & {"prohibited", "divided"}:
                        return None
                    if uuid not in found:
                        found.append(uuid)
                    break
            else:
                return None
        return found

    def fitting(self, need):
        found = {uuid for uuid in self.devices if self.device_fits(uuid, need)}
        if need.count > 1:
            found = {uuid for uuid in found if "mig" not in self.devices[uuid].facts}
        return found

    def fits(self, need):
        if need.exact:
            return self.listed(need) is not None
        return len(self.fitting(need)) >= need.count

    def best(self, need):
        """Every set of devices that may be chosen, in words: see the steps."""
        fitting = self.fitting(need)
        joined = {uuid for uuid in fitting if self.sharers(uuid)}
        if need.count == 1 and joined:
            return self.fullest(joined, 1)
        for group_of in (self.link_group, self.node):
            for allowed in (joined, fitting) if need.count > 1 else (fitting,):
                groups = {}
                for uuid in allowed:
                    group = group_of(uuid, need.count)
                    if group is not None:
                        groups.setdefault(group, set()).add(uuid)
                enough = [group for group in groups.values() if len(group) >= need.count]
                if enough:
                    least = min(len(group) for group in enough)
                    smallest = [group for group in enough if len(group) == least]
                    return set().union(*(self.fullest(group, need.count) for group in smallest))
        return self.fullest(fitting, need.count)

    def link_group(self, uuid, count):
        return self.devices[uuid].link or (("alone", uuid) if count == 1 else None)

    def node(self, uuid, count):
        numa = self.devices[uuid].numa
        return numa if numa >= 0 else None

    def fullest(self, uuids, count):
        """The sets of so many of them that have the fullest of the shared ones, then any of the others."""

        def rank(chosen):
            return sorted((self.fullness(uuid) if self.sharers(uuid) else -1 for uuid in chosen), reverse=True)

        sets = [frozenset(chosen) for chosen in combinations(sorted(uuids), count)]
        most = max(map(rank, sets))
        return {chosen for chosen in sets if rank(chosen) == most}

    # ---- what happens -----------------------------------------------------------------------------------------

    def report(self, uuid, index, flags, numa, link, total, free, measured):
        device = self.devices.setdefault(uuid, ModelDevice())
        for other in self.devices.values():
            if other.index == index:
                other.index = None
        device.index = index
        device.present = device.told = True
        device.left_out = False
        device.facts = flags & {"visible", "exclusive", "prohibited", "divided", "mig"}
        device.numa, device.link = numa, link
        device.answers = "answers" in flags
        if device.answers:
            device.total = total
        if device.answers and measured >= device.changed:
            device.free = free
            device.foreign = "foreign" in flags and not ("unseen" in flags and self.jobs_on(uuid))
            if not self.jobs_on(uuid):
                device.busy = "busy" in flags
                device.unsure = False

    def round_end(self):
        for device in self.devices.values():
            if not device.told and not device.left_out:
                device.present, device.index = False, None
            device.told = False

    def failed(self):
        for device in self.devices.values():
            device.answers = False

    def without(self, index):
        for device in self.devices.values():
            if device.index == index and device.present:
                device.left_out, device.answers = True, False
                return True
        return False

    def take(self, need, uuids):
        for uuid in uuids:
            if not self.jobs_on(uuid):
                self.devices[uuid].at_take = self.devices[uuid].free
        self.jobs.append(Job(need, set(uuids)))
        return self.jobs[-1]

    def give_back(self, job, now, left):
        self.jobs.remove(job)
        for uuid in job.devices:
            device = self.devices[uuid]
            device.changed = now
            device.unsure = device.unsure or left
            if not self.jobs_on(uuid):
                device.free = 0 if device.unsure else device.at_take

    def restart(self):
        """Only the running jobs are remembered."""
        kept = {uuid for job in self.jobs for uuid in job.devices}
        self.devices = {uuid: ModelDevice(unsure=True) for uuid in kept}
        for job in self.jobs:
            job.restored = True
