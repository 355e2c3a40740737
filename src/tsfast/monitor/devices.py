"""The devices in CUDA's order, MIG instances after the last whole GPU."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tsfast.monitor.nvml import Handle, Identity, NoAnswer, Nvml
from tsfast.monitor.records import ASKING, DIVIDED, MIG, NONE, Record

NOT_ASKED = "it did not answer in time"


@dataclass
class Device:
    uuid: str = ""
    bus: str = ""
    name: str = ""
    kind: int = 0  # MIG, DIVIDED or neither
    numa: int = -1
    link: int = 0
    index: int = NONE
    why: str = ""  # it is not to be asked
    handle: Handle = None
    parent: Handle = None  # of an instance
    links: list[str] = field(default_factory=list)

    def matches(self, words: set[str]) -> bool:
        return str(self.index) in words or self.uuid in words


class Machine:
    """The devices of the last enumeration. A device that no longer identifies itself keeps its identity."""

    def __init__(self, without: set[str]) -> None:
        self.without = without
        self.count = -1
        self.devices: list[Device] = []
        self._known: dict[int, Identity] = {}

    def enumerate(self, nvml: Nvml, count: int) -> Iterator[Record]:
        """Enumerate the devices. Yields each before it is asked."""
        if count != self.count:
            self._known.clear()  # the numbers have changed
        whole: list[Device] = []
        instances: list[Device] = []
        for number in range(count):
            yield Record(ASKING, number)
            device = self._find(nvml, number)
            whole.append(device)
            if device.kind == DIVIDED:
                instances += self._find_instances(nvml, device)
        self.devices = [*in_bus_order(whole), *instances]
        self.count = count
        for index, device in enumerate(self.devices):
            device.index = index
            if device.matches(self.without):
                device.why = NOT_ASKED
        connect(self.devices)

    def _find(self, nvml: Nvml, number: int) -> Device:
        if str(number) in self.without:
            return self._silent(number, NOT_ASKED)
        try:
            handle = nvml.handle(number)
            identity = self._known[number] = nvml.identity(handle)
            if identity.uuid in self.without:
                return self._silent(number, NOT_ASKED)
            device = Device(*identity, numa=nvml.numa(handle, identity.bus), handle=handle)
            if nvml.divided(handle):
                device.kind = DIVIDED
            else:
                device.links = nvml.links(handle)
        except NoAnswer as error:
            return self._silent(number, str(error))
        return device

    def _silent(self, number: int, why: str) -> Device:
        return Device(*self._known.get(number, Identity("", "", "")), why=why)

    def _find_instances(self, nvml: Nvml, parent: Device) -> list[Device]:
        try:
            return [
                Device(
                    uuid=nvml.uuid(handle),
                    bus=parent.bus,
                    name=nvml.name(handle),
                    kind=MIG,
                    numa=parent.numa,
                    handle=handle,
                    parent=parent.handle,
                )
                for handle in nvml.instances(parent.handle)
            ]
        except NoAnswer as error:
            parent.why = str(error)
            return []


def in_bus_order(devices: list[Device]) -> list[Device]:
    """Devices without a known place stay where NVML has them."""
    unknown = [(number, device) for number, device in enumerate(devices) if not device.bus]
    ordered = sorted((device for device in devices if device.bus), key=lambda device: _place(device.bus))
    for number, device in unknown:
        ordered.insert(number, device)
    return ordered


def _place(bus: str) -> list[int]:
    return [int(part, 16) for part in bus.replace(".", ":").split(":")]


def connect(devices: list[Device]) -> None:
    """Number the groups of devices that NVLink connects, directly or through switches; 0 for a device alone."""
    above: dict[str, str] = {}

    def root(bus: str) -> str:
        while above.setdefault(bus, bus) != bus:
            above[bus] = above[above[bus]]
            bus = above[bus]
        return bus

    for device in devices:
        for remote in device.links:
            above[root(remote)] = root(device.bus)
    groups: dict[str, list[Device]] = {}
    for device in devices:
        if device.links:
            groups.setdefault(root(device.bus), []).append(device)
    several = [group for group in groups.values() if len(group) > 1]
    for number, group in enumerate(several, 1):
        for device in group:
            device.link = number
