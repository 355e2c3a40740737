"""Queries of NVML, each one call or a few, and which errors concern one device and which all.

Only this module imports `pynvml`, and only when it opens NVML, because the import takes longer than everything else.
The installed one may be old, or another package of that name, and lack functions or raise anything.
"""

from typing import Any, NamedTuple, NoReturn

MOST_NODES = 1024
MOST_LINKS = 36
# A process may start between the call that counts them and the call that lists them.
TRIES = 3
LISTS_OF_PROCESSES = (  # the newest first: if a driver or a binding does not know one, the next is tried
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetComputeRunningProcesses_v2",
    "nvmlDeviceGetComputeRunningProcesses",
)

# enum nvmlReturn_t, nvmlComputeMode_t and others of nvml.h
UNINITIALIZED = 1
INSUFFICIENT_SIZE = 7
DRIVER_NOT_LOADED = 9
LIBRARY_NOT_FOUND = 12
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
VERSION_MISMATCH = 18
OF_ALL = (UNINITIALIZED, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, VERSION_MISMATCH)
MODE_DEFAULT, MODE_EXCLUSIVE_THREAD, MODE_PROHIBITED, MODE_EXCLUSIVE_PROCESS = range(4)
MIG_ENABLED = 1
SCOPE_NODE = 0

# What nvmlDeviceGetHandleByIndex and similar functions return.
Handle = Any


class Unavailable(Exception):
    """NVML as a whole does not answer. The text is one line that says why."""


class Stale(Unavailable):
    """Only a new process can help: this one has loaded an old driver's library, or a useless one."""


class NoAnswer(Exception):
    """One device does not answer. The text is one line that says why."""


