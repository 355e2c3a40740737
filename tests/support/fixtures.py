"""Fixtures for all tests: a queue of its own for each, with a directory, a socket, a table and a server."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import tsfast
from support import installation
from support.fake_nvml import FakeNvml
from support.gpu_queue import GpuQueue
from support.queues import LOG_SHOWN, Queue


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()
    arguments = getattr(item, "funcargs", {})
    queue = arguments.get("queue") or arguments.get("gpu_queue")
    if report.failed and isinstance(queue, Queue):  # some tests play the server themselves
        report.sections.append(("server log", queue.log()[-LOG_SHOWN:]))


def ended(queue: Queue) -> None:
    log = queue.log()[-LOG_SHOWN:]
    ours = queue.processes() if queue.program == installation.TS else []
    foreign = [path for pid in ours for path in installation.foreign_parts(pid)]
    left = queue.end()
    assert not foreign, f"processes are of another build: {foreign}"
    assert not left, f"processes are left: {left}\n{log}"


@pytest.fixture
def passable() -> Iterator[Path]:
    """A directory that others can reach. Every start of pytest closes those that it has made, of other runs too."""
    with tempfile.TemporaryDirectory(prefix="tsfast-test.", dir="/tmp") as name:
        place = Path(name, "place")
        place.mkdir()
        place.parent.chmod(0o711)
        yield place


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    queue = Queue(tmp_path)
    yield queue
    ended(queue)


@pytest.fixture
def nvml(tmp_path: Path) -> FakeNvml:
    """A machine of 8 GPUs, for processes started with its env()."""
    return FakeNvml(tmp_path / "nvml")


@pytest.fixture
def gpu_queue(tmp_path: Path, nvml: FakeNvml) -> Iterator[GpuQueue]:
    """A queue on that machine, which has many slots and a lease file for each GPU."""
    queue = GpuQueue(tmp_path, nvml)
    yield queue
    ended(queue)


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of its own, of 256 KiB or the size given as parameter (needs root)."""
    path = tmp_path / "small"
    path.mkdir()
    size = getattr(request, "param", "256k")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=1777", "small", path], check=True)
    yield path
    subprocess.run(["umount", "-l", path], check=True)


@pytest.fixture
def stranger() -> Iterator[int]:
    """The pid of a process of another user."""
    child = subprocess.Popen(["sleep", "1000"], user=65534)
    yield child.pid
    child.kill()
    child.wait()


@pytest.fixture
def api(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Iterator[tsfast.Queue]:
    """The queue as a program sees it that has the environment of the tests' calls."""
    for name, value in queue.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(queue.work)
    with tsfast.Queue() as opened:
        yield opened


@pytest.fixture
def executor(api: tsfast.Queue) -> Iterator[tsfast.Executor]:
    with tsfast.Executor(api) as opened:
        yield opened
