"""docs/examples.md shows the files of examples/ as they are, and what needs nothing but tsfast runs."""

import re
import shutil
import subprocess
import sys

import pytest

import tsfast
from support.places import ROOT
from support.queues import Queue

SHOWN = re.findall(
    r"^`(examples/\S+)`:\n\n```\w+\n(.*?)^```$", (ROOT / "docs/examples.md").read_text(), re.DOTALL | re.M
)
SWEEP = "0.1 20 0.1\n0.2 20 0.2\n0.5 20 0.5\n"


@pytest.mark.parametrize(("path", "text"), SHOWN, ids=[path for path, _ in SHOWN])
def test_files_are_shown_as_they_are(path: str, text: str) -> None:
    assert (ROOT / path).read_text() == text


def test_how_many_are_shown() -> None:
    assert len(SHOWN) == 7


def run(queue: Queue, name: str, *words: str, code: int = 0) -> str:
    """A program of an example, in a copy of its directory."""
    place = queue.work / name
    shutil.copytree(ROOT / "examples" / name, place, dirs_exist_ok=True)
    done = subprocess.run(words, cwd=place, env=queue.env(), capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout + done.stderr


def test_a_sweep(queue: Queue, api: tsfast.Queue) -> None:
    api.slots = 2
    assert run(queue, "sweep", sys.executable, "sweep.py") == SWEEP
    assert len(api.jobs()) == 61
    assert run(queue, "sweep", "./sweep.sh") == SWEEP
    assert len(api.jobs()) == 122


def test_a_sweep_with_a_point_that_fails(queue: Queue, api: tsfast.Queue) -> None:
    place = queue.work / "sweep"
    shutil.copytree(ROOT / "examples" / "sweep", place)
    with (place / "point.py").open("a") as file:
        file.write("sys.exit(rate == 0.2 and seed == 7)\n")
    done = subprocess.run([sys.executable, "sweep.py"], cwd=place, env=queue.env(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "the total is skipped: see ts --why 60\n")
    assert "[27]" in queue.get("--why", 60) or "job 27" in queue.get("--why", 60)


def test_make(queue: Queue, api: tsfast.Queue) -> None:
    api.slots = 2
    assert "cat part.1 part.2 part.3 >report" in run(queue, "make", "make", "-j", "100")
    report = (queue.work / "make" / "report").read_text()
    assert sorted(line.split()[-1] for line in report.splitlines()) == ["0", "1", "2"]
    assert "Error 7" in run(queue, "make", "make", "--eval", "bad: ; exit 7", "bad", code=2)


def test_jobs_made_without_python_objects(queue: Queue, api: tsfast.Queue) -> None:
    run(queue, "cython_submit", sys.executable, "setup.py", "-q", "build_ext", "--inplace")
    script = 'import submit_points; print(submit_points.submit("echo", [0.5 + i for i in range(5000)]))'
    assert run(queue, "cython_submit", sys.executable, "-c", script) == "[(0, 4999)]\n"
    assert api.job(4999)["argv"] == [b"echo", b"4999.5"]
    assert api.job(0)["label"] == b"points"
    script = 'import submit_points; submit_points.submit("", [])'
    assert run(queue, "cython_submit", sys.executable, "-c", script) == ""
    api.shutdown()
    queue.wait_until(lambda: not queue.servers(), "the server is gone")


def test_what_snakemake_calls(queue: Queue, api: tsfast.Queue) -> None:
    """The rest of that example needs Snakemake."""
    ids = api.submit_many([["true"], ["false"], ["sleep", "1000"], {"argv": ["true"], "after_ok": "@1"}]).tolist()
    ids.append(api.submit(["true"]))
    api.wait(ids[3])
    queue.wait_until(lambda: api.state(ids[2]) == "running", "it runs")
    told = [run(queue, "snakemake", "./status.sh", str(id)).strip() for id in ids]
    assert told == ["success", "failed", "running", "failed", "running"]
    assert run(queue, "snakemake", "./cancel.sh", str(ids[2]), str(ids[4])) == ""
    assert [result.state for result in api.wait([ids[2], ids[4]])] == ["cancelled", "cancelled"]
    assert run(queue, "snakemake", "./status.sh", str(ids[2])).strip() == "failed"
