"""Which job is meant where no id is given: the help, the manual and the pages say what the server does."""

import re

import pytest

from support.places import ROOT
from support.processes import sleeping
from support.queues import Queue
from tsfast.grammar.options import help_bytes, options

PAGES = ROOT / "docs"
ROWS = {f"-{row['letter']}" if row["letter"] else f"--{row['name']}": row for row in options() if row["without"]}
TOLD = ("-s", "-i", "-F", "-a", "-o", "-p", "--why")
FOLLOWED = ("-t", "-c", "-w")
CHANGED = ("-k", "-u", "-r", "--cancel")


def test_all_are_tried() -> None:
    takes_job = {name for row in options() if row["optional"] and "ID" in row["operand"] for name in [row["letter"]]}
    assert {name.lstrip("-") for name in ROWS if len(name) == 2} == takes_job - {""}
    assert set(ROWS) == {*TOLD, *FOLLOWED, *CHANGED}


@pytest.fixture
def jobs(queue: Queue) -> dict[str, int]:
    """One that runs until told, and two that wait."""
    running, queue.running = queue.blocker("-L", "first")
    queue.submit("-L", "between", "sh", "-c", "exit 3")
    return {"the job run last": running, "the job added last": queue.submit("-L", "last", "sh", "-c", "exit 4")}


def without_times(text: str) -> str:
    return re.sub(r"\d+\.\d+ *s", "", text)


@pytest.mark.parametrize("option", TOLD)
def test_told(queue: Queue, jobs: dict[str, int], option: str) -> None:
    told, *both = (queue.run(option, *id) for id in ([], *([jobs[name]] for name in jobs)))
    same = [without_times(done.stdout + done.stderr) == without_times(told.stdout + told.stderr) for done in both]
    assert same == [name == ROWS[option]["without"] for name in jobs]


@pytest.mark.parametrize("option", FOLLOWED)
def test_followed(queue: Queue, jobs: dict[str, int], option: str) -> None:
    call = queue.start(option)
    queue.wait_until(lambda: sleeping(call.pid), "it waits")
    queue.running.open(7)
    assert call.wait() == {"the job run last": 7, "the job added last": 4}[ROWS[option]["without"]]


@pytest.mark.parametrize("option", CHANGED)
def test_changed(queue: Queue, jobs: dict[str, int], option: str) -> None:
    queue.get(option)
    run, added = jobs.values()
    if ROWS[option]["without"] == "the job run last":
        assert queue.wait(run) == 255
        return
    assert queue.state(run) == "running"
    ids = [job["ID"] for job in queue.jobs() if job["State"] == "queued"]
    assert ids == ([added, run + 1] if option == "-u" else [run + 1])


@pytest.mark.parametrize("option", ROWS)
def test_pages_agree(option: str) -> None:
    """docs/cli.md is written by hand; the help has a star where it is the job run last."""
    row = ROWS[option]
    (line,) = (
        line for line in (PAGES / "cli.md").read_text().splitlines() if re.match(rf"\| .*`{option}\b.* \[", line)
    )
    assert line.split("|")[-2].strip() == row["without"].removeprefix("the job ").removesuffix(" last").join(
        ("last ", "")
    )
    shown = [line for line in help_bytes().decode().splitlines() if re.match(rf"  .*{option}\b", line)]
    assert [line.endswith(" *") for line in shown] == [row["without"] == "the job run last"]
    assert f"(without: {row['without']})" in next(
        line for line in (PAGES / "options.md").read_text().splitlines() if line.startswith(f"| `{option}`")
    )
