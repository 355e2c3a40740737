"""kill -9 of the server, of runners, of both, at moments that no point names."""

import os
import subprocess

import psutil
import pytest

from support.installation import TS
from support.processes import kill, open_files


def test_running_jobs_are_adopted_in_the_order_of_their_start(queue):
    queue.start_server()
    names = ["a", "b", "c"]
    ids = {
        name: queue.job(name, queue.until_opened(name) + "; exit 3", "-N", 3 if name == "a" else 1) for name in names
    }
    queue.until_started("a")
    queue.ts("-S", 5)
    queue.until_started("a", "b", "c")
    queue.ts("-U", f"{queue.job('x', 'true', '-N', 9)}-{queue.job('y', 'true', '-N', 9)}")
    pids = {name: queue.until_running(ids[name]) for name in names}
    before = list(queue.by_id())
    queue.kill_server()
    queue.start_server()
    jobs = queue.by_id()
    assert list(jobs) == before
    assert {name: jobs[ids[name]]["PID"] for name in names} == pids
    assert int(queue.ts("-p")) == pids["a"], "the last run is the running job that started first"
    for name in names:
        queue.open_gate(name)
        assert queue.wait(ids[name]) == 3
    assert sorted(queue.started()) == names


def test_first_running_is_the_one_that_started_first_not_the_smallest_id(queue):
    queue.start_server()
    ids = {name: queue.job(name, queue.until_opened(name), "-N", 9) for name in ("old", "new")}
    queue.ts("-u", ids["new"])
    queue.ts("-S", 9)
    queue.until_running(ids["new"])
    queue.ts("-S", 18)
    queue.until_running(ids["old"])
    queue.kill_server()
    assert int(queue.ts("-p")) == queue.by_id()[ids["new"]]["PID"]


def test_job_ends_while_no_server_is_there(queue):
    queue.start_server()
    job = queue.job("one", queue.until_opened("one") + "; exit 9")
    queue.until_running(job)
    queue.kill_server()
    queue.open_gate("one")
    queue.wait_until(lambda: not queue.runners(), "the runner's end")
    assert queue.wait(job) == 9


def test_server_alive_runner_killed_status_is_known(queue):
    queue.start_server()
    job = queue.job("one", queue.until_opened("one") + "; exit 9")
    after = queue.job("two", "true", "-D", job)
    queue.kill(queue.runner_of(queue.until_running(job)))
    assert queue.ts("-s", job) == "running\n"
    assert queue.ts("-s", after) == "queued\n"
    queue.open_gate("one")
    assert queue.wait(job) == 9
    assert queue.wait(after) == 0
    assert queue.started() == ["one", "two"]


def test_server_alive_runner_and_leader_killed(queue):
    queue.start_server()
    job = queue.job("one", queue.until_opened("one"))
    pid = queue.until_running(job)
    kill(queue.runner_of(pid))
    kill(pid)
    queue.wait(job)
    assert "killed by signal 9" in queue.details(job)


def test_orphan_can_be_signalled(queue):
    queue.start_server()
    job = queue.job("one", queue.until_opened("one"))
    queue.kill(queue.runner_of(queue.until_running(job)))
    queue.ts("-k", job)
    queue.wait(job)
    assert "killed by signal 15" in queue.details(job)


@pytest.mark.parametrize("runner_first", [True, False])
def test_both_killed_job_lives_on_then_is_lost(queue, runner_first):
    server = queue.start_server()
    job = queue.job("one", queue.until_opened("one") + "; exit 9")
    blocked = queue.job("two", "true", "-W", job)
    pid = queue.until_running(job)
    runner = queue.runner_of(pid)
    if runner_first:
        kill(server, 19)
    for victim in [runner, server] if runner_first else [server, runner]:
        queue.kill(victim)
    new = queue.start_server()
    job_state = queue.by_id()[job]
    assert (job_state["State"], job_state["PID"]) == ("running", pid)
    queue.open_gate("one")
    assert queue.wait(job) == 255
    assert "lost" in queue.details(job)
    assert queue.wait(blocked) == 255
    assert queue.ts("-s", blocked) == "skipped\n"
    assert queue.started() == ["one"]
    spent = psutil.Process(new).cpu_times()
    assert spent.user + spent.system < 1, "it spins"


