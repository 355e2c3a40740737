"""What is told of the jobs' changes: to EventStream, and by `tsfast events`."""

import ctypes
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from support import layouts
from support.installation import BIN
from support.patience import DEADLINE_S
from support.processes import open_files, parent, sleeping
from support.queues import Queue
from support.wire import (
    DESCRIPTORS,
    EVENTS,
    EXIT,
    GIVE_WAY,
    HEAD,
    TAKE_OVER,
    VERSION,
    WATCH,
    code,
    connect,
    drained,
    frame,
    frames,
    request,
    send,
    watch,
)
from tsfast.client.errors import ServerUnavailable
from tsfast.client.events import Event, EventStream, unpacked
from tsfast.client.queue import Queue as Caller

KEPT = 65536


@pytest.fixture
def stream(queue: Queue) -> Iterator[EventStream]:
    """From an empty queue with 2 slots on; `head` has been read."""
    queue.get("-S", "2")
    with EventStream(str(queue.socket)) as stream:
        (head,) = stream.read(DEADLINE_S)
        assert head.kind == "head" and head.seq > 0
        yield stream


def read_until(stream: EventStream, last: Callable[[Event], object]) -> list[Event]:
    """All up to the one that is waited for, and what came with it."""
    told: list[Event] = []
    while not any(map(last, told)):
        got = stream.read(DEADLINE_S)
        assert got, f"nothing more came after {told[-20:]}"
        told += got
    return told


def up_to(stream: EventStream, job: int, state: str) -> list[Event]:
    return read_until(stream, lambda event: event.id == job and event.state == state)


def states(told: list[Event], job: int, running: bool = True) -> list[str]:
    """What became of a job; one that ends at once may have been seen running or not."""
    changes = [event.state for event in told if event.kind == "change" and event.id == job]
    return [state for state in changes if running or state != "running"]


def life(stream: EventStream, job: int, last: str) -> list[str]:
    return states(up_to(stream, job, last), job, running=False)


def numbers_are_whole(told: list[Event], after: int) -> None:
    assert [event.seq for event in told] == list(range(after + 1, after + 1 + len(told)))


# ---- what is told ----------------------------------------------------------------------------------------------------


def test_a_job_s_life(queue: Queue, stream: EventStream) -> None:
    begin = stream.seq
    job, gate = queue.blocker()
    told = up_to(stream, job, "running")
    gate.open(3)
    told += up_to(stream, job, "failed")
    assert queue.get("-C") == ""
    told += up_to(stream, job, "forgotten")
    assert states(told, job) == ["queued", "running", "failed", "forgotten"]
    assert [event.status for event in told] == [None, None, 3 << 8, None]
    assert {event.kind for event in told} == {"change"}
    assert [event.time for event in told] == sorted(event.time for event in told)
    numbers_are_whole(told, begin)
    assert stream.seq == told[-1].seq


@pytest.mark.parametrize(
    ("words", "state", "status"),
    [
        (("true",), "finished", 0),
        (("sh", "-c", "exit 7"), "failed", 7 << 8),
        (("no-such-command",), "failed", 127 << 8),
        (("sh", "-c", "kill -9 $$"), "killed", 9),
        (("--log", "/no/such/place", "true"), "not-startable", None),
    ],
    ids=lambda value: str(value),
)
def test_how_a_job_ends(
    queue: Queue, stream: EventStream, words: tuple[str, ...], state: str, status: int | None
) -> None:
    job = int(queue.run(*words).stdout)  # --log warns
    told = up_to(stream, job, state)
    assert states(told, job, running=False) == ["queued", state]
    assert told[-1].status == status


def test_skipped_jobs(queue: Queue, stream: EventStream) -> None:
    """One behind the other, and one that is skipped when it is submitted."""
    bad = queue.submit("false")
    first = queue.submit("-W", bad, "true")
    second = queue.submit("-W", first, "true")
    assert life(stream, second, "skipped") == ["queued", "skipped"]
    third = queue.submit("-W", bad, "true")
    assert life(stream, third, "skipped") == ["queued", "skipped"]


