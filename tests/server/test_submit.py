"""The options of a job being added, and how the job runs: where, with what, and where its output goes."""

import os
import resource
import stat
import subprocess
import time
from pathlib import Path

import pytest

from support.patience import wait_until
from support.queues import Queue


def test_ids_and_words(queue: Queue) -> None:
    assert [queue.submit("true") for _ in range(3)] == [0, 1, 2]
    job = queue.finish("printf", "%s|", "a b", "", "-l", "é", "$HOME", "*")
    assert queue.output(job) == "a b||-l|é|$HOME|*|"
    job = queue.finish("--", "echo", "--", "-n")
    assert queue.output(job) == "-- -n\n"


def test_a_line_for_a_shell_is_warned_of(queue: Queue) -> None:
    """It is run as it is, like any other word."""
    done = queue.run("echo a; echo b")
    assert done.stderr.startswith("ts: warning: the command is one word with blanks, and no shell reads it")
    assert done.stderr.count("\n") == 1
    assert queue.run("-w", int(done.stdout)).returncode == 127
    program = queue.work / "a program"
    program.write_text("#!/bin/sh\necho it ran\n")
    program.chmod(0o755)
    for words in (("./a program",), (str(program),), ("sh", "-c", "true; true"), ("a", "b c"), ("",)):
        done = queue.run(*words)
        assert (done.returncode, done.stderr) == (0, "")
    assert queue.run("-w", 1).returncode == 0
    (queue.work / "lines").write_text("true a b\n'echo a; echo b'\n")
    assert "one word with blanks" in queue.run("--batch", "lines").stderr


def test_words_of_any_bytes(queue: Queue) -> None:
    word = "".join(chr(0xDC00 + byte) if byte > 127 else chr(byte) for byte in range(1, 256))
    job = queue.finish("printf", "%s", word)
    assert Path(queue.get("-o", job)).read_bytes() == os.fsencode(word)


def test_without_output(queue: Queue) -> None:
    done = queue.run("-n", "sh", "-c", "echo lost; echo lost >&2; exit 5")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert queue.run("-w", 0).returncode == 5
    assert list(queue.out.iterdir()) == []
    assert "stdout" in queue.get().splitlines()[1]
    assert "-n" in queue.refused("-c", 0)
    assert "-n" in queue.refused("-o", 0)


def test_stderr_apart(queue: Queue) -> None:
    job = queue.finish("-E", "sh", "-c", "echo out; echo err >&2")
    path = Path(queue.get("-o", job))
    assert (path.read_text(), Path(f"{path}.e").read_text()) == ("out\n", "err\n")
    assert stat.S_IMODE(os.stat(f"{path}.e").st_mode) == 0o600


def test_name_of_the_output_file(queue: Queue) -> None:
    job = queue.finish("-O", "result", "true")
    path = Path(queue.get("-o", job))
    assert path.parent == queue.out
    assert path.name.startswith("result.") and len(path.name) == len("result.XXXXXX")
    assert "/" in queue.refused("-O", "a/b", "true")
    assert queue.ids() == [job]


def test_output_file(queue: Queue) -> None:
    job = queue.finish("sh", "-c", "printf a; printf b >&2; printf c", umask=0)
    path = Path(queue.get("-o", job))
    assert path.parent == queue.out and path.name.startswith("ts-out.")
    assert path.read_bytes() == b"abc"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    queue.get("-C")
    assert path.exists()


def test_why_tells_of_a_full_queue(queue: Queue) -> None:
    queue.environment["TS_MAXCONN"] = "2"
    _, gate = queue.blocker()
    queued = queue.submit("true")
    assert "full" not in queue.get("--why", queued)
    late = queue.start("true")
    queue.wait_until(
        lambda: "the queue is full (TS_MAXCONN): 1 call waits for room in it" in queue.get("--why", queued)
    )
    gate.open()
    assert late.wait(10) == 0


