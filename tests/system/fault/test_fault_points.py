"""A death at each named point: whoever calls next finds a queue in which nothing was lost and nothing ran twice."""

import pytest

from support.fault_queue import FINAL, fault_points
from support.processes import kill

SERVER_POINTS = [
    *["submit-written", "submit-committed", "start-recorded", "start-assigned", "start-sent", "running-recorded"],
    *["finish-reported", "finish-recorded", "finish-freed", "remove-recorded", "swap-intended", "swap-half"],
    "recover-recorded",
]
RUNNER_POINTS = [
    *["runner-received", "runner-claimed", "runner-output", "runner-spawned", "runner-reap", "runner-result"],
    *["runner-exited", "runner-reaped", "runner-reported"],
]
CHILD_POINTS = ["child-before-exec", "child-execing"]
POINTS = [*SERVER_POINTS, *RUNNER_POINTS, *CHILD_POINTS]
CODES = {"first": 0, "seven": 7, "after": 0, "skipped": -1, "long": 5, "last": 200}


def test_every_point_of_the_sources_is_covered():
    assert sorted(POINTS) == sorted(fault_points())


def scenario(queue):
    """Jobs of all kinds; returns name -> id. Calls survive the death of the server by their tokens."""
    ids = {"long": queue.job("long", queue.until_opened("long") + "; exit 5")}
    ids["first"] = queue.job("first")
    ids["seven"] = queue.job("seven", "exit 7")
    ids["after"] = queue.job("after", "true", "-D", ids["seven"])
    ids["skipped"] = queue.job("skipped", "true", "-W", ids["seven"])
    ids["big"] = queue.job("big", "true", "-N", 99)
    ids["removed"] = queue.job("removed", "true", "-N", 99)
    ids["late"] = queue.job("late", "true", "-N", 98)
    queue.ts("-r", ids["removed"])
    queue.ts("-U", f"{ids['big']}-{ids['late']}")
    ids["last"] = queue.job("last", "exit 200")
    return ids


def check_books(queue, ids, *, lost=()):
    """Everything has ended as it had to; each job ran exactly once."""
    for name in ("first", "seven", "after", "last"):
        if name not in lost:
            assert queue.wait(ids[name]) == CODES[name], f"{name}\n{queue.report()}"
    queue.wait(ids["skipped"])
    queue.until_started("long")
    queue.open_gate("long")
    assert queue.wait(ids["long"]) == CODES["long"]
    jobs = queue.by_id()
    assert set(jobs) == set(ids.values()) - {ids["removed"]}, queue.report()
    for name in ("first", "seven", "after", "long", "last"):
        assert jobs[ids[name]]["State"] == "finished"
    assert jobs[ids["skipped"]]["State"] == "skipped"
    assert [jobs[ids[name]]["State"] for name in ("big", "late")] == ["queued", "queued"]
    order = [job for job in jobs if job in (ids["big"], ids["late"])]
    assert order == [ids["late"], ids["big"]], "they had changed places"
    assert sorted(queue.started()) == sorted(["first", "seven", "after", "last", "long"]), queue.report()
    assert {job["State"] for job in jobs.values()} <= FINAL | {"queued"}


@pytest.mark.parametrize("point", [name for name in SERVER_POINTS if name != "recover-recorded"])
def test_death_of_the_server(queue, point):
    server = queue.start_server(f"{point}:kill")
    ids = scenario(queue)
    queue.wait_until(lambda: queue.server() != server, "the death of the server, and another one")
    check_books(queue, ids)
    assert not (queue.directory / "fault").exists(), "the point was never reached"


def test_death_of_the_server_while_it_recovers(queue):
    queue.start_server()
    long = queue.job("long", queue.until_opened("long"))
    job = queue.job("seven", queue.until_opened("seven") + "; exit 7")
    queue.until_running(job)
    queue.kill_server()
    runners = queue.runners()
    queue.open_gate("seven")
    queue.wait_until(lambda: len(queue.runners()) < len(runners), "the runner's end")
    queue.ts("-S", fault="recover-recorded:kill", code=None)
    assert not (queue.directory / "fault").exists(), "the point was never reached"
    assert queue.wait(job) == 7
    queue.open_gate("long")
    assert queue.wait(long) == 0
    assert sorted(queue.started()) == ["long", "seven"]


# Where the runner is dead and the server lives, the job's status is not lost: the server reaps it as subreaper.
@pytest.mark.parametrize("point", [*RUNNER_POINTS, *CHILD_POINTS])
def test_death_of_a_runner(queue, point):
    queue.start_server(f"{point}:kill")
    if point == "child-execing":  # between the decision to run and execve: it counts as run, killed
        job = queue.job("never", "exit 3")
        queue.wait(job)
        assert "killed by signal 9" in queue.details(job)
        assert queue.started() == []
        assert queue.by_id()[job]["State"] == "finished"
        queue.job("next", "exit 3")
        assert queue.wait(job + 1) == 3
    elif point == "child-before-exec":  # its runner sees that it never ran
        job = queue.job("never", "exit 3")
        assert queue.wait(job) != 0
        assert queue.started() == []
    else:
        check_books(queue, scenario(queue))
    assert not (queue.directory / "fault").exists(), "the point was never reached"


@pytest.mark.parametrize("point", RUNNER_POINTS)
def test_runner_stopped_while_another_server_comes(queue, point):
    """The entry's word alone decides whether the stopped runner's job is its own still."""
    queue.start_server(f"{point}:stop")
    job = queue.job("one", "exit 4")
    queue.wait_until(lambda: not (queue.directory / "fault").exists(), "a runner stopped")
    runner = queue.wait_until(lambda: list(queue.runners().values()), "the runner")[0]
    queue.kill_server()
    queue.start_server()
    other = queue.job("two", "exit 6")
    assert queue.wait(other) == 6
    kill(runner, 18)
    assert queue.wait(job) == 4
    assert sorted(queue.started()) == ["one", "two"]


@pytest.mark.parametrize("point", [*RUNNER_POINTS, "child-before-exec"])
@pytest.mark.parametrize("runner_first", [True, False])
def test_both_die(queue, point, runner_first):
    """Nobody could reap the job: `lost` is allowed where it may have run, and only there."""
    server = queue.start_server(f"{point}:stop")
    call = queue.start(*queue.words("one", "exit 4"))
    queue.answer(call)
    queue.wait_until(lambda: not (queue.directory / "fault").exists(), "a process stopped")
    runner = queue.wait_until(lambda: list(queue.runners().values()), "the runner")[0]
    if runner_first:
        kill(server, 19)  # it cannot act on the runner's death any more
    pids = [runner, server] if runner_first else [server, runner]
    for pid in pids:
        queue.kill(pid)
    queue.start_server()
    code = queue.wait(0)
    if point in ("runner-received", "runner-claimed", "runner-output", "child-before-exec"):
        assert (code, queue.started()) == (4, ["one"])
    elif point in ("runner-spawned", "runner-reap", "runner-result"):
        assert code == 255 or code == 4
        assert queue.started() == ["one"]
        assert "lost" in queue.details(0).lower() or code == 4
    else:
        assert (code, queue.started()) == (4, ["one"])
