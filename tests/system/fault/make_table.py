"""Makes the fixture of tests/system/fault/tables for the version that is installed: make fixture.

A queue of one job of each kind, as a server of this version leaves it when it is killed, packed, and beside it what is
in it. Fixtures are kept for ever: a later version must take up each of them. Nothing in it depends on the machine."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TESTS))

import tsfast  # noqa: E402
from support import installation  # noqa: E402
from support.fault_queue import FaultQueue  # noqa: E402

TABLES = Path(__file__).with_name("tables")
KEPT = ("ID", "State", "E-Level", "Command", "Label")
FILES = ("header", "seg.00000000", "blob.00000000", "ctx", "runs")


def add(queue, *words):
    """From nowhere in particular, and without output: it is to run elsewhere."""
    kept = {name: queue.environment[name] for name in ("TS_SOCKET", "TS_STATE")}
    env = {"PATH": "/usr/bin:/bin", "HOME": "/", **kept}
    subprocess.run([queue.program, "-n", *map(str, words)], env=env, cwd="/", check=True)
    return int(queue.ts("-q"))  # -n does not print it


def fill(queue):
    """Returns pids of what runs."""
    ended = [add(queue, "-L", "a label", "sh", "-c", f"exit {code}") for code in (0, 7)]
    ended.append(add(queue, "sh", "-c", "kill -9 $$"))
    ended.append(add(queue, "/no such program"))
    skipped = add(queue, "-W", ended[1], "true")
    for job in (*ended, skipped):
        queue.wait(job)
    running = [add(queue, "sleep", "600"), add(queue, "sleep", "601")]
    pids = [queue.until_running(job) for job in running]
    plain = add(queue, "-L", "two words", "sh", "-c", "exit 3")
    add(queue, "-D", plain, "sh", "-c", "exit 4")
    add(queue, "-W", plain, "true")
    add(queue, "-N", 99, "true")
    urgent = add(queue, "-N", 98, "sh", "-c", "exit 5")
    add(queue, "-G", 1, "true")
    removed = add(queue, "-N", 99, "true")
    cancelled = add(queue, "-N", 99, "true")
    queue.ts("-r", removed)
    queue.ts("--cancel", cancelled)
    queue.ts("-u", urgent)
    return pids


def main():
    if told := installation.wrong():
        sys.exit(told)
    with tempfile.TemporaryDirectory() as name:
        queue = FaultQueue(Path(name), slots=2)
        try:
            queue.start_server()
            pids = fill(queue)
            jobs = [{key: job.get(key) for key in KEPT} for job in queue.by_id().values()]
            queue.kill_server()
            os.kill(pids[0], 15)  # its result is left in `runs`; the other one is lost with the machine
            queue.until_dead(pids[0])
            queue.wait_until(lambda: len(queue.runners()) == 1, "its runner leaves the result")
            pack = ["tar", "-cJf", str(TABLES / f"{tsfast.__version__}.tar.xz"), "--sparse", "--owner=0", "--group=0"]
            subprocess.run([*pack, "--mtime=@0", "-C", queue.state_dir, *FILES], check=True)
            (TABLES / f"{tsfast.__version__}.json").write_text(json.dumps(jobs, indent=1) + "\n")
        finally:
            queue.end()


if __name__ == "__main__":
    TABLES.mkdir(exist_ok=True)
    main()
