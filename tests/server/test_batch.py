"""Many jobs at once: `ts --batch` and `Queue.submit_many`, against a real server."""

import os
import signal
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import numpy
import pytest

import tsfast
from support.layouts import TSF_REFUSED_ID, TSF_REFUSED_JOB
from support.patience import wait_until
from support.processes import kill
from support.queues import Queue
from support.wire import ADDED, BATCH, REFUSED, added, batch, connect, context, drained, frame, frames, refusal

# ---- ts --batch


def test_lines_become_jobs(queue: Queue) -> None:
    text = '# a comment\necho \'a  b\' c\n\n-L named -D @0 echo two\n{"argv": ["echo", "three"], "after_ok": "@1"}\n'
    assert queue.get("--batch", "-", stdin=text) == "0-2"
    queue.get("-w", "0-2")
    assert [queue.output(job) for job in range(3)] == ["a  b c\n", "two\n", "three\n"]
    assert queue.get("-a", 1) == "named"
    assert [job["ID"] for job in queue.jobs()] == [0, 1, 2]


def test_a_file(queue: Queue) -> None:
    queue.finish("true")
    (queue.work / "jobs").write_text("true\n" * 3)
    assert queue.get("--batch", "jobs") == "1-3"
    (queue.work / "jobs").write_text("true\n")
    assert queue.get("--batch=jobs") == "4"
    (queue.work / "jobs").write_text("\n# nothing\n")
    assert queue.get("--batch", "jobs") == ""
    assert "No such file" in queue.refused("--batch", "missing")


@pytest.mark.parametrize("way", ["file", "stdin"])
def test_a_file_as_an_editor_writes_it(queue: Queue, way: str) -> None:
    """With a byte order mark, CR LF, and nothing behind the last line; wrong lines are counted as ever."""

    def call(text: bytes) -> tuple[str, str]:
        (queue.work / "jobs").write_bytes(text)
        done = queue.run("--batch", "jobs") if way == "file" else queue.run("--batch", "-", stdin=text)
        return done.stdout, done.stderr

    head = b"\xef\xbb\xbf# two jobs\r\necho one\r\n"
    assert call(head + b"\r\necho two") == ("0-1\n", "")
    queue.get("-w", "0-1")
    assert [queue.output(job) for job in (0, 1)] == ["one\n", "two\n"]
    for line, told in {b"echo 'two": "quote", b"-D 99 echo two": "job 99"}.items():
        out, err = call(head + b"\xef\xbb\xbf# from another file\r\n" + line)
        assert not out and err.startswith(f"ts: {'jobs' if way == 'file' else 'stdin'}:4: ") and told in err


def test_a_wrong_line_queues_nothing(queue: Queue) -> None:
    queue.finish("true")
    for line, reason in {
        "echo $x": "no shell expands it",
        "-N many x": "-N",
        "-D @5 x": "earlier job",
        "-D 9 x": "job 9 does not exist",
        '{"argv": ["x"], "slot": 1}': "not a field",
    }.items():
        text = f"true\n\n{line}\ntrue\n"
        message = queue.refused("--batch", "-", stdin=text)
        assert message.startswith("ts: stdin:3: ")
        assert reason in message
    assert queue.get("-q") == "0"


def test_what_ts_env_prints_is_in_each_job(queue: Queue) -> None:
    queue.get("--batch", "-", stdin="true\n-L x true\n", env={"TS_ENV": "echo seen"})
    assert "seen" in queue.get("-i", 0)
    assert "seen" in queue.get("-i", 1)


def test_a_full_queue(queue: Queue) -> None:
    queue.environment["TS_MAXCONN"] = "4"
    _, gate = queue.blocker()
    queue.submit("true")
    assert queue.run("-B", "--batch", "-", stdin="true\n" * 3).returncode == 2
    waiting = queue.start("--batch", "-", stdin=subprocess.PIPE)
    waiting.stdin.write(b"true\n" * 3)
    waiting.stdin.close()
    queue.wait_until(lambda: "1 call waits" in queue.get("--why", 1), "the batch waits")
    gate.open()
    assert waiting.stdout.read() == b"2-4\n"
    assert waiting.wait() == 0


def test_a_caller_that_goes_away_while_it_waits(queue: Queue) -> None:
    queue.environment["TS_MAXCONN"] = "2"
    _, gate = queue.blocker()
    queue.submit("true")
    waiting = queue.start("--batch", "-", stdin=subprocess.PIPE)
    waiting.stdin.write(b"true\n")
    waiting.stdin.close()
    queue.wait_until(lambda: "1 call waits" in queue.get("--why", 1), "the batch waits")
    waiting.kill()
    waiting.wait()
    queue.wait_until(lambda: "waits" not in queue.get("--why", 1), "it is forgotten")
    gate.open()
    queue.get("--wait-all")
    assert queue.get("-q") == "1"


