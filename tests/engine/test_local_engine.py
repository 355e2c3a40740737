"""The interface of an engine, and the local one behind it, without a server: docs/engines.md."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engine_process import Engine, Files
from support.layouts import (
    TSF_LOSS_RUNNER,
    TSF_NOTE_CANCEL,
    TSF_RUN_EXITED,
    TSF_RUN_FREE,
    tsf_assign,
)
from support.patience import wait_until
from support.processes import alive
from support.queues import Gate

EXIT_3 = 3 << 8


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    files = Files(tmp_path)
    yield files
    files.close()


@pytest.fixture
def engine(files: Files) -> Engine:
    return files.engine()


class GatedJob:
    """A job that waits until its gate is opened, and exits with 3 then."""

    def __init__(self, files: Files, before: str = ":") -> None:
        self.files = files
        self.gate = Gate(files.work / f"gate.{files.next_id}")
        self.job: tsf_assign = files.shell(f"{before}; read code < {self.gate.path}; exit $code")

    def started(self, engine: Engine) -> int:
        pid = engine.started(self.job)
        self.files.jobs.append(pid)
        return pid

    def open(self) -> None:
        self.gate.open(3)


def ignores_term(pid: int) -> bool:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigIgn:"))
    return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def test_start_and_end(files: Files, engine: Engine) -> None:
    gated = GatedJob(files)
    entry, gen = engine.start(gated.job)
    pid = gated.started(engine)
    assert alive(pid)
    gated.open()
    outcome = engine.ended(gated.job)
    assert outcome == {
        **{"lost": False, "status": EXIT_3, "pid": pid, "left": False},
        **{"cause": 0, "stage": 0, "notes": 0},
    }
    assert engine.call("entry", entry)[:2] == [TSF_RUN_FREE, gen]


def test_runner_takes_the_next_job(files: Files, engine: Engine) -> None:
    first, second = files.shell("exit 0"), files.shell("exit 3")
    entry, gen = engine.start(first)
    assert engine.ended(first)["status"] == 0
    assert engine.start(second) == (entry, gen + 1)
    assert engine.ended(second)["status"] == EXIT_3


def test_jobs_side_by_side(files: Files, engine: Engine) -> None:
    gates = [GatedJob(files) for _ in range(3)]
    assert len({engine.start(gated.job)[0] for gated in gates}) == 3
    events = engine.call("events", 3)
    assert {(what, job) for what, job, _ in events} == {("started", gated.job.job) for gated in gates}
    files.jobs += [details["pid"] for _, _, details in events]
    for gated in reversed(gates):
        gated.open()
        assert engine.ended(gated.job)["status"] == EXIT_3


def test_signal(files: Files, engine: Engine) -> None:
    gated = GatedJob(files)
    entry, _ = engine.start(gated.job)
    gated.started(engine)
    assert engine.call("signal", entry, signal.SIGTERM) == 0
    assert engine.ended(gated.job)["status"] == signal.SIGTERM
    assert engine.call("signal", entry, signal.SIGTERM) == -1


def test_cancel(files: Files, engine: Engine) -> None:
    gated = GatedJob(files)
    entry, _ = engine.start(gated.job)
    gated.started(engine)
    assert engine.call("cancel", entry, 1000) == 0
    outcome = engine.ended(gated.job)
    assert (outcome["status"], outcome["notes"]) == (signal.SIGTERM, TSF_NOTE_CANCEL)
    assert engine.call("cancel", entry, 1000) == -1


def test_cancel_kills_after_the_grace_time(files: Files, engine: Engine) -> None:
    gated = GatedJob(files, "trap '' TERM")
    entry, _ = engine.start(gated.job)
    pid = gated.started(engine)
    wait_until(lambda: ignores_term(pid), "the job ignores SIGTERM")
    assert engine.call("cancel", entry, 0) == 0
    assert engine.call("cancel", entry, 1000) == 0  # changes nothing
    outcome = engine.ended(gated.job)
    assert (outcome["status"], outcome["notes"]) == (signal.SIGKILL, TSF_NOTE_CANCEL)


@pytest.mark.parametrize("first", ["cancel", "death"])
def test_cancel_of_a_job_whose_runner_dies(files: Files, engine: Engine, first: str) -> None:
    """The server does what the runner cannot do any more."""
    gated = GatedJob(files, "trap '' TERM")
    entry, _ = engine.start(gated.job)
    pid = gated.started(engine)
    wait_until(lambda: ignores_term(pid), "the job ignores SIGTERM")
    runner = engine.runner_of(entry)
    if first == "cancel":
        os.kill(runner, signal.SIGSTOP)  # it shall not obey
        assert engine.call("cancel", entry, 0) == 0
    os.kill(runner, signal.SIGKILL)
    if first == "death":
        gated.started(engine)  # told again: the runner may have died before it could
        assert engine.call("cancel", entry, 0) == 0
    outcome = engine.ended(gated.job)
    assert (outcome["status"], outcome["notes"]) == (signal.SIGKILL, TSF_NOTE_CANCEL)
    assert engine.state_of(entry) == TSF_RUN_FREE


def test_job_outlives_its_runner(files: Files, engine: Engine) -> None:
    gated = GatedJob(files)
    entry, _ = engine.start(gated.job)
    pid = gated.started(engine)
    os.kill(engine.runner_of(entry), signal.SIGKILL)
    assert gated.started(engine) == pid
    gated.open()
    outcome = engine.ended(gated.job)
    assert (outcome["lost"], outcome["status"], outcome["left"]) == (False, EXIT_3, True)


def test_runner_that_dies_before_it_takes_the_job(files: Files, engine: Engine) -> None:
    first, job = files.shell("exit 0"), files.shell("exit 3")
    entry, _ = engine.start(first)
    engine.ended(first)
    runner = engine.runner_of(entry)
    os.kill(runner, signal.SIGSTOP)
    assert engine.start(job)[0] == entry
    os.kill(runner, signal.SIGKILL)
    assert engine.event() == ("revoked", job.job, {})
    engine.start(job)
    assert engine.ended(job)["status"] == EXIT_3


def test_end_that_cannot_be_recorded(files: Files, engine: Engine) -> None:
    """It is kept, and told again; until then the entry is not given to another job."""
    job = files.shell("exit 3")
    engine.call("refuse", 1)
    entry, _ = engine.start(job)
    assert engine.call("events", 1)[0][0] in ("refused", "started")
    other = engine.call("prepare")
    assert other[0] != entry
    what = "refused"
    while what in ("refused", "started"):
        what, id, details = engine.event()
    assert (what, id, details["status"]) == ("ended", job.job, EXIT_3)
    assert engine.state_of(entry) == TSF_RUN_FREE


def test_adoption_of_a_running_job(files: Files, engine: Engine) -> None:
    gated = GatedJob(files)
    entry, gen = engine.start(gated.job)
    gated.started(engine)
    engine.kill()
    engine = files.engine()
    assert engine.call("adopt", gated.job.job, entry, gen, True) == ["watched", {}]
    engine.call("end_adoption")
    gated.open()
    outcome = engine.ended(gated.job)
    assert (outcome["lost"], outcome["status"]) == (False, EXIT_3)
    assert engine.state_of(entry) == TSF_RUN_FREE


def test_adoption_tells_a_start_that_was_not_recorded(files: Files, engine: Engine) -> None:
    gated = GatedJob(files)
    entry, gen = engine.start(gated.job)
    pid = gated.started(engine)
    engine.kill()
    engine = files.engine()
    assert engine.call("adopt", gated.job.job, entry, gen, False) == ["watched", {}]
    engine.call("end_adoption")
    assert gated.started(engine) == pid
    assert engine.call("signal", entry, signal.SIGKILL) == 0
    assert engine.ended(gated.job)["status"] == signal.SIGKILL


def test_cancel_goes_on_after_an_adoption(files: Files, engine: Engine) -> None:
    gated = GatedJob(files, "trap '' TERM")
    entry, gen = engine.start(gated.job)
    pid = gated.started(engine)
    wait_until(lambda: ignores_term(pid), "the job ignores SIGTERM")
    engine.kill()
    engine = files.engine()
    engine.call("adopt", gated.job.job, entry, gen, True)
    engine.call("end_adoption")
    assert engine.call("cancel", entry, 0) == 0
    outcome = engine.ended(gated.job)
    assert (outcome["status"], outcome["notes"]) == (signal.SIGKILL, TSF_NOTE_CANCEL)


def test_end_without_a_server(files: Files, engine: Engine) -> None:
    gated = GatedJob(files)
    entry, gen = engine.start(gated.job)
    gated.started(engine)
    runner = engine.runner_of(entry)
    engine.kill()
    gated.open()
    wait_until(lambda: not alive(runner), "the runner leaves after its job")
    engine = files.engine()
    what, outcome = engine.call("adopt", gated.job.job, entry, gen, True)
    assert (what, outcome["lost"], outcome["status"]) == ("ended", False, EXIT_3)
    assert engine.state_of(entry) == TSF_RUN_EXITED
    engine.call("release", entry)
    assert engine.state_of(entry) == TSF_RUN_FREE


def test_all_die(files: Files, engine: Engine) -> None:
    """Nobody can know how the job ended."""
    gated = GatedJob(files)
    entry, gen = engine.start(gated.job)
    pid, runner = gated.started(engine), engine.runner_of(entry)
    engine.kill()
    os.kill(runner, signal.SIGKILL)
    wait_until(lambda: not alive(runner), "the runner is dead")
    os.killpg(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), "the job is dead")
    engine = files.engine()
    what, outcome = engine.call("adopt", gated.job.job, entry, gen, True)
    assert (what, outcome["lost"], outcome["cause"]) == ("ended", True, TSF_LOSS_RUNNER)


def test_start_that_a_server_prepared_only(files: Files, engine: Engine) -> None:
    job = files.shell("exit 3")
    entry, gen = engine.call("prepare")
    engine.kill()
    engine = files.engine()
    assert engine.call("adopt", job.job, entry, gen, False) == ["not started", {}]
    engine.call("end_adoption")
    engine.start(job)
    assert engine.ended(job)["status"] == EXIT_3


def test_dropped_jobs_run_on(files: Files, engine: Engine) -> None:
    gated, next_job = GatedJob(files), files.shell("exit 3")
    entry, _ = engine.start(gated.job)
    gated.started(engine)
    runner = engine.runner_of(entry)
    engine.call("drop_jobs")
    assert engine.call("signal", entry, signal.SIGTERM) == -1
    engine.kill()
    engine = files.engine()
    engine.call("end_adoption")  # no job claims the entry
    engine.start(next_job)
    assert engine.ended(next_job)["status"] == EXIT_3
    assert alive(runner)
    gated.open()
    wait_until(lambda: not alive(runner), "the runner leaves after the job")
