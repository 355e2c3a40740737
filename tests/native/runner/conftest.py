"""A runner under a server of the tests' own."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.runner_queue import Runner, RunnerQueue, build


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return build(tmp_path_factory.mktemp("native"))


@pytest.fixture
def queue(tmp_path: Path, built: SimpleNamespace) -> Iterator[RunnerQueue]:
    queue = RunnerQueue(tmp_path, built)
    yield queue
    queue.close()


@pytest.fixture
def runner(queue: RunnerQueue) -> Runner:
    return queue.start()
