"""`--log`: exactly this output file, what its placeholders stand for, and that nothing is overwritten unasked."""

import os
import re
import stat
import time
from pathlib import Path

import pytest

from support.patience import wait_until
from support.queues import Queue


def test_exactly_this_file(queue: Queue) -> None:
    job = queue.finish("--log", "here.txt", "sh", "-c", 'echo "$TS_OUTPUT"')
    path = queue.work / "here.txt"
    assert queue.get("-o", job) == str(path)
    assert path.read_text() == f"{path}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert queue.run("-c", job).stdout == f"{path}\n" == queue.run("-t", job).stdout
    assert queue.jobs()[0]["Output"] == str(path) == queue.info(job)["Output"]
    assert queue.get("-M", "tab").split("\t")[2] == str(path)
    assert list(queue.out.iterdir()) == []


def test_placeholders(queue: Queue) -> None:
    queue.finish("true")
    day = time.strftime("%Y-%m-%d")
    path = queue.directory / "logs"
    path.mkdir()
    job = queue.finish("-L", "a/b", "--log", f"{path}/{{date}}-{{label}}-{{id}}-{{x}}{{{{id}}", "echo", "hi")
    name = Path(queue.get("-o", job)).name
    assert name in (f"{at}-a_b-{job}-{{x}}{{{job}" for at in (day, time.strftime("%Y-%m-%d")))
    assert (path / name).read_text() == "hi\n"


def test_a_file_that_is_there_is_refused_at_once(queue: Queue) -> None:
    for name in ("plain", "x-lab"):
        (queue.work / name).write_text("old\n")
    (queue.work / "link").symlink_to("nowhere")
    for words in (["--log", "plain"], ["--log", "link"], ["-L", "lab", "--log", "x-{label}"]):
        assert "is there already" in queue.refused(*words, "true")
    (queue.work / "new.e").write_text("old\n")
    assert "new.e' is there already" in queue.refused("-E", "--log", "new", "true")
    assert queue.ids() == []
    assert (queue.work / "plain").read_text() == "old\n"


def test_a_file_that_is_there_at_the_start(queue: Queue) -> None:
    _, gate = queue.blocker()
    named = queue.submit("--log", "named", "echo", "new")
    numbered = queue.submit("--log", "{id}", "echo", "new")
    stderr = queue.submit("-E", "--log", "both", "echo", "new")
    for name in ("named", str(numbered), "both.e"):
        (queue.work / name).write_text("old\n")
    gate.open()
    for job in (named, numbered, stderr):
        assert queue.wait(job) == 255
        status = queue.info(job)["Exit status"]
        assert re.fullmatch(r"not started: cannot create the output file /\S*/(named|both|\d): File exists", status)
        assert status in queue.get("--why", job)
        assert "has no output file" in queue.refused("-o", job)
    assert (queue.work / "named").read_text() == (queue.work / str(numbered)).read_text() == "old\n"
    assert not (queue.work / "both").exists()


def test_append_and_truncate(queue: Queue) -> None:
    path = queue.work / "file"
    path.write_text("a long old line\n")
    queue.finish("--log", "file", "--append", "echo", "one")
    assert path.read_text() == "a long old line\none\n"
    queue.finish("--truncate", "--log", "file", "echo", "two")
    assert path.read_text() == "two\n"
    job = queue.finish("--append", "--log", "other", "echo", "three")
    assert queue.output(job) == "three\n"
    assert queue.wait(queue.finish("--append", "--log", "/dev/null", "true")) == 0


def test_fifo_without_reader_stops_nothing(queue: Queue) -> None:
    os.mkfifo(queue.work / "fifo")
    job = queue.finish("--append", "--log", "fifo", "true")
    assert "No such device or address" in queue.info(job)["Exit status"]
    assert queue.wait(queue.submit("true")) == 0


def test_stderr_apart(queue: Queue) -> None:
    job = queue.finish("-E", "--log", "log", "sh", "-c", "echo out; echo err >&2")
    assert queue.output(job) == "out\n"
    assert (queue.work / "log.e").read_text() == "err\n"


def test_foreground(queue: Queue) -> None:
    done = queue.run("-f", "--log", "log", "sh", "-c", "echo out; exit 4")
    assert (done.returncode, (queue.work / "log").read_text()) == (4, "out\n")


@pytest.mark.parametrize(
    "words",
    [
        ["--log", "x", "-n"],
        ["--log", "x", "-O", "y"],
        ["--append"],
        ["--truncate"],
        ["--log", "x", "--append", "--truncate"],
        ["--log", "x/"],
        ["--log", ""],
    ],
)
def test_what_makes_no_sense_is_refused(queue: Queue, words: list[str]) -> None:
    queue.refused(*words, "true")
    assert queue.ids() == []


def test_path_too_long(queue: Queue) -> None:
    assert "too long" in queue.refused("-L", "x" * 300, "--log", "{label}" * 20, "--append", "true")


def test_the_environment_of_the_job_is_the_caller_s(queue: Queue) -> None:
    """The way through the Python command line leaves no trace in it."""
    script = ("sh", "-c", "env | grep -v TS_ | sort")
    plain = queue.output(queue.finish(*script, env={"LC_ALL": None}))
    checked = queue.output(queue.finish("--log", "env", *script, env={"LC_ALL": None}))
    assert checked == plain
    nested = queue.finish("--log", "outer", "sh", "-c", "ts --log outer true; echo $?")
    assert re.search(r"is there already.*\n255\n", queue.output(nested))


def test_list_while_queued_and_running(queue: Queue) -> None:
    _, gate = queue.blocker()
    second = queue.gate()
    job = queue.submit("--log", "l", *second.command)
    assert queue.jobs()[1]["Output"] is None
    gate.open()
    wait_until(lambda: (queue.work / "l").exists(), "the job starts")
    assert queue.get("-o", job) == str(queue.work / "l")
    second.open()


@pytest.mark.parametrize("words", [(), ("--append",), ("--truncate",), ("--array", "1-1"), ("-L", "{id}")])
def test_the_date_is_that_of_the_caller(queue: Queue, words: tuple[str, ...]) -> None:
    """Whatever time zone the server was born with: these two are never on the same day."""
    queue.get("-l", env={"TZ": "UTC"})
    names = set()
    for zone in ("<+14>-14", "<-12>+12"):
        path = "{date}-{id}" if words[0:1] in (("-L",), ("--array",)) else "{date}"
        job = queue.finish(*words, "--log", path, "true", env={"TZ": zone})
        assert "TSFAST_LOG_CHECKED" not in queue.get("-i", job)
        names.add(Path(queue.get("-o", job)).name[:10])
        assert Path(queue.get("-o", job)).exists()
    assert len(names) == 2


def test_a_date_that_is_none_is_not_taken(queue: Queue) -> None:
    job = queue.finish("--log", "{date}", "true", env={"TSFAST_LOG_CHECKED": "../../etc/"})
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", Path(queue.get("-o", job)).name)
