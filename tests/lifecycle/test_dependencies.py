"""-d, -D, -W: what waits for what, what is skipped, and what ids may be named."""

import pytest

from support.queues import Queue


def test_after_the_last_one(queue: Queue) -> None:
    queue.get("-S", "4")
    first, gate = queue.blocker()
    second = queue.submit("-d", "sh", "-c", "exit 1")
    third = queue.submit("-d", "true")
    assert [queue.state(job) for job in (first, second, third)] == ["running", "queued", "queued"]
    assert queue.jobs()[1]["Depends_On"] == [first] and queue.jobs()[2]["Depends_On"] == [second]
    gate.open(5)
    assert queue.wait(third) == 0
    assert queue.state(second) == "finished"


def test_after_the_last_one_when_there_is_none(queue: Queue) -> None:
    job = queue.finish("-d", "true")
    assert queue.wait(job) == 0
    queue.get("-C")
    assert queue.wait(queue.submit("-d", "true")) == 0


def test_after_the_last_one_that_has_ended(queue: Queue) -> None:
    queue.finish("false")
    assert queue.wait(queue.submit("-d", "true")) == 0


def test_after_several(queue: Queue) -> None:
    queue.get("-S", "10")
    gates = [queue.blocker() for _ in range(3)]
    ids = [job for job, _ in gates]
    after = queue.submit("-D", ",".join(map(str, ids)), "true")
    both = queue.submit("-D", ids[0], "-D", ids[1], "-W", ids[2], "true")
    for job, gate in gates[:-1]:
        gate.open(1)
        queue.wait(job)
        assert queue.state(after) == "queued"
    gates[-1][1].open(0)
    assert queue.wait(after) == 0
    assert queue.wait(both) == 0


def test_only_if_all_ended_well(queue: Queue) -> None:
    queue.get("-S", "10")
    good, good_gate = queue.blocker()
    bad, bad_gate = queue.blocker()
    after_good = queue.submit("-W", good, "true")
    after_both = queue.submit("-W", f"{good},{bad}", "true")
    good_gate.open()
    assert queue.wait(after_good) == 0
    bad_gate.open(3)
    assert queue.wait(after_both) == 255
    assert queue.state(after_both) == "skipped"


def test_skipping_goes_on(queue: Queue) -> None:
    """A skipped job counts as failed for -W and as ended for -D."""
    first, gate = queue.blocker()
    chain = [first]
    for _ in range(50):
        chain.append(queue.submit("-W", chain[-1], "true"))
    last = queue.submit("-D", chain[-1], "true")
    gate.open(1)
    assert queue.wait(last) == 0
    assert {queue.state(job) for job in chain[1:]} == {"skipped"}
    assert "(no output)" in queue.get()
    assert "skipped" in queue.refused("-c", chain[1])


def test_killed_and_not_found_count_as_failed(queue: Queue) -> None:
    killed, missing = queue.finish("sh", "-c", "kill -9 $$"), queue.finish("no-such-command")
    for job in (killed, missing):
        assert queue.state(queue.submit("-W", job, "true")) == "skipped"


def test_ended_before(queue: Queue) -> None:
    good, bad = queue.finish("true"), queue.finish("false")
    assert queue.wait(queue.submit("-D", f"{good},{bad}", "true")) == 0
    assert queue.wait(queue.submit("-W", good, "true")) == 0
    assert queue.wait(queue.submit("-W", f"{good},{bad}", "true")) == 255


def test_ids_never_given_out(queue: Queue) -> None:
    queue.submit("true")
    for option in ("-D", "-W"):
        assert "5" in queue.refused(option, "0,5", "true")
        queue.refused(option, "1", "true")  # its own
        queue.refused(option, "-1", "true")
    assert queue.ids() == [0]


def test_forgotten_ids(queue: Queue) -> None:
    job = queue.finish("true")
    queue.get("-C")
    assert queue.wait(queue.submit("-D", job, "true")) == 0
    assert queue.state(queue.submit("-W", job, "true")) == "skipped"


def test_forgotten_while_waited_for(queue: Queue) -> None:
    """A job that is forgotten later keeps its outcome for those who wait on it."""
    queue.get("-S", "10")
    good, bad = queue.finish("true"), queue.submit("false")
    queue.wait(bad)
    blocker, gate = queue.blocker()
    after_good = queue.submit("-W", f"{good},{blocker}", "true")
    after_bad = queue.submit("-D", f"{bad},{blocker}", "true")
    queue.get("-C")
    gate.open()
    assert queue.wait(after_good) == 0
    assert queue.wait(after_bad) == 0


