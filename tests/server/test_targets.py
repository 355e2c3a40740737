"""Each action that takes jobs, with one id, several ids, an array, a range, and an id that is unknown."""

import pytest

from support.processes import sleeping
from support.queues import Gate, Queue

READERS = ("-s", "-i", "--why")
ONE_JOB = ("-c", "-t", "-o", "-a", "-F", "-p")
CHANGES = ("-w", "-r", "-k", "-u", "--cancel")


@pytest.mark.parametrize("action", [*READERS, *ONE_JOB, *CHANGES])
def test_an_unknown_id(queue: Queue, action: str) -> None:
    done = queue.run(action, "7")
    assert (done.returncode, done.stdout, done.stderr) == (255, "", "ts: job 7 does not exist\n")
    job = queue.finish("true")
    queue.get("-r", job)
    done = queue.run(action, job)
    assert (done.returncode, done.stdout, done.stderr) == (255, "", f"ts: job {job} is no longer known\n")


@pytest.mark.parametrize("action", [*READERS, *CHANGES])
def test_one_unknown_id_of_several(queue: Queue, action: str) -> None:
    running, _ = queue.blocker()
    queued = queue.submit("true")
    for ids in (f"{queued},7", f"7,{queued}", f"{running},{queued},7-9"):
        done = queue.run(action, ids)
        assert (done.returncode, done.stdout, done.stderr) == (255, "", "ts: job 7 does not exist\n")
    assert queue.get("-s", f"{running},{queued}") == f"{running} running\n{queued} queued"


@pytest.mark.parametrize("action", [*READERS, *ONE_JOB, *CHANGES])
def test_no_id_and_no_job(queue: Queue, action: str) -> None:
    done = queue.run(action)
    no_job = "no job has run yet" if action in ("-c", "-t", "-o", "-p", "-i", "-k") else "there is no job"
    assert (done.returncode, done.stdout, done.stderr) == (255, "", f"ts: {no_job}\n")


def test_states_of_one_and_of_several(queue: Queue) -> None:
    first, second = queue.finish("true"), queue.finish("false")
    assert queue.get("-s", first) == "finished"
    assert queue.get("-s", f"{first}-{first}") == "finished"
    assert queue.get("-s", f"{second},{first}") == f"{second} finished\n{first} finished"
    assert queue.get("-s", "0-99") == f"{first} finished\n{second} finished"


def test_texts_of_one_and_of_several(queue: Queue) -> None:
    jobs = [queue.finish("sh", "-c", f"exit {code}") for code in (0, 3)]
    alone = [queue.run("-i", job).stdout for job in jobs]
    assert queue.run("-i", "0-1").stdout == f"Job: 0\n{alone[0]}\nJob: 1\n{alone[1]}"
    reasons = [queue.run("--why", job).stdout for job in jobs]
    assert queue.run("--why", "1,0").stdout == reasons[1] + reasons[0]


def test_waits_for_one_for_several_and_for_an_array(queue: Queue) -> None:
    codes = [queue.submit("sh", "-c", f"exit {code}") for code in (0, 3, 5)]
    for words, code in ((f"{codes[1]}", 3), (f"{codes[2]},{codes[0]}", 5), ("0-2", 3), (f"{codes[0]}", 0)):
        done = queue.run("-w", words)
        assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
    array = int(queue.get("--array", "1-3", "sh", "-c", "exit $(({} * 2))"))
    assert queue.run("-w", array).returncode == 2
    assert queue.run("-w", f"{array}[3]").returncode == 6
    assert queue.run("-w").returncode == 2, "the array was added last"


@pytest.mark.parametrize("ids", ["1", "1-2", "1,2"])
def test_a_job_that_is_removed_while_a_client_waits(queue: Queue, ids: str) -> None:
    queue.blocker()
    queue.submit("true")
    queue.submit("true")
    waiter = queue.start("-w", ids)
    queue.wait_until(lambda: sleeping(waiter.pid), "it waits")
    queue.get("-r", "1-2")
    _, err = waiter.communicate(timeout=60)
    assert waiter.returncode == 255
    assert err == (b"ts: job 1 was removed\n" if ids == "1" else b"")


