import subprocess
from pathlib import Path

import pytest

from fault.fault_harness import Queue


@pytest.fixture(scope="session")
def fault_points_work(tmp_path_factory):
    """Without the points these tests would pass and show nothing."""
    queue = Queue(tmp_path_factory.mktemp("probe"))
    try:
        queue.ts("true", fault="submit-committed:kill")
        died = not (queue.folder / "fault").exists()
    finally:
        queue.close()
    if not died:
        pytest.fail("this build has no fault points: make test-debug")


@pytest.fixture
def queue(tmp_path, fault_points_work):
    queue = Queue(tmp_path)
    yield queue
    queue.close()


@pytest.fixture(scope="session")
def recorder(tmp_path_factory):
    """recorder.c, to be preloaded into a server."""
    library = tmp_path_factory.mktemp("recorder") / "recorder.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", library]
    subprocess.run([*command, Path(__file__).with_name("recorder.c")], check=True)
    return library
