"""Output files of the native runner whose whole path is given (--log), with a test as its server."""

from __future__ import annotations

import errno
import gzip
import os
import signal
from pathlib import Path

import pytest

from support.layouts import (
    TSF_JOB_APPEND,
    TSF_JOB_GZIP,
    TSF_JOB_LOG,
    TSF_JOB_SPLIT_STDERR,
    TSF_JOB_TRUNCATE,
    TSF_NOTE_GZIP,
    TSF_STAGE_GZIP,
    TSF_STAGE_OUTPUT,
)
from support.processes import alive
from support.runner_queue import Runner, RunnerQueue


@pytest.fixture
def log(queue: RunnerQueue) -> Path:
    return queue.logs / "log"


def test_whole_path(queue: RunnerQueue, runner: Runner, log: Path) -> None:
    result = runner.run(
        queue.shell("echo $TS_OUTPUT; echo err >&2", flags=TSF_JOB_LOG | TSF_JOB_SPLIT_STDERR, prefix=str(log))
    )
    assert (result.status, result.suffix) == (0, b"=")
    assert (log.read_text(), Path(f"{log}.e").read_text()) == (f"{log}\n", "err\n")


@pytest.mark.parametrize("taken", ["log", "log.e"])
def test_nothing_is_overwritten(queue: RunnerQueue, runner: Runner, log: Path, taken: str) -> None:
    old = queue.logs / taken
    old.write_text("old")
    result = runner.run(queue.job("true", flags=TSF_JOB_LOG | TSF_JOB_SPLIT_STDERR, prefix=str(log)))
    assert (result.stage, result.cause, result.suffix) == (TSF_STAGE_OUTPUT, errno.EEXIST, b"")
    assert old.read_text() == "old" and os.listdir(queue.logs) == [taken]


def test_append_and_truncate(queue: RunnerQueue, runner: Runner, log: Path) -> None:
    log.write_text("a long old line\n")
    runner.run(queue.shell("echo one", flags=TSF_JOB_LOG | TSF_JOB_APPEND, prefix=str(log)))
    assert log.read_text() == "a long old line\none\n"
    runner.run(
        queue.shell("echo two; echo three >> /dev/stderr", flags=TSF_JOB_LOG | TSF_JOB_TRUNCATE, prefix=str(log))
    )
    assert log.read_text() == "two\nthree\n"


def test_the_job_s_writes_block(queue: RunnerQueue, runner: Runner, log: Path) -> None:
    script = "exec python3 -c 'import os; print(os.get_blocking(1))'"
    context = queue.write_context([f"PATH={os.environ['PATH']}"])
    runner.run(queue.shell(script, flags=TSF_JOB_LOG | TSF_JOB_APPEND, prefix=str(log), context=context))
    assert log.read_text() == "True\n"


def test_fifo_that_nobody_reads(queue: RunnerQueue, runner: Runner, log: Path) -> None:
    os.mkfifo(log)
    result = runner.run(queue.job("true", flags=TSF_JOB_LOG | TSF_JOB_APPEND, prefix=str(log)))
    assert (result.stage, result.cause) == (TSF_STAGE_OUTPUT, errno.ENXIO)


def test_second_attempt_takes_the_empty_file_of_the_first(queue: RunnerQueue, runner: Runner, log: Path) -> None:
    """Its runner died between making the file and starting the job."""
    log.touch()
    runner.entry.attempt = 2
    result = runner.run(queue.shell("echo once", flags=TSF_JOB_LOG, prefix=str(log)))
    assert (result.status, log.read_text()) == (0, "once\n")
    result = runner.run(queue.shell("echo twice", flags=TSF_JOB_LOG, prefix=str(log)))
    assert (result.cause, log.read_text()) == (errno.EEXIST, "once\n")
    log.unlink()
    log.symlink_to("elsewhere")
    assert runner.run(queue.job("true", flags=TSF_JOB_LOG, prefix=str(log))).cause == errno.EEXIST


# ---- -z


def test_compressed(queue: RunnerQueue, runner: Runner) -> None:
    for _ in range(3):
        result = runner.run(queue.shell("echo $TS_OUTPUT; echo err >&2", flags=TSF_JOB_GZIP))
        path = queue.logs / f"ts-out.{result.suffix.decode()}.gz"
        assert (result.status, result.notes) == (0, 0)
        assert gzip.decompress(path.read_bytes()).decode() == f"{path}\nerr\n"
    assert runner.descriptors() <= 8


@pytest.mark.no_valgrind("clone is fork: the child cannot tell through shared memory")
def test_no_gzip_on_the_path_of_the_job(queue: RunnerQueue, runner: Runner) -> None:
    result = runner.run(queue.job("/bin/true", flags=TSF_JOB_GZIP, context=queue.write_context(["PATH=/nowhere"])))
    assert (result.stage, result.cause, result.suffix) == (TSF_STAGE_GZIP, errno.ENOENT, b"")
    assert os.listdir(queue.logs) == []


def test_pipe_held_by_a_background_process(queue: RunnerQueue, runner: Runner) -> None:
    job = queue.shell("sleep 1000 2>/dev/null & echo $! >&2; exit 3", flags=TSF_JOB_GZIP | TSF_JOB_SPLIT_STDERR)
    runner.give(job)
    result = runner.ended(job, retiring=1)
    assert (result.status, result.notes) == (3 << 8, TSF_NOTE_GZIP)
    left = int((queue.logs / f"ts-out.{result.suffix.decode()}.gz.e").read_text())
    assert alive(left)
    os.kill(left, signal.SIGKILL)


def test_gzip_that_fails(queue: RunnerQueue, runner: Runner) -> None:
    (queue.folder / "gzip").write_text("#!/bin/sh\nexit 1\n")
    (queue.folder / "gzip").chmod(0o755)
    context = queue.write_context([f"PATH={queue.folder}:/usr/bin:/bin"])
    assert runner.run(queue.job("true", flags=TSF_JOB_GZIP, context=context)).notes == TSF_NOTE_GZIP