def test_queued_jobs_that_are_taken_out(queue: Queue, stream: EventStream) -> None:
    queue.get("-S", "1")
    queue.blocker()
    removed, follower, cancelled = queue.submit("true"), queue.submit("-W", 1, "true"), queue.submit("true")
    queue.get("-r", removed)
    told = up_to(stream, follower, "skipped")
    assert states(told, removed) == ["queued", "removed"], "it is gone: nothing follows"
    assert states(told, follower) == ["queued", "skipped"]
    queue.get("--cancel", cancelled)
    assert life(stream, cancelled, "cancelled")[-1:] == ["cancelled"]
    queue.get("-r", cancelled)
    assert life(stream, cancelled, "forgotten") == ["forgotten"]


def test_running_jobs_that_are_ended(queue: Queue, stream: EventStream) -> None:
    killed, _ = queue.blocker()
    cancelled, _ = queue.blocker()
    queue.get("-k", killed)
    queue.get("--cancel", cancelled)
    told = up_to(stream, killed, "killed")
    told += [] if states(told, cancelled)[-1] == "cancelled" else up_to(stream, cancelled, "cancelled")
    assert states(told, killed) == ["queued", "running", "killed"]
    assert states(told, cancelled) == ["queued", "running", "cancelled"]
    assert {event.status for event in told if event.state in ("killed", "cancelled")} == {signal.SIGTERM}


def test_jobs_that_are_not_kept(queue: Queue, stream: EventStream) -> None:
    assert queue.run("-nf", "true").returncode == 0
    assert life(stream, 0, "forgotten") == ["queued", "finished", "forgotten"]


def test_a_start_that_is_revoked(queue: Queue, stream: EventStream) -> None:
    """The runner that was to take the job dies before it does: the job is queued again, and starts under another."""
    first, gate = queue.blocker()
    runner = parent(int(queue.get("-p", first)))
    gate.open()
    queue.wait(first)
    os.kill(runner, signal.SIGSTOP)
    job = queue.submit("true")
    queue.wait_for_state(job, "running")
    os.kill(runner, signal.SIGKILL)
    assert life(stream, job, "finished") == ["queued", "queued", "finished"]


def test_jobs_of_a_batch(queue: Queue, stream: EventStream) -> None:
    """One after the other, those that are skipped at once too."""
    queue.finish("false")
    up_to(stream, 0, "failed")
    before = stream.seq
    with Caller(queue.socket) as caller:
        caller.submit_many([{"argv": ["true"], "after_ok": [0]}] * 3)
    told = read_until(stream, lambda event: event.id == 3 and event.state == "skipped")
    assert [(event.id, event.state) for event in told] == [
        *((job, "queued") for job in (1, 2, 3)),
        *((job, "skipped") for job in (1, 2, 3)),
    ]
    numbers_are_whole(told, before)


def test_everybody_hears_everything(queue: Queue, stream: EventStream) -> None:
    others = [EventStream(str(queue.socket)) for _ in range(50)]
    for job in range(20):
        queue.submit("true" if job % 2 else "false")
    queue.run("--wait-all")
    queue.get("-C")
    mine = up_to(stream, 19, "forgotten")
    for other in others:
        assert up_to(other, 19, "forgotten")[1:] == mine
        other.close()
    for job in range(20):
        ended = "finished" if job % 2 else "failed"
        assert states(mine, job, running=False) == ["queued", ended, "forgotten"]


def test_durable_queue(queue: Queue) -> None:
    """Events wait for the disk as answers do, and none of them for ever."""
    queue.environment["TS_DURABLE"] = "1"
    queue.get("-S", "4")
    with EventStream(str(queue.socket)) as stream:
        begin = stream.read(DEADLINE_S)[0].seq
        for _ in range(100):
            queue.submit("true")
        told = up_to(stream, 99, "finished")
        numbers_are_whole(told, begin)


