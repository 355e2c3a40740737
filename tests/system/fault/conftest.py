import subprocess

import pytest

from support import installation
from support.fault_harness import TS, Queue
from support.places import PRELOAD


@pytest.fixture(scope="session", autouse=True)
def fault_points_work(tmp_path_factory):
    """Without the points these tests would pass and show nothing."""
    if not all(installation.debug_parts().values()):
        pytest.fail(f"{installation.PACKAGE} is no debug build: make test-debug", pytrace=False)
    queue = Queue(tmp_path_factory.mktemp("probe"))
    try:
        queue.ts("true", fault="submit-committed:kill")
        died = not (queue.folder / "fault").exists()
    finally:
        queue.close()
    if not died:
        pytest.fail("this build has no fault points: make test-debug")


@pytest.fixture
def queue(tmp_path):
    queue = Queue(tmp_path)
    yield queue
    server = queue.server()
    foreign = installation.foreign_parts(server) if server and queue.program == TS else []
    queue.close()
    assert not foreign, f"the server is of another build: {foreign}"


@pytest.fixture(scope="session")
def recorder(tmp_path_factory):
    """recorder.c, to be preloaded into a server."""
    library = tmp_path_factory.mktemp("recorder") / "recorder.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", library]
    subprocess.run([*command, PRELOAD / "recorder.c"], check=True)
    return library
