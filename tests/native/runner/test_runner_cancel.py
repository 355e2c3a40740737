"""Ending a job with all its processes: the native runner, with a test as its server."""

from __future__ import annotations

import os
import signal
import time

from support.layouts import (
    TSF_COMMAND_CANCEL,
    TSF_COMMAND_GRACE_SHIFT,
    TSF_NOTE_CANCEL,
    TSF_REPORT_ENDED,
    TSF_RUN_SIGNAL,
    tsf_assign,
)
from support.patience import wait_until
from support.processes import alive, stopped
from support.runner_queue import Runner, RunnerQueue

STUBBORN = "trap '' TERM; echo $$; while :; do sleep 1000; done"


def cancel(runner: Runner, job: tsf_assign, grace: int) -> None:
    runner.entry.command = (
        (job.gen & 0xFFFFFFFF) << 32 | grace << TSF_COMMAND_GRACE_SHIFT | TSF_COMMAND_CANCEL | signal.SIGTERM
    )
    os.kill(runner.pid, TSF_RUN_SIGNAL)


def run(queue: RunnerQueue, runner: Runner, script: str, lines: int = 1) -> tuple[tsf_assign, list[int]]:
    """A job that runs and has printed so many pids."""
    job = queue.shell(script)
    runner.give(job)
    runner.started(job)
    wait_until(lambda: queue.output(runner.entry).count(b"\n") >= lines, "pids")
    return job, [int(word) for word in queue.output(runner.entry).split()]


def gone(pids: list[int]) -> bool:
    return not any(map(alive, pids))


def test_job_that_obeys(queue: RunnerQueue, runner: Runner) -> None:
    job, pids = run(queue, runner, "echo $$; exec sleep 1000")
    cancel(runner, job, 1000)
    result = runner.ended(job)
    assert (result.status, result.notes) == (signal.SIGTERM, TSF_NOTE_CANCEL) and gone(pids)
    assert runner.run(queue.job("true")).notes == 0, "the runner takes the next job, which nobody cancels"


def test_job_that_does_not_obey(queue: RunnerQueue, runner: Runner) -> None:
    job, pids = run(queue, runner, STUBBORN)
    begin = time.monotonic()
    cancel(runner, job, 1)
    assert runner.report()[0] == TSF_REPORT_ENDED
    result = runner.result(job)
    assert (result.status, result.notes) == (signal.SIGKILL, TSF_NOTE_CANCEL) and time.monotonic() - begin > 0.9
    wait_until(lambda: gone(pids), "end of all")
    assert runner.wait() == 0 or gone(pids)


def test_whole_tree(queue: RunnerQueue, runner: Runner) -> None:
    script = f'setsid sh -c "{STUBBORN}" & setsid sh -c "({STUBBORN}) & echo \\$!" & wait'
    job, pids = run(queue, runner, script.replace("echo $$", "echo \\$\\$"), lines=3)
    cancel(runner, job, 0)
    runner.report()
    wait_until(lambda: gone(pids), "end of all")


def test_left_overs_have_the_grace_time_too(queue: RunnerQueue, runner: Runner) -> None:
    """The first process obeys; the others go on for a while, then they are killed."""
    job, pids = run(queue, runner, f'setsid sh -c "{STUBBORN.replace("$$", chr(92) + "$" + chr(92) + "$")}" & wait')
    cancel(runner, job, 1)
    assert runner.report() == (TSF_REPORT_ENDED, 1, job.gen)
    assert not gone(pids)
    wait_until(lambda: gone(pids), "end of all")
    assert runner.wait() == 0


def test_second_order_changes_nothing(queue: RunnerQueue, runner: Runner) -> None:
    job, pids = run(queue, runner, "trap 'echo x >&2' TERM; echo $$; while :; do sleep 0.01; done 2>/dev/null")
    cancel(runner, job, 1)
    wait_until(lambda: runner.entry.command & 0xFFFFFFFF == 0, "first order taken")
    cancel(runner, job, 1000)
    assert runner.report()[0] == TSF_REPORT_ENDED
    assert runner.result(job).status == signal.SIGKILL
    wait_until(lambda: gone(pids), "end")


def test_stopped_job(queue: RunnerQueue, runner: Runner) -> None:
    job, (pid,) = run(queue, runner, "echo $$; exec sleep 1000")
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: stopped(pid), "stop")
    cancel(runner, job, 1000)
    assert runner.ended(job).status == signal.SIGTERM


def test_job_that_has_ended_by_itself(queue: RunnerQueue, runner: Runner) -> None:
    fifo = queue.folder / "fifo"
    os.mkfifo(fifo)
    job = queue.shell(f"read x < {fifo}; exit 3")
    runner.give(job)
    runner.started(job)
    pid = runner.entry.pid
    os.kill(runner.pid, signal.SIGSTOP)
    wait_until(lambda: stopped(runner.pid), "stop of the runner")
    fifo.write_text("go\n")
    wait_until(lambda: not alive(pid), "end of the job")
    cancel(runner, job, 0)
    os.kill(runner.pid, signal.SIGCONT)
    result = runner.ended(job)
    assert (result.status, result.notes) == (3 << 8, 0)