# ---- from where on ---------------------------------------------------------------------------------------------------


def test_resumed(queue: Queue, stream: EventStream) -> None:
    queue.finish("true")
    up_to(stream, 0, "finished")
    before = stream.seq
    queue.finish("true")
    queue.finish("true")
    rest = up_to(stream, 2, "finished")
    with EventStream(str(queue.socket), before) as again:
        head, *told = up_to(again, 2, "finished")
        assert (head.kind, head.seq) == ("head", stream.seq)
        assert told == rest
        assert again.seq == stream.seq
        assert again.read(0) == []


def test_all_that_is_kept(queue: Queue, stream: EventStream) -> None:
    queue.finish("true")
    told = up_to(stream, 0, "finished")
    with EventStream(str(queue.socket), 1) as other:
        head, gap, *rest = up_to(other, 0, "finished")
        assert (head.kind, gap.kind) == ("head", "gap")
        assert rest == told and gap.seq == told[0].seq - 1


def test_number_that_is_yet_to_come(queue: Queue, stream: EventStream) -> None:
    queue.finish("true")
    with EventStream(str(queue.socket), stream.seq + 1000) as other:
        assert [event.kind for event in up_to(other, 0, "finished")[:2]] == ["head", "gap"]


def test_the_table_after_head_and_the_events_are_whole(queue: Queue, stream: EventStream) -> None:
    """Streams that begin in the middle of a burst: what the list showed, changed by what is told, is what is there."""
    queue.get("-S", "4")
    script = 'for i in $(seq 100); do ts sh -c "exit $((i % 3))" || exit 1; done'
    burst = subprocess.Popen(["bash", "-c", script], env=queue.env(), cwd=queue.work, stdout=subprocess.DEVNULL)
    queue.children.append(burst)
    seen = []
    while burst.poll() is None:
        other = EventStream(str(queue.socket))
        assert other.read(DEADLINE_S)[0].kind == "head"
        seen.append((other, {int(str(job["ID"])): str(job["State"]) for job in queue.jobs()}))
    assert len(seen) > 1
    for job in range(100):
        queue.wait(job)
    for other, shown in seen:
        while len(shown) < 100 or set(shown.values()) != {"finished"}:
            for event in other.read(DEADLINE_S):
                shown[event.id] = "finished" if event.state == "failed" else event.state
        other.close()


# ---- servers come and go ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM", "-K", "later release"])
def test_another_server(queue: Queue, stream: EventStream, end: str) -> None:
    """The stream looks for the next one, says that something may be missing, and goes on; its descriptor stays."""
    queue.finish("true")
    up_to(stream, 0, "finished")
    before, descriptor = stream.seq, stream.fileno()
    if end == "-K":
        queue.get("-K")
    elif end == "later release":
        with connect(queue) as client:
            client.sendall(request("-l", release=97_000_000))
            assert frames(client.recv(HEAD)) == [(GIVE_WAY, b"")]
            client.sendall(frame(TAKE_OVER))
            drained(client)
    else:
        queue.kill_server(signal.Signals[end])
    assert stream.read(0) == []
    job = queue.finish("true")
    gap, *told = up_to(stream, job, "finished")
    assert gap.kind == "gap" and gap.seq > before
    assert states(told, job, running=False) == ["queued", "finished"]
    numbers_are_whole(told, gap.seq)
    assert stream.fileno() == descriptor


def test_no_server_yet(queue: Queue) -> None:
    """None is started; what happens once one is there is told from its beginning."""
    with EventStream(str(queue.socket)) as stream:
        assert stream.read(0) == [] == stream.read(0.2)
        assert queue.servers() == []
        job = queue.finish("true")
        told = up_to(stream, job, "finished")
        assert [event.kind for event in told[:2]] == ["head", "gap"]
        assert states(told[2:], job, running=False) == ["queued", "finished"]


