"""The small C programs of tests (support/preload), compiled once for a run of tests."""

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

from support.places import PRELOAD

FLAGS = ["-O1", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-pthread"]


@functools.cache
def folder() -> Path:
    """Other users can reach it."""
    path = Path(tempfile.mkdtemp(prefix="tsfast-compiled-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    path.chmod(0o755)
    return path


@functools.cache
def library(source: Path, name: str = "") -> Path:
    """To be preloaded, or found by the name."""
    return _compiled(source, name or f"{source.stem}.so", "-shared", "-fPIC")


@functools.cache
def program(source: Path) -> Path:
    return _compiled(source, source.stem)


def preload(name: str) -> Path:
    return library(PRELOAD / f"{name}.c")


def _compiled(source: Path, name: str, *flags: str) -> Path:
    place = folder() / source.stem / name
    place.parent.mkdir(mode=0o755, exist_ok=True)
    subprocess.run(["cc", *FLAGS, *flags, "-o", place, source], check=True)
    return place
