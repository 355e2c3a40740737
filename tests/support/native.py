"""The native programs as tests compile and start them: with the sanitizers if the interpreter has them, and
under valgrind if TSFAST_VALGRIND=1."""

import ctypes
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from support import programs, reports
from support.places import ROOT, SUPPORT

NATIVE = ROOT / "src" / "tsfast" / "native"
WARNINGS = ["-std=gnu11", "-Wall", "-Wextra", "-Werror"]
SANITIZED = hasattr(ctypes.CDLL(None), "__asan_init")
VALGRIND = [
    *("valgrind", "-q", "--error-exitcode=99", "--leak-check=full"),
    f"--log-file={reports.DIRECTORY}/valgrind.%p",
]
UNDER_VALGRIND = os.environ.get("TSFAST_VALGRIND") == "1"


def compiler(static: bool) -> list[str]:
    """A static program leaves neither the sanitizers nor valgrind a way in."""
    cc = shlex.split(os.environ.get("CC", "cc"))
    if SANITIZED or UNDER_VALGRIND or not static:
        return cc
    if chosen := os.environ.get("TSFAST_NATIVE_CC"):
        return shlex.split(chosen)
    musl = programs.find("musl-gcc")
    return [musl, "-static"] if musl else cc


def build(program: Path, directory: str, *flags: str, static: bool) -> None:
    """From the sources in a directory of `native`."""
    sources = sorted((NATIVE / directory).glob("*.c"))
    command = [*compiler(static), "-g", *WARNINGS, *flags]
    if SANITIZED:
        command += [f"@{SUPPORT}/sanitized/native.flags", f'-DREPORTS="{reports.DIRECTORY}"']
        sources.append(SUPPORT / "sanitized" / "defaults.c")
    subprocess.run([*command, "-o", program, *sources], check=True)


def words(program: str | Path, *arguments: str) -> Sequence[str | Path]:
    """What starts it, the program to execute first."""
    if not UNDER_VALGRIND:
        return [program, *arguments]
    reports.make_directory()
    return [shutil.which(VALGRIND[0]) or VALGRIND[0], *VALGRIND[1:], program, *arguments]
