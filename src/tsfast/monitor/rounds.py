"""One round: announces and queries every device."""

import time
from collections.abc import Iterator

from tsfast.monitor.devices import Device, Machine
from tsfast.monitor.nvml import (
    MODE_EXCLUSIVE_PROCESS,
    MODE_EXCLUSIVE_THREAD,
    MODE_PROHIBITED,
    NoAnswer,
    Nvml,
    Unavailable,
    load,
)
from tsfast.monitor.processes import owner, pids_are_our_own
from tsfast.monitor.records import (
    ANSWERS,
    ASKING,
    BUSY,
    DEVICE,
    DIVIDED,
    EXCLUSIVE,
    FOREIGN,
    MOST,
    NONE,
    PROHIBITED,
    ROUND,
    UNSEEN,
    VISIBLE,
    Record,
)
from tsfast.monitor.visible import visible

# The interval of enumeration even if the count stays the same: MIG instances come and go, and NVLinks come up.
ROUNDS_PER_ENUMERATION = 40


class Poller:
    def __init__(self, own_uid: int, without: set[str], wanted: str | None, memory_only: bool) -> None:
        self.own_uid = own_uid
        self.wanted = wanted
        self.memory_only = memory_only
        self.own_pids = pids_are_our_own()
        self._machine = Machine(without)
        self._nvml: Nvml | None = None
        self._rounds = 0

    def round(self) -> Iterator[Record]:
        """The records of one round. Raises Unavailable; NVML is then shut down, and the next round opens it again."""
        try:
            yield from self._round()
        except Unavailable:
            self.close()
            raise

    def close(self) -> None:
        if self._nvml is not None:
            self._nvml.close()
            self._nvml = None

    def _round(self) -> Iterator[Record]:
        if self._nvml is None:
            yield Record(ASKING, why="while pynvml was imported")
            library = load()
        yield Record(ASKING)
        if self._nvml is None:
            self._nvml = Nvml(library)
            self._rounds = 0
        nvml, machine = self._nvml, self._machine
        count = nvml.count()
        if self._rounds % ROUNDS_PER_ENUMERATION == 0 or count != machine.count:
            yield from machine.enumerate(nvml, count)
            self._rounds = 0
        self._rounds += 1
        devices = machine.devices[:MOST]
        allowed = visible(self.wanted, [(device.index, device.uuid) for device in devices])
        answers, silent = 0, ""
        for device in devices:
            yield Record(ASKING, device.index)
            record = self._ask(nvml, device)
            if device.index in allowed:
                record.flags |= VISIBLE
            if record.flags & ANSWERS:
                answers += 1
            elif not device.matches(machine.without):
                silent = silent or record.why
                self._rounds = 0  # it may be another one now, or back again
            yield record
        yield Record(ROUND, len(devices))
        if silent and not answers:
            raise Unavailable(f"no GPU answers: {silent}")

    def _ask(self, nvml: Nvml, device: Device) -> Record:
        about = Record(
            DEVICE,
            device.index,
            device.kind,
            device.numa,
            device.link,
            measured_ns=time.monotonic_ns(),
            uuid=device.uuid,
            bus=device.bus,
            name=device.name,
            why=device.why,
        )
        if not device.why:
            try:
                self._measure(nvml, device, about)
                about.flags |= ANSWERS
            except NoAnswer as error:
                about.why = str(error)
        return about

    def _measure(self, nvml: Nvml, device: Device, about: Record) -> None:
        about.memory_total, about.memory_free = nvml.memory(device.handle)
        if device.kind == DIVIDED:
            return
        mode = nvml.compute_mode(device.parent or device.handle)
        about.flags |= EXCLUSIVE if mode in (MODE_EXCLUSIVE_PROCESS, MODE_EXCLUSIVE_THREAD) else 0
        about.flags |= PROHIBITED if mode == MODE_PROHIBITED else 0
        if self.memory_only:
            return
        pids = nvml.processes(device.handle)
        about.flags |= BUSY if pids else 0
        stranger = self._foreign(pids)
        if stranger is not None:
            about.flags |= FOREIGN
            about.foreign_pid, about.foreign_uid = stranger
            about.flags |= UNSEEN if self.own_pids and about.foreign_uid == NONE else 0

    def _foreign(self, pids: list[int]) -> tuple[int, int] | None:
        """The first foreign process, pid and uid: one with a known user before a hidden one."""
        unseen = None
        for pid in pids:
            uid = owner(pid)
            if uid is None:
                unseen = unseen or (pid, NONE)
            elif uid != self.own_uid:
                return pid, uid
        return unseen