class Refusal(Exception):
    """NVML refuses, with an error code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Missing(Exception):
    """The binding has no such function."""


class Memory(NamedTuple):
    total: int
    free: int


class Identity(NamedTuple):
    uuid: str
    bus: str
    name: str


def load() -> Any:
    """The binding. Raises Unavailable."""
    try:
        import pynvml
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit: a module must not end this process
        if isinstance(error, ImportError) and error.name == "pynvml":
            raise Unavailable("pynvml is not installed: pip install nvidia-ml-py") from None
        raise Stale(f"pynvml cannot be imported: {words(error)}") from None
    if not isinstance(getattr(pynvml, "NVMLError", None), type):
        raise Stale("pynvml is not that of nvidia-ml-py: no NVMLError")
    return pynvml


def words(error: BaseException) -> str:
    """An exception in one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class Nvml:
    def __init__(self, library: Any) -> None:
        """Initialise the result of load(). Raises Unavailable."""
        self._lib = library
        self._ask_all("nvmlInit")

    def close(self) -> None:
        try:
            self._call("nvmlShutdown")
        except (Refusal, Missing, NoAnswer):
            pass  # after an error the shutdown often fails, too

    # ---- which devices exist ----

    def count(self) -> int:
        return int(self._ask_all("nvmlDeviceGetCount"))

    def handle(self, number: int) -> Handle:
        """By NVML's own number, which usually, but not always, follows the PCI bus ids."""
        return self._ask("nvmlDeviceGetHandleByIndex", number)

    def identity(self, handle: Handle) -> Identity:
        pci = self._ask("nvmlDeviceGetPciInfo", handle)
        return Identity(self.uuid(handle), bus_id(pci), self.name(handle))

    def uuid(self, handle: Handle) -> str:
        return text_of(self._ask("nvmlDeviceGetUUID", handle))

    def name(self, handle: Handle) -> str:
        return text_of(self._ask("nvmlDeviceGetName", handle))

    def divided(self, handle: Handle) -> bool:
        mode = self._ask_or(None, "nvmlDeviceGetMigMode", handle)
        return mode is not None and mode[0] == MIG_ENABLED

    def instances(self, handle: Handle) -> list[Handle]:
        """The MIG instances of a divided GPU."""
        found = []
        for number in range(self._ask_or(0, "nvmlDeviceGetMaxMigDeviceCount", handle)):
            instance = self._ask_or(None, "nvmlDeviceGetMigDeviceHandleByIndex", handle, number)
            if instance is not None:
                found.append(instance)
        return found

    def numa(self, handle: Handle, bus: str) -> int:
        """The lowest node of its memory; -1 if neither NVML nor the kernel knows."""
        words = self._ask_or((), "nvmlDeviceGetMemoryAffinity", handle, MOST_NODES // 64, SCOPE_NODE)
        for number, word in enumerate(map(int, words)):
            if word:
                return number * 64 + (word & -word).bit_length() - 1
        try:
            with open(f"/sys/bus/pci/devices/{bus}/numa_node") as file:
                return int(file.read())
        except (OSError, ValueError):
            return -1

    def links(self, handle: Handle) -> list[str]:
        """Bus ids at the other ends of its active NVLinks: GPUs or switches."""
        found = []
        for number in range(MOST_LINKS):
            active = self._ask_or(None, "nvmlDeviceGetNvLinkState", handle, number)
            if active is None:
                break  # past the last one, or there are none
            pci = self._ask_or(None, "nvmlDeviceGetNvLinkRemotePciInfo", handle, number) if active else None
            if pci is not None:
                found.append(bus_id(pci))
        return found

    # ---- what changes ----

    def memory(self, handle: Handle) -> Memory:
        memory = self._ask("nvmlDeviceGetMemoryInfo", handle)
        return Memory(int(memory.total), int(memory.free))

    def compute_mode(self, handle: Handle) -> int:
        return int(self._ask_or(MODE_DEFAULT, "nvmlDeviceGetComputeMode", handle))

    def processes(self, handle: Handle) -> list[int]:
        """The pids of processes that compute on it, as NVML numbers them."""
        for name in LISTS_OF_PROCESSES:
            for _ in range(TRIES):
                try:
                    return [int(process.pid) for process in self._call(name, handle)]
                except Missing:
                    break
                except Refusal as error:
                    if error.code == FUNCTION_NOT_FOUND:
                        break
                    if error.code != INSUFFICIENT_SIZE:
                        self._raise(error)
        raise NoAnswer("its processes cannot be listed")

    # ---- errors ----

    def _call(self, name: str, *arguments: Any) -> Any:
        """Raises Refusal, Missing; NoAnswer for errors that are not NVML's."""
        function = getattr(self._lib, name, None)
        if function is None:
            raise Missing(name)
        try:
            return function(*arguments)
        except self._lib.NVMLError as error:
            raise Refusal(getattr(error, "value", -1), words_of_nvml(error)) from None
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise NoAnswer(f"pynvml: {words(error)}") from None

    def _raise(self, error: Refusal) -> NoReturn:
        if error.code == VERSION_MISMATCH:
            raise Stale("the driver was replaced: its library and its module differ") from None
        raise (Unavailable if error.code in OF_ALL else NoAnswer)(str(error)) from None

    def _ask_all(self, name: str) -> Any:
        """A call that concerns all devices."""
        try:
            return self._ask(name)
        except NoAnswer as error:
            raise Unavailable(str(error)) from None

    def _ask(self, name: str, *arguments: Any) -> Any:
        try:
            return self._call(name, *arguments)
        except Missing:
            raise Stale(f"pynvml is not that of nvidia-ml-py: no {name}") from None
        except Refusal as error:
            self._raise(error)

    def _ask_or(self, default: Any, name: str, *arguments: Any) -> Any:
        """A query that not every device, driver or version of pynvml supports."""
        try:
            return self._call(name, *arguments)
        except (Missing, NoAnswer):
            return default
        except Refusal as error:
            if error.code in (*OF_ALL, GPU_IS_LOST):
                self._raise(error)
            return default


def words_of_nvml(error: Any) -> str:
    try:
        return str(error)
    except Exception:
        return f"NVML error {getattr(error, 'value', '')}"


def text_of(answer: Any) -> str:
    """Older bindings return bytes."""
    return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer)


def bus_id(pci: Any) -> str:
    """As in sysfs; the functions of a GPU that are not 0 are its sound and USB."""
    return f"{pci.domain:04x}:{pci.bus:02x}:{pci.device:02x}.0"
