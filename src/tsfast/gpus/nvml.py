"""Questions to NVML, each one call or a few, and which errors concern one device and which all.

`pynvml` is imported here alone, and only when NVML is opened: it takes longer than all the rest.
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

MOST_NODES = 1024
# A process may start between the call that counts them and the call that lists them.
TRIES = 3

# What nvmlDeviceGetHandleByIndex and its kin hand out.
Handle = Any


class Unavailable(Exception):
    """NVML as a whole does not answer. The text is one line that says why."""


class Stale(Unavailable):
    """The driver was replaced, and the library that this process has loaded is that of the old one."""


class NoAnswer(Exception):
    """One device does not answer. The text is one line that says why."""


class Memory(NamedTuple):
    total: int
    free: int


class Identity(NamedTuple):
    uuid: str
    bus: str
    name: str


class Nvml:
    def __init__(self) -> None:
        """Load and initialise. Raises Unavailable."""
        try:
            import pynvml
        except ImportError as error:
            what = (
                "is not installed: pip install nvidia-ml-py"
                if error.name == "pynvml"
                else f"cannot be imported: {error}"
            )
            raise Unavailable(f"pynvml {what}") from None
        self._lib = pynvml
        self._of_all = (
            pynvml.NVML_ERROR_UNINITIALIZED,
            pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
            pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
            pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
        )
        self._ask_all(pynvml.nvmlInit)

    def close(self) -> None:
        try:
            self._lib.nvmlShutdown()
        except self._lib.NVMLError:
            pass  # what is shut down for an error is often broken in this too

    # ---- who is there ----

    def count(self) -> int:
        return int(self._ask_all(self._lib.nvmlDeviceGetCount))

    def handle(self, number: int) -> Handle:
        """By NVML's own number, which nearly always, but not surely, follows the PCI bus ids."""
        return self._ask(self._lib.nvmlDeviceGetHandleByIndex, number)

    def identity(self, handle: Handle) -> Identity:
        pci = self._ask(self._lib.nvmlDeviceGetPciInfo, handle)
        return Identity(self.uuid(handle), bus_id(pci), self.name(handle))

    def uuid(self, handle: Handle) -> str:
        return str(self._ask(self._lib.nvmlDeviceGetUUID, handle))

    def name(self, handle: Handle) -> str:
        return str(self._ask(self._lib.nvmlDeviceGetName, handle))

    def divided(self, handle: Handle) -> bool:
        mode = self._ask_or(None, self._lib.nvmlDeviceGetMigMode, handle)
        return mode is not None and mode[0] == self._lib.NVML_DEVICE_MIG_ENABLE

    def instances(self, handle: Handle) -> list[Handle]:
        """The MIG instances of a divided GPU."""
        found = []
        for number in range(self._ask_or(0, self._lib.nvmlDeviceGetMaxMigDeviceCount, handle)):
            instance = self._ask_or(None, self._lib.nvmlDeviceGetMigDeviceHandleByIndex, handle, number)
            if instance is not None:
                found.append(instance)
        return found

    def numa(self, handle: Handle, bus: str) -> int:
        """The lowest node of its memory; -1 if neither NVML nor the kernel knows."""
        words = self._ask_or(
            (), self._lib.nvmlDeviceGetMemoryAffinity, handle, MOST_NODES // 64, self._lib.NVML_AFFINITY_SCOPE_NODE
        )
        for number, word in enumerate(map(int, words)):
            if word:
                return number * 64 + (word & -word).bit_length() - 1
        try:
            with open(f"/sys/bus/pci/devices/{bus}/numa_node") as file:
                return int(file.read())
        except (OSError, ValueError):
            return -1

    def links(self, handle: Handle) -> list[str]:
        """Bus ids of what its active NVLinks lead to: GPUs or switches."""
        found = []
        for number in range(self._lib.NVML_NVLINK_MAX_LINKS):
            active = self._ask_or(None, self._lib.nvmlDeviceGetNvLinkState, handle, number)
            if active is None:
                break  # past the last one, or there are none
            pci = self._ask_or(None, self._lib.nvmlDeviceGetNvLinkRemotePciInfo, handle, number) if active else None
            if pci is not None:
                found.append(bus_id(pci))
        return found

    # ---- what changes ----

    def memory(self, handle: Handle) -> Memory:
        memory = self._ask(self._lib.nvmlDeviceGetMemoryInfo, handle)
        return Memory(int(memory.total), int(memory.free))

    def compute_mode(self, handle: Handle) -> int:
        return int(self._ask_or(self._lib.NVML_COMPUTEMODE_DEFAULT, self._lib.nvmlDeviceGetComputeMode, handle))

    def exclusive(self, mode: int) -> bool:
        return mode in (self._lib.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS, self._lib.NVML_COMPUTEMODE_EXCLUSIVE_THREAD)

    def prohibited(self, mode: int) -> bool:
        return bool(mode == self._lib.NVML_COMPUTEMODE_PROHIBITED)

    def processes(self, handle: Handle) -> list[int]:
        """Pids of those that compute on it, as this process sees them."""
        listing = self._lib.nvmlDeviceGetComputeRunningProcesses_v3
        older = getattr(self._lib, "nvmlDeviceGetComputeRunningProcesses_v2", None)  # of drivers before 510
        for _ in range(TRIES):
            try:
                return [int(process.pid) for process in listing(handle)]
            except self._lib.NVMLError as error:
                if error.value == self._lib.NVML_ERROR_FUNCTION_NOT_FOUND and older is not None:
                    listing, older = older, None
                elif error.value != self._lib.NVML_ERROR_INSUFFICIENT_SIZE:
                    self._raise(error)
        raise NoAnswer("its processes cannot be listed")

    # ---- errors ----

    def _raise(self, error: Any) -> None:
        if error.value == self._lib.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
            raise Stale("the driver was replaced: its library and its module differ")
        raise (Unavailable if error.value in self._of_all else NoAnswer)(str(error))

    def _ask_all(self, function: Callable[..., Any]) -> Any:
        """A call that concerns all devices."""
        try:
            return function()
        except self._lib.NVMLError as error:
            if error.value == self._lib.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
                self._raise(error)
            raise Unavailable(str(error)) from None

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._lib.NVMLError as error:
            self._raise(error)

    def _ask_or(self, default: Any, function: Callable[..., Any], *arguments: Any) -> Any:
        """Something that not every device, driver or version of pynvml knows."""
        try:
            return function(*arguments)
        except self._lib.NVMLError as error:
            if error.value in (*self._of_all, self._lib.NVML_ERROR_GPU_IS_LOST):
                self._raise(error)
            return default


def bus_id(pci: Any) -> str:
    """As in sysfs; the functions of a GPU that are not 0 are its sound and USB."""
    return f"{pci.domain:04x}:{pci.bus:02x}:{pci.device:02x}.0"


def owner(pid: int) -> int | None:
    """The uid that a process runs as; None if it is not to be seen from here."""
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
