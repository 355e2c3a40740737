"""Programs that tests run: each is in the table, and where one is missing its tests are left out and named."""

import ast
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import programs
from support.places import TESTS

HELPERS = {"Terminal": "tmux", "Theirs": "tsp"}  # classes that run a program for the tests
MANUAL = ("project/test_share.py", "-k", "test_manual")


@pytest.fixture
def only(tmp_path: Path) -> Path:
    """A directory for PATH in which tests find all programs but mandoc, and no way to more."""
    path = tmp_path / "bin"
    path.mkdir()
    for program in programs.FOR_TESTS:
        if program.name != "mandoc":
            (path / Path(program.name).name).symlink_to("/bin/true")
    return path


def call(*words: str, **env: str) -> "subprocess.CompletedProcess[str]":
    without = {name: value for name, value in os.environ.items() if name not in ("CI", "TSFAST_NOT_TESTED")}
    return subprocess.run([sys.executable, *words], env={**without, **env}, capture_output=True, text=True, cwd=TESTS)


def session(*words: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return call("-m", "pytest", "-p", "no:cacheprovider", *words, **env)


# ---- the table ----


def run_by(path: Path) -> Iterator[str]:
    """Programs that a file of tests names as the first word of a command, or runs through a helper."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.List | ast.Tuple) and node.elts and isinstance(node.elts[0], ast.Constant):
            yield str(node.elts[0].value)
        elif isinstance(node, ast.ImportFrom):
            yield from (HELPERS[name.name] for name in node.names if name.name in HELPERS)


def test_table_has_all_that_tests_run() -> None:
    collected = session("--collect-only", "-q", "--ignore=support").stdout.splitlines()
    ids = [line for line in collected if "::" in line]
    assert len(ids) > 1000, collected[-5:]
    table = {Path(program.name).name: program for program in programs.PROGRAMS if program.tests}
    for name, program in table.items():
        assert any(map(program.is_run_by, ids)), f"{name}: no such test"
    for path in TESTS.rglob("test_*.py"):
        own = [id for id in ids if f"/{path.relative_to(TESTS)}::" in f"/{id}".replace("/tests/", "/")]
        for name in set(run_by(path)) & set(table):
            assert any(map(table[name].is_run_by, own)), f"{path} runs {name}, which programs.py does not know"


# ---- without one of them ----


def test_its_tests_are_left_out_and_named(only: Path) -> None:
    done = session(*MANUAL, PATH=str(only))
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert "not tested: 2 in tests/project/test_share.py without mandoc (Debian: mandoc)" in lines[-2]
    assert "2 skipped" in lines[-1]


def test_last_session_names_what_all_left_out(only: Path, tmp_path: Path) -> None:
    notes = tmp_path / "not-tested"
    session(*MANUAL, PATH=str(only), TSFAST_NOT_TESTED=str(notes))
    done = session("project/test_installation.py", "-k", "this_build", TSFAST_NOT_TESTED=str(notes))
    assert "not tested: 2 in tests/project/test_share.py without mandoc" in done.stdout.splitlines()[-2]


def test_with_ci_that_is_an_error(only: Path) -> None:
    done = session(*MANUAL, PATH=str(only), CI="true")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "CI=true, but tests/project/test_share.py::test_manual_is_well_formed needs mandoc" in done.stderr


# ---- fetching ----


def fetch(only: Path, *names: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return call("support/programs.py", *names, PATH=str(only), **env)


def test_what_cannot_be_had_is_said(only: Path) -> None:
    done = fetch(only)
    assert done.returncode == 0
    assert done.stderr.startswith("cannot be had here: ") and "mandoc (Debian: mandoc)" in done.stderr
    assert "fish" not in done.stderr  # of tsp it is not PATH that counts, so it may be missing too
    assert fetch(only, CI="true").returncode == 1
    assert fetch(only, "mandoc").returncode == 1


def test_nothing_is_done_where_all_is_there(only: Path) -> None:
    (only / "mandoc").symlink_to("/bin/true")
    (only / "apt-get").symlink_to("/bin/false")
    done = fetch(only, "mandoc", "fish")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.root
def test_apt_brings_what_it_has(only: Path) -> None:
    """Also where it does not know one of the packages."""
    script = only / "apt-get"
    script.write_text(
        f"""#!/bin/sh
echo "$*" >>{only}/calls
case "$* " in
*nq*) exit 100 ;;
*install*mandoc*) /bin/ln -s /bin/true {only}/mandoc ;;
esac
"""
    )
    script.chmod(0o755)
    (only / "env").symlink_to("/usr/bin/env")
    done = fetch(only, "mandoc", "nq")
    assert done.stdout == "apt-get installs what tests run: mandoc nq\n"
    assert done.stderr == "cannot be had here: nq (Debian: nq)\n"
    update, both, *each = (only / "calls").read_text().splitlines()
    assert update.endswith(" update") and both.endswith(" install mandoc nq")
    assert [line.split()[-2:] for line in each] == [["install", "mandoc"], ["install", "nq"]]


@pytest.mark.root
def test_without_root_sudo_must_not_ask() -> None:
    """As another user: where `sudo -n` refuses, nothing is tried."""
    with tempfile.TemporaryDirectory() as name:  # that of pytest is closed to others
        place = Path(name)
        for program in ("apt-get", "sudo"):
            (place / program).write_text(f"#!/bin/sh\necho {program} $* >>{place}/calls\nexit 1\n")
            (place / program).chmod(0o755)
        place.chmod(0o777)
        code = "import os; from support import programs; os.setgid(65534); os.setuid(65534)\n"
        code += "programs.by_apt(list(programs.PROGRAMS))"
        done = call("-c", code, PATH=name)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert (place / "calls").read_text() == "sudo -n true\n"
