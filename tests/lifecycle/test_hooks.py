"""TS_ONFINISH: a program that is run after a job's end is recorded."""

import json
import os
import signal

import pytest

from support.patience import wait_until
from support.queues import Queue


def program(queue: Queue, name: str, text: str) -> str:
    path = queue.directory / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def hook(queue: Queue) -> str:
    """Writes what it gets, all at once, into a file of its own: called.ID."""
    script = (
        "#!/usr/bin/env python3\nimport json, os, subprocess, sys\n"
        "seen = subprocess.run(['ts', '-s', sys.argv[1]], capture_output=True, text=True).stdout.strip()\n"
        "got = {'args': sys.argv[1:], 'cwd': os.getcwd(), 'env': dict(os.environ), 'state': seen}\n"
        f"path = {str(queue.directory)!r} + '/called.' + sys.argv[1]\n"
        "mine = os.path.basename(path) + '.'\n"
        "number = len([n for n in os.listdir(os.path.dirname(path)) if n.startswith(mine)])\n"
        "open(path + '.new', 'w').write(json.dumps(got))\nos.rename(path + '.new', path + f'.{number}')\n"
    )
    path = queue.directory / "hook"
    path.write_text(script)
    path.chmod(0o755)
    return str(path)


def called(queue: Queue, job: int) -> dict:
    path = queue.directory / f"called.{job}.0"
    wait_until(path.exists, f"the hook of job {job} was run")
    return json.loads(path.read_text())


def test_arguments_environment_directory(queue: Queue, hook: str) -> None:
    there = queue.directory / "there"
    there.mkdir()
    job = queue.submit("sh", "-c", "echo 'x y'; exit 3", env={"TS_ONFINISH": hook, "MINE": "1"}, cwd=there)
    got = called(queue, job)
    output = queue.get("-o", job)
    assert got["args"] == [str(job), "3", output, queue.get("-F", job)]
    assert got["cwd"] == str(there)
    assert (got["env"]["MINE"], got["env"]["TS_JOBID"], got["env"]["TS_OUTPUT"]) == ("1", str(job), output)


def test_sees_its_job_as_finished(queue: Queue, hook: str) -> None:
    jobs = [queue.submit("true", env={"TS_ONFINISH": hook}) for _ in range(20)]
    assert {called(queue, job)["state"] for job in jobs} == {"finished"}


def test_without_output_killed_and_not_startable(queue: Queue, hook: str) -> None:
    env = {"TS_ONFINISH": hook}
    queue.get("-n", "true", env=env)
    assert called(queue, 0)["args"] == ["0", "0", "", "true"]
    assert "TS_OUTPUT" not in called(queue, 0)["env"]
    killed = queue.submit("sh", "-c", "kill -9 $$", env=env)
    assert called(queue, killed)["args"][1] == "-1"
    queue.get("--set_logdir", queue.work)
    gone = queue.directory / "gone"
    gone.mkdir()
    queue.get("--set_logdir", gone)
    gone.rmdir()
    job = queue.submit("true", env=env)
    assert called(queue, job)["args"] == [str(job), "-1", "", "true"]


def test_name_is_looked_up_on_the_job_s_path(queue: Queue) -> None:
    place = queue.directory / "bin"
    place.mkdir()
    os.rename(program(queue, "notify", "echo $# > ../notified"), place / "notify")
    path = f"{place}:{queue.environment['PATH']}"
    queue.submit("true", env={"TS_ONFINISH": "notify", "PATH": path})
    wait_until(lambda: (queue.directory / "notified").exists() and (queue.directory / "notified").read_text() == "4\n")


def test_skipped_job_has_none(queue: Queue, hook: str) -> None:
    env = {"TS_ONFINISH": hook}
    bad = queue.submit("false")
    skipped = queue.submit("-W", bad, "true", env=env)
    last = queue.submit("true", env=env)
    called(queue, last)
    assert queue.state(skipped) == "skipped"
    assert not list(queue.directory.glob(f"called.{skipped}.*"))


def test_empty_variable_is_none(queue: Queue) -> None:
    job = queue.finish("true", env={"TS_ONFINISH": ""})
    assert queue.state(job) == "finished"
    assert "could not run" not in queue.log()


