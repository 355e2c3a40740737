"""Output files of the native runner whose whole path is given (--log), driven by a harness that plays the server."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from unit.runner_harness import APPEND, LOG, OUTPUT, SPLIT_STDERR, TRUNCATE, Queue, Runner, build


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return build(tmp_path_factory.mktemp("native"))


@pytest.fixture
def queue(tmp_path: Path, built: SimpleNamespace) -> Iterator[Queue]:
    queue = Queue(tmp_path, built)
    yield queue
    queue.close()


@pytest.fixture
def runner(queue: Queue) -> Runner:
    return queue.start()


@pytest.fixture
def log(queue: Queue) -> Path:
    return queue.logs / "log"


def test_whole_path(queue: Queue, runner: Runner, log: Path) -> None:
    result = runner.run(queue.shell("echo $TS_OUTPUT; echo err >&2", flags=LOG | SPLIT_STDERR, prefix=str(log)))
    assert (result.status, result.suffix) == (0, b"=")
    assert (log.read_text(), Path(f"{log}.e").read_text()) == (f"{log}\n", "err\n")


@pytest.mark.parametrize("taken", ["log", "log.e"])
def test_nothing_is_overwritten(queue: Queue, runner: Runner, log: Path, taken: str) -> None:
    old = queue.logs / taken
    old.write_text("old")
    result = runner.run(queue.job("true", flags=LOG | SPLIT_STDERR, prefix=str(log)))
    assert (result.stage, result.cause, result.suffix) == (OUTPUT, errno.EEXIST, b"")
    assert old.read_text() == "old" and os.listdir(queue.logs) == [taken]


def test_append_and_truncate(queue: Queue, runner: Runner, log: Path) -> None:
    log.write_text("a long old line\n")
    runner.run(queue.shell("echo one", flags=LOG | APPEND, prefix=str(log)))
    assert log.read_text() == "a long old line\none\n"
    runner.run(queue.shell("echo two; echo three >> /dev/stderr", flags=LOG | TRUNCATE, prefix=str(log)))
    assert log.read_text() == "two\nthree\n"


def test_the_job_s_writes_block(queue: Queue, runner: Runner, log: Path) -> None:
    script = "exec python3 -c 'import os; print(os.get_blocking(1))'"
    context = queue.write_context([f"PATH={os.environ['PATH']}"])
    runner.run(queue.shell(script, flags=LOG | APPEND, prefix=str(log), context=context))
    assert log.read_text() == "True\n"


def test_fifo_that_nobody_reads(queue: Queue, runner: Runner, log: Path) -> None:
    os.mkfifo(log)
    result = runner.run(queue.job("true", flags=LOG | APPEND, prefix=str(log)))
    assert (result.stage, result.cause) == (OUTPUT, errno.ENXIO)


def test_second_attempt_takes_the_empty_file_of_the_first(queue: Queue, runner: Runner, log: Path) -> None:
    """Its runner died between making the file and starting the job."""
    log.touch()
    runner.entry.attempt = 2
    result = runner.run(queue.shell("echo once", flags=LOG, prefix=str(log)))
    assert (result.status, log.read_text()) == (0, "once\n")
    result = runner.run(queue.shell("echo twice", flags=LOG, prefix=str(log)))
    assert (result.cause, log.read_text()) == (errno.EEXIST, "once\n")
    log.unlink()
    log.symlink_to("elsewhere")
    assert runner.run(queue.job("true", flags=LOG, prefix=str(log))).cause == errno.EEXIST
