"""`-z`: the stored output goes through gzip, and is shown as it was."""

import gzip
import os
from pathlib import Path

from support.queues import Queue


def test_stored_compressed_and_shown_plain(queue: Queue) -> None:
    job = queue.finish("-z", "sh", "-c", 'echo "$TS_OUTPUT"; seq 20; echo err >&2; exit 3')
    path = Path(queue.get("-o", job))
    assert path.suffix == ".gz" and path.parent == queue.out
    expected = f"{path}\n" + "".join(f"{i}\n" for i in range(1, 21)) + "err\n"
    assert gzip.decompress(path.read_bytes()).decode() == expected
    for words in (["-c"], ["-c", job]):
        shown = queue.run(*words)
        assert (shown.returncode, shown.stdout, shown.stderr) == (3, expected, "")
    shown = queue.run("-t", job)
    assert (shown.returncode, shown.stdout) == (3, "".join(f"{i}\n" for i in range(12, 21)) + "err\n")
    assert queue.jobs()[0]["Output"] == str(path)
    assert queue.wait(queue.submit("true")) == 0


def test_running_job_is_followed(queue: Queue) -> None:
    gate = queue.gate()
    job = queue.submit("-z", "sh", "-c", f"echo begin; {gate.command[2]}", *gate.command[3:])
    shown = queue.start("-c", str(job))
    path = Path(queue.get("-o", job))
    assert path.exists() and shown.poll() is None
    gate.open(7)
    out, err = shown.communicate(timeout=20)
    assert (shown.returncode, out, err) == (7, b"begin\n", b"")


def test_much_output(queue: Queue) -> None:
    job = queue.finish("-z", "seq", "300000")
    assert queue.run("-c", job).stdout == "".join(f"{i}\n" for i in range(1, 300001))
    assert os.path.getsize(queue.get("-o", job)) < 1000000


def test_with_a_file_of_one_s_own(queue: Queue) -> None:
    for text in ("one", "two"):
        job = queue.finish("-z", "--log", "x.gz", "--append", "echo", text)
    assert queue.get("-o", job) == str(queue.work / "x.gz")
    assert queue.run("-c", job).stdout == "one\ntwo\n"


def test_stderr_apart_is_plain(queue: Queue) -> None:
    job = queue.finish("-zE", "sh", "-c", "echo out; echo err >&2")
    assert queue.run("-c", job).stdout == "out\n"
    assert Path(queue.get("-o", job) + ".e").read_text() == "err\n"


def test_without_gzip(queue: Queue) -> None:
    job = queue.finish("-z", "true", env={"PATH": f"{queue.directory}:{queue.environment['PATH'].split(':')[0]}"})
    assert queue.info(job)["Exit status"] == "not started: cannot run gzip: No such file or directory"
    assert "no output file" in queue.refused("-c", job)
    assert list(queue.out.iterdir()) == []


def test_without_output(queue: Queue) -> None:
    assert queue.run("-nz", "true").returncode == 0
    assert queue.wait(0) == 0 and list(queue.out.iterdir()) == []
