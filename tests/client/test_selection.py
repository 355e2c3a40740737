"""Filters and ids behind an action, from the command line to the jobs that they choose."""

import json
import subprocess

import pytest

from support.installation import BIN
from support.queues import Queue


@pytest.fixture
def filled(queue: Queue) -> Queue:
    """0 done, 1 exit 3, 2 killed, 3 to 5 an array (one fails), 6 skipped, 7 runs, 8 and 9 wait."""
    queue.get("-S", 2)
    queue.get("-L", "train one", "true")
    queue.get("-L", "train two", "-N", 2, "sh", "-c", "exit 3")
    queue.get("sh", "-c", "kill -9 $$")
    queue.get("-L", "sweep", "--array", "1-3", "sh", "-c", "exit $(({} == 2))")
    queue.get("-W", 1, "true")
    for job in range(7):
        queue.run("-w", job)
    queue.blocker()
    queue.get("-N", 2, "-L", "train three", "sleep", 60)
    queue.get("-N", 2, "sleep", 61)
    return queue


def ids(queue: Queue, *words: str) -> list[int]:
    done = queue.run("-M", "json", *words)
    assert done.returncode == 0, done.stderr
    return sorted(job["ID"] for job in json.loads(done.stdout)) if done.stdout else []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["state=queued"], [8, 9]),
        (["state=running"], [7]),
        (["state=queued,running"], [7, 8, 9]),
        (["state=finished"], [0, 1, 2, 3, 4, 5]),
        (["state=done"], [0, 3, 5]),
        (["state=failed"], [1, 2, 4, 6]),
        (["end=failed"], [1, 4]),
        (["end!=failed", "state!=running"], [0, 2, 3, 5, 6, 8, 9]),
        (["state=killed"], [2]),
        (["state=skipped"], [6]),
        (["label~train"], [0, 1, 8]),
        (["label=train*", "state=failed"], [1]),
        (["label=*n*two"], [1]),
        (["label=train"], []),
        (["label="], [2, 6, 7, 9]),
        (["command=sleep 6*"], [8, 9]),
        (["command~exit 3"], [1]),
        (["slots=2"], [1, 8, 9]),
        (["slots<2", "id>=6"], [6, 7]),
        (["exit=3"], [1]),
        (["exit>0"], [1, 4]),
        (["signal=9"], [2]),
        (["gpus=0", "id<=1"], [0, 1]),
        (["wait<1d", "state=queued"], [8, 9]),
        (["time<1d", "state=done"], [0, 3, 5]),
        (["time>1d"], []),
        (["submitted=today", "submitted>=-1d", "id<2"], [0, 1]),
        (["submitted<yesterday"], []),
        (["started>-1h", "slots=2"], [1]),
        (["ended<=now", "id>3"], [4, 5]),
        (["since=-1h", "until=now", "id<3"], [0, 1, 2]),
        (["until=yesterday"], []),
        (["peak>1K", "id<2"], [0, 1]),
        (["1-2", "9"], [1, 2, 9]),
        (["1-4", "9", "state=failed"], [1, 2, 4]),
        (["3[2]"], [4]),
        (["3[2-3]", "end=done"], [5]),
        (["100"], []),
    ],
)
def test_list(filled: Queue, words: list[str], expected: list[int]) -> None:
    assert ids(filled, *words) == expected


def test_directory_and_output(queue: Queue) -> None:
    (queue.work / "there").mkdir()
    queue.get("true", cwd=queue.work / "there")
    queue.finish("true")
    assert ids(queue, f"cwd={queue.work}/there") == [0]
    assert ids(queue, f"cwd={queue.work}") == [1]
    assert ids(queue, f"output={queue.get('-o', 1)}") == [1]


def test_list_that_nothing_matches(filled: Queue) -> None:
    done = filled.run("-l", "label=nothing")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "ts: no job matches\n")


def test_an_array_is_shown_by_its_elements(filled: Queue) -> None:
    lines = filled.get("-l", "label=sweep").splitlines()
    assert sorted(line.split()[0] for line in lines[1:]) == ["3", "4", "5"]
    assert "[run=1/2]" in lines[0], "the slots in use are those of the whole queue"


def test_actions(filled: Queue) -> None:
    assert filled.get("-s", "label~train", "state!=queued").splitlines() == ["0 finished", "1 finished"]
    assert filled.run("-w", "label=sweep").returncode == 1
    assert filled.get("-r", "state=queued", "label=train*") == ""
    assert ids(filled, "state=queued") == [9]
    assert filled.get("--cancel", "command=sleep*") == ""
    assert filled.state(9) == "cancelled"
    done = filled.run("-r", "label=nothing")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "ts: no job matches\n")


def test_several_words_of_ids(filled: Queue) -> None:
    assert filled.get("-s", "0", "7").splitlines() == ["0 finished", "7 running"]
    assert filled.get("-r", "8", "9") == ""
    assert ids(filled, "state=queued") == []


def test_a_queue_that_is_not_there(queue: Queue) -> None:
    done = queue.run("-w", "state=failed")
    assert (done.returncode, done.stderr) == (0, "ts: no job matches\n")


def test_wrong_filter_changes_nothing(filled: Queue) -> None:
    done = filled.run("-r", "state=queued", "colour=red")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (255, "", 1)
    assert done.stderr.startswith("ts: -r: 'colour' is not a field: id state end")
    assert ids(filled, "state=queued") == [8, 9]


def test_words_of_later_releases_queue_nothing(queue: Queue) -> None:
    done = subprocess.run([BIN / "tsfast", "history"], env=queue.env(), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (255, "")
    assert done.stderr == "tsfast: 'history' is a word of a later release; `ts history` queues a command of that name\n"
    assert queue.get("history") == "0"
