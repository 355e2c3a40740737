import pytest

from support import compiled, installation
from support.fault_queue import FaultQueue
from support.installation import TS


@pytest.fixture(scope="session", autouse=True)
def fault_points_work(tmp_path_factory):
    """Without the points these tests would pass and show nothing."""
    if not all(installation.debug_parts().values()):
        pytest.fail(f"{installation.PACKAGE} is no debug build: make test-debug", pytrace=False)
    queue = FaultQueue(tmp_path_factory.mktemp("probe"))
    try:
        queue.ts("true", fault="submit-committed:kill")
        died = not (queue.directory / "fault").exists()
    finally:
        queue.end()
    if not died:
        pytest.fail("this build has no fault points: make test-debug")


@pytest.fixture
def queue(tmp_path):
    queue = FaultQueue(tmp_path)
    yield queue
    server = queue.server()
    foreign = installation.foreign_parts(server) if server and queue.program == TS else []
    queue.end()
    assert not foreign, f"the server is of another build: {foreign}"


@pytest.fixture(scope="session")
def recorder():
    """recorder.c, to be preloaded into a server."""
    return compiled.preload("recorder")