# ---- Queue.submit, submit_many


def test_one_job(queue: Queue, api: tsfast.Queue) -> None:
    assert api.submit(["sh", "-c", "echo $X$Y; pwd"], env={"X": "1", "HOME": None}, label="l", cwd="/") == 0
    queue.get("-w", 0)
    assert queue.output(0) == "1\n/\n"
    assert queue.get("-a", 0) == "l"


def test_jobs_inherit_what_the_process_is(queue: Queue, api: tsfast.Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARK", "here")
    before = os.umask(0o027)
    try:
        job = api.submit(["sh", "-c", "echo $MARK; umask; pwd; ulimit -n; nice"])
    finally:
        os.umask(before)
    queue.get("-w", job)
    expected = subprocess.run(["sh", "-c", "umask 027; echo $MARK; umask; pwd; ulimit -n; nice"], capture_output=True)
    assert queue.output(job) == expected.stdout.decode()


def test_many_jobs(queue: Queue, api: tsfast.Queue) -> None:
    _, gate = queue.blocker()
    ids = api.submit_many(["true", str(i)] for i in range(10000))
    assert ids.dtype == numpy.uint64
    assert ids.tolist() == list(range(1, 10001))
    assert queue.get("-F", 5000) == "true 4999"
    assert queue.get("-q") == "10000"
    assert api.submit_many([]).tolist() == []
    gate.open()
    queue.get("-w", 0)


def test_dependencies_by_place(queue: Queue, api: tsfast.Queue) -> None:
    """Over the border of a frame too."""
    queue.get("-S", 4)
    _, gate = queue.blocker("-N", 4)
    jobs = [["true"], {"argv": ["false"]}, tsfast.Job(["true"], after_ok=["@0", "@1"])]
    jobs += [["true"]] * 4200 + [{"argv": ["true"], "after": ["@0", "@4000", "@4150"]}]
    ids = api.submit_many(jobs).tolist()
    assert [ids[0], ids[-1]] == [1, 4204]
    assert "[1,4001,4151]&&" in queue.get("-i", 4204)
    gate.open()
    assert queue.run("-w", 3).returncode == 255
    assert queue.state(3) == "skipped"


def test_a_job_of_the_batch_that_is_skipped_from_birth(queue: Queue, api: tsfast.Queue) -> None:
    bad = queue.submit("false")
    queue.wait(bad)
    ids = api.submit_many(
        [
            {"argv": ["true"], "after_ok": bad},
            {"argv": ["true"], "after_ok": "@0"},
            {"argv": ["true"], "after": "@1"},
        ]
    ).tolist()
    queue.get("-w", ids[2])
    assert [queue.state(id) for id in ids] == ["skipped", "skipped", "finished"]
    kill(queue.server_pid())
    assert [queue.state(id) for id in ids] == ["skipped", "skipped", "finished"]


def test_an_unknown_id_in_a_large_batch_queues_nothing(queue: Queue, api: tsfast.Queue) -> None:
    _, gate = queue.blocker()
    with pytest.raises(tsfast.JobRefused, match="job 77 does not exist") as refused:
        api.submit_many([["true"]] * 9000 + [{"argv": ["true"], "after": [0, 77]}])
    assert refused.value.place == 9000
    assert queue.get("-q") == "0"
    gate.open()


def test_errors_have_types(queue: Queue, api: tsfast.Queue) -> None:
    with pytest.raises(TypeError, match="list of words"):
        api.submit("true")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="job 1 of the batch: a word of the command is int"):
        api.submit_many([["a"], ["b", 3]])
    with pytest.raises(tsfast.JobRefused, match="nothing can wait for it") as refused:
        api.submit_many([["a"], {"argv": ["b"], "after": 12}])
    assert refused.value.place == 1
    with pytest.raises(tsfast.JobRefused, match="twice"):
        api.submit(["a"], gpu_ids=[0, 0])
    with pytest.raises(tsfast.JobRefused, match="'colour' is not a field"):
        api.submit(["a"], colour="red")  # type: ignore[call-arg]
    assert "no job was added yet" in queue.refused("-q")


def test_warnings_are_python_warnings(queue: Queue, api: tsfast.Queue) -> None:
    with pytest.warns(tsfast.QueueWarning, match="needs 3 slots"):
        assert api.submit(["true"], slots=3) == 0
    with pytest.warns(tsfast.QueueWarning, match="needs 2 slots"):
        assert api.submit_many([{"argv": ["true"], "slots": 2}] * 3).tolist() == [1, 2, 3]


