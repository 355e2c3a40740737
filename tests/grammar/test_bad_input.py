"""What is wrong is said in one line, ends with 255, and queues nothing."""

from pathlib import Path

import pytest

from support.queues import Queue

WRONG = [
    ("-X",),
    ("-X", "true"),
    ("--no-such-option", "true"),
    ("--get", "true"),  # two long options begin so
    ("-L",),
    ("-N",),
    ("-D",),
    ("-N", "x", "true"),
    ("-N", "-1", "true"),
    ("-D", "x", "true"),
    ("-D", "", "true"),
    ("-D", "0,,1", "true"),
    ("-W", "1.5", "true"),
    ("-O", "", "true"),
    ("-O", "../up", "true"),
    ("-U", "1"),
    ("-S", "x"),
    ("-M", "xml"),
    ("-l", "true"),
    ("-C", "true"),
    ("-w", "x"),
    ("-s", "0x1"),
    ("-c", "1 "),
    ("-k", "-1"),
    ("-p", "99999999999999999999999"),
    ("--set_logdir",),
    ("--last_queue_id=1",),
]


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_command_line(queue: Queue, words: tuple[str, ...]) -> None:
    queue.refused(*words)
    assert queue.ids() == []


def test_wrong_command_line_without_a_server(queue: Queue) -> None:
    """Also where the server would have to be started first, there is one line and no job."""
    queue.refused("-N", "x", "true")
    assert not list(queue.out.iterdir())


@pytest.mark.parametrize("option", ["-s", "-w", "-c", "-t", "-p", "-o", "-i", "-r", "-k", "-u", "-a", "-F"])
def test_ids_that_do_not_exist(queue: Queue, option: str) -> None:
    assert "0" in queue.refused(option, "0")
    queue.refused(option)
    job = queue.finish("true")
    assert str(job + 1) in queue.refused(option, job + 1)
    queue.get("-C")
    assert "no longer known" in queue.refused(option, job)


@pytest.mark.parametrize("option", ["-c", "-t", "-o", "-p"])
def test_facts_that_a_queued_job_does_not_have(queue: Queue, option: str) -> None:
    queue.blocker()
    job = queue.submit("true")
    assert "not started" in queue.refused(option, job)


def test_control_characters_in_messages(queue: Queue) -> None:
    message = queue.refused("-N", "\x1b[31m\nred", "true")
    assert "\x1b" not in message


def test_missing_log_directory(queue: Queue) -> None:
    """Found at the start of the job: recorded, shown by -i, and the queue goes on."""
    queue.environment["TMPDIR"] = str(queue.directory / "missing")
    job = queue.finish("true")
    assert queue.wait(job) == 255
    info = queue.get("-i", job)
    assert str(queue.directory / "missing") in info and "No such file or directory" in info
    (queue.directory / "missing").mkdir()
    assert queue.wait(queue.submit("true")) == 0


def test_removed_log_directory(queue: Queue) -> None:
    logs = queue.directory / "logs"
    logs.mkdir()
    queue.get("--set_logdir", logs)
    logs.rmdir()
    assert queue.wait(queue.submit("true")) == 255
    assert (queue.get("-n", "true"), queue.run("-w").returncode) == ("", 0)
    queue.get("--set_logdir", queue.out)
    assert queue.wait(queue.submit("true")) == 0


def test_output_file_that_was_deleted(queue: Queue) -> None:
    job = queue.finish("echo", "gone")
    Path(queue.get("-o", job)).unlink()
    done = queue.run("-c", job)
    assert done.stdout == "" and done.stderr.count("\n") == 1 and done.returncode == 255


def test_very_long_command(queue: Queue) -> None:
    """1 MB of words, each as long as the kernel allows."""
    words = ["x" * 100_000] * 10
    job = queue.finish("sh", "-c", 'echo "$#" "${#1}"', "sh", *words)
    assert queue.output(job) == "10 100000\n"
    assert len(queue.get("-F", job)) > 1_000_000
    assert len(queue.get()) > 1_000_000
    queue.kill_server()
    assert len(queue.get("-F", job)) > 1_000_000


def test_engine_that_is_not_there(queue: Queue) -> None:
    assert queue.refused("true", env={"TS_ENGINE": "slurm"}) == "ts: TS_ENGINE is 'slurm', allowed is local\n"
    assert queue.servers() == []
    assert queue.get("true", env={"TS_ENGINE": "local"}) == "0"