@pytest.mark.parametrize("wrong", ["/no/such/program", "no-such-program", "/"])
def test_that_cannot_be_run_is_a_line_in_the_log(queue: Queue, wrong: str) -> None:
    job = int(queue.run("true", env={"TS_ONFINISH": wrong}).stdout)
    wait_until(lambda: f"after job {job} could not run: '{wrong}'" in queue.log())
    assert queue.log().count("could not run") == 1
    queue.get("-C")
    wait_until(lambda: queue.ids() == [])


def test_holds_no_slot_and_blocks_nobody(queue: Queue) -> None:
    gates = [queue.gate() for _ in range(3)]
    for gate in gates:
        queue.submit("true", env={"TS_ONFINISH": program(queue, gate.path.name + ".sh", f"read x < {gate.path}")})
    assert queue.wait(queue.submit("true")) == 0
    for gate in gates:
        gate.open()


def test_sixteen_at_a_time_and_the_rest_after_a_crash(queue: Queue, hook: str) -> None:
    """The seventeenth waits; it is recorded, so the next server runs it. Its job is kept until then."""
    gate = queue.gate()
    slow = program(queue, "slow", f"echo > {queue.directory}/slow.$1; read x < {gate.path}")
    queue.get("-S", 4)
    for _ in range(16):
        queue.submit("true", env={"TS_ONFINISH": slow})
    wait_until(lambda: len(list(queue.directory.glob("slow.[0-9]*"))) == 16)
    waits = queue.finish("true", env={"TS_ONFINISH": hook})
    queue.get("-C")
    wait_until(lambda: queue.ids() == [waits])
    queue.kill_server(signal.SIGKILL)
    assert not list(queue.directory.glob("called.*"))
    assert queue.state(waits) == "finished"
    assert called(queue, waits)["args"][:2] == [str(waits), "0"]


def test_place_is_free_when_a_hook_ends(queue: Queue, hook: str) -> None:
    jobs = [queue.submit("true", env={"TS_ONFINISH": hook}) for _ in range(40)]
    for job in jobs:
        called(queue, job)
    assert not [path for path in queue.directory.glob("called.*") if path.suffix != ".0"]


def test_foreground_job_is_forgotten_after_its_hook(queue: Queue, hook: str) -> None:
    assert queue.run("-nf", "true", env={"TS_ONFINISH": hook}).returncode == 0
    assert called(queue, 0)["args"] == ["0", "0", "", "true"]
    wait_until(lambda: queue.ids() == [])


def test_job_that_is_not_kept_has_its_hook(queue: Queue, hook: str) -> None:
    queue.environment["TS_MAXFINISHED"] = "0"
    jobs = [queue.submit("true", env={"TS_ONFINISH": hook}) for _ in range(30)]
    for job in jobs:
        assert called(queue, job)["args"][1] == "0"
    wait_until(lambda: queue.ids() == [])


def test_removed_after_its_end(queue: Queue, hook: str) -> None:
    """-r of an ended job does not take the record away from under its hook."""
    job = queue.submit("true", env={"TS_ONFINISH": hook})
    queue.wait(job)
    queue.run("-r", job)
    assert called(queue, job)["args"][:2] == [str(job), "0"]
    wait_until(lambda: queue.ids() == [])


def test_long_command(queue: Queue, hook: str) -> None:
    job = queue.submit("true", "x" * 130_000, "y" * 100_000, env={"TS_ONFINISH": hook})
    assert called(queue, job)["args"][3].startswith("true xxxx")


def test_has_default_signals_and_a_session_of_its_own(queue: Queue) -> None:
    text = (
        f"grep -E '^Sig(Blk|Ign)' /proc/self/status > {queue.directory}/s\n"
        "cut -d' ' -f5-6 /proc/$$/stat > x; echo $$ >> x; mv x y"
    )
    queue.submit("true", env={"TS_ONFINISH": program(queue, "signals", text)})
    result = queue.work / "y"
    wait_until(result.exists)
    group, session, pid = result.read_text().split()
    assert group == session == pid
    assert {line.split()[1] for line in (queue.directory / "s").read_text().splitlines()} == {"0" * 16}
