"""How a job has ended, as its record and its last event say it: finer than its state."""

import os

from support.queues import Queue
from tsfast.client.events import ENDED, ENDS, EventStream
from tsfast.client.reader import Reader

DEADLINE_S = 30


def test_end_in_the_record_and_in_the_event(queue: Queue) -> None:
    ends: dict[int, str] = {}
    running, gate = queue.blocker()
    with EventStream(queue.socket) as stream:
        for end, words in (
            ("done", ["true"]),
            ("failed", ["sh", "-c", "exit 3"]),
            ("killed", ["sh", "-c", "kill -9 $$"]),
        ):
            ends[queue.submit(*words)] = end
        gone = queue.directory / "gone"
        gone.mkdir()
        ends[queue.submit("true", cwd=gone)] = "not-startable"
        gone.rmdir()
        failed = next(job for job, end in ends.items() if end == "failed")
        ends[queue.submit("-W", failed, "true")] = "skipped"
        cancelled, removed = queue.submit("true"), queue.submit("true")
        queue.get("--cancel", cancelled)
        queue.get("-r", removed)
        queue.get("--cancel", running)
        ends |= {cancelled: "cancelled", removed: "removed", running: "cancelled"}
        told: dict[int, str] = {}
        while set(told) != set(ends):
            events = stream.read(DEADLINE_S)
            assert events, f"only {told} came"
            assert all((event.end == "") == (event.state not in ENDED) for event in events)
            told |= {event.id: event.end for event in events if event.end}
        assert told == ends
    assert gate.path.exists()
    queue.kill_server()
    reader = Reader(os.open(queue.state_dir, os.O_RDONLY | os.O_DIRECTORY))
    rows = reader.snapshot()
    del ends[removed]
    assert dict(zip(rows["id"].tolist(), (ENDS[end] for end in rows["end"]), strict=True)) == ends
    assert {job: ENDS[reader.job(job)["end"]] for job in ends} == ends
