"""--getenv, --setenv, --unsetenv: the server's environment. TS_ENV: what its command prints is a fact of the job."""

import pytest

from support.queues import Queue


def test_variables_of_the_server(queue: Queue) -> None:
    assert queue.get("--getenv", "MINE") == ""
    assert queue.get("--setenv", "MINE=a=b c") == ""
    assert queue.get("--getenv", "MINE") == "a=b c"
    queue.get("--setenv=MINE=")
    assert queue.get("--getenv", "MINE") == ""
    assert queue.get("--getenv", "TS_SOCKET", env={"MINE": "x"}) == str(queue.socket)
    queue.get("--unsetenv", "TS_SLOTS")
    queue.get("--setenv", "MINE=1")
    queue.get("--unsetenv", "MINE")
    assert queue.run("--getenv", "MINE").stdout == "\n"


@pytest.mark.parametrize(
    "words",
    [
        ("--getenv", ""),
        ("--getenv", "A=B"),
        ("--setenv", "A"),
        ("--setenv", "=A"),
        ("--setenv", ""),
        ("--unsetenv", "A="),
    ],
)
def test_wrong_names(queue: Queue, words: tuple[str, str]) -> None:
    assert words[0] in queue.refused(*words)


def test_a_job_has_its_caller_s_environment(queue: Queue) -> None:
    queue.get("--setenv", "MINE=server")
    job = queue.finish("sh", "-c", "echo ${MINE-none}")
    assert queue.output(job) == "none\n"


def test_default_log_directory_follows_tmpdir(queue: Queue) -> None:
    assert queue.get("--get_logdir") == str(queue.out)
    queue.get("--setenv", f"TMPDIR={queue.work}")
    assert queue.get("--get_logdir") == str(queue.work)
    assert queue.get("-o", queue.finish("true")).startswith(f"{queue.work}/ts-out.")
    queue.get("--unsetenv", "TMPDIR")
    assert queue.get("--get_logdir") == "/tmp"
    queue.get("--set_logdir", queue.out)
    queue.get("--setenv", f"TMPDIR={queue.work}")
    assert queue.get("--get_logdir") == str(queue.out)


def test_ts_env_is_the_first_fact(queue: Queue) -> None:
    env = {"TS_ENV": "pwd; echo two; echo >&2 seen", "MINE": "1"}
    done = queue.run("-L", "lab", "echo", "hi", env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "seen\n")
    queue.wait(0)
    text = queue.get("-i", 0)
    assert text.startswith(f"Environment:\n{queue.work}\ntwo\nExit status: died with exit code 0\n"), text
    assert (queue.get("-F", 0), queue.get("-a", 0), queue.output(0)) == ("echo hi", "lab", "hi\n")


def test_ts_env_leaves_no_trace_in_the_job(queue: Queue) -> None:
    job = queue.finish("env", env={"TS_ENV": "echo mark_$((40 + 2))"})
    assert "mark_42" in queue.get("-i", job)
    assert "mark_42" not in queue.output(job)


def test_ts_env_that_prints_nothing_or_fails(queue: Queue) -> None:
    for command in ("true", "exit 3"):
        job = queue.submit("true", env={"TS_ENV": command})
        assert "Environment:" not in queue.get("-i", job)


def test_ts_env_is_not_run_for_other_actions(queue: Queue) -> None:
    env = {"TS_ENV": "touch ran"}
    queue.get("-l", env=env)
    queue.get("-S", env=env)
    assert not (queue.work / "ran").exists()


def test_ts_env_is_run_once(queue: Queue) -> None:
    queue.submit("true", env={"TS_ENV": "echo x >> ran"})
    assert (queue.work / "ran").read_text() == "x\n"


def test_long_and_odd_text_of_ts_env(queue: Queue) -> None:
    job = queue.submit("true", env={"TS_ENV": "printf 'a\\033b\\000c\\377\\n'; yes"})
    text = queue.get("-i", job)
    lines = text.split("\n")
    assert lines[:2] == ["Environment:", "a\\x1bbc\\xff"]
    assert 60_000 < len(text) < 70_000
    assert lines[3] == "y"


def test_ts_env_survives_the_server(queue: Queue) -> None:
    job = queue.finish("true", env={"TS_ENV": "echo kept"})
    queue.kill_server()
    assert queue.get("-i", job).startswith("Environment:\nkept\n")


def test_ts_env_with_a_foreground_job(queue: Queue) -> None:
    done = queue.run("-nf", "cat", env={"TS_ENV": "cat"}, stdin="for the job")
    assert (done.returncode, done.stdout) == (0, "for the job")