def test_lost_orphan_whose_parent_never_reaps(queue):
    """As in a container whose first process reaps nobody: the zombie counts as ended."""
    script = (
        "import ctypes, signal, sys; ctypes.CDLL(None).prctl(36, 1); import subprocess;"
        "subprocess.run(sys.argv[1:]); signal.pause()"
    )
    keeper = subprocess.Popen(
        [os.path.realpath(psutil.Process().exe()), "-c", script, str(TS), "-S"],
        env=queue.environment,
        stdout=subprocess.DEVNULL,
    )
    try:
        queue.wait_until(queue.server, "the server")
        job = queue.job("one", queue.until_opened("one") + "; exit 9")
        pid = queue.until_running(job)
        runner = queue.runner_of(pid)
        kill(queue.server(), 19)
        kill(runner)
        kill(queue.server())
        queue.wait_until(lambda: psutil.Process(pid).ppid() == keeper.pid, "the keeper has the job")
        queue.wait_until(lambda: not queue.server(), "the server's end")
        queue.start_server()
        queue.open_gate("one")
        assert queue.wait(job) == 255
        assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        assert "lost" in queue.details(job)
    finally:
        keeper.kill()
        keeper.wait()


def test_start_of_an_adopted_job_is_recorded(queue):
    """The server dies before it hears of the start; then the job has a pid and an output all the same."""
    queue.start_server("runner-spawned:stop")
    job = queue.job("one", f"echo hello; {queue.until_opened('one')}")
    queue.until_started("one")
    runner = queue.wait_until(lambda: list(queue.runners().values()), "the runner")[0]
    queue.kill_server()
    pid = queue.until_running(job)
    assert psutil.Process(pid).ppid() == runner
    follower = queue.start("-c", job)
    kill(runner, 18)
    assert follower.stdout.readline() == "hello\n"
    queue.open_gate("one")
    assert queue.answer(follower) == ""


def test_start_of_an_adopted_job_that_comes_later_is_recorded(queue):
    queue.start_server("runner-claimed:stop")
    job = queue.job("one", queue.until_opened("one"))
    queue.wait_until(lambda: not (queue.directory / "fault").exists(), "a runner stopped")
    queue.kill_server()
    assert queue.by_id()[job]["State"] == "running"
    for pid in queue.runners().values():
        kill(pid, 18)
    queue.until_running(job)
    queue.open_gate("one")
    assert queue.wait(job) == 0
    assert queue.started() == ["one"]


def test_adopted_runner_dies_before_it_starts_its_job(queue):
    """The start is revoked: the job keeps neither its slots nor its place among the running ones."""
    queue.start_server("runner-claimed:stop")
    job = queue.job("one", "exit 7", "-N", 3)
    queue.wait_until(lambda: not (queue.directory / "fault").exists(), "a runner stopped")
    runner = next(iter(queue.runners().values()))
    queue.kill_server()
    assert queue.by_id()[job]["State"] == "running"
    queue.kill(runner)
    assert queue.wait(job) == 7
    assert queue.started() == ["one"]


# ---- callers --------------------------------------------------------------------------------------------------------


def test_waiter_gets_the_status_across_a_death(queue):
    server = queue.start_server()
    job = queue.job("one", queue.until_opened("one") + "; exit 9")
    queue.until_running(job)
    waiter = queue.start("-w", job)
    queue.wait_until(lambda: connected(waiter.pid), "the waiter waits")
    queue.kill(server)
    queue.wait_until(queue.server, "the waiter starts another one")
    queue.open_gate("one")
    queue.answer(waiter, 9)


def connected(pid):
    return any(name.startswith("socket:") for name in open_files(pid)) and "recv" in wchan(pid)


def wchan(pid):
    with open(f"/proc/{pid}/syscall") as file:
        number = file.read().split()[0]
    return {"45": "recv", "7": "recv"}.get(number, number)  # recvfrom, poll


@pytest.mark.parametrize("option", ["-f", "-nf"])
@pytest.mark.parametrize("death", ["server", "at the end"])
def test_foreground_caller_across_a_death(queue, option, death):
    server = queue.start_server("finish-freed:kill" if death == "at the end" else "")
    caller = queue.start(option, *queue.words("one", f"{queue.until_opened('one')}; echo bye; exit 9"))
    queue.until_started("one")
    queue.until_running(0)
    if death == "server":
        queue.kill(server)
        queue.wait_until(queue.server, "the caller starts another one")
    queue.open_gate("one")
    assert queue.answer(caller, 9) == ("0\n" if option == "-f" else "bye\n")
    assert queue.started() == ["one"]
    queue.wait_until(lambda: len(queue.by_id()) == (option == "-f"), "-nf leaves nothing in the list")


def test_foreground_job_keeps_its_descriptors_when_its_start_is_revoked(queue):
    queue.start_server("runner-received:kill")
    caller = queue.start("-nf", *queue.words("one", "read line; echo got $line"), stdin=subprocess.PIPE)
    caller.stdin.write("this\n")
    caller.stdin.flush()
    assert queue.answer(caller) == "got this\n"
    assert not (queue.directory / "fault").exists()