def test_the_descriptor_tells_when_to_read(queue: Queue, stream: EventStream) -> None:
    """As an event loop uses it, over the end of a server too."""
    poll = select.poll()
    poll.register(stream.fileno(), select.POLLIN)
    assert poll.poll(0) == []

    def told() -> list[Event]:
        return stream.read(0) if poll.poll(DEADLINE_S * 1000) else pytest.fail("nothing came")

    queue.finish("true")
    queue.wait_until(lambda: any(event.state == "finished" for event in told()))
    queue.kill_server()
    queue.finish("true")
    queue.wait_until(lambda: any(event.kind == "gap" for event in told()))


def test_iterated(queue: Queue, stream: EventStream) -> None:
    """One after the other, also where several came together; a stream opened later goes on at any of them."""
    job, gate = queue.blocker()
    gate.open()
    queue.wait(job)
    for state in ("queued", "running", "finished"):
        with EventStream(str(queue.socket), stream.seq) as other:
            assert (next(other).kind, next(other).state) == ("head", state)
        event = next(stream)
        assert (event.state, event.seq) == (state, stream.seq)


def test_a_stream_that_is_closed(queue: Queue) -> None:
    queue.get("-l")
    before = len(open_files(os.getpid()))
    stream = EventStream(str(queue.socket))
    stream.close()
    stream.close()
    assert len(open_files(os.getpid())) == before
    with pytest.raises(ValueError):
        stream.read(0)


def test_a_long_path(tmp_path: Path, queue: Queue) -> None:
    long = tmp_path / ("x" * 100) / ("y" * 100)
    long.mkdir(parents=True)
    queue.socket = long / "socket"
    queue.environment["TS_SOCKET"] = str(queue.socket)
    queue.finish("true")
    with EventStream(str(queue.socket), 1) as stream:
        assert life(stream, 0, "finished") == ["queued", "finished"]


