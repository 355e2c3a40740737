"""The manual page and the completions: complete, as the option table would have them now, and installed."""

import importlib
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from support.places import ROOT
from tsfast.cli import parsing
from tsfast.cli.commands import COMMANDS
from tsfast.grammar.options import help_bytes, options

SHARE = ROOT / "share"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("share_build", SHARE / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUILD = load()
ROWS = options()


@pytest.mark.parametrize("name", [*BUILD.FILES, *BUILD.PAGES])
def test_file_is_up_to_date(name: str) -> None:
    """`make share` writes them."""
    assert (SHARE / name).read_text() == {**BUILD.FILES, **BUILD.PAGES}[name]()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["letter"] or row["name"])
def test_option_is_in_help_manual_and_completions(row: dict) -> None:
    assert row["help"]
    manual = BUILD.manual()
    for spelling in BUILD.spellings(row):
        assert f"\\fB{BUILD.roff(spelling)}\\fR" in manual
        assert spelling in BUILD.bash().split("compgen -W '-n ")[1].split("'")[0].split() or spelling == "-n"
        assert f"    '{spelling}" in BUILD.zsh()
    lines = BUILD.fish().splitlines()
    for kind, name in (("-s", row["letter"]), ("-l", row["name"])):
        assert not name or any(line.startswith("complete") and f" {kind} {name} " in line for line in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_of_tsfast_is_in_help_manual_and_completions(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert re.search(rf"^More: .*\btsfast\b.* {name}\b", help_bytes().decode(), re.MULTILINE)
    manual = BUILD.manual().partition(f".TP\n\\fBtsfast {BUILD.roff(name)}\\fR\n")[2].partition("\n.TP\n\\fBtsfast")[0]
    assert manual
    assert name in BUILD.bash().partition("compgen -W '")[2].partition("'")[0].split()
    assert f"        '{name}:" in BUILD.zsh()
    assert f" -a {name} -d " in BUILD.fish_of_tsfast()
    bash, zsh = (
        next(line for line in text.splitlines() if f" {name}) " in line) for text in (BUILD.bash(), BUILD.zsh())
    )
    assert parsing.parse(name, ["-h"]) == 0
    told = capsys.readouterr().out
    options = set(re.findall(r"--[a-z]+", told)) - {"--help"}
    assert options == {f"--{one.name}" for one in COMMANDS[name].options}
    for option in options:
        assert f"\\fB{BUILD.roff(option)}\\fR" in manual
        assert option in bash.replace("'", " ").split()
        assert option in zsh
        assert f"'__tsfast_behind {name}' -l {option[2:]} " in BUILD.fish_of_tsfast()


@pytest.mark.parametrize("name", COMMANDS)
def test_command_of_tsfast_is_there(name: str) -> None:
    module, function = COMMANDS[name].place.split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_arguments_of_options_are_known() -> None:
    """A new kind of operand needs a decision: what completes it?"""
    known = "ID IDS ID,... ID-ID FMT PATH TEXT NAME NUM VAR VAR=VAL GPUS SIZE SEC FILE RANGE".split()
    assert {row["operand"].strip("[]") for row in ROWS} <= {"", *known}


def test_manual_is_well_formed() -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", SHARE / "man/man1/ts.1"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_manual_reads_well() -> None:
    page = subprocess.run(
        ["mandoc", "-T", "ascii", "-O", "width=80", SHARE / "man/man1/ts.1"], capture_output=True, text=True, check=True
    ).stdout
    assert "@" not in page
    assert max(map(len, (line.replace("\b", "") for line in page.splitlines()))) <= 160  # overstruck


@pytest.mark.parametrize("shell, name", [
    ("bash", "bash-completion/completions/ts"),
    ("zsh", "zsh/site-functions/_ts"),
    ("fish", "fish/vendor_completions.d/ts.fish"),
])  # fmt: skip
def test_syntax(shell: str, name: str) -> None:
    done = subprocess.run([shell, "-n", SHARE / name], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_all_of_it_goes_into_a_wheel() -> None:
    project = tomllib.loads((SHARE.parent / "pyproject.toml").read_text())
    wanted = {
        f"{directory}/{path.name}"
        for directory, patterns in project["tool"]["setuptools"]["data-files"].items()
        for pattern in patterns
        for path in SHARE.parent.glob(pattern)
    }
    assert wanted == {f"share/{name}" for name in BUILD.FILES}


def test_all_of_it_is_installed() -> None:
    distribution = importlib.metadata.distribution("tsfast-spooler")
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        return  # setuptools leaves data files out of editable installs
    installed = {str(file).partition("share/")[2] for file in distribution.files if "share/" in str(file)}
    assert set(BUILD.FILES) <= installed
    for name in BUILD.FILES:
        assert (Path(sys.prefix) / "share" / name).read_text() == (SHARE / name).read_text(), name
