"""The tests test the build that their environment has, and no other."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import installation
from support.places import ROOT

PROGRAM = "import sys, tsfast.lifecycle.start; print(tsfast.__file__, flush=True); sys.stdin.read()"
# Ways to a package that lies in the sources, or wherever a test has taken its own path from.
BESIDE_THE_INSTALLATION = re.compile(
    r"""sys\.path\b.*\b(src|SOURCES?)\b|PYTHONPATH\b.*\b(src|SOURCES?)\b|\bSOURCES?\.parent\b|cwd=.*\b(src|SOURCES?)\b"""
)


@pytest.fixture
def another_build(tmp_path: Path) -> Path:
    """A directory for PYTHONPATH in which there is a copy of the package."""
    shutil.copytree(installation.PACKAGE, tmp_path / "tsfast", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.fixture
def process(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """One that has imported tsfast, from the directory that the fixture named by the parameter gives."""
    env = {**os.environ, "PYTHONPATH": str(request.getfixturevalue(request.param))} if request.param else None
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline()
        yield child
        child.stdin.close()


def test_all_is_of_this_environment() -> None:
    assert installation.wrong() == ""


@pytest.mark.parametrize("process", [""], indirect=True)
def test_process_of_this_build(process: subprocess.Popen[str]) -> None:
    assert installation.foreign_parts(process.pid) == []


@pytest.mark.parametrize("process", ["another_build"], indirect=True)
def test_process_of_another_build_is_seen(process: subprocess.Popen[str], another_build: Path) -> None:
    found = installation.foreign_parts(process.pid)
    compiled = Path(installation.tsfast.lifecycle.start.__file__).relative_to(installation.PACKAGES)
    assert str(another_build / compiled) in found


def test_session_on_another_build_ends_at_once(another_build: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", __file__],
        env={**os.environ, "PYTHONPATH": str(another_build)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"tsfast is imported from {another_build}/tsfast, but {sys.prefix} has it in" in done.stdout + done.stderr


def test_no_way_around_the_installation() -> None:
    folders = ("tests", "bench", "examples", "share", "wheels")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if path != Path(__file__)]
    lines = [(path, line) for path in files for line in path.read_text().splitlines()]
    assert [f"{path}: {line}" for path, line in lines if BESIDE_THE_INSTALLATION.search(line)] == []
