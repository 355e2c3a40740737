"""Tables of earlier versions, and of this one, as make_table.py has left them: each is taken up as it was."""

import json
import subprocess

import pytest

import tsfast
from support.places import TABLES

SIGNALLED, LOST = 5, 6  # jobs that ran: the result of the first one is in `runs`, the other one ended with its machine
PLAIN, AFTER, SKIPPED, BIG, URGENT, GPU = 7, 8, 9, 10, 11, 12


@pytest.mark.parametrize("version", sorted(path.stem for path in TABLES.glob("*.json")))
def test_table_of_a_version(queue, version):
    queue.state_dir.mkdir(mode=0o700)
    subprocess.run(["tar", "-xJf", TABLES / f"{version}.tar.xz", "-C", queue.state_dir], check=True)
    (queue.state_dir / "queue").write_text(queue.environment["TS_SOCKET"] + "\n")
    before = {job["ID"]: job for job in json.loads((TABLES / f"{version}.json").read_text())}
    queue.start_server()
    assert f"job {LOST}: lost" in queue.log()
    jobs = queue.by_id()
    assert set(jobs) == set(before)
    for id, job in jobs.items():
        assert [job[key] for key in ("Command", "Label")] == [before[id][key] for key in ("Command", "Label")]
        if before[id]["State"] not in ("queued", "running"):
            assert [job[key] for key in ("State", "E-Level")] == [before[id][key] for key in ("State", "E-Level")]
    queue.wait(SIGNALLED)
    assert "killed by signal 15" in queue.details(SIGNALLED)
    assert "lost" in queue.details(LOST)
    assert [queue.wait(id) for id in (PLAIN, AFTER, SKIPPED)] == [3, 4, 255]
    assert queue.ts("-s", SKIPPED) == "skipped\n"
    jobs = queue.by_id()
    assert [id for id in jobs if jobs[id]["State"] in ("queued", "allocating")] == [URGENT, BIG, GPU]
    queue.ts("-S", 99)
    assert [queue.wait(id) for id in (URGENT, BIG)] == [5, 0]
    assert queue.job("new", "exit 6") == max(before) + 1
    assert queue.wait(max(before) + 1) == 6


def test_this_version_has_one(fault_points_work):
    assert (TABLES / f"{tsfast.__version__}.tar.xz").exists(), "make fixture"