def test_warnings_that_are_errors_tell_what_is_queued(queue: Queue, api: tsfast.Queue) -> None:
    """As with `python -W error`."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(tsfast.QueueWarning, match="needs 3 slots") as warned:
            api.submit(["true"], slots=3)
        assert warned.value.ids == [0]
        with pytest.raises(tsfast.QueueWarning, match="needs 2 slots") as warned:
            api.submit_many([{"argv": ["true"], "slots": 1 + place % 2} for place in range(10000)])
        assert warned.value.runs == [(1, 10000)]
        assert queue.state(10000) == "queued"
        with tsfast.Executor(slots=3) as executor, pytest.raises(tsfast.QueueWarning) as warned:
            executor.submit(int)
        assert warned.value.ids == [10001]
        assert 10001 not in queue.ids(), "nobody has its future"


def test_a_command_of_a_million_characters(queue: Queue, api: tsfast.Queue) -> None:
    """The kernel takes 128 KiB for one word: it is queued, and its end says what was wrong."""
    ids = api.submit_many([["echo", *["x" * 1000] * 1000], ["echo", "x" * 1000000]])
    assert queue.run("-w", "0-1").returncode != 0
    assert queue.run("-w", 0).returncode == 0
    assert "too long" in queue.output(int(ids[1])).lower()


def test_a_directory_that_is_gone(queue: Queue, api: tsfast.Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    (queue.work / "gone").mkdir()
    monkeypatch.chdir(queue.work / "gone")
    (queue.work / "gone").rmdir()
    with pytest.raises(tsfast.RequestFailed, match="directory is gone"):
        api.submit(["true"])


def test_room_is_waited_for(queue: Queue, api: tsfast.Queue) -> None:
    queue.environment["TS_MAXCONN"] = "3"
    _, gate = queue.blocker()
    api.submit(["true"])
    with pytest.raises(tsfast.QueueFull):
        api.submit_many([["true"]] * 2, block=False)
    program = "import tsfast; print(tsfast.Queue().submit_many([['true']] * 3).tolist())"
    child = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, **queue.env()}, stdout=subprocess.PIPE)
    queue.wait_until(lambda: "1 call waits" in queue.get("--why", 1), "the batch waits")
    gate.open()
    assert child.communicate()[0] == b"[2, 3, 4]\n"


def test_those_who_wait_for_room_are_served_in_their_order(queue: Queue, api: tsfast.Queue) -> None:
    """A batch that needs much room is not overtaken by calls that need little; one that is larger than the queue may
    be is queued when the queue is empty."""
    queue.environment["TS_MAXCONN"] = "4"
    _, gate = queue.blocker()
    second = queue.submit(*(late := queue.gate()).command)
    calls = []
    for number, lines in enumerate((3, 1, 6)):
        call = queue.start("--batch", "-", stdin=subprocess.PIPE)
        call.stdin.write(b"true\n" * lines)
        call.stdin.close()
        calls.append(call)
        waiting = f"{number + 1} call{'s wait' if number else ' waits'}"
        queue.wait_until(lambda text=waiting: text in queue.get("--why", second), "it waits")
    assert queue.run("-B", "true").returncode == 2
    gate.open()
    assert calls[0].stdout.read() == b"2-4\n"
    late.open()
    assert calls[1].stdout.read() == b"5\n"
    assert calls[2].stdout.read() == b"6-11\n"
    assert [call.wait() for call in calls] == [0, 0, 0]


def test_many_frames_wait_for_room(queue: Queue, api: tsfast.Queue) -> None:
    queue.environment["TS_MAXCONN"] = "5000"
    _, gate = queue.blocker("-N", "0")
    program = "import tsfast; print(len(tsfast.Queue().submit_many([['true', 'x' * 300]] * 12000)))"
    child = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, **queue.env()}, stdout=subprocess.PIPE)
    queue.wait_until(lambda: "1 call waits" in queue.get("--why", queue.get("-q")), "it waits for room")
    with pytest.raises(tsfast.QueueFull):
        api.submit_many([["true"]] * 5000, block=False)
    assert child.communicate()[0] == b"12000\n"
    gate.open()
    queue.get("--wait-all")


def test_secrets_of_a_job_of_a_batch_are_not_stored(
    queue: Queue, api: tsfast.Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TS_ENV_DROP", "SECRET*")
    job = api.submit(["sh", "-c", "echo [$SECRET_KEY] [$OPEN]"], env={"SECRET_KEY": "hidden", "OPEN": "shown"})
    api.wait(job)
    assert queue.output(job) == "[] [shown]\n"
    stored = b"".join(path.read_bytes() for path in queue.state_dir.rglob("*") if path.is_file())
    assert b"hidden" not in stored
    assert b"OPEN=shown" in stored


# ---- when the server goes away


def test_a_server_that_is_killed_between_batches(queue: Queue, api: tsfast.Queue) -> None:
    assert api.submit(["true"]) == 0
    kill(queue.server_pid())
    assert api.submit_many([["true"]] * 3).tolist() == [1, 2, 3]
    queue.get("-K")
    assert api.submit(["true"]) == 4


def test_servers_that_are_killed_during_a_batch(queue: Queue, api: tsfast.Queue) -> None:
    """What is queued is queued once, in its order, whenever the server dies."""
    _, gate = queue.blocker()
    queue.environment["TS_MAXFINISHED"] = "100000"
    program = (
        "import tsfast; queue = tsfast.Queue()\n"
        "for n in range(20): print(*queue.submit_many([['true', str(i)] for i in range(9000)]).tolist(), flush=True)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, **queue.env()}, stdout=subprocess.PIPE, text=True
    )
    seen: list[int] = []
    with child:
        for number, line in enumerate(child.stdout):
            seen += map(int, line.split())
            if number % 3 == 0:
                kill(queue.server_pid())
    assert child.returncode == 0
    assert seen == list(range(1, 180001))
    assert queue.get("-q") == "180000"
    assert queue.get("-F", 9001) == "true 0"
    gate.open()
    queue.get("-w", 0)


@pytest.mark.root
@pytest.mark.parametrize("small_disk", ["3m"], indirect=True)
def test_a_batch_that_is_queued_in_part(
    queue: Queue, api: tsfast.Queue, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full after some frames: what is said to be queued is, and nothing else."""
    queue.environment["TS_STATE"] = str(small_disk / "state")
    monkeypatch.setenv("TS_STATE", str(small_disk / "state"))
    _, gate = queue.blocker()
    with pytest.raises(tsfast.BatchInterrupted, match="No space left") as caught:
        api.submit_many([["true", "x" * 50]] * 100000)
    assert 0 < caught.value.queued < 100000
    assert caught.value.queued % 4096 == 0
    assert caught.value.total == 100000
    assert caught.value.ids == list(range(1, 1 + caught.value.queued))
    assert int(queue.get("-q")) == caught.value.queued
    with pytest.raises(tsfast.RequestFailed, match="No space left"):
        api.submit_many([["true", "x" * 50]] * 4096)
    done = queue.run("--batch", "-", stdin=f"true {'x' * 50}\n" * 9000)
    assert (done.returncode, done.stdout) == (255, "")
    api.remove(caught.value.ids[100:])
    api.clear()
    done = queue.run("--batch", "-", stdin=f"true {'x' * 50}\n" * 50000)
    first, last = map(int, done.stdout.split("-"))
    assert done.returncode == 255
    assert f"{last - first + 1} of 50000 jobs are queued" in done.stderr
    assert int(queue.get("-q")) == last
    gate.open()


