"""Slots: how many jobs run at once, and in which order they get their turn."""

from support.queues import Queue


def running(queue: Queue) -> list[int]:
    return [job["ID"] for job in queue.jobs() if job["State"] == "running"]


def test_number_of_slots(queue: Queue) -> None:
    assert queue.get("-S") == "1"
    assert queue.get("-S", "3") == ""
    assert queue.get("-S") == "3"
    for wrong in ("0", "-1", "x", "1x", "99999999999999999999"):
        queue.refused("-S", wrong)
    assert queue.get("-S") == "3"


def test_slots_of_the_environment(queue: Queue) -> None:
    assert queue.get("-S", env={"TS_SLOTS": "5"}) == "5"
    assert "[run=0/5]" in queue.get()


def test_wrong_slots_of_the_environment(queue: Queue) -> None:
    assert "TS_SLOTS" in queue.refused("-S", env={"TS_SLOTS": "many"})
    assert queue.get("-S") == "1"


def test_raising_starts_queued_jobs_at_once(queue: Queue) -> None:
    jobs = [queue.submit("sleep", "1000") for _ in range(4)]
    assert running(queue) == jobs[:1]
    queue.get("-S", "3")
    queue.wait_until(lambda: running(queue) == jobs[:3])


def test_lowering_starts_none_until_it_fits(queue: Queue) -> None:
    queue.get("-S", "3")
    gates = [queue.blocker() for _ in range(3)]
    queued = queue.submit("true")
    queue.get("-S", "1")
    for job, gate in gates[:2]:
        gate.open()
        queue.wait(job)
        assert queue.state(queued) == "queued"
    gates[2][1].open()
    assert queue.wait(queued) == 0


def test_job_that_takes_several(queue: Queue) -> None:
    queue.get("-S", "3")
    wide, gate = queue.blocker("-N", "2")
    second = queue.submit("-N", "2", "true")
    assert queue.state(second) == "queued"
    assert queue.info(second)["Slots required"] == "2"
    gate.open()
    assert queue.wait(second) == 0
    assert queue.wait(wide) == 0


def test_job_that_takes_none(queue: Queue) -> None:
    queue.blocker()
    assert queue.wait(queue.submit("-N", "0", "true")) == 0


def test_no_starvation_of_wide_jobs(queue: Queue) -> None:
    """A -N 2 job at the head of the queue gets the next two slots; later one-slot jobs do not overtake it."""
    queue.get("-S", "2")
    gates = [queue.blocker() for _ in range(2)]
    wide = queue.submit("-N", "2", "sh", "-c", "echo wide >> order")
    narrow = [queue.submit("sh", "-c", "echo narrow >> order") for _ in range(20)]
    for job, gate in gates:
        gate.open()
        queue.wait(job)
    queue.wait(wide)
    for job in narrow:
        queue.wait(job)
    assert (queue.work / "order").read_text().split() == ["wide"] + 20 * ["narrow"]


def test_more_slots_than_there_are(queue: Queue) -> None:
    done = queue.run("-N", "4", "true")
    assert (done.returncode, done.stdout) == (0, "0\n")
    assert done.stderr.startswith("ts: warning: ") and done.stderr.count("\n") == 1
    assert queue.state(0) == "queued"
    queue.get("-S", "4")
    assert queue.wait(0) == 0


def test_job_that_is_too_wide_does_not_block_the_queue(queue: Queue) -> None:
    queue.run("-N", "4", "true")
    after = queue.submit("true")
    assert queue.wait(after) == 0
    assert queue.state(0) == "queued"


def test_jobs_start_in_order(queue: Queue) -> None:
    for number in range(50):
        job = queue.submit("sh", "-c", f"echo {number} >> order")
    queue.wait(job)
    assert (queue.work / "order").read_text().split() == [str(number) for number in range(50)]


def test_never_more_at_once_than_slots(queue: Queue) -> None:
    queue.get("-S", "3")
    script = "mkdir in.$$; ls -d in.* | wc -l >> count; rmdir in.$$"
    for _ in range(60):
        job = queue.submit("sh", "-c", script)
    queue.wait_until(lambda: all(entry["State"] == "finished" for entry in queue.jobs()))
    counts = [int(line) for line in (queue.work / "count").read_text().split()]
    assert len(counts) == 60 and max(counts) <= 3
    assert queue.wait(job) == 0


def test_slots_survive_the_server(queue: Queue) -> None:
    queue.get("-S", "7")
    queue.kill_server()
    assert queue.get("-S", env={"TS_SLOTS": "2"}) == "7"


def test_a_new_queue_takes_the_slots_of_its_environment(queue: Queue) -> None:
    queue.get("-S", "7")
    queue.get("-K")
    assert queue.get("-S", env={"TS_SLOTS": "2"}) == "2"
