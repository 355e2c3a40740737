import os
import shutil
import tempfile
from pathlib import Path

import pytest

from support import native
from support.launcher_queue import DEADLINE, Installation, LauncherQueue


@pytest.fixture(scope="session")
def launcher(tmp_path_factory):
    program = tmp_path_factory.mktemp("launcher") / "ts"
    native.build(program, "launcher", "-O1", '-DTSFAST_VERSION="1.2.3"', static=False)
    return program


@pytest.fixture
def idle_queue(launcher, tmp_path):
    queue = LauncherQueue(launcher, tmp_path / "socket", tmp_path)
    yield queue
    queue.close()


@pytest.fixture
def queue(idle_queue):
    idle_queue.listen()
    return idle_queue


@pytest.fixture
def open_queue(launcher):
    """A queue that other users can reach."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o755)
        program = Path(name) / "ts"
        shutil.copy(launcher, program)
        queue = LauncherQueue(program, Path(name) / "socket", Path(name))
        yield queue
        queue.close()


@pytest.fixture
def installation(launcher, tmp_path):
    (tmp_path / "root").mkdir()
    return Installation(launcher, tmp_path / "root")


@pytest.fixture
def fresh(installation, tmp_path):
    queue = LauncherQueue(installation.launcher, tmp_path / "socket", tmp_path)
    queue.installation = installation
    yield queue
    if queue.path.exists():
        queue.start("x", "stop").wait(DEADLINE)
    queue.close()