@pytest.mark.parametrize(
    "answer",
    [frame(EXIT, code(0), version=VERSION + 1), frame(EVENTS, b"x" * 33), frame(EVENTS, length=1 << 30)],
    ids=["another version", "half an event", "too long"],
)
def test_a_server_that_cannot_be_understood(tmp_path: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()

        def serve() -> None:
            with listening.accept()[0] as client:
                client.sendall(answer)
                drained(client)

        server = threading.Thread(target=serve)
        server.start()
        with EventStream(str(tmp_path / "socket")) as stream, pytest.raises(ServerUnavailable):
            stream.read(DEADLINE_S)
        server.join()


LIKE_A_SERVER = """
import socket, sys

path, answers = sys.argv[1], [bytes.fromhex(word) for word in sys.argv[3:]]
with socket.socket(socket.AF_UNIX) as listening:
    listening.bind(path)
    listening.listen()
    print(flush=True)
    for answer in answers:
        with listening.accept()[0] as client:
            asked = client.recv(int(sys.argv[2]), socket.MSG_WAITALL)
            print(int.from_bytes(asked[-8:], sys.byteorder), flush=True)
            client.sendall(answer)
"""


def like_a_server(path: Path, *answers: bytes) -> "subprocess.Popen[str]":
    """Answers a caller with each of these and hangs up; tells `since` of each, and ends."""
    child = subprocess.Popen(
        [sys.executable, "-c", LIKE_A_SERVER, path, str(len(watch())), *(answer.hex() for answer in answers)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout.readline() == "\n"
    return child


def told_by(*events: tuple[int, int]) -> bytes:
    """A frame of events: numbers and kinds."""
    packed = [layouts.tsf_event(seq=seq, id=5, state=int(kind == 0), kind=kind) for seq, kind in events]
    return frame(EVENTS, b"".join(map(bytes, packed)))


def test_a_server_that_hangs_up_and_one_behind_a_clock_set_back(tmp_path: Path) -> None:
    """The same server goes on where it was; to another one the numbers mean nothing, even if they seem to fit."""
    path = tmp_path / "socket"
    first = like_a_server(path, told_by((1000, 1), (1001, 0)), told_by((1001, 1)) + told_by((1002, 0)))
    with EventStream(path) as stream:
        told = read_until(stream, lambda event: event.seq == 1002)
        assert [(event.seq, event.kind) for event in told] == [(1000, "head"), (1001, "change"), (1002, "change")]
        assert first.wait(20) == 0 and first.stdout.read().split() == ["0", "1001"]
        path.unlink()
        second = like_a_server(path, told_by((1003, 1), (1003, 0), (1004, 0)))
        told = read_until(stream, lambda event: event.seq == 1004)
        assert [(event.seq, event.kind) for event in told] == [(1002, "gap"), (1003, "change"), (1004, "change")]
        assert second.wait(20) == 0 and second.stdout.read().split() == ["1002"]
    for child in (first, second):
        child.stdout.close()


# ---- the server's side -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        frame(WATCH),
        frame(WATCH, b"\0" * 7),
        frame(WATCH, b"\0" * 9),
        frame(WATCH, b"\0" * 1000),
        watch() + watch(),
        watch() + request("-l"),
        watch() + frame(DESCRIPTORS),
        request("-w", "0") + watch(),
        frame(EVENTS, b"\0" * 32),
    ],
    ids=lambda data: f"{len(data)}",
)
def test_frames_that_have_no_place(queue: Queue, stream: EventStream, data: bytes) -> None:
    """Their connection is closed; others go on."""
    job, gate = queue.blocker()
    with connect(queue) as client:
        send(client, data)
        drained(client)
    gate.open()
    assert states(up_to(stream, job, "finished"), job) == ["queued", "running", "finished"]


def test_watch_byte_by_byte(queue: Queue, stream: EventStream) -> None:
    with connect(queue) as client:
        for byte in watch((1 << 64) - 1):
            client.sendall(bytes([byte]))
        size = HEAD + 2 * ctypes.sizeof(layouts.tsf_event)
        ((kind, told),) = frames(client.recv(size, socket.MSG_WAITALL))
        assert kind == EVENTS
        assert [event.kind for event in unpacked(told)] == ["head", "gap"]


def fill(queue: Queue, jobs: int) -> None:
    """That many more jobs, which do not start, and are gone again: three events each."""
    with Caller(queue.socket) as caller:
        assert len(caller.submit_many([["true"]] * jobs)) == jobs
    queue.get("--cancel", f"1-{jobs}")
    queue.get("-C")


def test_watchers_that_do_not_read(queue: Queue, tmp_path: Path) -> None:
    """They cost the server a little memory and the others no time. Who reads too late learns from where on something is
    missing, and nothing else is."""
    queue.environment["TS_MAXFINISHED"] = "1000000"
    job, gate = queue.blocker()
    lines = tmp_path / "lines"
    with lines.open("w") as file:
        stopped = events_command(queue, "--json", stdout=file)
    queue.wait_until(lambda: lines.read_text().endswith("\n"))
    os.kill(stopped.pid, signal.SIGSTOP)
    deaf = [connect(queue) for _ in range(20)]
    for client in deaf:
        client.sendall(watch(1))
    server = psutil.Process(queue.server_pid())
    queue.wait_until(lambda: sleeping(server.pid))
    begin = json.loads(lines.read_text().splitlines()[0])["seq"]
    with EventStream(str(queue.socket)) as stream:
        assert stream.read(DEADLINE_S)[0].seq == begin
        before = server.memory_info().rss
        fill(queue, KEPT // 3 + 3000)
        grown = server.memory_info().rss - before
        assert grown < 16 << 20, "the ring, the jobs, and 64 KiB for each watcher"
        gate.open()
        assert queue.wait(job) == 0
        told = up_to(stream, job, "finished")
        numbers_after_gaps_are_whole(told, begin)
        last = told[-1].seq
    with EventStream(str(queue.socket), begin) as late:
        head, gap, *rest = read_until(late, lambda event: event.seq == last and event.kind == "change")
        assert (head.kind, gap.kind) == ("head", "gap") and gap.seq == last - KEPT
        numbers_are_whole(rest, gap.seq)
    os.kill(stopped.pid, signal.SIGCONT)
    queue.wait_until(lambda: f'"seq": {last},' in lines.read_text().splitlines()[-1])
    shown = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [line["seq"] for line in shown if line["kind"] == "gap"], "it was stopped for too long"
    numbers_after_gaps_are_whole([Event(line["seq"], 0, "", None, 0, line["kind"]) for line in shown[1:]], begin)
    for client in deaf:
        client.close()
    assert queue.wait(queue.submit("true")) == 0
    assert queue.server_pid() == server.pid


def numbers_after_gaps_are_whole(told: list[Event], after: int) -> None:
    for before, event in itertools.pairwise([Event(after, 0, "", None, 0), *told]):
        if event.kind == "gap":
            assert event.seq > before.seq
        else:
            assert event.seq == before.seq + 1


# ---- tsfast events ---------------------------------------------------------------------------------------------------


def events_command(queue: Queue, *words: str, stdout: object = subprocess.PIPE) -> "subprocess.Popen[str]":
    child = subprocess.Popen(
        [BIN / "tsfast", "events", *words],
        env=queue.env(), stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    queue.children.append(child)
    return child


def test_lines_for_programs(queue: Queue) -> None:
    queue.get("-S", "2")
    child = events_command(queue, "--json")
    head = json.loads(child.stdout.readline())
    assert head["kind"] == "head"
    job, gate = queue.blocker()
    gate.open(5)
    told = [json.loads(child.stdout.readline()) for _ in range(3)]
    assert [(line["kind"], line["seq"] - head["seq"], line["id"], line["state"]) for line in told] == [
        ("change", 1, job, "queued"),
        ("change", 2, job, "running"),
        ("change", 3, job, "failed"),
    ]
    assert [(line["exit_code"], line["signal"]) for line in told] == [(None, None), (None, None), (5, None)]
    again = events_command(queue, "--json", "--since", str(told[0]["seq"]))
    assert json.loads(again.stdout.readline())["kind"] == "head"
    assert [json.loads(again.stdout.readline()) for _ in range(2)] == told[1:]
    queue.kill_server()
    queue.get("-l")
    assert json.loads(child.stdout.readline())["kind"] == "gap"


def test_lines_for_people(queue: Queue) -> None:
    child = events_command(queue)
    queue.wait_until(lambda: any("timerfd" in name for name in open_files(child.pid)), "it waits for a server")
    assert queue.servers() == [], "it starts none"
    job, gate = queue.blocker()
    gate.open(5)
    assert "missing" in child.stdout.readline()
    told = [child.stdout.readline().split()[2:] for _ in range(3)]
    assert told == [[str(job), "queued"], [str(job), "running"], [str(job), "failed", "5"]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ended_by_a_signal(queue: Queue, number: int) -> None:
    queue.get("-l")
    child = events_command(queue, "--json")
    assert child.stdout.readline()
    child.send_signal(number)
    assert child.wait(20) == -number
    assert child.stderr.read() == ""


def test_nobody_reads_any_more(queue: Queue) -> None:
    """It ends when its reader does, and not with the next event."""
    queue.get("-l")
    child = events_command(queue, "--json")
    assert child.stdout.readline()
    child.stdout.close()
    assert child.wait(20) == 141
    assert child.stderr.read() == ""


@pytest.mark.parametrize("words", [("--since", "x"), ("--since", "0"), ("--since", "-1"), ("--other",), ("more",)])
def test_wrong_words(queue: Queue, words: tuple[str, ...]) -> None:
    child = events_command(queue, *words)
    assert child.wait(20) == 255
    assert child.stderr.read() and not child.stdout.read()


def test_a_command_of_that_name(queue: Queue) -> None:
    assert queue.submit("events") == 0
    assert json.loads(queue.get("-M", "json"))[0]["Command"] == "events"
