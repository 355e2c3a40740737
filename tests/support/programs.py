#!/usr/bin/env python3
"""Programs of the machine that tests run: which tests, and which package of Debian brings them.

`programs.py` fetches those that are missing as far as it may: with apt-get as root or through `sudo -n`, from the
Python index into the environment of this interpreter. What cannot be had is said, and conftest.py skips its tests; with
CI=true that is an error. `programs.py NAME...` fetches these programs, or `all`, and fails without them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

BIN = Path(sys.prefix, "bin")


class Program(NamedTuple):
    name: str  # or the path by which tests call it
    package: str  # of Debian; or several
    tests: str = ""  # a regular expression that finds their node ids
    wheel: str = ""  # on the Python index

    def is_run_by(self, test: str) -> bool:
        return bool(self.tests) and re.search(self.tests, test) is not None


PROGRAMS = (
    Program("/usr/bin/tsp", "task-spooler", r"compat/test_\w+\.py::test_(same|different|generated)\b"),
    Program("fish", "fish", r"test_completion\.py::test_fish|test_share\.py::test_syntax\[fish"),
    Program("make", "make", r"test_examples\.py::test_make\b"),
    Program("mandoc", "mandoc", r"test_share\.py::test_manual"),
    Program("musl-gcc", "musl-tools", wheel="ziglang"),  # without it the native programs are linked with glibc
    Program("strace", "strace", r"test_durable\.py::test_(many|a_call|without_it)_"),
    Program("systemd-analyze", "systemd", r"test_service\.py::test_unit_is_valid\b"),
    Program("tmux", "tmux", r"test_completion\.py::\w+\[(bash|zsh)|test_terminal\.py::test_(?!sigterm_)"),
    Program("xz", "xz-utils", r"test_tables\.py::|test_reader\.py::test_a_table_of_an_earlier_version\b"),
    Program("zsh", "zsh", r"test_completion\.py::(\w+\[|test_)zsh|test_share\.py::test_syntax\[zsh"),
    # of no tests
    Program("gcc", "gcc libc6-dev"),
    Program("nq", "nq"),
    Program("parallel", "parallel"),
    Program("valgrind", "valgrind"),
)
FOR_TESTS = tuple(program for program in PROGRAMS if program.tests or program.wheel)


def find(name: str) -> str | None:
    """Where it is: on PATH, or beside this interpreter, where a wheel has put it."""
    return shutil.which(name) or shutil.which(name, path=str(BIN))


def missing(programs: "tuple[Program, ...]" = FOR_TESTS) -> "list[Program]":
    return [program for program in programs if not find(program.name)]


def must_be_complete() -> bool:
    return os.environ.get("CI", "") not in ("", "0", "false")


def listed(programs: "list[Program]") -> str:
    return ", ".join(f"{Path(program.name).name} (Debian: {program.package})" for program in programs)


def by_apt(programs: "list[Program]") -> None:
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not shutil.which("apt-get") or (root and not shutil.which("sudo")):
        return
    if root and subprocess.run([*root, "true"], capture_output=True).returncode:
        return
    packages = sorted({package for program in programs for package in program.package.split()})
    print(f"apt-get installs what tests run: {' '.join(packages)}", flush=True)
    command = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "Acquire::http::Timeout=20"]
    install = [*command, "-y", "--no-install-recommends", "install"]

    def run(words: "list[str]") -> bool:
        return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode == 0

    if not run([*command, "update"]):
        print("apt-get update failed; going on with the lists that are there", file=sys.stderr)
    if not run([*install, *packages]):
        for package in packages:  # those that this distribution has
            run([*install, package])


def by_wheel(program: Program) -> None:
    """musl-gcc is Zig's compiler for musl, as the wheels are built with it."""
    print(f"pip installs {program.wheel} for {program.name}", flush=True)
    if subprocess.run([sys.executable, "-m", "pip", "install", "-q", program.wheel]).returncode:
        return
    script = BIN / program.name
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ziglang cc -target "$(uname -m)-linux-musl" "$@"\n')
    script.chmod(0o755)


def main() -> "str | None":
    names = sys.argv[1:]
    if unknown := set(names) - {"all", *(program.name for program in PROGRAMS)}:
        return f"unknown: {', '.join(unknown)}"
    wanted = tuple(program for program in PROGRAMS if program.name in names or "all" in names) or FOR_TESTS
    if absent := missing(wanted):
        by_apt(absent)
    for program in missing(wanted):
        if program.wheel and sys.prefix != sys.base_prefix:
            by_wheel(program)
    if absent := missing(wanted):
        told = f"cannot be had here: {listed(absent)}"
        if names or must_be_complete():
            return told
        print(f"{told}; what needs {'it' if len(absent) == 1 else 'them'} is not tested", file=sys.stderr)
    return None


if __name__ == "__main__":
    sys.exit(main())
