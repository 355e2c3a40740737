"""What of the caller's environment reaches the disk, who can read it there, and how long it stays."""

import contextlib
from pathlib import Path

import pytest

from support.queues import Queue

SECRET = "correct-horse-battery"


def found(queue: Queue, text: str = SECRET) -> list[str]:
    """Names of the files of the state directory that hold the text."""
    files = [path for path in queue.state_dir.rglob("*") if path.is_file()]
    assert files
    names = []
    for path in files:
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            if text.encode() in path.read_bytes():
                names.append(str(path.relative_to(queue.state_dir)))
    return names


def environment(queue: Queue, **variables: str) -> dict[str, str]:
    """Of a job, as it sees it."""
    job = queue.finish("env", "-0", env=variables)
    return dict(line.split("=", 1) for line in queue.output(job).split("\0") if line)


def test_only_the_owner_can_read_what_is_stored(queue: Queue) -> None:
    queue.blocker()
    queue.submit("true", env={"TOKEN": SECRET})
    assert found(queue)
    assert queue.state_dir.stat().st_mode & 0o777 == 0o700
    for path in queue.state_dir.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_dropped_variables_are_nowhere_on_the_disk(queue: Queue) -> None:
    seen = environment(queue, TS_ENV_DROP="AWS_*, *TOKEN", AWS_KEY=SECRET, MY_TOKEN=SECRET, OTHER="stays", tOKEN="also")
    assert "AWS_KEY" not in seen and "MY_TOKEN" not in seen
    assert (seen["OTHER"], seen["tOKEN"], seen["TS_ENV_DROP"]) == ("stays", "also", "AWS_*, *TOKEN")
    assert found(queue) == []
    assert found(queue, "stays")


def test_dropped_variables_of_a_difference(queue: Queue) -> None:
    """The second job is stored by what makes it differ from the first."""
    queue.finish("true")
    environment(queue, TS_ENV_DROP="MY_*", MY_TOKEN=SECRET)
    assert found(queue) == []


def test_dropped_variables_in_a_durable_queue(queue: Queue) -> None:
    queue.environment["TS_DURABLE"] = "1"
    environment(queue, TS_ENV_DROP="MY_*", MY_TOKEN=SECRET)
    assert found(queue) == []


def test_kept_variables_and_what_every_job_needs(queue: Queue) -> None:
    seen = environment(queue, TS_ENV_KEEP="LC_*,MINE", MINE="1", MINE2=SECRET, USER="me", TS_ENV="")
    ours = {"TS_SOCKET", "TS_STATE", "TS_ENV", "TS_ENV_KEEP", "TS_JOBID", "TS_OUTPUT"}
    assert set(seen) == {"LC_ALL", "MINE", "PATH", "HOME", "USER", "PYTHONUNBUFFERED"} | ours
    assert found(queue) == []


def test_what_is_dropped_is_not_kept(queue: Queue) -> None:
    seen = environment(queue, TS_ENV_KEEP="A*", TS_ENV_DROP="A2,HOME,TS_ENV_*,TS_STATE", A1="1", A2=SECRET)
    assert seen["A1"] == "1"
    assert not {"A2", "HOME", "TS_ENV_KEEP", "TS_ENV_DROP", "TS_STATE"} & set(seen)
    assert found(queue) == []


@pytest.mark.parametrize("name", ["TS_ENV_KEEP", "TS_ENV_DROP"])
def test_empty_ones_count_as_not_set(queue: Queue, name: str) -> None:
    assert environment(queue, **{name: "", "MINE": "1"})["MINE"] == "1"


def test_they_are_those_of_the_call_not_of_the_server(queue: Queue) -> None:
    queue.get("-l", env={"TS_ENV_DROP": "MINE"})
    assert environment(queue, MINE="1")["MINE"] == "1"


def test_with_the_ways_that_go_through_python(queue: Queue) -> None:
    """TS_ENV and --log have the call made again, with variables of its own."""
    job = queue.finish(
        "--log", queue.work / "log", "env", env={"TS_ENV": "echo fact", "TS_ENV_KEEP": "A", "A": "1", "B": SECRET}
    )
    assert queue.get("-i", job).startswith("Environment:\nfact\n")
    seen = (queue.work / "log").read_text()
    assert "A=1" in seen and "TSFAST" not in seen
    assert found(queue) == []


def test_a_hook_that_is_dropped_is_not_run(queue: Queue) -> None:
    hook = queue.work / "hook"
    hook.write_text(f"#!/bin/sh\necho ran > {queue.work}/ran\n")
    hook.chmod(0o755)
    queue.finish("true", env={"TS_ONFINISH": str(hook), "TS_ENV_DROP": "TS_ON*"})
    assert not (queue.work / "ran").exists()
    queue.finish("true", env={"TS_ONFINISH": str(hook), "TS_ENV_KEEP": "NOTHING"})
    queue.wait_until((queue.work / "ran").exists)


def test_secrets_of_a_foreground_job(queue: Queue) -> None:
    done = queue.run("-nf", "env", env={"TS_ENV_DROP": "MY_*", "MY_TOKEN": SECRET})
    assert done.returncode == 0 and SECRET not in done.stdout


FORGET = {"cleared": "-C", "removed": "-r", "dropped": "-K", "by the limit": "TS_MAXFINISHED", "with -nf": "-nf"}


@pytest.mark.parametrize("how", FORGET.values(), ids=FORGET)
@pytest.mark.parametrize("different", [False, True], ids=["own context", "difference"])
def test_environment_of_a_forgotten_job_is_gone(queue: Queue, how: str, different: bool) -> None:
    queue.get("-l", env={"TS_MAXFINISHED": "1"} if how == "TS_MAXFINISHED" else {})
    blocker = None
    if different:
        blocker, gate = queue.blocker()
        queue.get("-S", "2")
    if how == "-nf":
        assert queue.run("-nf", "true", env={"TOKEN": SECRET}).returncode == 0
    else:
        job = queue.finish("true", env={"TOKEN": SECRET})
        assert found(queue)
    if how == "TS_MAXFINISHED":
        queue.finish("true")
    elif how == "-r":
        queue.get("-r", job)
    elif how != "-nf":
        queue.get(how)
    queue.wait_until(lambda: not found(queue), "the secret is gone from the disk")
    if blocker is not None and how != "-K":
        gate.open()
        assert queue.wait(blocker) == 0


def test_environment_of_a_job_removed_before_its_start(queue: Queue) -> None:
    queue.blocker()
    job = queue.submit("true", env={"TOKEN": SECRET})
    assert found(queue)
    queue.get("-r", job)
    queue.wait_until(lambda: not found(queue))


def test_environment_of_a_submission_that_was_refused(queue: Queue) -> None:
    queue.refused("-D", "99", "true", env={"TOKEN": SECRET})
    assert found(queue) == []


def test_output_files_are_private(queue: Queue) -> None:
    job = queue.finish("sh", "-c", "umask 0; echo x")
    assert Path(queue.get("-o", job)).stat().st_mode & 0o777 == 0o600
