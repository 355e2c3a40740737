"""The native runner, with a test as its server."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import stat
import time
from pathlib import Path

import pytest

from support import layouts
from support.layouts import (
    TSF_JOB_FOREGROUND,
    TSF_JOB_NO_OUTPUT,
    TSF_JOB_SPLIT_STDERR,
    TSF_NOTE_AFFINITY,
    TSF_NOTE_LIMIT,
    TSF_NOTE_NICE,
    TSF_REPORT_ENDED,
    TSF_RUN_ASSIGNED,
    TSF_RUN_CLAIMED,
    TSF_RUN_EXECING,
    TSF_RUN_EXITED,
    TSF_RUN_REVOKED,
    TSF_RUN_SIGNAL,
    TSF_RUNS,
    TSF_STAGE_CHDIR,
    TSF_STAGE_EXEC,
    TSF_STAGE_OUTPUT,
    TSF_STAGE_RECORD,
    TSF_STAGE_SPAWN,
    tsf_ctx,
    tsf_run,
)
from support.patience import wait_until
from support.processes import alive, stopped
from support.runner_queue import PATIENCE, Runner, RunnerQueue
from support.state_files import changed


def failed(result: tsf_run, stage: int, cause: int) -> bool:
    assert result.end_ns and not result.duration_ns and not result.pid and not result.start_ns
    return (result.stage, result.cause, result.status) == (stage, cause, 126 << 8)


# ---- an ordinary job


def test_normal_job(queue: RunnerQueue, runner: Runner) -> None:
    before = time.time_ns()
    job = queue.shell("echo out; echo err >&2; pwd; ulimit -c; umask; readlink /proc/self/fd/0; echo $$")
    result = runner.run(job)
    lines = queue.output(result).decode().split("\n")
    assert lines[:3] == ["out", "err", str(queue.work)]
    assert lines[4:7] == ["0027", "/dev/null", str(result.pid)]
    assert (result.status, result.stage, result.cause, result.notes, result.spawn_errno) == (0,) * 5
    assert before <= result.start_ns <= result.end_ns <= time.time_ns()
    assert 0 < result.duration_ns < PATIENCE * 1e9
    assert result.start_ticks > 0 and result.maxrss_kb > 0
    assert result.runner == runner.pid


def test_output_file_is_private_and_named(queue: RunnerQueue, runner: Runner) -> None:
    result = runner.run(queue.shell("echo $TS_OUTPUT", context=queue.write_context(umask=0)))
    path = queue.logs / f"ts-out.{result.suffix.decode()}"
    assert len(result.suffix) == 6 and result.suffix.isalnum()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == f"{path}\n"


def test_reopened_output_is_not_overwritten(queue: RunnerQueue, runner: Runner) -> None:
    result = runner.run(queue.shell("echo one; echo two >>/dev/stderr; echo three"))
    assert queue.output(result) == b"one\ntwo\nthree\n"


def test_split_stderr(queue: RunnerQueue, runner: Runner) -> None:
    result = runner.run(queue.shell("echo out; echo err >&2", flags=TSF_JOB_SPLIT_STDERR))
    assert (queue.output(result), queue.output(result, ".e")) == (b"out\n", b"err\n")
    assert stat.S_IMODE((queue.logs / f"ts-out.{result.suffix.decode()}.e").stat().st_mode) == 0o600


def test_no_output(queue: RunnerQueue, runner: Runner) -> None:
    script = f'[ ! "${{TS_OUTPUT+set}}" ] && readlink /proc/self/fd/1 /proc/self/fd/2 > {queue.folder}/seen'
    result = runner.run(queue.shell(f"exec 3>&1; {script}", flags=TSF_JOB_NO_OUTPUT, diff=["TS_OUTPUT=stale"]))
    assert result.status == 0 and result.suffix == b""
    assert (queue.folder / "seen").read_text().endswith("/dev/null\n")
    assert not list(queue.logs.iterdir())


def test_environment(queue: RunnerQueue, runner: Runner) -> None:
    job = queue.job("env", diff=["A=changed", "B", "NEW=x=y", "EMPTY=", "MISSING"])
    result = runner.run(job)
    seen = dict(line.split("=", 1) for line in queue.output(result).decode().splitlines())
    assert seen.pop("TS_OUTPUT").endswith(result.suffix.decode())
    assert seen == {
        **{"PATH": "/usr/bin:/bin", "A": "changed", "NEW": "x=y", "EMPTY": ""},
        **{"TS_JOBID": str(job.job), "PYTHONUNBUFFERED": "1"},
    }
    result = runner.run(queue.shell("echo $A$B; echo [$PYTHONUNBUFFERED]", diff=["PYTHONUNBUFFERED="]))
    assert queue.output(result) == b"12\n[]\n"


def test_working_directory_of_the_job_itself(queue: RunnerQueue, runner: Runner) -> None:
    assert queue.output(runner.run(queue.job("pwd", cwd="/"))) == b"/\n"
    assert queue.output(runner.run(queue.job("pwd"))) == os.fsencode(queue.work) + b"\n"


@pytest.mark.no_valgrind("it has a signal mask of its own")
def test_process_state_is_clean(queue: RunnerQueue, runner: Runner) -> None:
    result = runner.run(queue.shell("grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status; ls /proc/$$/fd; cat /proc/$$/stat"))
    *signals, stat_line = queue.output(result).decode().splitlines()
    assert [line.split()[1] for line in signals[:2]] == ["0" * 16] * 2
    assert set(signals[3:]) == {"0", "1", "2"}
    fields = stat_line.rpartition(")")[2].split()
    assert fields[2] == fields[3] == str(result.pid), "it leads its group and session"
    assert int(fields[19]) == result.start_ticks


@pytest.mark.no_valgrind("the limit of descriptors is one that it plays")
def test_limits_nice_and_affinity(queue: RunnerQueue, runner: Runner) -> None:
    nice = min(os.getpriority(os.PRIO_PROCESS, 0) + 3, 19)
    cpu = min(os.sched_getaffinity(0))
    mask = (1 << cpu).to_bytes(cpu // 64 * 8 + 8, "little")
    limits = {resource.RLIMIT_NOFILE: (37, 64), resource.RLIMIT_CORE: (0, 0)}
    context = queue.write_context(nice=nice, affinity=mask, limits=limits)
    script = "ulimit -Sn; ulimit -Hn; nice; grep Cpus_allowed_list /proc/self/status"
    result = runner.run(queue.shell(script, context=context))
    assert queue.output(result).split() == [b"37", b"64", b"%d" % nice, b"Cpus_allowed_list:", b"%d" % cpu]
    assert result.notes == 0
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    result = runner.run(queue.shell("ulimit -Hn"))
    assert queue.output(result).split() == [b"%d" % hard], "the next job is not bound by the limits of the last one"


@pytest.mark.no_valgrind("the limit of descriptors is one that it plays")
def test_what_cannot_be_applied_is_noted(queue: RunnerQueue, runner: Runner) -> None:
    limits = {resource.RLIMIT_NOFILE: (50, 1 << 62)}
    nowhere = b"\0" * 1016 + b"\0" * 7 + b"\x80"
    result = runner.run(queue.shell("ulimit -Sn", context=queue.write_context(limits=limits, affinity=nowhere)))
    assert result.notes == TSF_NOTE_LIMIT | TSF_NOTE_AFFINITY
    assert queue.output(result) == b"50\n"
    result = runner.run(queue.shell("nice", context=queue.write_context(nice=-7)))
    assert (result.notes == TSF_NOTE_NICE) == (queue.output(result) != b"-7\n")


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 1", 1 << 8), ("exit 200", 200 << 8), ("kill -9 $$", 9), ("kill -TERM $$", 15)],
)
def test_status(queue: RunnerQueue, runner: Runner, script: str, status: int) -> None:
    assert runner.run(queue.shell(script)).status & 0xFF7F == status


# ---- commands that cannot be run


def test_command_not_found(queue: RunnerQueue, runner: Runner) -> None:
    for name in ("no-such-command", "/no/such/command", ""):
        result = runner.run(queue.job(name))
        assert (result.status, result.stage, result.cause) == (127 << 8, TSF_STAGE_EXEC, errno.ENOENT)
        assert queue.output(result) == f"ts: cannot run '{name}': No such file or directory\n".encode()


def test_command_not_executable(queue: RunnerQueue, runner: Runner) -> None:
    (queue.work / "data").write_text("text")
    for name in ("./data", "data"):
        result = runner.run(queue.job(name, diff=["PATH=/nowhere::/usr/bin"]))
        assert (result.status, result.stage, result.cause) == (126 << 8, TSF_STAGE_EXEC, errno.EACCES)
        assert queue.output(result) == f"ts: cannot run '{name}': Permission denied\n".encode()


def test_error_line_under_a_file_size_limit_of_zero(queue: RunnerQueue, runner: Runner) -> None:
    context = queue.write_context(limits={resource.RLIMIT_FSIZE: (0, 0)})
    result = runner.run(queue.job("no-such-command", context=context))
    assert (result.status, result.stage) == (127 << 8, TSF_STAGE_EXEC)


def test_script_without_interpreter_line(queue: RunnerQueue, runner: Runner) -> None:
    script = queue.work / "plain"
    script.write_text("echo $0 $#:$1\n")
    script.chmod(0o755)
    assert queue.output(runner.run(queue.job("./plain", "an arg"))) == b"./plain 1:an arg\n"
    result = runner.run(queue.job("plain", "b", diff=[f"PATH=/usr/bin:{queue.work}"]))
    assert queue.output(result) == f"{script} 1:b\n".encode()
    assert queue.output(runner.run(queue.job("plain", diff=["PATH="]))) == b"./plain 0:\n"


def test_default_path(queue: RunnerQueue, runner: Runner) -> None:
    assert runner.run(queue.job("true", diff=["PATH"])).status == 0


# ---- set-up that fails


def test_missing_directory(queue: RunnerQueue, runner: Runner) -> None:
    result = runner.run(queue.job("true", cwd="/no/such/place"))
    assert failed(result, TSF_STAGE_CHDIR, errno.ENOENT)
    assert queue.output(result) == b"ts: cannot enter '/no/such/place': No such file or directory\n"


def test_unwritable_log_directory(queue: RunnerQueue, runner: Runner) -> None:
    closed = queue.folder / "closed"
    closed.mkdir(mode=0o500)
    assert failed(runner.run(queue.job("true", prefix="/no/such/place/x")), TSF_STAGE_OUTPUT, errno.ENOENT)
    assert failed(runner.run(queue.job("true", prefix=f"{queue.log}/x")), TSF_STAGE_OUTPUT, errno.ENOTDIR)
    assert failed(
        runner.run(queue.job("true", prefix=f"{queue.logs}/{'x' * 250}")), TSF_STAGE_OUTPUT, errno.ENAMETOOLONG
    )
    if os.getuid():
        assert failed(runner.run(queue.job("true", prefix=f"{closed}/x")), TSF_STAGE_OUTPUT, errno.EACCES)
    assert runner.run(queue.job("true")).status == 0


@pytest.mark.parametrize(
    "damage",
    [
        *[{"blob_check": 1}, {"blob_len": 1}, {"blob_len": 0xFFFFFFFF}, {"blob_off": 1 << 60}, {"argc": 0}],
        *[{"argc": 3}, {"argv_len": 4}, {"argv_len": 0xFFFFFFFF}, {"n_after": 0xFFFFFFFF}, {"cwd_len": 1000}],
        *[{"diff_len": 1}, {"prefix_len": 0xFFFFFFFF, "label_len": 0xFFFFFFFF}],
    ],
)
def test_damaged_blob(queue: RunnerQueue, runner: Runner, damage: dict[str, int]) -> None:
    result = runner.run(queue.job("true", "x", diff=["A=1"], **damage))
    assert result.stage == TSF_STAGE_RECORD and result.cause in (errno.EIO, errno.ENOMEM, errno.EINVAL)
    assert runner.run(queue.job("true")).status == 0


def test_damaged_cold_record(queue: RunnerQueue, runner: Runner) -> None:
    job = queue.job("true")
    job.cold.check ^= 1
    assert failed(runner.run(job), TSF_STAGE_RECORD, errno.EIO)


def test_wrong_job_in_the_entry(queue: RunnerQueue, runner: Runner) -> None:
    job = queue.job("true")
    job.job += 1
    assert failed(runner.run(job), TSF_STAGE_RECORD, errno.EIO)


@pytest.mark.parametrize("position", [0, 4, 8, 16, 20, 24, 28, 100, -1])
def test_damaged_context(queue: RunnerQueue, runner: Runner, position: int) -> None:
    good = queue.context
    bad = queue.write_context(["X=1"])
    path = queue.state / "ctx" / f"{bad:016x}"
    data = bytearray(path.read_bytes())
    data[position] ^= 0x80
    path.write_bytes(data)
    assert failed(runner.run(queue.job("true", context=bad)), TSF_STAGE_RECORD, errno.EIO)
    assert runner.run(queue.job("true", context=good)).status == 0


@pytest.mark.parametrize("field", ["affinity_len", "cwd_len", "env_count", "env_len"])
def test_impossible_lengths_in_a_context_of_right_checksum(queue: RunnerQueue, runner: Runner, field: str) -> None:
    bad = queue.write_context(["X=1"])
    path = queue.state / "ctx" / f"{bad:016x}"
    with changed(path, tsf_ctx) as head:
        setattr(head, field, 0xFFFFFFF0)
        body = bytes(head)[tsf_ctx.umask.offset :] + path.read_bytes()[ctypes.sizeof(head) :]
        head.check = layouts.lib.check32(body, len(body), 0)
    assert failed(runner.run(queue.job("true", context=bad)), TSF_STAGE_RECORD, errno.EIO)


def test_short_or_missing_context(queue: RunnerQueue, runner: Runner) -> None:
    bad = queue.write_context(["X=1"])
    path = queue.state / "ctx" / f"{bad:016x}"
    path.write_bytes(path.read_bytes()[:100])
    assert failed(runner.run(queue.job("true", context=bad)), TSF_STAGE_RECORD, errno.EIO)
    path.unlink()
    assert failed(runner.run(queue.job("true", context=bad)), TSF_STAGE_RECORD, errno.ENOENT)


# ---- the runner's life


def test_revoked_job_is_dropped(queue: RunnerQueue, runner: Runner) -> None:
    marker = queue.folder / "marker"
    runner.give(queue.job("touch", str(marker)), word=TSF_RUN_REVOKED)
    wait_until(lambda: not runner.unread(), "reading of the packet")
    # One of an older generation, too
    stale = queue.job("touch", str(marker))
    runner.socket.send(bytes(stale))
    result = runner.run(queue.shell("echo next"))
    assert queue.output(result) == b"next\n" and not marker.exists()


def test_one_runner_for_many_jobs(queue: RunnerQueue, runner: Runner) -> None:
    seen = set()
    for i in range(100):
        job = queue.shell(f"exit {i}")
        result = runner.run(job)
        assert result.status == i << 8
        seen.add(result.suffix)
    assert len(seen) == 100
    assert runner.descriptors() <= 8


def test_big_command_and_environment(queue: RunnerQueue, runner: Runner) -> None:
    words = ["x" * 1000] * 1000
    script = "echo $#; env | wc -c"
    context = queue.write_context(["PATH=/usr/bin:/bin", *(f"V{i}={'y' * 900}" for i in range(300))])
    result = runner.run(queue.job("sh", "-c", script, "sh", *words, context=context, diff=[f"V7={'z' * 100000}"]))
    count, size = map(int, queue.output(result).split())
    assert count == 1000 and size > 300 * 900 + 99000


def test_messages_of_wrong_size_are_ignored(queue: RunnerQueue, runner: Runner) -> None:
    runner.socket.send(b"x")
    runner.socket.send(b"x" * 1000)
    assert runner.run(queue.job("true")).status == 0
    assert "unknown size" in queue.log.read_text()


def test_lock_is_held_for_life(queue: RunnerQueue, runner: Runner) -> None:
    for _ in range(3):
        runner.run(queue.job("true"))
        assert queue.locked(1) == runner.pid == runner.entry.runner
    assert not queue.locked(2)
    second = queue.start(1)
    assert os.waitstatus_to_exitcode(second.wait()) == 1
    assert queue.locked(1) == runner.pid
    runner.socket.close()
    assert runner.wait() == 0
    assert not queue.locked(1)


def test_idle_runner_ends(queue: RunnerQueue, runner: Runner) -> None:
    runner.run(queue.job("true"))
    before = time.monotonic()
    assert runner.socket.recv(64) == b""
    assert runner.wait() == 0 and time.monotonic() - before > 3


def test_server_gone_during_a_job(queue: RunnerQueue, runner: Runner) -> None:
    fifo = queue.folder / "fifo"
    os.mkfifo(fifo)
    job = queue.shell(f"read x < {fifo}; exit 7")
    runner.give(job)
    runner.started(job)
    runner.socket.close()
    fifo.write_text("go\n")
    assert runner.wait() == 0
    assert runner.result(job).status == 7 << 8


def test_refuses_what_is_not_its_table(queue: RunnerQueue) -> None:
    queue.map[0] ^= 1
    assert os.waitstatus_to_exitcode(queue.start().wait()) == 1
    for number in (0, TSF_RUNS + 1):
        assert os.waitstatus_to_exitcode(queue.start(number).wait()) == 2


# ---- signals


def command(runner: Runner, gen: int, number: int) -> None:
    runner.entry.command = (gen & 0xFFFFFFFF) << 32 | number
    os.kill(runner.pid, TSF_RUN_SIGNAL)


def test_kill(queue: RunnerQueue, runner: Runner) -> None:
    job = queue.shell("sleep 1000 & wait")
    runner.give(job)
    runner.started(job)
    command(runner, job.gen, signal.SIGTERM)
    assert runner.report()[:2] in (
        (TSF_REPORT_ENDED, 0),
        (TSF_REPORT_ENDED, 1),
    )  # the other process of the group may take a moment
    assert runner.result(job).status == signal.SIGTERM
    assert runner.entry.command & 0xFFFFFFFF == 0, "taken out, so that it is not sent again"


def test_stale_command_is_ignored(queue: RunnerQueue, runner: Runner) -> None:
    fifo = queue.folder / "fifo"
    os.mkfifo(fifo)
    first = queue.job("true")
    runner.run(first)
    command(runner, first.gen, signal.SIGKILL)
    job = queue.shell(f"read x < {fifo}; exit 3")
    runner.give(job)
    runner.started(job)
    command(runner, first.gen, signal.SIGKILL)
    command(runner, job.gen + 1, signal.SIGKILL)
    fifo.write_text("go\n")
    assert runner.ended(job).status == 3 << 8


def test_signals_of_the_terminal_do_not_reach_the_runner(queue: RunnerQueue, runner: Runner) -> None:
    wait_until(lambda: runner.entry.runner == runner.pid, "birth")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGTSTP, signal.SIGUSR1):
        os.kill(runner.pid, number)
    assert queue.output(runner.run(queue.shell("echo alive"))) == b"alive\n"


def test_left_over_process_retires_the_runner(queue: RunnerQueue, runner: Runner) -> None:
    job = queue.shell("sleep 1000 > /dev/null 2>&1 & echo $!")
    runner.give(job)
    result = runner.ended(job, retiring=1)
    assert runner.wait() == 0
    left = int(queue.output(result))
    assert alive(left)
    os.kill(left, signal.SIGKILL)


def test_orphans_are_reaped_during_the_job(queue: RunnerQueue, runner: Runner) -> None:
    script = "i=0; while [ $i -lt 20 ]; do (true & ); i=$((i+1)); done; exec sleep 1000"
    job = queue.shell(script)
    runner.give(job)
    runner.started(job)
    comm = Path(f"/proc/{job and runner.entry.pid}/comm")
    wait_until(lambda: comm.read_text() == "sleep\n", "end of the loop")
    children = Path(f"/proc/{runner.pid}/task/{runner.pid}/children")
    wait_until(lambda: children.read_text().split() == [str(runner.entry.pid)], "reaping of the orphans")
    command(runner, job.gen, signal.SIGKILL)
    assert runner.ended(job).status == signal.SIGKILL


# ---- the caller's descriptors


def pipes() -> tuple[list[int], list[int]]:
    """(those of the job, those of the test), for stdin, stdout and stderr."""
    (in_r, in_w), (out_r, out_w), (err_r, err_w) = os.pipe(), os.pipe(), os.pipe()
    return [in_r, out_w, err_w], [in_w, out_r, err_r]


@pytest.mark.parametrize("flags", [TSF_JOB_FOREGROUND, TSF_JOB_FOREGROUND | TSF_JOB_NO_OUTPUT])
def test_foreground(queue: RunnerQueue, runner: Runner, flags: int) -> None:
    theirs, ours = pipes()
    job = queue.shell("read x; echo out $x; echo err $x >&2", flags=flags)
    runner.give(job, theirs)
    for fd in theirs:
        os.close(fd)
    os.write(ours[0], b"word\n")
    result = runner.ended(job)
    # An end of file shows that the runner has closed its own copies
    seen = [os.read(fd, 100) for fd in ours[1:]]
    if flags & TSF_JOB_NO_OUTPUT:
        assert seen == [b"out word\n", b"err word\n"] and [os.read(fd, 100) for fd in ours[1:]] == [b"", b""]
    else:
        assert seen == [b"", b""] and queue.output(result) == b"out word\nerr word\n"
    for fd in ours:
        os.close(fd)


def test_foreground_without_descriptors(queue: RunnerQueue, runner: Runner) -> None:
    job = queue.shell("read x || exit 5", flags=TSF_JOB_FOREGROUND | TSF_JOB_NO_OUTPUT)
    assert runner.run(job).status == 5 << 8


def test_descriptors_that_do_not_belong_are_closed(queue: RunnerQueue, runner: Runner) -> None:
    for flags, count in ((0, 3), (TSF_JOB_FOREGROUND, 2), (TSF_JOB_FOREGROUND, 4)):
        read, write = os.pipe()
        assert runner.run(queue.shell("read x || exit 5", flags=flags), [write] * count).status == 5 << 8
        os.close(write)
        assert os.read(read, 1) == b""
        os.close(read)


# ---- deaths at the worst moment


@pytest.mark.parametrize(
    ("point", "state", "ran"),
    [
        *[
            ("runner-received", TSF_RUN_ASSIGNED, False),
            ("runner-claimed", TSF_RUN_CLAIMED, False),
            ("runner-output", TSF_RUN_CLAIMED, False),
        ],
        *[
            ("runner-spawned", TSF_RUN_EXECING, True),
            ("runner-reap", TSF_RUN_EXECING, True),
            ("runner-result", TSF_RUN_EXECING, True),
        ],
        *[
            ("runner-exited", TSF_RUN_EXITED, True),
            ("runner-reaped", TSF_RUN_EXITED, True),
            ("runner-reported", TSF_RUN_EXITED, True),
        ],
    ],
)
def test_runner_killed(queue: RunnerQueue, point: str, state: int, ran: bool) -> None:
    runner = queue.start(fault=f"{point}:kill")
    marker = queue.folder / "marker"
    job = queue.job("touch", str(marker))
    runner.give(job)
    assert os.WTERMSIG(runner.wait()) == signal.SIGKILL
    assert runner.entry.word == job.gen << 8 | state and not queue.locked(1)
    if ran:
        wait_until(marker.exists, "the job's work")
    else:
        assert not marker.exists()
    if point in ("runner-result", "runner-exited", "runner-reaped", "runner-reported"):
        assert runner.result(job, state).status == 0


def test_job_process_killed_before_it_may_run(queue: RunnerQueue) -> None:
    runner = queue.start(fault="child-before-exec:kill")
    marker = queue.folder / "marker"
    result = runner.run(queue.job("touch", str(marker)))
    assert (result.stage, result.cause, result.status, result.pid) == (TSF_STAGE_SPAWN, 0, signal.SIGKILL, 0)
    assert not marker.exists()


def test_job_process_killed_before_execve(queue: RunnerQueue) -> None:
    runner = queue.start(fault="child-execing:kill")
    result = runner.run(queue.job("true"))
    assert (result.status, result.stage) == (signal.SIGKILL, 0)


@pytest.mark.parametrize("revoked", [True, False])
def test_start_revoked_between_fork_and_exec(queue: RunnerQueue, revoked: bool) -> None:
    """A child that outlives its runner runs only if nobody has taken the job back meanwhile."""
    runner = queue.start(fault="child-before-exec:stop")
    marker = queue.folder / "marker"
    job = queue.job("touch", str(marker))
    runner.give(job)
    wait_until(lambda: runner.entry.pid and stopped(runner.entry.pid), "stop of the job's process")
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    assert runner.entry.word == job.gen << 8 | TSF_RUN_CLAIMED and not queue.locked(1)
    if revoked:
        runner.entry.word = job.gen << 8 | TSF_RUN_REVOKED
    os.kill(runner.entry.pid, signal.SIGCONT)
    wait_until(lambda: not alive(runner.entry.pid), "end of the job's process")
    assert marker.exists() == (not revoked)
