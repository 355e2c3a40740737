"""The names: other packages have a `ts` too, and the command that a user sees may be a link to ours."""

import subprocess
import sys
from pathlib import Path

import pytest

import tsfast
from support.installation import BIN
from support.queues import Queue


@pytest.fixture
def elsewhere(queue: Queue) -> Path:
    """A directory like ~/.local/bin: in it a link to tsfast, as pipx and uv make them, and the ts of moreutils."""
    directory = queue.directory / "bin"
    directory.mkdir()
    (directory / "tsfast").symlink_to(BIN / "tsfast")
    (directory / "ts").write_text("#!/bin/sh\necho another ts\n")
    (directory / "ts").chmod(0o755)
    return directory


def call(queue: Queue, elsewhere: Path, *words: str) -> str:
    env = queue.env({"PATH": f"{elsewhere}:/usr/bin:/bin"})
    return subprocess.run(words, env=env, cwd=queue.work, check=True, capture_output=True, text=True).stdout


def test_tsfast_beside_another_ts(queue: Queue, elsewhere: Path) -> None:
    assert call(queue, elsewhere, "ts") == "another ts\n"
    assert call(queue, elsewhere, "tsfast", "echo", "ours") == "0\n"
    assert call(queue, elsewhere, "tsfast", "-w", "0") == ""
    assert call(queue, elsewhere, "tsfast", "-c", "0") == "ours\n"
    assert "finished" in call(queue, elsewhere, "tsfast", "-l")


def test_module_beside_another_ts(queue: Queue, elsewhere: Path) -> None:
    assert call(queue, elsewhere, sys.executable, "-m", "tsfast", "-V") == call(queue, elsewhere, str(BIN / "ts"), "-V")
    code = "import tsfast\nwith tsfast.Queue() as queue:\n    print(queue.submit(['true']))"
    assert call(queue, elsewhere, sys.executable, "-c", code) == "0\n"


def test_link_to_ts_finds_the_package(queue: Queue, elsewhere: Path) -> None:
    (elsewhere / "spool").symlink_to(BIN / "ts")
    assert call(queue, elsewhere, "spool", "true") == "0\n"
    assert tsfast.__version__ in call(queue, elsewhere, "spool", "-V")