def test_full_queue(queue: Queue) -> None:
    limit = {"TS_MAXCONN": "2"}
    gate = queue.gate()
    queue.submit(*gate.command, env=limit)
    queue.submit("true")
    done = queue.run("-B", "true")
    assert (done.returncode, done.stdout) == (2, "")
    waiting = queue.start("echo", "late")
    assert queue.state(1) == "queued"  # others are served
    assert waiting.poll() is None
    gate.open()
    out, err = waiting.communicate(timeout=20)
    assert (waiting.returncode, out, err) == (0, b"2\n", b"")
    assert queue.wait(2) == 0


def test_labels(queue: Queue) -> None:
    job = queue.submit("-L", "übung 1", "true")
    assert queue.get("-a", job) == "übung 1"


# ---- how a job runs ----


def test_directory_environment_umask_at_submission(queue: Queue) -> None:
    _, gate = queue.blocker()
    there = queue.directory / "there"
    there.mkdir()
    job = queue.submit(
        "sh", "-c", "pwd; echo $MARK $EMPTY.; umask", env={"MARK": "m", "EMPTY": ""}, cwd=there, umask=0o31
    )
    other = queue.submit("sh", "-c", "pwd; echo ${MARK-none}; umask", umask=0o22)
    gate.open()
    queue.wait(other)
    assert queue.output(job) == f"{there}\nm .\n0031\n"
    assert queue.output(other) == f"{queue.work}\nnone\n0022\n"


def test_many_environments(queue: Queue) -> None:
    """Differences to a base context are put together again, for variables set, changed and gone."""
    _, gate = queue.blocker()
    for number in range(40):
        env = {f"V{other}": str(other * number) for other in range(6) if other != number % 6}
        queue.submit("sh", "-c", "env | grep ^V | sort", env=env)
    gate.open()
    assert queue.wait(40) == 0
    for number in range(40):
        expected = [f"V{other}={other * number}" for other in range(6) if other != number % 6]
        assert queue.output(number + 1).split() == expected


def test_limits_and_nice_value(queue: Queue) -> None:
    queue.get("-l")

    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (77, 99))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.nice(7)

    job = queue.finish("sh", "-c", "ulimit -Sn; ulimit -Hn; nice", preexec_fn=lower)
    assert queue.output(job).split() == ["77", "99", str(os.nice(0) + 7)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    job = queue.finish("sh", "-c", "ulimit -Sn; ulimit -Hn; nice")
    assert queue.output(job).split() == [str(soft), str(hard), str(os.nice(0))]


def test_limits_of_the_first_caller_are_not_the_server_s(queue: Queue) -> None:
    job = queue.finish(
        "sh", "-c", "ulimit -Sn", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (50, 9000))
    )
    assert queue.output(job) == "50\n"
    assert "soft" not in queue.log()


def test_processors(queue: Queue) -> None:
    queue.get("-l")
    job = queue.finish("nproc", preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}))
    assert queue.output(job) == "1\n"


def test_stdin_is_empty(queue: Queue) -> None:
    job = queue.finish("cat", stdin="not for the job")
    assert queue.output(job) == ""
    assert queue.wait(job) == 0


def test_signals_are_the_defaults(queue: Queue) -> None:
    script = (
        "import signal; print([s for s in range(1, 32) if signal.getsignal(s) == signal.SIG_IGN and s not in (13, 25)])"
    )
    job = queue.finish("sh", "-c", "grep -E '^Sig(Blk|Ign)' /proc/self/status", preexec_fn=_ignore_signals)
    assert {line.split()[1].strip("0") for line in queue.output(job).splitlines()} == {""}
    assert queue.output(queue.finish("python3", "-c", script, env={"PATH": os.environ["PATH"]})) == "[]\n"


def _ignore_signals() -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])


def test_descriptors_of_a_job(queue: Queue) -> None:
    job = queue.finish("sh", "-c", "ls /proc/self/fd | tr '\\n' ' '")
    assert queue.output(job).split()[:3] == ["0", "1", "2"]
    assert len(queue.output(job).split()) == 4  # and that of the listing


