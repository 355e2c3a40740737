"""Tables of earlier versions, and of this one, as make_table.py has left them: each is taken up as it was."""

import errno
import json
import struct
import subprocess

import pytest

import tsfast
from support.fault_queue import FaultQueue
from support.layouts import tsf_header
from support.patience import patient
from support.places import TABLES
from support.state_files import changed

SIGNALLED, LOST = 5, 6  # jobs that ran: the result of the first one is in `runs`, the other one ended with its machine
PLAIN, AFTER, SKIPPED, BIG, URGENT, GPU = 7, 8, 9, 10, 11, 12


FIRST = "0.1.0"  # its table has format 1
FORMAT = 2


def unpack(queue, version):
    """The state directory of a server of that version; its jobs by id."""
    queue.state_dir.mkdir(mode=0o700)
    subprocess.run(["tar", "-xJf", TABLES / f"{version}.tar.xz", "-C", queue.state_dir], check=True)
    (queue.state_dir / "queue").write_text(queue.environment["TS_SOCKET"] + "\n")
    return {job["ID"]: job for job in json.loads((TABLES / f"{version}.json").read_text())}


def check(queue, before):
    """All jobs are there, and those that had ended are as they were."""
    jobs = queue.by_id()
    assert set(jobs) == set(before)
    for id, job in jobs.items():
        assert [job[key] for key in ("Command", "Label")] == [before[id][key] for key in ("Command", "Label")]
        if before[id]["State"] not in ("queued", "running"):
            assert [job[key] for key in ("State", "E-Level")] == [before[id][key] for key in ("State", "E-Level")]


@pytest.mark.parametrize("version", sorted(path.stem for path in TABLES.glob("*.json")))
def test_table_of_a_version(queue, version):
    before = unpack(queue, version)
    queue.start_server()
    assert f"job {LOST}: lost" in queue.log()
    check(queue, before)
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


def format_of(queue):
    """Where releases of every format look for it."""
    return struct.unpack_from("=I", (queue.state_dir / "header").read_bytes(), 8)[0]


def take_up(folder, step, fails, durable):
    """A start that dies, or meets an error, at a step; then whichever follows. How many steps there were."""
    folder.mkdir()
    steps = folder / "steps"
    steps.write_bytes(bytes(8))
    queue = FaultQueue(folder, slots=1)
    try:
        before = unpack(queue, FIRST)
        queue.environment |= {"TSFAST_CRASH_AT": f"{step}:{steps}", "TS_DURABLE": str(int(durable))}
        if fails:
            queue.environment["TSFAST_FAILS"] = str(fails)
        assert format_of(queue) == 1
        queue.ts("-S", code=None)
        count = struct.unpack("=Q", steps.read_bytes())[0]
        del queue.environment["TSFAST_CRASH_AT"]
        check(queue, before)
        assert format_of(queue) == FORMAT
        assert not list(queue.state_dir.glob("*.new"))
        assert queue.wait(PLAIN) == 3
        assert "killed by signal 15" in queue.details(SIGNALLED)
    except BaseException:
        print(f"step {step}, durable {durable}, fails {fails}\n{queue.report()}")
        raise
    finally:
        queue.end()
    return count


@pytest.mark.timeout(patient(600))
@pytest.mark.parametrize("fails", [0, errno.ENOSPC])
def test_change_of_the_format_is_cut_off_at_each_step(tmp_path, fault_points_work, fails):
    total = take_up(tmp_path / "whole", 0, 0, False)
    for step in range(1, total + 1):
        take_up(tmp_path / str(step), step, fails, False)


def test_durable_table_changes_its_format(tmp_path, fault_points_work):
    """What its journal holds is that of the old format, and must not be written over the new one."""
    total = take_up(tmp_path / "whole", 0, 0, True)
    for step in range(1, total + 1, max(1, total // 8)):
        take_up(tmp_path / str(step), step, 0, True)


def test_what_a_later_release_uses_is_refused(queue):
    queue.start_server()
    queue.kill_server()
    with changed(queue.state_dir / "header", tsf_header) as header:
        header.features, header.not_features = 4, ~4 & 0xFFFFFFFF
    error = queue.ts("-l", code=None)
    told = "the job table has something of a later version of tsfast: use that version"
    assert error == f"ts: {told} ({queue.state_dir})\n"
