"""kill -9 of the server, and of what works for it: nothing is lost, nothing runs twice."""

import os
import signal
from pathlib import Path

from support.layouts import lib, tsf_header
from support.processes import alive, parent, sleeping
from support.queues import Queue
from support.state_files import changed


def test_running_job_is_adopted(queue: Queue) -> None:
    running, gate = queue.blocker()
    queued = queue.submit("sh", "-c", "echo once >> ran; exit 4")
    pid = queue.get("-p", running)
    queue.kill_server()
    assert queue.state(running) == "running"
    assert queue.get("-p", running) == pid
    assert queue.state(queued) == "queued"
    assert queue.get("-R") == "1"
    gate.open(7)
    assert queue.wait(running) == 7
    assert queue.wait(queued) == 4
    assert (queue.work / "ran").read_text() == "once\n"


def test_adopted_job_can_be_killed_and_followed(queue: Queue) -> None:
    job = queue.submit("sh", "-c", "echo begin; exec sleep 1000")
    queue.wait_until(lambda: queue.output(job) == "begin\n")
    queue.kill_server()
    follower = queue.start("-c", job)
    assert follower.stdout.read(6) == b"begin\n"
    queue.get("-k", job)
    assert follower.wait(20) == 255
    assert queue.info(job)["Exit status"] == "killed by signal 15"


def test_waiting_caller_outlives_the_server(queue: Queue) -> None:
    job, gate = queue.blocker()
    waiters = [queue.start("-w", job), queue.start("-t", job), queue.start("-c", job)]
    queue.wait_until(lambda: all(sleeping(waiter.pid) for waiter in waiters))
    queue.kill_server()
    gate.open(9)
    assert [waiter.wait(20) for waiter in waiters] == [9, 9, 9]


def test_foreground_job_outlives_the_server(queue: Queue) -> None:
    gate = queue.gate()
    caller = queue.start("-nf", "sh", "-c", f"echo on; read code < {gate.path}; echo off; exit $code")
    assert caller.stdout.read(3) == b"on\n"
    queue.wait_until(lambda: "Time running" in queue.info(0))
    queue.kill_server()
    gate.open(8)
    assert caller.communicate(timeout=20)[0] == b"off\n"
    assert caller.returncode == 8


def test_queued_foreground_job_outlives_the_server(queue: Queue) -> None:
    _, gate = queue.blocker()
    caller = queue.start("-nf", "sh", "-c", "cat; exit 6", stdin=-1)
    queue.wait_until(lambda: len(queue.ids()) == 2)
    queue.kill_server()
    caller.stdin.write(b"still here\n")
    caller.stdin.close()
    queue.wait_until(lambda: queue.servers())
    gate.open()
    assert caller.wait(20) == 6
    assert caller.stdout.read() == b"still here\n"


def test_killed_again_and_again(queue: Queue) -> None:
    queue.get("-S", "3")
    script = 'echo "$TS_JOBID" >> ran; exit $((TS_JOBID % 100))'
    total = 0
    for _ in range(10):
        for _ in range(8):
            assert queue.submit("sh", "-c", script) == total
            total += 1
        queue.kill_server()
    assert [queue.wait(job) for job in range(total)] == [job % 100 for job in range(total)]
    ran = [int(line) for line in (queue.work / "ran").read_text().split()]
    assert sorted(ran) == list(range(total))


def test_killed_while_jobs_are_added(queue: Queue) -> None:
    """An id that was printed is never forgotten; a broken call gets the id of its first try."""
    queue.get("-S", "4")
    adder = queue.start(
        "-c", 'for i in $(seq 400); do ts sh -c "echo $i >> ran" || echo failed; done',
        executable="/bin/sh",
    )  # fmt: skip
    killed = 0
    while adder.poll() is None and killed < 15:
        before = queue.servers()
        if before:
            os.kill(before[0], signal.SIGKILL)
            killed += 1
            queue.wait_until(lambda old=before: queue.servers() not in ([], old) or adder.poll() is not None)
    out, err = adder.communicate(timeout=60)
    assert err == b""
    ids = [int(line) for line in out.split()]
    assert ids == list(range(400))
    assert [queue.wait(job) for job in ids] == [0] * 400
    assert sorted(map(int, (queue.work / "ran").read_text().split())) == list(range(1, 401))


def test_killed_runner(queue: Queue) -> None:
    """The job's status still reaches the server, as its subreaper."""
    job, gate = queue.blocker()
    queued = queue.submit("true")
    runner = parent(int(queue.get("-p", job)))
    assert Path(f"/proc/{runner}/comm").read_text() == "ts-run\n"
    os.kill(runner, signal.SIGKILL)
    queue.wait_until(lambda: not alive(runner))
    assert (queue.state(job), queue.state(queued)) == ("running", "queued")
    gate.open(12)
    assert queue.wait(job) == 12
    assert queue.wait(queued) == 0


def test_killed_runner_and_server(queue: Queue) -> None:
    """Nobody can know the exit code: the job is lost, and says so; the queue goes on."""
    job, gate = queue.blocker()
    queued = queue.submit("true")
    pid = int(queue.get("-p", job))
    runner = parent(pid)
    queue.kill_server()
    os.kill(runner, signal.SIGKILL)
    queue.wait_until(lambda: not alive(runner))
    assert queue.state(job) == "running"
    gate.open(0)
    assert queue.wait(job) == 255
    assert "lost" in queue.get("-i", job)
    assert queue.wait(queued) == 0


def test_order_and_labels_survive(queue: Queue) -> None:
    queue.blocker()
    ids = [queue.submit("-L", f"label {number}", "echo", str(number)) for number in range(6)]
    queue.get("-u", ids[4])
    queue.get("-U", f"{ids[0]}-{ids[5]}")
    before = queue.jobs()
    queue.kill_server()
    after = queue.jobs()
    assert [(job["ID"], job["Label"], job["Command"], job["Enqueue_Time"]) for job in after] == [
        (job["ID"], job["Label"], job["Command"], job["Enqueue_Time"]) for job in before
    ]
    queue.get("-u", ids[2])
    assert queue.jobs()[1]["ID"] == ids[2]  # behind the one that runs


def test_ended_jobs_survive_in_their_order(queue: Queue) -> None:
    for code in (3, 0, 200):
        queue.finish("sh", "-c", f"exit {code}")
    queue.finish("sh", "-c", "kill -9 $$")
    before = queue.get("-M", "json"), queue.get("-i", 3)
    queue.kill_server()
    assert (queue.get("-M", "json"), queue.get("-i", 3)) == before
    assert queue.get("-o") == queue.get("-o", 3)


def test_settings_survive(queue: Queue) -> None:
    other = queue.directory / "logs"
    other.mkdir()
    queue.get("--set_logdir", other)
    queue.get("-S", "3")
    queue.kill_server()
    assert queue.get("--get_logdir") == str(other)
    assert queue.get("-S") == "3"


def test_dash_k_without_a_server_gives_back_the_storage(queue: Queue) -> None:
    """Of segments that lie wholly below the next id nothing is left."""
    queue.finish("true")
    queue.kill_server()
    with changed(queue.state_dir / "header", tsf_header) as header:
        header.committed, header.floor = 70_000, 0
        ids = bytes(header)[tsf_header.committed.offset : tsf_header.features.offset]
        header.ids_check = lib.check32(ids, len(ids), 0)
    queue.get("-K")
    assert not [path.name for path in queue.state_dir.iterdir() if path.name.endswith(".00000000")]
    assert queue.submit("true") == 70_000