def test_variables_of_a_job(queue: Queue) -> None:
    script = 'echo "$TS_JOBID $TS_OUTPUT $PYTHONUNBUFFERED"'
    job = queue.finish("sh", "-c", script)
    assert queue.output(job).split() == [str(job), queue.get("-o", job), "1"]
    job = queue.finish("sh", "-c", script, env={"PYTHONUNBUFFERED": "no"})
    assert queue.output(job).split()[2] == "no"


def test_nested_submission(queue: Queue) -> None:
    job = queue.finish("sh", "-c", "ts -d echo nested")
    nested = int(queue.output(job))
    assert queue.wait(nested) == 0
    assert queue.output(nested) == "nested\n"


@pytest.mark.parametrize("code", [0, 1, 127, 128, 200, 255])
def test_exit_codes(queue: Queue, code: int) -> None:
    job = queue.finish("sh", "-c", f"exit {code}")
    assert queue.wait(job) == code
    assert queue.jobs()[0]["E-Level"] == code


def test_ended_by_a_signal(queue: Queue) -> None:
    job = queue.finish("sh", "-c", "kill -11 $$")
    assert queue.jobs()[0]["E-Level"] == -1
    assert queue.jobs()[0]["Signal"] == 11
    assert queue.wait(job) == 255


def test_command_that_cannot_be_run(queue: Queue) -> None:
    plain = queue.work / "plain"
    plain.write_text("#!/bin/sh\n")
    missing, denied, directory = queue.finish("no-such-command"), queue.finish("./plain"), queue.finish("/")
    assert [queue.wait(job) for job in (missing, denied, directory)] == [127, 126, 126]
    for job, name in ((missing, "no-such-command"), (denied, "./plain"), (directory, "/")):
        text = queue.output(job)
        assert name in text and text.count("\n") == 1, text


def test_script_without_an_interpreter_line(queue: Queue) -> None:
    script = queue.work / "script"
    script.write_text("echo from $0 $1\n")
    script.chmod(0o755)
    assert queue.output(queue.finish("./script", "x")) == "from ./script x\n"


def test_directory_that_is_gone_at_the_start(queue: Queue) -> None:
    _, gate = queue.blocker()
    there = queue.directory / "there"
    there.mkdir()
    job = queue.submit("true", cwd=there)
    there.rmdir()
    gate.open()
    assert queue.wait(job) == 255
    assert str(there) in queue.get("-i", job)


def test_directory_that_is_gone_already(queue: Queue) -> None:
    there = queue.directory / "there"
    there.mkdir()
    done = subprocess.run(
        ["sh", "-c", "rmdir ../there; exec ts true"], cwd=there, env=queue.env(), capture_output=True, timeout=20
    )
    assert done.returncode == 255 and done.stdout == b"" and done.stderr.count(b"\n") == 1
    assert queue.ids() == []


def test_process_left_behind_does_not_hold_the_slot(queue: Queue) -> None:
    begin = time.monotonic()
    job = queue.finish("sh", "-c", "sleep 1000 & exit 6")
    assert queue.wait(job) == 6
    assert queue.wait(queue.submit("true")) == 0
    assert time.monotonic() - begin < 10


def test_closed_descriptors(queue: Queue) -> None:
    done = subprocess.run(
        ["sh", "-c", "ts echo fine <&- >&- 2>&-"], cwd=queue.work, env=queue.env(), capture_output=True, timeout=20
    )
    assert done.returncode == 0
    queue.wait(0)
    assert queue.output(0) == "fine\n"


def test_caller_s_pipe_is_not_held_by_the_server_or_the_job(queue: Queue) -> None:
    """`$(ts ...)` returns at once: the descriptors of the first call end with it."""
    done = subprocess.run(
        ["sh", "-c", "echo $(ts sleep 1000) | cat"], cwd=queue.work, env=queue.env(), capture_output=True, timeout=10
    )
    assert done.stdout == b"0\n"
    wait_until(lambda: queue.state(0) == "running")
