"""TS_SAVELIST: at SIGTERM the list is appended as a shell script that queues it again."""

import signal
import subprocess
from pathlib import Path

from support.queues import Queue

FACTS = ("State", "Command", "Label", "Slots", "Workdir")


def numbered(queue: Queue) -> list[tuple]:
    """The unfinished jobs, with dependencies by place in the list."""
    jobs = [job for job in queue.jobs() if job["State"] in ("queued", "running")]
    place = {job["ID"]: i for i, job in enumerate(jobs)}
    return [
        (*(job[fact] for fact in FACTS), [place[id] for id in job["Depends_On"] if id in place]) for job in jobs
    ]  # fmt: skip


def test_output_and_gpus_are_asked_for_again(queue: Queue) -> None:
    queue.environment["TS_SAVELIST"] = str(saved(queue))
    logs = queue.directory / "logs"
    logs.mkdir()
    _, gate = queue.blocker("--log", f"{logs}/run ning")
    for options in (
        ["-z", "-G", "2"],
        ["--log", f"{logs}/x-{{id}}", "-G", "0.25"],
        ["--log", f"{logs}/y", "--truncate", "-G", "0.5", "--vram", "20G"],
        ["--log", f"{logs}/z", "--append", "-G", "3", "--vram", "512M"],
        ["-g", "1,0,GPU-x"],
        ["--vram", "1M"],
    ):
        queue.run(*options, "true")
    queue.kill_server(signal.SIGTERM)
    lines = [line.partition(" && ts ")[2].removesuffix(" -- true)") for line in saved(queue).read_text().splitlines()]
    assert lines[1].startswith(f"--log '{logs}/run ning' --append -- sh -c ")
    assert lines[2:] == [
        "-z -G 2",
        f"--log {logs}/x-2 -G 0.250",
        f"--log {logs}/y --truncate -G 0.500 --vram 20971520K",
        f"--log {logs}/z --append -G 3 --vram 524288K",
        "-g 1,0,GPU-x",
        "-G 1 --vram 1024K",
    ]
    gate.open()


def saved(queue: Queue) -> Path:
    return queue.directory / "saved.sh"


def test_script_makes_the_same_list(queue: Queue, tmp_path: Path) -> None:
    queue.environment["TS_SAVELIST"] = str(saved(queue))
    done = queue.finish("true")
    there = queue.directory / "it's there"
    there.mkdir()
    blocker, gate = queue.blocker("-L", "first; one")
    a = queue.submit("-D", f"{done},{blocker}", "printf", "%s\\n", "a'b\"c$d`e\\f", "", "-x", "*")
    queue.get("-n", "sh", "-c", "echo 1\necho 2")
    n = int(queue.get("-q"))
    queue.run("-W", f"{a},{n}", "-N", 3, "-E", "-O", "my name", "-L", "two\nlines", "ls", "-l", cwd=there)
    queue.submit("--", "-odd")
    before = numbered(queue)
    assert len(before) == 5
    queue.kill_server(signal.SIGTERM)

    fresh = Queue(make(tmp_path / "fresh"))
    try:
        script = saved(queue).read_text()
        ran = subprocess.run(
            ["sh", saved(queue)], env=fresh.env(), cwd=fresh.work, capture_output=True, timeout=60, check=False
        )
        assert (ran.returncode, ran.stdout) == (0, b""), (ran, script)
        assert b"ts: warning" in ran.stderr and ran.stderr.count(b"\n") == 1
        fresh.wait_for_state(0, "running")
        assert numbered(fresh) == before
        gate.open()
    finally:
        assert not fresh.end()


def make(path: Path) -> Path:
    path.mkdir()
    return path


def test_output_options_come_back(queue: Queue) -> None:
    queue.environment["TS_SAVELIST"] = str(saved(queue))
    queue.blocker()
    assert queue.run("-E", "-O", "name", "-m", "true").stdout == "1\n"  # with a warning where nobody can be mailed to
    queue.get("-n", "-N", 0, "-D", 0, "true")
    queue.kill_server(signal.SIGTERM)
    lines = saved(queue).read_text().splitlines()
    assert lines[0].startswith("# ")
    assert lines[2] == f"job_1=$(cd {queue.work} && ts -E -m -O name -- true)"
    assert lines[3] == f'job_2=$(cd {queue.work} && ts -D "$job_0" -n -N 0 -- true && ts -q)'


def test_a_job_comes_after_those_it_waits_for(queue: Queue) -> None:
    queue.environment["TS_SAVELIST"] = str(saved(queue))
    queue.blocker()
    first, second = queue.submit("true"), queue.submit("-D", 1, "false")
    queue.get("-u", second)
    queue.kill_server(signal.SIGTERM)
    lines = saved(queue).read_text().splitlines()
    assert [line.partition("=")[0] for line in lines[2:]] == [f"job_{first}", f"job_{second}"]


def test_is_appended_and_can_be_set_in_the_server(queue: Queue) -> None:
    saved(queue).write_text("# mine\n")
    queue.blocker()
    queue.get("--setenv", f"TS_SAVELIST={saved(queue)}")
    queue.kill_server(signal.SIGTERM)
    text = saved(queue).read_text()
    assert text.startswith("# mine\n# jobs of tsfast") and "job_0=" in text


def test_that_cannot_be_written_is_a_line_in_the_log(queue: Queue) -> None:
    queue.environment["TS_SAVELIST"] = "/no/such/directory/file"
    job = queue.finish("true")
    queue.kill_server(signal.SIGTERM)
    assert "the list could not be saved in /no/such/directory/file" in queue.log()
    assert queue.state(job) == "finished"


def test_kill_of_the_queue_saves_nothing(queue: Queue) -> None:
    queue.environment["TS_SAVELIST"] = str(saved(queue))
    queue.finish("true")
    queue.get("-K")
    assert not saved(queue).exists()
