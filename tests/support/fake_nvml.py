"""The tests' driver library from Python: machines of any number of GPUs, which change and fail while they are used.

gpus = FakeNvml(folder, devices=8)
gpus.set(3, memory_free=0, processes=[(pid, 1 << 30)])
gpus.hang("nvmlDeviceGetMemoryInfo", 3)
subprocess.run(..., env={**environment, **gpus.env()})
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from support import compiled

GIB = 1 << 30
GPU_IS_LOST = 15

SOURCE = Path(__file__).with_suffix(".c")

# A device's number, or the number of a divided one and its instance's.
Key = int | tuple[int, int]


def library() -> Path:
    """The folder of libnvidia-ml.so.1."""
    return compiled.library(SOURCE, "libnvidia-ml.so.1").parent


@dataclass
class Device:
    uuid: str
    bus: str
    name: str = "Fake GPU"
    memory_total: int = 80 * GIB
    memory_free: int = 80 * GIB - (512 << 20)
    compute_mode: int = 0
    numa: int = -1
    mig: bool = False
    lost: bool = False
    processes: list[tuple[int, int]] = field(default_factory=list)  # pid, bytes
    links: list[str] = field(default_factory=list)  # bus ids of what the NVLinks lead to


def bus_of(number: int) -> str:
    return f"{number // 128:04x}:{1 + number % 128:02x}:00.0"


class FakeNvml:
    def __init__(self, folder: Path, devices: int = 8) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.state = folder / "nvml-state"
        self.generation = 1
        self.faults: list[str] = []
        self.devices: dict[Key, Device] = {}
        self.resize(devices)

    def env(self) -> dict[str, str]:
        """What a process must be started with to see these GPUs."""
        return {"LD_LIBRARY_PATH": str(library()), "FAKE_NVML_STATE": str(self.state)}

    def uuid(self, key: Key) -> str:
        return self.devices[key].uuid

    # ---- changes, each seen at the next call of the library ----

    def resize(self, devices: int) -> None:
        """So many GPUs; those that are there stay as they are."""
        self.devices = {key: device for key, device in self.devices.items() if number_of(key) < devices}
        for number in range(devices):
            uuid = f"GPU-{number:08x}-0000-4000-8000-{number:012x}"
            self.devices.setdefault(number, Device(uuid, bus_of(number)))
        self._write()

    def set(self, key: Key, **changes: object) -> None:
        """Change fields of a Device."""
        for name, value in changes.items():
            assert hasattr(self.devices[key], name), name
            setattr(self.devices[key], name, value)
        self._write()

    def divide(self, number: int, instances: int) -> None:
        """MIG mode with so many instances, known as (number, 0), (number, 1) ...; with 0 there are none yet."""
        parent = self.devices[number]
        parent.mig = True
        for instance in range(instances):
            uuid = f"MIG-{number:08x}-0000-4000-8000-{instance:012x}"
            size = parent.memory_total // 8
            name = f"{parent.name} MIG 1g.10gb"
            self.devices[number, instance] = Device(uuid, parent.bus, name, memory_total=size, memory_free=size)
        self._write()

    def reload(self) -> None:
        """The driver was reloaded: whoever had initialised is told to do it again."""
        self.generation += 1
        self._write()

    def hang(self, function: str, key: Key | None = None) -> None:
        """The call never returns; for all devices if none is named, like the three below."""
        self._fault("hang", function, key, 0)

    def crash(self, function: str, key: Key | None = None) -> None:
        self._fault("crash", function, key, 0)

    def error(self, function: str, key: Key | None = None, *, code: int) -> None:
        self._fault("error", function, key, code)

    def delay(self, function: str, key: Key | None = None, *, ms: int) -> None:
        self._fault("delay", function, key, ms)

    def heal(self) -> None:
        """No more hangs, crashes, errors and delays. A call that hangs already goes on hanging."""
        self.faults.clear()
        self._write()

    # ---- the file ----

    def _fault(self, kind: str, function: str, key: Key | None, value: int) -> None:
        self.faults.append(f"fault {kind} {function} {'*' if key is None else key_text(key)} {value}")
        self._write()

    def _write(self) -> None:
        lines = [f"generation {self.generation}", *self.faults]
        for key, device in self.devices.items():
            at = key_text(key)
            memory = f"{device.memory_total} {device.memory_free}"
            lines.append(
                f"device {at} {device.uuid} {device.bus} {memory} "
                f"{device.compute_mode} {device.numa} {device.mig:d} {device.name}"
            )
            lines += [f"process {at} {pid} {size}" for pid, size in device.processes]
            lines += [f"link {at} {bus}" for bus in device.links]
            if device.lost:
                lines.append(f"fault error * {at} {GPU_IS_LOST}")
        new = self.state.with_suffix(".new")
        new.write_text("\n".join(lines) + "\n")
        os.replace(new, self.state)


def number_of(key: Key) -> int:
    return key if isinstance(key, int) else key[0]


def key_text(key: Key) -> str:
    return str(key) if isinstance(key, int) else f"{key[0]}.{key[1]}"
