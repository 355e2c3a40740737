"""`tsfast.Queue` and `tsfast.AsyncQueue` on a real server: looking, waiting, changing."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy
import pytest

import tsfast
from support.patience import wait_until
from support.processes import kill
from support.queues import Queue
from tsfast.client.events import STATES

# ---- looking


def test_states_and_results(queue: Queue, api: tsfast.Queue) -> None:
    good, bad, killed = api.submit_many([["true"], ["sh", "-c", "exit 7"], ["sh", "-c", "kill -9 $$"]]).tolist()
    missing = api.submit(["/does/not/exist"])
    nowhere = api.submit(["true"], cwd="/does/not/exist")
    _, gate = queue.blocker()
    queued = api.submit(["true"])
    skipped = api.submit(["true"], after_ok=bad)
    assert [api.state(id) for id in (good, bad, killed, queued, skipped)] == [
        "finished", "failed", "killed", "queued", "skipped",
    ]  # fmt: skip
    result = api.result(bad)
    assert (result.state, result.exit_code, result.signal, result.ok, result.ended) == ("failed", 7, None, False, True)
    assert result.start is not None
    assert result.duration is not None and result.duration > 0
    assert (api.result(killed).signal, api.result(killed).exit_code) == (9, None)
    assert api.result(missing).exit_code == 127
    assert api.result(nowhere).state == "not-startable"
    assert api.result(nowhere).reason == "its directory: No such file or directory"
    assert api.result(queued) == tsfast.Result(queued, "queued")
    assert api.result(good).ok
    gate.open()
    queue.get("-w", queued)


def test_nothing_is_there_yet(queue: Queue, api: tsfast.Queue) -> None:
    assert len(api.jobs()) == 0
    for look in (api.state, api.result, api.job):
        with pytest.raises(tsfast.UnknownJob, match="job 0 does not exist"):
            look(0)
    assert not queue.servers()


def test_unknown_and_forgotten_jobs(queue: Queue, api: tsfast.Queue) -> None:
    job = queue.finish("true")
    queue.get("-C")
    assert api.state(job) == "forgotten"
    assert api.result(job) == tsfast.Result(job, "forgotten")
    assert api.wait([job]) == [tsfast.Result(job, "forgotten")]
    with pytest.raises(tsfast.UnknownJob, match="no longer known"):
        api.job(job)
    with pytest.raises(LookupError):
        api.state(1)
    with pytest.raises(tsfast.UnknownJob):
        api.wait([job, 5])
    with pytest.raises(tsfast.UnknownJob):
        api.remove(5)


@pytest.mark.parametrize("id", [-1, 2**63, 2**64])
def test_numbers_that_are_no_ids(queue: Queue, api: tsfast.Queue, id: int) -> None:
    queue.finish("true")
    for look in (api.state, api.result, api.job, api.wait):
        with pytest.raises(tsfast.UnknownJob, match="does not exist"):
            look(id)


def test_the_next_queue_of_a_deleted_one(queue: Queue, api: tsfast.Queue) -> None:
    """The same object sees the new table."""
    for _ in range(5):
        queue.finish("true")
    assert api.state(4) == "finished"
    queue.get("-K")
    shutil.rmtree(queue.state_dir)
    Path(f"{queue.socket}.state").unlink()
    job, gate = queue.blocker()
    assert job == 0
    with pytest.raises(TimeoutError):
        api.wait(0, timeout=0.05)
    gate.open(3)
    assert api.wait(0)[0].exit_code == 3


def test_threads_do_not_wait_for_each_other(queue: Queue, api: tsfast.Queue) -> None:
    queue.environment["TS_MAXCONN"] = "2"
    _, gate = queue.blocker()
    queued = api.submit(["true"])
    thread = threading.Thread(target=lambda: api.submit(["true"]))
    thread.start()
    queue.wait_until(lambda: "1 call waits" in queue.get("--why", queued), "it waits")
    with pytest.raises(tsfast.QueueFull):
        api.submit(["true"], block=False)
    gate.open()
    thread.join()
    api.wait(2)


def test_all_jobs_as_an_array(queue: Queue, api: tsfast.Queue) -> None:
    ids = api.submit_many([["sh", "-c", f"exit {i}"] for i in range(3)])
    assert [result.id for result in api.wait(ids)] == [0, 1, 2]
    assert api.wait(ids[2])[0].exit_code == 2
    with pytest.raises(TypeError):
        api.wait(["0"])  # type: ignore[list-item]
    table = api.jobs()
    assert table["id"].tolist() == [0, 1, 2]
    assert table["exit_code"].tolist() == [0, 1, 2]
    assert [STATES[state] for state in table["state"]] == ["finished", "failed", "failed"]
    assert (table["start_ns"] >= table["enqueue_ns"]).all()


def test_all_of_a_job(queue: Queue, api: tsfast.Queue) -> None:
    job = api.submit(["echo", "x y"], label="l", cwd="/", slots=1)
    api.wait(job)
    found = api.job(job)
    assert found["argv"] == [b"echo", b"x y"]
    assert (found["label"], found["cwd"]) == (b"l", b"/")
    assert Path(api.output_path(job) or "").read_text() == "x y\n"


# ---- waiting


def test_results_in_the_order_of_the_ends(queue: Queue, api: tsfast.Queue) -> None:
    api.slots = 3
    gates = [queue.gate() for _ in range(3)]
    ids = [api.submit(gate.command) for gate in gates]
    queue.wait_until(lambda: [api.state(id) for id in ids] == ["running"] * 3, "all run")
    results = api.as_completed(ids)
    for number in (2, 0, 1):
        gates[number].open(number)
        result = next(results)
        assert (result.id, result.exit_code) == (ids[number], number)
    assert list(results) == []
    assert [result.exit_code for result in api.wait(ids)] == [0, 1, 2]
    assert list(api.as_completed([])) == []


def test_waiting_has_an_end(queue: Queue, api: tsfast.Queue) -> None:
    job, gate = queue.blocker()
    with pytest.raises(TimeoutError, match="1 jobs have not ended"):
        api.wait(job, timeout=0.05)
    with pytest.raises(TimeoutError):
        api.wait(job, timeout=0)
    gate.open(3)
    assert api.wait(job)[0].exit_code == 3


def test_results_of_jobs_that_are_forgotten_at_once(queue: Queue, api: tsfast.Queue) -> None:
    """Their ends are heard, whatever the table keeps."""
    queue.environment["TS_MAXFINISHED"] = "2"
    _, gate = queue.blocker()
    ids = api.submit_many([["sh", "-c", f"exit {i % 3}"] for i in range(50)])
    waiter: list[list[tsfast.Result]] = []
    thread = threading.Thread(target=lambda: waiter.append(api.wait(ids)))
    thread.start()
    wait_until(lambda: len(os.listdir(f"/proc/{queue.server_pid()}/fd")) > 0)
    gate.open()
    thread.join()
    assert {result.state for result in waiter[0]} <= {"finished", "failed", "forgotten"}
    known = [result for result in waiter[0] if result.state != "forgotten"]
    assert all(result.exit_code == (result.id - int(ids[0])) % 3 for result in known)
    assert len(known) >= 2


def test_a_server_that_is_killed_meanwhile(queue: Queue, api: tsfast.Queue) -> None:
    job, gate = queue.blocker()
    results: list[tsfast.Result] = []
    thread = threading.Thread(target=lambda: results.extend(api.wait(job)))
    thread.start()
    kill(queue.server_pid())
    gate.open(4)
    thread.join()
    assert [result.exit_code for result in results] == [4]


def test_a_queue_that_is_ended_meanwhile(queue: Queue, api: tsfast.Queue) -> None:
    _, gate = queue.blocker()
    queued = api.submit(["true"])
    results: list[tsfast.Result] = []
    thread = threading.Thread(target=lambda: results.extend(api.wait(queued)))
    thread.start()
    api.shutdown()
    thread.join()
    assert [result.state for result in results] in (["forgotten"], ["removed"])
    gate.open()


def test_events(queue: Queue, api: tsfast.Queue) -> None:
    api.wait(api.submit(["true"]))
    with api.watch() as stream:
        assert stream.read(10)[0].kind == "head"
        job = api.submit(["sh", "-c", "exit 2"])
        seen = []
        while not seen or seen[-1].state != "failed":
            seen += [event for event in stream.read(10) if event.id == job]
    assert seen[0].state == "queued"
    with api.watch(seen[0].seq) as again:
        rest = [event for event in again.read(10) if event.id == job]
    assert rest == seen[1:]


# ---- changing


def test_cancel_kill_remove(queue: Queue, api: tsfast.Queue) -> None:
    job, _ = queue.blocker()
    ids = api.submit_many([["true"]] * 6).tolist()
    api.remove(ids[0])
    api.cancel(ids[1:3])
    api.cancel(numpy.array([ids[4]]))
    api.urgent(ids[5])
    assert api.job(ids[5])["order"] < api.job(ids[3])["order"]
    with pytest.raises(tsfast.RequestFailed, match="not running"):
        api.kill(ids[3])
    api.kill(job)
    assert api.wait(job)[0].signal == signal.SIGTERM
    assert [api.wait(id)[0].state for id in ids[1:]] == ["cancelled", "cancelled", "finished", "cancelled", "finished"]
    api.clear()
    assert len(api.jobs()) == 0


def test_slots_and_other_actions(queue: Queue, api: tsfast.Queue) -> None:
    api.slots = 4
    assert api.slots == 4
    assert api.ask("-V") == f"tsfast {tsfast.__version__}\n"
    with pytest.raises(tsfast.RequestFailed, match="-S"):
        api.ask("-S", "none")
    with pytest.raises(tsfast.RequestFailed, match="only on the command line"):
        api.ask("--batch", "x")
    api.shutdown()
    queue.wait_until(lambda: not queue.servers(), "the server is gone")


# ---- asyncio


def test_asyncio(queue: Queue, api: tsfast.Queue) -> None:
    async def main() -> None:
        async with tsfast.AsyncQueue() as own:
            one = await own.submit(["sh", "-c", "exit 5"], label="x")
            many = await own.submit_many([["true"]] * 3)
            assert [result.exit_code for result in await own.wait([one, *many])] == [5, 0, 0, 0]
            gate = queue.gate()
            blocked = await own.submit(gate.command)
            with pytest.raises(TimeoutError):
                await own.wait(blocked, timeout=0.05)
            waiting = asyncio.create_task(own.wait(blocked))
            events = own.watch()
            assert (await anext(events)).kind == "head"
            gate.open(3)
            assert (await waiting)[0].exit_code == 3
            assert (await anext(events)).id == blocked
            await events.aclose()  # type: ignore[attr-defined]
            queued = await own.submit(["sleep", "100"])
            await own.cancel(queued)
            assert (await own.wait(queued))[0].state == "cancelled"
            with pytest.raises(tsfast.UnknownJob):
                await own.remove(1000)

    asyncio.run(main())


# ---- imports


def imported(program: str, *names: str) -> str:
    """Which of these modules a program has imported, which is started as the launcher starts a server."""
    code = f"import sys; sys.path += {sys.path!r}; {program}; print(sorted({set(names)} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_what_the_first_call_waits_for_is_cheap_to_import() -> None:
    assert (
        imported("import tsfast.daemon.boot", "numpy", "asyncio", "tsfast.client.queue", "json", "typing", "re")
        == "[]\n"
    )


def test_the_package_is_cheap_to_import() -> None:
    assert imported("import tsfast; tsfast.Queue", "numpy", "asyncio") == "[]\n"


def test_all_names_are_there() -> None:
    assert all(getattr(tsfast, name) for name in tsfast.__all__)
    with pytest.raises(AttributeError):
        tsfast.nothing  # noqa: B018
