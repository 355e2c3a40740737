"""What will surely fail is told when the job is queued: one warning, and the job is queued all the same."""

import os
from pathlib import Path

import pytest

from support import programs
from support.installation import BIN
from support.queues import Queue


def warning(queue: Queue, *words: object, **options: object) -> str:
    """Of a submission that is taken; empty if there is none."""
    done = queue.run(*words, **options)
    assert done.returncode == 0
    job = int(done.stdout)
    assert job in queue.ids()
    assert done.stderr == "" or (done.stderr.startswith("ts: warning: ") and done.stderr.count("\n") == 1), done
    return done.stderr


def program(path: Path, mode: int = 0o755) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


@pytest.mark.parametrize("name, why", [
    ("/nonexistent/hook", "No such file or directory"),
    ("no-such-program", "No such file or directory"),
    ("{work}/plain", "Permission denied"),
    ("plain", "Permission denied"),
    ("./plain", "Permission denied"),
    ("{work}", "Permission denied"),
    ("{work}/plain/x", "Not a directory"),
    ("with\nnewline", "No such file or directory"),
])  # fmt: skip
def test_a_hook_that_cannot_be_run(queue: Queue, name: str, why: str) -> None:
    program(queue.work / "plain", 0o644)
    name = name.format(work=queue.work)
    env = {"TS_ONFINISH": name, "PATH": f"{queue.work}:{BIN}:/usr/bin:/bin"}
    shown = name.replace("\n", "\\n")
    text = f"ts: warning: TS_ONFINISH: '{shown}': {why}; no program will run when the job has ended\n"
    assert warning(queue, "true", env=env) == text
    assert warning(queue, "--array", "1-3", "true", env=env) == text


@pytest.mark.parametrize("name", ["{work}/hook", "hook", "./hook"])
def test_a_hook_that_can_be_run(queue: Queue, name: str) -> None:
    (queue.work / "first").mkdir()
    program(queue.work / "first" / "hook", 0o644)
    program(queue.work / "hook")
    path = f"{queue.work}/first:{queue.work}:{BIN}:/usr/bin:/bin"
    assert warning(queue, "true", env={"TS_ONFINISH": name.format(work=queue.work), "PATH": path}) == ""


def test_a_hook_that_does_not_reach_the_job_is_not_looked_for(queue: Queue) -> None:
    assert warning(queue, "true", env={"TS_ONFINISH": "/nonexistent", "TS_ENV_DROP": "TS_ONFINISH"}) == ""
    assert warning(queue, "true", env={"TS_ONFINISH": ""}) == ""


def test_a_foreground_job_too(queue: Queue) -> None:
    done = queue.run("-nf", "sh", "-c", "echo hi; exit 3", env={"TS_ONFINISH": "/nonexistent"})
    assert (done.returncode, done.stdout) == (3, "hi\n")
    assert done.stderr.startswith("ts: warning: TS_ONFINISH: '/nonexistent': ")


@pytest.mark.parametrize("env", [{}, {"USER": ""}, {"TS_MAILTO": "", "USER": ""}, {"TS_MAILTO": "a\nb", "USER": "me"}])
def test_a_mail_to_nobody(queue: Queue, env: dict[str, str]) -> None:
    program(queue.work / "sendmail")
    path = f"{queue.work}:{BIN}:/usr/bin:/bin"
    assert warning(queue, "-m", "true", env={"PATH": path, **env}) == (
        "ts: warning: -m: neither TS_MAILTO nor USER names a recipient; no mail will be sent\n"
    )
    assert warning(queue, "-m", "true", env={"PATH": path, **env, "TS_MAILTO": "me"}) == ""


@pytest.mark.skipif(
    not programs.must_be_complete()
    and any(Path(directory, "sendmail").exists() for directory in ("/usr/sbin", "/usr/lib")),
    reason="a mailer is installed",
)
def test_a_mail_without_a_mailer(queue: Queue) -> None:
    assert warning(queue, "-m", "true", env={"USER": "me"}) == (
        "ts: warning: -m: there is no sendmail in PATH, /usr/sbin or /usr/lib; no mail will be sent\n"
    )


@pytest.mark.parametrize("options", [(), ("--append",), ("--truncate",)])
def test_a_directory_that_is_not_there(queue: Queue, options: tuple[str, ...]) -> None:
    text = f"ts: warning: --log: '{queue.work}/logs': No such file or directory; the job cannot start unless"
    assert warning(queue, *options, "--log", "logs/x.txt", "true").startswith(text)
    assert warning(queue, *options, "--log", "logs/{id}", "true").startswith(text)
    assert warning(queue, *options, "--array", "1-2", "--log", "logs/{index}", "true").startswith(text)
    (queue.work / "logs").mkdir()
    assert warning(queue, *options, "--log", "logs/x.txt", "true") == ""


def test_a_path_that_is_a_directory_or_in_a_file(queue: Queue) -> None:
    (queue.work / "file").touch()
    assert "/file': Not a directory" in warning(queue, "--log", "file/x", "true")
    assert "': Is a directory; the job cannot start\n" in warning(queue, "--append", "--log", queue.work, "true")


def test_calls_that_queue_nothing_tell_nothing(queue: Queue) -> None:
    job = queue.finish("true")
    for words in ("-l",), ("-s", job), ("-m",), ("-n", "-m", "true"):
        assert "warning" not in queue.run(*words, env={"TS_ONFINISH": "/nonexistent", "USER": ""}).stderr


# ---- devices


@pytest.mark.parametrize("options", [(), ("-E",), ("--append",), ("--truncate",), ("-z",)])
def test_dev_null_as_the_file(queue: Queue, options: tuple[str, ...]) -> None:
    before = os.stat("/dev/null").st_rdev
    job = queue.submit(*options, "--log", "/dev/null", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert queue.wait(job) == 3
    assert queue.get("-o", job) == "/dev/null"
    assert (queue.run("-c", job).stdout, queue.run("-t", job).returncode) == ("", 3)
    assert os.stat("/dev/null").st_rdev == before
    assert not os.path.exists("/dev/null.e")


def test_a_terminal_as_the_file(queue: Queue) -> None:
    ours, theirs = os.openpty()
    job = queue.finish("-E", "--log", os.ttyname(theirs), "sh", "-c", "echo out; echo err >&2")
    assert os.read(ours, 100) == b"out\r\nerr\r\n"
    assert queue.wait(job) == 0
    os.close(ours)
    os.close(theirs)


def test_other_files_that_are_there_are_refused(queue: Queue) -> None:
    """Links to devices too: the job's /dev/stdout is not its caller's."""
    os.mkfifo(queue.work / "fifo")
    (queue.work / "link").symlink_to("/dev/null")
    for name in ("fifo", "link", "/dev/stdout"):
        assert "is there already" in queue.refused("--log", name, "true")


@pytest.mark.root
def test_a_device_is_not_removed_when_the_job_cannot_start(queue: Queue) -> None:
    """Without a gzip a file that was just made is taken away again."""
    path = queue.work / "null"
    os.mknod(path, 0o666 | 0o020000, os.makedev(1, 3))
    job = queue.finish("-z", "--log", path, "/bin/true", env={"PATH": "/nonexistent"})
    assert "cannot run gzip" in queue.get("-i", job)
    assert path.exists()
