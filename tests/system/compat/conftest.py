"""The two spoolers of a test."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.queues import LOG_SHOWN
from system.compat.spoolers import TSP, TSP_VERSIONS, Ours, Theirs


@pytest.fixture(scope="session")
def tsp_version() -> str:
    told = subprocess.run([TSP, "-V"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"Task Spooler v([\d.]+)", told)
    if not found or found[1] not in TSP_VERSIONS:
        pytest.fail(f"{TSP} is not of a version that these tests know: {told}", pytrace=False)
    return found[1]


@pytest.fixture
def both(tmp_path: Path, tsp_version: str) -> Iterator[tuple[Theirs, Ours]]:
    pair = Theirs(tmp_path / "tsp"), Ours(tmp_path / "ts")
    yield pair
    log = pair[1].log()[-LOG_SHOWN:]
    left = [spooler.close() for spooler in pair]
    assert left == [[], []], f"processes are left: {left}\n{log}"
