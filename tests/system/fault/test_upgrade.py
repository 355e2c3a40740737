"""A later release is installed while jobs run and wait: the first call of it replaces the server, and nothing else."""

import fcntl
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tsfast
from support.fault_queue import SOURCES
from support.installation import TS
from support.processes import alive, open_files
from system.fault.test_kills import connected

EARLIER, LATER = "0.0.9", "97.1.0"


class Installation:
    """A copy of the installed package that says that it is another release."""

    def __init__(self, root, version):
        place = root / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        self.package = place / "tsfast"
        shutil.copytree(Path(tsfast.__file__).parent, self.package, ignore=shutil.ignore_patterns("__pycache__"))
        init = self.package / "__init__.py"
        init.write_text(re.sub('__version__ = ".*"', f'__version__ = "{version}"', init.read_text()))
        (root / "bin").mkdir()
        self.ts = root / "bin" / "ts"
        script = root / "bin" / "tsfast"
        script.write_text(f"#!{sys.executable}\nfrom tsfast.cli.main import main\nmain()\n")
        script.chmod(0o755)
        flags = ["-O1", "-std=gnu11", f'-DTSFAST_VERSION="{version}"']
        sources = sorted((SOURCES / "native" / "launcher").glob("*.c"))
        subprocess.run(["cc", *flags, "-o", self.ts, *sources], check=True)


@pytest.fixture(scope="session")
def installations(tmp_path_factory):
    root = tmp_path_factory.mktemp("installations")
    for version in (EARLIER, LATER):
        (root / version).mkdir()
    return {version: Installation(root / version, version).ts for version in (EARLIER, LATER)} | {"": TS}


@pytest.fixture
def ours(queue, installations):
    """queue.use(version) makes the calls that follow those of that release, '' for the one under test."""

    def use(version):
        queue.program = installations[version]

    queue.use = use
    return queue


def serving(queue):
    """Releases of the servers that there have been, in their order."""
    return re.findall(r"pid \d+, tsfast (\S+)", queue.log())


def test_later_release_takes_over(ours):
    queue = ours
    old = queue.start_server()
    gates = {name: queue.until_opened(name) for name in ("running", "ends")}
    ids = {name: queue.job(name, f"{gate}; exit 5") for name, gate in gates.items()}
    ids["next"] = queue.job("next", "exit 6", "-N", 99, "-W", ids["running"])
    pids = {name: queue.until_running(ids[name]) for name in gates}
    waiters = [queue.start("-w", ids["running"]) for _ in range(5)]
    follower = queue.start("-c", ids["running"])
    caller = queue.start("-f", *queue.words("foreground", f"{queue.until_opened('foreground')}; exit 9"))
    queue.wait_until(lambda: all(connected(call.pid) for call in [*waiters, follower, caller]), "they wait")
    queue.until_started("foreground")
    queue.use(LATER)
    assert queue.ts("-R") == "3\n"
    new = queue.server()
    assert new != old
    queue.until_dead(old)
    assert all(alive(pid) for pid in pids.values())
    jobs = queue.by_id()
    assert {name: jobs[ids[name]]["PID"] for name in gates} == pids
    for name in (*gates, "foreground"):
        queue.open_gate(name)
    for call in waiters:
        queue.answer(call, 5)
    queue.answer(follower, 5)
    queue.answer(caller, 9)
    assert queue.wait(ids["ends"]) == 5
    assert queue.wait(ids["next"]) == 255
    assert sorted(queue.started()) == ["ends", "foreground", "running"]
    assert queue.server() == new, "callers of the earlier release are served by it"
    assert serving(queue) == [tsfast.__version__, LATER]
    assert queue.log().count("ended for a later release") == 1


def test_earlier_release_is_served(ours):
    queue = ours
    server = queue.start_server()
    queue.use(EARLIER)
    assert queue.wait(queue.job("one", "exit 7")) == 7
    assert queue.ts("-V") == f"tsfast {EARLIER}\n", "the version of the program that is called"
    assert queue.server() == server
    assert serving(queue) == [tsfast.__version__]


def test_two_releases_do_not_fight(ours):
    """Calls of both, in turns and all at once: the later one takes over once."""
    queue = ours
    queue.use(EARLIER)
    queue.start_server()
    calls = []
    for number in range(24):
        queue.use(("", EARLIER)[number % 2])
        calls.append(queue.start(*queue.words(number, f"exit {number}")))
    ids = [int(queue.answer(call)) for call in calls]
    assert sorted(ids) == list(range(24))
    assert sorted(queue.wait(id) for id in ids) == list(range(24))
    assert sorted(map(int, queue.started())) == list(range(24))
    assert serving(queue) == [EARLIER, tsfast.__version__]


def test_successor_that_dies_leaves_the_server(ours):
    """The call that was to start the next server is killed before it says so: the queue is served on."""
    queue = ours
    old = queue.start_server()
    job = queue.job("one", queue.until_opened("one"))
    pid = queue.until_running(job)
    waiter = queue.start("-w", job)
    queue.wait_until(lambda: connected(waiter.pid), "the waiter waits")
    lock = Path(queue.environment["TS_SOCKET"] + ".lock")
    with lock.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        queue.use(LATER)
        call = queue.start("-l")
        queue.wait_until(lambda: str(lock) in open_files(call.pid), "the call waits for the lock")
        assert queue.server() == old, "the server serves until its successor is ready"
        call.kill()
        call.wait()
    queue.use("")
    assert queue.by_id()[job]["PID"] == pid
    assert queue.server() == old
    queue.open_gate("one")
    queue.answer(waiter, 0)
    assert queue.started() == ["one"]


def test_launcher_that_is_later_than_its_package(ours, tmp_path):
    """Half an upgrade: it asks once for a server of its own release, and is content with what it gets."""
    queue = ours
    broken = tmp_path / "broken"
    installation = Installation(broken, LATER)
    init = installation.package / "__init__.py"
    init.write_text(init.read_text().replace(LATER, tsfast.__version__))
    queue.start_server()
    queue.program = installation.ts
    assert queue.wait(queue.job("one", "exit 3")) == 3
    assert set(serving(queue)) == {tsfast.__version__}
