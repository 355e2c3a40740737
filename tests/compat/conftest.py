"""The two spoolers of a test. Without Debian's tsp these tests fail: a skip would hide that nothing is compared."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from compat.spoolers import TSP, TSP_VERSION, Ours, Theirs


@pytest.fixture(scope="session")
def debian_tsp() -> Path:
    if not TSP.exists():
        pytest.fail(f"{TSP} is missing: apt-get install task-spooler", pytrace=False)
    version = subprocess.run([TSP, "-V"], capture_output=True, text=True, check=True).stdout
    if TSP_VERSION not in version:
        pytest.fail(f"{TSP} is not the version these tests know: {version}", pytrace=False)
    return TSP


@pytest.fixture
def both(tmp_path: Path, debian_tsp: Path) -> Iterator[tuple[Theirs, Ours]]:
    pair = Theirs(tmp_path / "tsp"), Ours(tmp_path / "ts")
    yield pair
    log = pair[1].log()
    left = [spooler.close() for spooler in pair]
    assert left == [[], []], f"processes are left: {left}\n{log}"