def test_queued_foreground_job_waits_for_its_caller(queue):
    """Its descriptors went with the server: nothing starts it until the caller brings them again."""
    server = queue.start_server()
    blocker = queue.job("blocker", queue.until_opened("blocker"), "-N", 3)
    caller = queue.start("-nf", *queue.words("one", "exit 9"))
    queue.wait_until(lambda: len(queue.by_id()) == 2, "the job is queued")
    caller.send_signal(19)
    queue.kill(server)
    queue.start_server()
    queue.open_gate("blocker")
    queue.wait(blocker)
    assert queue.wait(queue.job("other", "exit 6")) == 6
    assert queue.ts("-s", blocker + 1) == "queued\n"
    caller.send_signal(18)
    queue.answer(caller, 9)
    assert queue.started() == ["blocker", "other", "one"]


def test_queued_foreground_job_of_a_dead_caller_is_dropped(queue):
    queue.environment["TSFAST_HURRY"] = "10"
    server = queue.start_server()
    queue.job("blocker", queue.until_opened("blocker"), "-N", 3)
    caller = queue.start("-nf", *queue.words("one", "exit 9"))
    queue.wait_until(lambda: len(queue.by_id()) == 2, "the job is queued")
    kill(server, 19)
    caller.kill()
    queue.kill(server)
    queue.start_server()
    waiter = queue.start("-w", 1)
    queue.answer(waiter, 255)  # after the grace time, although somebody waits for it
    queue.open_gate("blocker")
    assert queue.started() == ["blocker"]


def test_stopped_caller_keeps_its_job(queue):
    """A caller that does not come back to the next server is gone, or only stopped."""
    queue.environment |= {"TSFAST_HURRY": "10", "TS_SLOTS": "1"}
    queue.start_server()
    blocker = queue.job("blocker", queue.until_opened("blocker"))
    stopped = queue.start("-nf", "sh", "-c", "echo ran; exit 5")
    queue.wait_until(lambda: len(queue.ids()) == 2, "it is queued")
    gone = queue.start("-nf", "true")
    queue.wait_until(lambda: len(queue.ids()) == 3, "it is queued")
    kill(stopped.pid, 19)
    kill(queue.server(), 19)
    gone.kill()
    gone.wait()
    queue.kill_server()
    queue.start_server()
    told = f"job {blocker + 2}: removed: its client (-f) has not returned since the server was restarted"
    queue.wait_until(lambda: told in queue.log(), "the job of the dead caller is removed")
    assert queue.ids() == [blocker, blocker + 1]
    queue.open_gate("blocker")
    assert queue.wait(blocker) == 0
    assert "it waits for its client (-f)" in queue.get("--why", blocker + 1)
    kill(stopped.pid, 18)
    assert queue.answer(stopped, 5) == "ran\n"


def test_max_finished_zero_still_answers_after_a_death(queue):
    queue.environment["TS_MAXFINISHED"] = "0"
    queue.start_server("finish-freed:kill")
    job = queue.job("one", queue.until_opened("one") + "; exit 9")
    waiter = queue.start("-w", job)
    queue.wait_until(lambda: connected(waiter.pid), "the waiter waits")
    queue.open_gate("one")
    queue.answer(waiter, 9)


def test_repeated_submission_after_a_death_gets_the_same_id(queue):
    queue.start_server("submit-committed:kill")
    assert queue.job("one", "exit 9") == 0
    assert queue.wait(0) == 9
    assert queue.job("two") == 1
    queue.wait(1)
    assert queue.started() == ["one", "two"]


@pytest.mark.parametrize("ended", [False, True])
def test_repeated_removal_after_a_death_removes_no_other_job(queue, ended):
    """`ts -r` without an id means the last one added, which is another one after the first try."""
    queue.start_server("remove-recorded:kill")
    for name in ("one", "two"):
        queue.job(name, "true", "-N", 99)
    if ended:
        queue.wait(queue.job("three"))
    else:
        queue.job("three", "true", "-N", 99)
    queue.ts("-r")
    assert not (queue.directory / "fault").exists()
    assert list(queue.by_id()) == [0, 1]
    queue.kill_server()
    assert list(queue.by_id()) == [0, 1]


# ---- what holds gzip's pipe longer than the job runs; the runner waits for gzip, for a tenth of the time here ----


def test_background_process_holds_the_pipe(queue):
    queue.environment["TSFAST_HURRY"] = "10"
    job = queue.submit("-z", "sh", "-c", "echo out; sleep 1000 & exit 2")
    assert queue.wait(job) == 2
    assert "gzip" in queue.info(job)["Output incomplete"]


def test_cancel_leaves_the_output_whole(queue):
    queue.environment |= {"TS_CANCEL_GRACE": "1", "TSFAST_HURRY": "10"}
    job = queue.submit("-z", "sh", "-c", "echo before; trap '' TERM; touch there; while :; do sleep 1000; done")
    queue.wait_until((queue.work / "there").exists, "it runs")
    queue.get("--cancel", job)
    assert queue.wait(job) == 255
    assert queue.run("-c", job).stdout == "before\n"