def test_frames_without_an_answer_are_not_queued_twice(queue: Queue, api: tsfast.Queue) -> None:
    """More jobs than the tokens that are kept, all in frames whose answers are never read."""
    _, gate = queue.blocker()
    frames = [batch(*[(("true",), "", ())] * 4096, token=100 + number) for number in range(6)]
    with connect(queue) as client:
        for data in frames:
            client.sendall(data)
        queue.wait_until(lambda: queue.get("-q") == str(6 * 4096), "all are queued")
        kill(queue.server_pid())
    queue.get("-S")
    assert answers(queue, *frames) == [added(1 + 4096 * number, 4096) for number in range(6)]
    assert queue.get("-q") == str(6 * 4096)
    api.cancel(range(1, 6 * 4096 + 1))
    gate.open()


def test_no_server_can_be_started(queue: Queue, api: tsfast.Queue) -> None:
    queue.socket.mkdir()
    with pytest.raises(tsfast.ServerUnavailable):
        api.submit(["true"])


def test_a_child_has_a_connection_of_its_own(queue: Queue, api: tsfast.Queue) -> None:
    assert api.submit(["true"]) == 0
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, str(api.submit(["true"])).encode())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(reading, 10) == b"1"
    assert api.submit(["true"]) == 2
    os.close(reading)
    os.close(writing)