def test_removal_of_a_dependency(queue: Queue) -> None:
    """A removed job never ended well: -W is skipped, -D goes on."""
    blocker, gate = queue.blocker()
    removed = queue.submit("true")
    after = queue.submit("-D", removed, "true")
    only_if = queue.submit("-W", removed, "true")
    then = queue.submit("-W", only_if, "true")
    queue.get("-r", removed)
    assert [queue.state(job) for job in (only_if, then)] == ["skipped", "skipped"]
    gate.open()
    assert queue.wait(after) == 0
    assert queue.wait(blocker) == 0


def test_same_id_twice(queue: Queue) -> None:
    blocker, gate = queue.blocker()
    job = queue.submit("-D", f"{blocker},{blocker}", "-W", blocker, "true")
    gate.open()
    assert queue.wait(job) == 0


def test_waiting_job_does_not_block_others(queue: Queue) -> None:
    queue.get("-S", "2")
    blocker, gate = queue.blocker()
    waiting = queue.submit("-D", blocker, "true")
    assert queue.wait(queue.submit("true")) == 0
    assert queue.state(waiting) == "queued"
    gate.open()
    assert queue.wait(waiting) == 0


def test_urgent_job_still_waits_for_what_it_depends_on(queue: Queue) -> None:
    queue.get("-S", "2")
    blocker, gate = queue.blocker()
    waiting = queue.submit("-D", blocker, "true")
    queue.get("-u", waiting)
    assert queue.wait(queue.submit("true")) == 0
    assert queue.state(waiting) == "queued"
    gate.open()
    assert queue.wait(waiting) == 0


def test_dependencies_survive_the_server(queue: Queue) -> None:
    bad = queue.finish("false")
    blocker, gate = queue.blocker()
    after_ok = queue.submit("-W", blocker, "true")
    skipped = queue.submit("-W", bad, "true")
    after = queue.submit("-D", f"{after_ok},{blocker}", "true")
    queue.kill_server()
    assert [queue.state(job) for job in (after_ok, skipped, after)] == ["queued", "skipped", "queued"]
    gate.open(2)
    assert queue.wait(after) == 0
    assert queue.state(after_ok) == "skipped"
    assert queue.jobs()[-1]["Depends_On"] == [after_ok, blocker]


def test_each_dependency_is_there_once(queue: Queue) -> None:
    """In the list, in JSON, in -i, and in what is kept; of two ways to wait for a job the stricter one counts."""
    _, gate = queue.blocker()
    for _ in range(3):
        queue.submit("true")
    repeated = queue.submit("-D", "0,3,0,1-3", "-d", "-D", "3", "true")
    strict = queue.submit("-D", "0,1", "-W", "1,0,1", "true")
    first, last = (next(job for job in queue.jobs() if job["ID"] == id) for id in (repeated, strict))
    assert first["Depends_On"] == [0, 3, 1, 2]
    assert sorted(last["Depends_On"]) == [0, 1]
    assert "[0,3,1,2]&& true" in queue.get("-l")
    assert queue.info(repeated)["Command"] == "[0,3,1,2]&& true"
    queue.kill_server()
    assert "[0,3,1,2]&& true" in queue.get("-l")
    done = queue.run("--batch", "-", stdin="-D 0,0 -W 1,1 true\n")
    batch = int(done.stdout)
    assert next(job for job in queue.jobs() if job["ID"] == batch)["Depends_On"] == [0, 1]
    gate.open(1)
    queue.wait(batch)
    assert (queue.state(repeated), queue.state(strict)) == ("finished", "skipped")


@pytest.mark.parametrize("forgotten, ends", [
    ("0-39", "40 jobs of its -W (the first is 0) are no longer known, which counts as a failure"),
    ("0-36", "37 jobs of its -W (the first is 0) are no longer known, which counts as a failure"),
    ("7", "job 7 of its -W is no longer known, which counts as a failure"),
    ("", "and 30 other jobs failed"),
])  # fmt: skip
def test_why_of_a_skipped_job_is_short(queue: Queue, forgotten: str, ends: str) -> None:
    first = queue.submit("--array", "1-40", "false")
    queue.run("-w", first)
    if forgotten:
        queue.get("-r", forgotten)
    skipped = queue.finish("-W", "0-39", "true")
    lines = queue.get("--why", skipped).splitlines()
    assert lines[-1] == ends
    assert len(lines) <= 14
    assert sum("no longer known" in line for line in lines) <= 1