def refusal(queue: Queue, action: str, ids: str) -> str:
    done = queue.run(action, ids)
    assert (done.returncode, done.stdout) == (255, "")
    return done.stderr


def three(queue: Queue) -> Gate:
    """Job 0 has ended, 1 runs, 2 waits."""
    queue.finish("true")
    _, gate = queue.blocker()
    queue.submit("true")
    return gate


@pytest.mark.parametrize(
    ("action", "one", "text", "undone"),
    [
        ("-r", 1, "is running: end it with -k first", "nothing was removed"),
        ("-k", 2, "is not running", "no signal was sent"),
        ("-u", 1, "is not queued", "nothing was moved"),
    ],
)
def test_refusals_of_one_and_of_several(queue: Queue, action: str, one: int, text: str, undone: str) -> None:
    three(queue)
    assert refusal(queue, action, f"{one}") == f"ts: job {one} {text}\n"
    other = 3 - one
    assert refusal(queue, action, f"{other},{one}") == f"ts: job {one} {text}; {undone}\n"
    assert queue.get("-s", "0-2") == "0 finished\n1 running\n2 queued"


def test_cancels_of_one_and_of_several(queue: Queue) -> None:
    three(queue)
    assert refusal(queue, "--cancel", "0") == "ts: job 0 has ended already; nothing was cancelled\n"
    assert refusal(queue, "--cancel", "2,0") == "ts: job 0 has ended already; nothing was cancelled\n"
    assert queue.get("--cancel", "0-2") == "", "of a range those count that have not ended"
    queue.run("-w", "0-2")
    assert queue.get("-s", "0-2") == "0 finished\n1 cancelled\n2 cancelled"
    assert queue.get("--cancel", "2") == "", "a repeated request"


def test_signals_to_one_to_several_and_to_a_range(queue: Queue) -> None:
    queue.get("-S", "4")
    for _ in range(4):
        queue.blocker()
    queue.get("-k", "0")
    queue.get("-k", "1,2")
    queue.run("-w", "0-2")
    queue.get("-k", "0-3")
    assert queue.run("-w", "3").returncode == 255
    assert refusal(queue, "-k", "0-3") == "ts: none of these jobs is running\n"


def order(queue: Queue) -> list[int]:
    return [job["ID"] for job in queue.jobs() if job["State"] == "queued"]


def test_the_order_of_one_of_several_and_of_an_array(queue: Queue) -> None:
    queue.blocker()
    for _ in range(4):
        queue.submit("true")
    queue.get("-u", "3")
    assert order(queue) == [3, 1, 2, 4]
    queue.get("-u", "4,2")
    assert order(queue) == [4, 2, 3, 1]
    assert queue.get("--array", "1-2", "true") == "5"
    queue.get("-u", "5")
    assert order(queue) == [5, 6, 4, 2, 3, 1]
    queue.get("-u", "1-2")
    assert order(queue) == [1, 2, 5, 6, 4, 3]


def test_removals_of_one_of_several_and_of_an_array(queue: Queue) -> None:
    queue.blocker()
    for _ in range(4):
        queue.submit("true")
    assert queue.get("--array", "1-3", "true") == "5"
    queue.get("-r", "2")
    queue.get("-r", "5[2]")
    assert queue.ids() == [0, 1, 3, 4, 5, 7]
    queue.get("-r", "5")
    queue.get("-r", "1-3,4")
    assert queue.ids() == [0]


def test_an_array_and_its_element(queue: Queue) -> None:
    assert queue.get("-L", "name", "--array", "1-2", "echo", "{}") == "0"
    queue.run("-w", "0")
    assert (queue.get("-a", "0"), queue.get("-a", "0[2]")) == ("name", "name")
    assert (queue.get("-F", "0"), queue.get("-F", "0[2]")) == ("echo '{}'", "echo 2")
    assert (queue.get("-o", "0"), queue.get("-c", "0[2]")) == (queue.get("-o", "0[1]"), "2")
    assert queue.get("-c", "0").count("==> ") == 2
