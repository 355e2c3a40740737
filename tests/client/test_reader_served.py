"""The reader beside a real server, and the programs of examples/ that use it from Cython and C."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy

import tsfast
from support.places import ROOT
from support.queues import Queue
from tsfast.client.reader import DAMAGED, FAILED, FINISHED, RUNNING, SKIPPED, STATE_NAMES, Reader

EXAMPLE = ROOT / "examples" / "cython_reader"
LOOP = 'i=0; while [ $i -lt 150 ]; do ts -L "label $i" sh -c "exit $((i % 3))" >/dev/null; i=$((i+1)); done'


def reader_of(queue: Queue) -> Reader:
    return Reader(os.open(queue.state_dir, os.O_RDONLY | os.O_DIRECTORY))


def test_jobs_as_the_server_tells_them(queue: Queue) -> None:
    queue.get("-S", 2)
    good = queue.finish("true")
    bad = queue.finish("sh", "-c", "exit 3")
    running, gate = queue.blocker("-N", 2)
    waiting = queue.submit("-D", good, "-W", running, "-L", "name", "-z", "echo", "a b", cwd="/")
    reader = reader_of(queue)
    assert reader.state(good) == FINISHED
    assert reader.result(bad).exit_code == 3
    assert reader.state(running) == RUNNING
    assert {id: STATE_NAMES[reader.state(id)] for id in queue.ids()} == {
        id: queue.state(id) for id in (good, bad, running, waiting)
    }
    job = reader.job(waiting)
    assert job["argv"] == [b"echo", b"a b"]
    assert (job["label"], job["cwd"], job["slots"], job["gzip"]) == (b"name", b"/", 1, True)
    assert (job["after"], job["after_ok"], job["output"]) == ([good], [running], b"")
    assert reader.job(good)["output"].decode() == queue.get("-o", good)
    gate.open(5)
    queue.wait(waiting)
    assert reader.state(waiting) == SKIPPED
    rows = reader.snapshot()
    assert rows["id"].tolist() == [good, bad, running, waiting]
    assert rows["exit_code"].tolist() == [0, 3, 5, -1]
    assert (rows["duration_ns"][:3] > 0).all()
    for row, job in zip(rows, queue.jobs(), strict=True):
        assert int(row["start_ns"]) // 1000000 == round((job["Start_Time"] or 0) * 1000)


def test_reader_outlives_servers(queue: Queue) -> None:
    first = queue.finish("true")
    reader = reader_of(queue)
    queue.kill_server()
    second = queue.finish("false")
    assert reader.states([first, second]).tolist() == [FINISHED, FAILED]
    pid = queue.server_pid()
    queue.get("-K")
    queue.wait_until(lambda: pid not in queue.servers(), "the server's end")
    third = queue.finish("true")
    assert reader.states([first, second, third]).tolist() == [0, 0, FINISHED]


def test_reading_while_a_server_writes(queue: Queue) -> None:
    queue.get("-S", 4)
    submitters = [
        subprocess.Popen(["sh", "-c", LOOP], env=queue.env(), cwd=queue.work, stdin=subprocess.DEVNULL)
        for _ in range(2)
    ]
    reader = reader_of(queue)
    ids = numpy.arange(300, dtype=numpy.uint64)
    last = numpy.zeros(300, dtype=numpy.uint8)
    looks = 0

    def all_ended() -> bool:
        nonlocal last, looks
        states = reader.states(ids)
        assert (states != DAMAGED).all()
        assert (states[last >= FINISHED] == last[last >= FINISHED]).all()
        assert (states[last != 0] != 0).all()
        rows = reader.snapshot()
        assert reader.damaged == 0
        assert (numpy.diff(rows["id"].astype("i8")) > 0).all()
        ended = rows[rows["state"] >= FINISHED]
        assert ((ended["exit_code"] >= 0) & (ended["duration_ns"] > 0) & (ended["pid"] > 0)).all()
        assert ((ended["exit_code"] == 0) == (ended["state"] == FINISHED)).all()
        last = states
        looks += 1
        return bool((states >= FINISHED).all())

    queue.wait_until(all_ended, "the end of all jobs")
    assert [submitter.wait() for submitter in submitters] == [0, 0]
    codes = reader.snapshot()["exit_code"]
    assert numpy.bincount(codes).tolist() == [100, 100, 100]
    assert looks > 1


def test_examples(queue: Queue, tmp_path: Path) -> None:
    queue.finish("true")
    queue.finish("true")
    queue.finish("sh", "-c", "exit 1")
    queue.get("-r", queue.finish("true"))
    _, gate = queue.blocker()
    queue.submit("true")
    place = tmp_path / "example"
    shutil.copytree(EXAMPLE, place)
    include = tsfast.get_include()
    subprocess.run(
        ["cc", "-Wall", "-Wextra", "-Werror", "-I", include, "-o", "states", "states.c"],
        cwd=place,
        check=True,
    )
    counted = subprocess.run(["./states", queue.state_dir], cwd=place, capture_output=True, check=True, text=True)
    assert counted.stdout == "1 1\n3 1\n4 2\n5 1\n"
    assert counted.stderr == ""
    subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=place, check=True)
    script = "import sys, count_states; print(sorted(count_states.count(sys.argv[1]).items()))"
    counted = subprocess.run(
        [sys.executable, "-c", script, queue.state_dir], cwd=place, capture_output=True, check=True, text=True
    )
    assert counted.stdout == "[('finished', 3), ('queued', 1), ('running', 1)]\n"
    gate.open()