def test_half_a_frame_and_a_stopped_client(queue: Queue, api: tsfast.Queue) -> None:
    """Others are served while one stands still in the middle of a batch; what it had not sent whole is not queued."""
    program = "import tsfast; queue = tsfast.Queue()\nwhile True: queue.submit_many([['true']] * 9000)"
    _, gate = queue.blocker()
    child = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, **queue.env()})
    queue.wait_until(lambda: int(queue.get("-q")) > 9000, "it is at work")
    os.kill(child.pid, signal.SIGSTOP)
    assert api.submit(["true"]) > 9000
    with connect(queue) as half:
        half.sendall(b"\x01\x00\x73\x74\x05\0\0\0\x00\x10\0\0\0\0\0\0" + bytes(100))
        assert api.submit(["true"]) > 9000
    child.kill()
    child.wait()
    count = int(queue.get("-q"))
    wait_until(lambda: queue.get("-q") == str(count))
    gate.open()
    queue.get("-w", 0)


@pytest.mark.parametrize("length", [0, 8, 16, 240, 1000])
def test_frames_that_are_no_batch(queue: Queue, length: int) -> None:
    queue.get("-S")
    with connect(queue) as client:
        client.sendall(frame(BATCH, bytes(length)))
        drained(client)
    assert "no job was added yet" in queue.refused("-q")


def answers(queue: Queue, *sent: bytes) -> list[tuple[int, bytes]]:
    """Type and payload of the answers to frames that are sent together."""
    with connect(queue) as client:
        client.sendall(b"".join(sent))
        client.shutdown(socket.SHUT_WR)
        return frames(drained(client))


def test_the_same_frame_again_queues_nothing(queue: Queue) -> None:
    _, gate = queue.blocker()
    jobs = [(("true", str(i)), "", ()) for i in range(3)]
    first = batch(*jobs, token=7)
    assert answers(queue, first) == answers(queue, first) == [added(1, 3)]
    assert answers(queue, first, batch(*jobs, token=8), first) == [added(id, 3) for id in (1, 4, 1)]
    kill(queue.server_pid())
    queue.get("-S")
    assert answers(queue, batch(*jobs, token=8), first) == [added(id, 3) for id in (4, 1)]
    queue.get("-r", 1)
    kill(queue.server_pid())
    queue.get("-S")
    assert answers(queue, first) == [added(1, 3)]
    assert queue.get("-q") == "6"
    gate.open()


def test_after_a_refused_frame_nothing_is_read(queue: Queue) -> None:
    queue.get("-S")
    good, bad = (("true",), "", ()), (("-N", "x", "true"), "", ())
    told = answers(queue, batch(good, token=1), batch(good, bad, token=2), batch(good, token=3))
    assert [kind for kind, _ in told] == [ADDED, REFUSED]
    assert refusal(told[1][1]) == (1, TSF_REFUSED_JOB)
    assert queue.get("-q") == "0"


def test_places_of_earlier_frames(queue: Queue) -> None:
    _, gate = queue.blocker()
    plain = (("true",), "", ())

    def one(text: str, *parts: tuple[int, int], place: int = 10) -> list[tuple[int, bytes]]:
        return answers(queue, batch((("-D", text, "true"), "", ()), place=place, parts=parts))

    assert answers(queue, batch(plain, plain, plain))[0][0] == ADDED
    assert one("@0", (0, 1))[0][0] == ADDED
    assert "[1]&&" in queue.get("-i", 4)
    assert one("@9,@4", (0, 1), (4, 2), (9, 3))[0][0] == ADDED
    assert "[3,2]&&" in queue.get("-i", 5)
    for text, parts in (("@10", ((0, 1),)), ("@11", ((0, 1),)), ("@3", ((4, 1),)), ("@3", ()), ("@5", ((0, 1),))):
        (answer,) = one(text, *parts)
        assert answer[0] == REFUSED
        assert refusal(answer[1]) == (0, TSF_REFUSED_ID)
    gate.open()


@pytest.mark.parametrize(
    "data",
    [
        batch((("true",), "", ()), count=2),
        batch((("true",), "", ()), count=0),
        batch((("true",), "", ()), count=1 << 31),
        batch((("true",), "", ()))[:-8],
        frame(BATCH, context(words=("true",)) + bytes(24)),
    ],
)
def test_batches_that_are_not_well_formed(queue: Queue, data: bytes) -> None:
    queue.get("-S")
    assert answers(queue, data) == []
    assert "no job was added yet" in queue.refused("-q")


def test_relative_directories_are_refused(queue: Queue) -> None:
    queue.get("-S")
    assert answers(queue, batch((("true",), "there", ())))[0][0] == REFUSED
