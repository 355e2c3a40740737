"""`pynvml` is what the environment has: an old one, another one, a broken one. Then the reason is told."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fake_nvml import FakeNvml
from support.gpu_binding import REAL, Installation
from support.gpu_poller import Poller
from support.gpu_queue import GpuQueue
from support.patience import patient, ts_patience
from tsfast.monitor.records import ANSWERS, VISIBLE

ERROR = "class NVMLError(Exception):\n    pass\n"
RAISES = "raise RuntimeError('not for\\nthis Python')"
OLDER = f"""{REAL}
running = nvmlDeviceGetComputeRunningProcesses_v3
nvmlDeviceGetComputeRunningProcesses = lambda handle: running(handle)
del nvmlDeviceGetComputeRunningProcesses_v3, nvmlDeviceGetComputeRunningProcesses_v2
del nvmlDeviceGetMigMode, nvmlDeviceGetMemoryAffinity, NVML_NVLINK_MAX_LINKS, NVML_ERROR_LIB_RM_VERSION_MISMATCH
def in_bytes(function):
    return lambda *arguments: function(*arguments).encode()
nvmlDeviceGetUUID, nvmlDeviceGetName = in_bytes(nvmlDeviceGetUUID), in_bytes(nvmlDeviceGetName)
print("pynvml is deprecated", "." * 300)
"""


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "installation")


@pytest.fixture
def poller(installation: Installation, nvml: FakeNvml) -> Iterator[type[Poller]]:
    class Other(Poller):
        command = (str(installation.python), "-I", "-m", "tsfast.monitor")

    started: list[Poller] = []

    def start(*words: object) -> Poller:
        started.append(Other(nvml, *words))
        return started[-1]

    yield start
    for one in started:
        one.end()


@pytest.fixture
def queue(gpu_queue: GpuQueue, installation: Installation) -> GpuQueue:
    gpu_queue.program = installation.ts
    gpu_queue.environment["PATH"] = f"{installation.programs}:/usr/bin:/bin"
    gpu_queue.environment["TS_GPU_TIMEOUT"] = ts_patience(1)
    return gpu_queue


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (RAISES, "pynvml cannot be imported: RuntimeError: not for this Python"),
        ("raise SystemExit(3)", "pynvml cannot be imported: SystemExit: 3"),
        ("print('x' * 1000)\nraise KeyError", "pynvml cannot be imported: KeyError"),
        ("import nothing_of_this_name", "pynvml cannot be imported: ModuleNotFoundError: No module named"),
        ("def", "pynvml cannot be imported: SyntaxError: "),
        ("", "pynvml is not that of nvidia-ml-py: no NVMLError"),
        (ERROR, "pynvml is not that of nvidia-ml-py: no nvmlInit"),
        (f"{ERROR}def nvmlInit():\n    pass\n", "pynvml is not that of nvidia-ml-py: no nvmlDeviceGetCount"),
        (f"{ERROR}def nvmlInit():\n    raise OSError('no library')\n", "pynvml: OSError: no library"),
        (f"{ERROR}def nvmlInit():\n    raise SystemExit\n", "pynvml: SystemExit"),
        (f"{REAL}\ndef nvmlDeviceGetUUID(handle):\n    return 1 / 0\n", "no GPU answers: pynvml: ZeroDivisionError: "),
        (f"{REAL}\ndel nvmlDeviceGetMemoryInfo\n", "pynvml is not that of nvidia-ml-py: no nvmlDeviceGetMem"),
        (f"{REAL}\ndef nvmlDeviceGetCount():\n    return 'many'\n", "ValueError: invalid literal for int()"),
    ],
)
def test_reason_is_a_record(installation: Installation, poller: type[Poller], source: str, why: str) -> None:
    installation.bind(source)
    once = poller("--once")
    assert once.failure().startswith(why)
    assert once.rest() == []
    assert once.child.wait() == 1
    assert poller().failure().startswith(why)


def test_an_older_binding_will_do(installation: Installation, poller: type[Poller], nvml: FakeNvml) -> None:
    installation.bind(OLDER)
    devices = poller().round()
    assert [(device.uuid, device.name) for device in devices] == [
        (nvml.uuid(number), "Fake GPU") for number in range(8)
    ]
    assert {device.flags for device in devices} == {VISIBLE | ANSWERS}


def tsfast(queue: GpuQueue, installation: Installation, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [installation.programs / "tsfast", *words],
        env=queue.env(),
        capture_output=True,
        text=True,
        timeout=patient(120),
    )


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (RAISES, "pynvml cannot be imported: RuntimeError: not for this Python"),
        (ERROR, "pynvml is not that of nvidia-ml-py: no nvmlInit"),
        ("import os\nos._exit(7)", "the process that asks NVML ended with 7 while pynvml was imported"),
        ("import os\nos.abort()", "the process that asks NVML died of signal 6 while pynvml was imported"),
        ("import time\ntime.sleep(1000)", "NVML does not answer while pynvml was imported"),
    ],
)
def test_reason_is_told_everywhere(queue: GpuQueue, installation: Installation, source: str, why: str) -> None:
    """And once in the log, though it is tried again; when the binding is mended, the job runs."""
    installation.bind(source)
    job = queue.waiting("-G", 1, "true")
    queue.wait_until(lambda: why in queue.why(job), why)
    assert queue.wait(queue.submit("true")) == 0
    alone = why.replace("the process that asks NVML", "").replace("NVML does not answer", "")
    told = tsfast(queue, installation, "gpus", "--timeout", str(patient(2)))
    assert alone in told.stdout + told.stderr
    findings = tsfast(queue, installation, "doctor", "--timeout", str(patient(5))).stdout.splitlines()
    assert any(alone in line for line in findings if line.split()[1] == "gpus"), findings
    assert why in queue.run("-G", 1, "true").stderr
    before = queue.monitors()
    queue.wait_until(lambda: queue.monitors() not in ([], before), "it is tried again")
    assert len(queue.log_lines("no GPU is available")) == 1
    assert len(queue.log_lines(why)) == 1
    installation.mend()
    assert queue.wait(job) == 0
    queue.wait_until(lambda: queue.log_lines("NVML answers again"))
