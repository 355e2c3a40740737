"""The poller as a real process, with the real pynvml, over a driver library of the tests' own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.fake_nvml import GIB, FakeNvml, bus_of, library
from support.gpu_poller import NO_PROCESS, Poller
from support.patience import wait_until
from support.processes import alive
from tsfast.monitor import records
from tsfast.monitor.records import ANSWERS, BUSY, DIVIDED, EXCLUSIVE, FOREIGN, MIG, PROHIBITED, VISIBLE, Record

FUNCTION_NOT_FOUND = 13
VERSION_MISMATCH = 18
UNKNOWN_ERROR = 999
NOBODY = 65534
FREE = VISIBLE | ANSWERS

Start = Callable[..., Poller]


@pytest.fixture
def start(nvml: FakeNvml) -> Iterator[Start]:
    pollers: list[Poller] = []

    def start(*words: object, **options: object) -> Poller:
        pollers.append(Poller(nvml, *words, **options))
        return pollers[-1]

    yield start
    for poller in pollers:
        poller.end()


def flags(devices: list[Record]) -> list[int]:
    return [device.flags for device in devices]


def asking(index: int) -> Callable[[Record], bool]:
    return lambda record: (record.kind, record.index) == (records.ASKING, index)


# ---- what is told ----


@pytest.mark.parametrize("count", [1, 8, 64, 256])
def test_devices_are_told_in_order(nvml: FakeNvml, start: Start, count: int) -> None:
    nvml.resize(count)
    nvml.set(count - 1, name="The last one", memory_total=24 * GIB, memory_free=5 * GIB)
    devices = start().round()
    assert [device.uuid for device in devices] == [nvml.uuid(number) for number in range(count)]
    assert [device.bus for device in devices] == [bus_of(number) for number in range(count)]
    assert set(flags(devices)) == {FREE}
    assert all(device.measured_ns > 0 for device in devices)
    last = devices[-1]
    assert (last.name, last.memory_total, last.memory_free) == ("The last one", 24 * GIB, 5 * GIB)


def test_a_machine_without_gpus(nvml: FakeNvml, start: Start) -> None:
    nvml.resize(0)
    assert start().round() == []


def test_the_first_record_comes_before_nvml_is_asked(nvml: FakeNvml, start: Start) -> None:
    nvml.hang("nvmlInitWithFlags")
    poller = start()
    first = poller.read()
    assert (first.kind, first.index) == (records.ASKING, records.NONE)
    poller.child.kill()
    assert poller.rest() == []


def test_slow_initialisation(nvml: FakeNvml, start: Start) -> None:
    nvml.delay("nvmlInitWithFlags", ms=400)
    nvml.delay("nvmlDeviceGetHandleByIndex", ms=20)
    assert flags(start().round()) == [FREE] * 8


def test_order_is_that_of_bus_ids_whatever_nvml_says(nvml: FakeNvml, start: Start) -> None:
    for number in range(8):
        nvml.set(number, bus=f"{number % 2:04x}:{0xF0 - number:02x}:00.0")
    devices = start().round()
    assert [device.bus for device in devices] == sorted(device.bus for device in devices)
    assert [device.uuid for device in devices] == [nvml.uuid(number) for number in (6, 4, 2, 0, 7, 5, 3, 1)]


def test_memory_changes(nvml: FakeNvml, start: Start) -> None:
    poller = start()
    before = poller.round()
    nvml.set(3, memory_free=17)
    after = poller.round_until(lambda devices: devices[3].memory_free == 17)
    assert after[3].measured_ns > before[3].measured_ns


def test_number_of_devices_changes(nvml: FakeNvml, start: Start) -> None:
    poller = start()
    poller.round()
    nvml.resize(3)
    poller.round_until(lambda devices: len(devices) == 3)
    nvml.resize(9)
    assert flags(poller.round_until(lambda devices: len(devices) == 9)) == [FREE] * 9


def test_a_byte_asks_for_a_round_at_once(nvml: FakeNvml, start: Start) -> None:
    poller = start(period=3_600_000)
    poller.round()
    nvml.set(0, memory_free=1)
    poller.ask()
    assert poller.round()[0].memory_free == 1
    poller.child.stdin.close()
    assert poller.child.poll() is None


def test_once(nvml: FakeNvml, start: Start) -> None:
    poller = start("--once")
    assert len(poller.round()) == 8
    assert poller.rest() == []
    assert poller.child.wait() == 0


# ---- processes and compute modes ----


@pytest.mark.root
def test_process_of_another_user(nvml: FakeNvml, start: Start, stranger: int) -> None:
    nvml.set(2, processes=[(os.getpid(), GIB), (stranger, GIB)])
    nvml.set(5, processes=[(os.getpid(), GIB)])
    devices = start().round()
    assert (devices[2].flags, devices[2].foreign_pid, devices[2].foreign_uid) == (
        FREE | BUSY | FOREIGN,
        stranger,
        NOBODY,
    )
    assert devices[5].flags == FREE | BUSY
    theirs = start("--own-uid", NOBODY).round()
    assert (theirs[2].foreign_pid, theirs[2].foreign_uid) == (os.getpid(), 0)


@pytest.mark.root
def test_foreign_process_comes_and_goes(nvml: FakeNvml, start: Start, stranger: int) -> None:
    poller = start()
    assert flags(poller.round()) == [FREE] * 8
    nvml.set(7, processes=[(stranger, 1)])
    poller.round_until(lambda devices: devices[7].flags & FOREIGN)
    nvml.set(7, processes=[])
    poller.round_until(lambda devices: devices[7].flags == FREE)


def test_process_that_cannot_be_seen_is_foreign(nvml: FakeNvml, start: Start) -> None:
    nvml.set(1, processes=[(NO_PROCESS, 1)])
    device = start().round()[1]
    assert (device.flags, device.foreign_pid, device.foreign_uid) == (FREE | BUSY | FOREIGN, NO_PROCESS, records.NONE)


def test_many_processes(nvml: FakeNvml, start: Start) -> None:
    nvml.set(0, processes=[(os.getpid(), 1)] * 500 + [(NO_PROCESS, 1)])
    assert start().round()[0].foreign_pid == NO_PROCESS


def test_a_driver_with_the_older_list_of_processes(nvml: FakeNvml, start: Start) -> None:
    nvml.error("nvmlDeviceGetComputeRunningProcesses_v3", code=FUNCTION_NOT_FOUND)
    nvml.set(0, processes=[(NO_PROCESS, 1)])
    assert flags(start().round())[:2] == [FREE | BUSY | FOREIGN, FREE]


def test_processes_that_cannot_be_listed_count_unless_memory_alone_is_asked_for(nvml: FakeNvml, start: Start) -> None:
    nvml.error("nvmlDeviceGetComputeRunningProcesses", 4, code=UNKNOWN_ERROR)
    nvml.set(5, processes=[(NO_PROCESS, 1)])
    device = start().round()[4]
    assert (device.flags, device.why) == (VISIBLE, "Unknown Error")
    assert flags(start(TS_GPU_MEMORY_ONLY="1").round()) == [FREE] * 8


@pytest.mark.parametrize(("mode", "flag"), [(0, 0), (1, EXCLUSIVE), (2, PROHIBITED), (3, EXCLUSIVE)])
def test_compute_modes(nvml: FakeNvml, start: Start, mode: int, flag: int) -> None:
    nvml.set(6, compute_mode=mode)
    assert flags(start().round())[5:8] == [FREE, FREE | flag, FREE]


# ---- where devices are ----


def test_nvlink_groups(nvml: FakeNvml, start: Start) -> None:
    switch = "0000:c1:00.0"
    nvml.set(0, links=[bus_of(1), bus_of(1)])
    nvml.set(1, links=[bus_of(0), bus_of(0)])
    nvml.set(2, links=[switch])
    nvml.set(3, links=["0000:c2:00.0"])  # the only one at that switch
    nvml.set(4, links=["0000:c3:00.0", switch])
    nvml.set(5, links=[bus_of(6)])
    nvml.set(6, links=[bus_of(5), bus_of(2)])
    assert [device.link for device in start().round()] == [1, 1, 2, 0, 2, 2, 2, 0]


def test_numa_nodes(nvml: FakeNvml, start: Start) -> None:
    for number, node in enumerate([0, 1, 63, 64, 1023]):
        nvml.set(number, numa=node)
    assert [device.numa for device in start().round()][:6] == [0, 1, 63, 64, 1023, -1]


def test_mig_instances_follow_the_last_whole_gpu(nvml: FakeNvml, start: Start) -> None:
    nvml.divide(1, 2)
    nvml.divide(6, 0)
    nvml.set((1, 1), memory_free=5, processes=[(NO_PROCESS, 1)])
    poller = start()
    devices = poller.round()
    assert flags(devices)[:8] == [FREE, FREE | DIVIDED, FREE, FREE, FREE, FREE, FREE | DIVIDED, FREE]
    assert [device.uuid for device in devices[8:]] == [nvml.uuid((1, 0)), nvml.uuid((1, 1))]
    assert flags(devices)[8:] == [FREE | MIG, FREE | MIG | BUSY | FOREIGN]
    assert (devices[9].bus, devices[9].memory_free) == (bus_of(1), 5)
    nvml.divide(6, 1)
    poller.round_until(lambda devices: len(devices) == 11)


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        ("", {0, 1, 2, 3, 4, 5, 6, 7}),
        ("0", {0}),
        (" 7, 2,", {2, 7}),
        ("GPU-00000003-0000-4000-8000-000000000003,1", {1, 3}),
        ("gpu-00000004", {4}),
        ("GPU-0000000", set()),  # several begin so
        ("8,GPU-12345678,5", {5}),
    ],
)
def test_visible_devices(start: Start, value: str, allowed: set[int]) -> None:
    devices = start(TS_VISIBLE_DEVICES=value).round()
    assert {device.index for device in devices if device.flags & VISIBLE} == allowed
    assert all(device.flags & ANSWERS for device in devices)


@pytest.mark.parametrize("value", ["all", "0,-1", "0;1", "0x1"])
def test_visible_devices_that_mean_nothing(start: Start, value: str) -> None:
    poller = start(TS_VISIBLE_DEVICES=value)
    assert "TS_VISIBLE_DEVICES" in poller.failure()
    assert poller.child.wait() == 1


# ---- what fails ----


def test_lost_gpu_and_its_return(nvml: FakeNvml, start: Start) -> None:
    poller = start()
    poller.round()
    nvml.set(3, lost=True)
    devices = poller.round_until(lambda devices: not devices[3].flags & ANSWERS)
    for lost in (devices[3], poller.round()[3]):
        assert (lost.uuid, lost.bus, lost.why, lost.flags) == (nvml.uuid(3), bus_of(3), "GPU is lost", VISIBLE)
    assert flags(devices)[4:] == [FREE] * 4
    nvml.set(3, lost=False)
    assert flags(poller.round_until(lambda devices: devices[3].flags & ANSWERS)) == [FREE] * 8


def test_a_gpu_that_was_never_there_has_no_name(nvml: FakeNvml, start: Start) -> None:
    nvml.set(3, lost=True)
    devices = start().round()
    assert (devices[3].uuid, devices[3].why) == ("", "GPU is lost")
    assert devices[4].uuid == nvml.uuid(4)


def test_all_lost_is_a_failure_of_nvml(nvml: FakeNvml, start: Start) -> None:
    poller = start()
    poller.round()
    for number in range(8):
        nvml.set(number, lost=True)
    assert poller.failure() == "no GPU answers: GPU is lost"
    for number in range(8):
        nvml.set(number, lost=False)
    poller.ask()
    assert flags(poller.round()) == [FREE] * 8


def test_a_call_that_fails_concerns_its_device(nvml: FakeNvml, start: Start) -> None:
    nvml.error("nvmlDeviceGetMemoryInfo", 2, code=UNKNOWN_ERROR)
    devices = start().round()
    assert (devices[2].flags, devices[2].why, devices[2].uuid) == (VISIBLE, "Unknown Error", nvml.uuid(2))
    assert devices[3].flags == FREE


@pytest.mark.parametrize("function", ["nvmlDeviceGetHandleByIndex", "nvmlDeviceGetUUID", "nvmlDeviceGetNvLinkState"])
def test_who_hangs_while_it_is_found_was_named_last(nvml: FakeNvml, start: Start, function: str) -> None:
    nvml.hang(function, 3)
    poller = start()
    poller.until(asking(3))
    poller.child.kill()
    assert poller.rest() == []


@pytest.mark.parametrize("function", ["nvmlDeviceGetMemoryInfo", "nvmlDeviceGetComputeRunningProcesses"])
def test_who_hangs_while_it_is_measured_was_named_last(nvml: FakeNvml, start: Start, function: str) -> None:
    nvml.hang(function, 3)
    poller = start()
    poller.until(lambda record: record.kind == records.DEVICE and record.index == 2)
    poller.until(asking(3))
    poller.child.kill()
    assert poller.rest() == []


def test_who_crashes_was_named_last(nvml: FakeNvml, start: Start) -> None:
    nvml.crash("nvmlDeviceGetComputeRunningProcesses", 5)
    poller = start()
    last = poller.rest()[-1]
    assert (last.kind, last.index) == (records.ASKING, 5)
    assert poller.child.wait() == -signal.SIGSEGV


@pytest.mark.parametrize("by", ["uuid", "index"])
def test_without_a_device_that_hangs(nvml: FakeNvml, start: Start, by: str) -> None:
    nvml.hang("nvmlDeviceGetMemoryInfo" if by == "uuid" else "*", 3)
    poller = start("--without", nvml.uuid(3) if by == "uuid" else 3)
    for devices in (poller.round(), poller.round()):
        assert (devices[3].flags, devices[3].why) == (VISIBLE, "it did not answer in time")
        assert devices[3].uuid == (nvml.uuid(3) if by == "uuid" else "")
        assert flags(devices)[4:] == [FREE] * 4


def test_the_only_device_that_is_there_is_left_out(nvml: FakeNvml, start: Start) -> None:
    nvml.resize(1)
    poller = start("--without", 0)
    assert flags(poller.round()) == flags(poller.round()) == [VISIBLE]


def test_the_library_is_missing_and_comes(tmp_path: Path, nvml: FakeNvml, start: Start) -> None:
    there = tmp_path / "libnvidia-ml.so.1"
    there.touch()  # not a library; found before that of a machine with GPUs
    poller = start(LD_LIBRARY_PATH=str(tmp_path))
    assert poller.failure() == "NVML Shared Library Not Found"
    there.unlink()
    there.symlink_to(library() / "libnvidia-ml.so.1")
    poller.ask()
    assert flags(poller.round()) == [FREE] * 8


def test_pynvml_is_missing() -> None:
    code = "import runpy, sys; sys.modules['pynvml'] = None; runpy.run_module('tsfast.monitor', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code, "--once"], stdin=subprocess.DEVNULL, capture_output=True)
    last = records.unpack(done.stdout[-records.SIZE :])
    assert (done.returncode, last.why) == (1, "pynvml is not installed: pip install nvidia-ml-py")


def test_failure_is_repeated_as_a_sign_of_life(nvml: FakeNvml, start: Start) -> None:
    nvml.error("nvmlInitWithFlags", code=UNKNOWN_ERROR)
    poller = start()
    assert {poller.failure() for _ in range(3)} == {"Unknown Error"}
    nvml.heal()
    poller.ask()
    assert flags(poller.round()) == [FREE] * 8


def test_reloaded_driver_is_initialised_again(nvml: FakeNvml, start: Start) -> None:
    poller = start()
    poller.round()
    nvml.reload()
    assert poller.failure() == "Uninitialized"
    poller.ask()
    assert flags(poller.round()) == [FREE] * 8


def test_replaced_driver_needs_a_new_process(nvml: FakeNvml, start: Start) -> None:
    poller = start()
    poller.round()
    nvml.error("nvmlDeviceGetCount", code=VERSION_MISMATCH)
    assert poller.failure() == "the driver was replaced: its library and its module differ"
    assert poller.child.wait() == 1


# ---- the end ----


def test_it_ends_when_nobody_reads(start: Start) -> None:
    poller = start(period=3_600_000)
    poller.round()
    poller.child.stdout.close()
    assert poller.child.wait(10) == 0


def test_it_ends_when_nobody_reads_while_nvml_fails(nvml: FakeNvml, start: Start) -> None:
    nvml.error("nvmlInitWithFlags", code=UNKNOWN_ERROR)
    poller = start()
    poller.failure()
    poller.child.stdout.close()
    assert poller.child.wait(10) == 0


def test_it_ends_with_its_parent(nvml: FakeNvml) -> None:
    code = """if True:
        import subprocess, sys
        print(subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=int(sys.argv[1])).pid, flush=True)
        input()
    """
    reading, writing = os.pipe()
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(writing), *Poller.command],
        env={**os.environ, **nvml.env()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[writing],
    )
    pid = int(parent.stdout.readline())
    assert os.read(reading, records.SIZE)  # it is there, and the pipe stays open
    parent.kill()
    parent.communicate()
    wait_until(lambda: not alive(pid), "the poller ends with its parent")
    os.close(reading)
    os.close(writing)
