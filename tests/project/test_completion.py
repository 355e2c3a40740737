"""Completion in real shells: keys are pressed in a terminal (bash, zsh), or the shell is asked (fish)."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.installation import BIN
from support.places import ROOT
from support.queues import Queue
from support.terminal import Terminal

SHARE = ROOT / "share"
BASH = f". {SHARE}/bash-completion/completions/ts"
ZSH = f"fpath=({SHARE}/zsh/site-functions $fpath); autoload -U compinit; compinit -u -D"


@pytest.fixture
def three_jobs(queue: Queue) -> Queue:
    queue.finish("-L", "alpha", "echo", "one")
    queue.finish("false")
    queue.finish("-L", "last", "seq", "3")
    return queue


@pytest.fixture(params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest, three_jobs: Queue, tmp_path: Path) -> Iterator[Terminal]:
    words = ["bash", "--norc", "--noprofile"] if request.param == "bash" else ["zsh", "-f"]
    environment = {**three_jobs.environment, "PS1": "$ ", "ZDOTDIR": str(tmp_path)}
    with Terminal(tmp_path / "terminal", words, environment, three_jobs.work) as terminal:
        terminal.type(BASH if request.param == "bash" else ZSH, "Enter")
        terminal.type("echo re''ady", "Enter")
        terminal.wait_for("\nready\n")
        terminal.press("C-l")
        # bash lists at the second Tab, where zsh would begin to insert
        terminal.show_keys = ("Tab", "Tab") if request.param == "bash" else ("Tab",)
        yield terminal


def test_long_option(shell: Terminal) -> None:
    shell.type("ts --set_l", "Tab")
    shell.wait_for("ts --set_logdir")


def test_format(shell: Terminal) -> None:
    shell.type("ts -M j", "Tab")
    shell.wait_for("ts -M json")


def test_ids_with_labels(shell: Terminal) -> None:
    shell.type("ts -w ", *shell.show_keys)
    assert "seq 3" in shell.wait_for("alpha")


def test_ids_of_a_list(shell: Terminal) -> None:
    shell.type("ts -W 1,0,", *shell.show_keys)
    assert "seq 3" in shell.wait_for("alpha")


def test_the_only_id(shell: Terminal, three_jobs: Queue) -> None:
    three_jobs.get("-C")
    three_jobs.finish("true")
    shell.type("ts -W ", "Tab")
    shell.wait_for("ts -W 3")


def test_directory(shell: Terminal, three_jobs: Queue) -> None:
    (three_jobs.work / "somewhere").mkdir()
    shell.type("ts --set_logdir some", "Tab")
    shell.wait_for("ts --set_logdir somewhere")


def test_command_and_its_arguments(shell: Terminal, three_jobs: Queue) -> None:
    (three_jobs.work / "some-file").touch()
    program = three_jobs.work / "some-program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    shell.type("ts -n -L x ./some-p", "Tab")
    shell.wait_for("x ./some-program")
    shell.type("some-f", "Tab")
    shell.wait_for("some-program some-file")


def test_command_of_tsfast(shell: Terminal) -> None:
    shell.type("tsfast install-ser", "Tab")
    shell.wait_for("tsfast install-service")
    shell.type(" --pr", "Tab")
    shell.wait_for(" --print")


def test_tsfast_has_the_words_of_ts(shell: Terminal) -> None:
    shell.type("tsfast --set_l", "Tab")
    shell.wait_for("tsfast --set_logdir")


def test_command_of_tsfast_is_none_of_ts(shell: Terminal) -> None:
    shell.type("ts install-ser", "Tab", "x")
    assert "install-service" not in shell.wait_for("install-serx")


def asked(queue: Queue, line: str) -> list[str]:
    completions = SHARE / "fish/vendor_completions.d"
    script = f"source {completions}/ts.fish; source {completions}/tsfast.fish; complete -C '{line}'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        env={**queue.environment, "XDG_CONFIG_HOME": str(queue.directory), "TERM": os.environ.get("TERM", "xterm")},
        cwd=queue.work,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_fish(three_jobs: Queue) -> None:
    assert asked(three_jobs, "ts --set_l") == ["--set_logdir\twhere new output files go (--get_logdir shows it)"]
    assert [line.split("\t")[0] for line in asked(three_jobs, "ts -M ")] == ["default", "json", "tab"]
    assert asked(three_jobs, "ts -w ") == [
        "0\tfinished [alpha]echo one",
        "1\tfinished false",
        "2\tfinished [last]seq 3",
    ]
    assert asked(three_jobs, "ts -W 0,2") == ["0,2\tfinished [last]seq 3"]
    assert any(line.startswith("-L") for line in asked(three_jobs, "ts -"))
    (three_jobs.work / "some-file").touch()
    assert asked(three_jobs, "ts -L x cat some-") == ["some-file"]


def test_fish_commands_of_tsfast(three_jobs: Queue) -> None:
    assert [line.split("\t")[0] for line in asked(three_jobs, "tsfast install-ser")] == ["install-service"]
    assert asked(three_jobs, "tsfast doctor --s") == ["--strict\texit with 1 for warnings too"]
    assert asked(three_jobs, "tsfast --set_l") == ["--set_logdir\twhere new output files go (--get_logdir shows it)"]
    assert asked(three_jobs, "ts install-ser") == []


@pytest.fixture
def switched_on(three_jobs: Queue) -> Queue:
    """As docs/install.md says, from an installation that has all of it in its share."""
    place = three_jobs.directory / "installation"
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "tsfast").write_text(f'#!/bin/sh\nexec {BIN}/tsfast "$@"\n')
    (place / "bin" / "tsfast").chmod(0o755)
    (place / "share").symlink_to(SHARE)
    (links := three_jobs.directory / "links").mkdir()
    (links / "tsfast").symlink_to(place / "bin" / "tsfast")
    lines = (SHARE.parent / "docs" / "install.md").read_text().partition("## Completions\n")[2]
    script = lines.partition("```sh\n")[2].partition("```")[0]
    three_jobs.environment["PATH"] = f"{links}:{three_jobs.environment['PATH']}"
    subprocess.run(["sh", "-euc", script], env=three_jobs.env(), cwd=three_jobs.work, check=True)
    return three_jobs


def test_bash_finds_them(switched_on: Queue) -> None:
    script = ". ~/.local/share/bash-completion/completions/tsfast; complete -p ts tsp tsfast"
    done = subprocess.run(["bash", "-euc", script], env=switched_on.env(), capture_output=True, text=True)
    assert (done.returncode, done.stdout.count("-F"), done.stderr) == (0, 3, "")


def test_zsh_finds_them(switched_on: Queue) -> None:
    script = ". ~/.zshenv; autoload -U compinit; compinit -u -D; echo $_comps[ts] $_comps[tsp] $_comps[tsfast]"
    done = subprocess.run(["zsh", "-fc", script], env=switched_on.env(), capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("_ts _ts _ts\n", "")


def test_fish_finds_them(switched_on: Queue) -> None:
    done = subprocess.run(
        ["fish", "-c", "complete -C 'tsp --set_log'; complete -C 'tsfast doct'"],
        env=switched_on.env(),
        capture_output=True,
        text=True,
    )
    assert "--set_logdir" in done.stdout and "doctor" in done.stdout, done
