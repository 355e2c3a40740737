"""Deaths while GPU jobs run: no GPU is ever given twice, none is lost, and no job runs twice."""

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from support.fake_nvml import FakeNvml
from support.fault_queue import FaultQueue
from support.processes import kill, stopped

DEVICES = 8
NOBODY = 65534
CAP_DAC_OVERRIDE = 1
PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 8, 47, 2
LATE_POINTS = ["start-recorded", "start-assigned", "start-sent", "running-recorded"]
END_POINTS = ["finish-reported", "finish-recorded", "finish-freed"]
RUNNER_POINTS = [
    *["runner-received", "runner-claimed", "runner-output", "runner-spawned", "runner-reap", "runner-result"],
    *["runner-exited", "runner-reaped", "runner-reported"],
]
CHILD_POINTS = ["child-before-exec", "child-execing"]


@pytest.fixture
def nvml(tmp_path):
    return FakeNvml(tmp_path / "nvml", DEVICES)


@pytest.fixture
def queue(queue, nvml):
    queue.give_gpus(nvml)
    queue.environment["TS_SLOTS"] = "50"
    return queue


@pytest.fixture
def leases(queue):
    return queue.leases


def locked(leases):
    """Numbers of the GPUs whose leases somebody holds."""
    found = set()
    for path in leases.iterdir():
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found.add(int(path.name.removeprefix("GPU-").partition("-")[0], 16))
    return found


def gpus(queue, id):
    return set(queue.by_id()[id]["GPU_IDs"])


def gpu_job(queue, name, count):
    """A running job that keeps its GPUs until its gate opens."""
    id = queue.job(name, queue.until_opened(name), "-G", count)
    queue.until_running(id)
    return id


def allocating(queue, id):
    return queue.ts("-s", id) == "allocating\n"


def all_free(queue, leases):
    """Every GPU can be had by one job, and no lease is left afterwards."""
    assert queue.wait(queue.job("all", "true", "-G", DEVICES)) == 0, queue.report()
    queue.wait_until(lambda: not locked(leases), "the leases are free")


# ---- kill -9 at a quiet moment --------------------------------------------------------------------------------------


def test_running_jobs_keep_their_gpus_without_the_server(queue, leases):
    queue.start_server()
    ids = {name: gpu_job(queue, name, count) for name, count in (("a", 2), ("b", 3))}
    had = {name: gpus(queue, id) for name, id in ids.items()}
    table = queue.ts("-g")
    queue.kill_server()
    assert locked(leases) == had["a"] | had["b"]
    queue.start_server()
    assert queue.ts("-g") == table
    three = queue.job("three", "true", "-G", 3)
    assert queue.wait(three) == 0
    assert not gpus(queue, three) & (had["a"] | had["b"])
    four = queue.job("four", "true", "-G", 4)
    queue.wait(queue.job("other", "true", "-G", 1))
    assert allocating(queue, four)
    queue.open_gate("a")
    assert queue.wait(four) == 0
    assert gpus(queue, four) & had["b"] == set()
    queue.open_gate("b")
    assert queue.wait(ids["b"]) == 0
    all_free(queue, leases)


def test_job_ends_while_no_server_is_there(queue, leases):
    queue.start_server()
    id = gpu_job(queue, "one", DEVICES)
    queue.kill_server()
    queue.open_gate("one")
    queue.wait_until(lambda: not locked(leases), "the runner gives the leases back")
    assert queue.wait(id) == 0
    all_free(queue, leases)


def test_runner_killed(queue, leases):
    """The lease lives as long as the last process of the job."""
    queue.start_server()
    inner, outer = queue.until_opened("inner"), queue.until_opened("outer")
    id = queue.job("one", f"({inner}) & {outer}", "-G", DEVICES)
    queue.kill(queue.runner_of(queue.until_running(id)))
    assert len(locked(leases)) == DEVICES
    waits = queue.job("two", "true", "-G", 1)
    queue.open_gate("outer")
    queue.wait(id)
    queue.wait_until(lambda: "leased" in queue.ts("--why", waits), "the leases of what the job left are seen")
    assert len(locked(leases)) == DEVICES
    queue.open_gate("inner")
    assert queue.wait(waits) == 0
    all_free(queue, leases)


@pytest.mark.parametrize("runner_first", [True, False])
def test_both_killed(queue, leases, runner_first):
    server = queue.start_server()
    id = gpu_job(queue, "one", 5)
    had = gpus(queue, id)
    runner = queue.runner_of(queue.until_running(id))
    if runner_first:
        kill(server, 19)
    for pid in [runner, server] if runner_first else [server, runner]:
        queue.kill(pid)
    queue.start_server()
    assert locked(leases) == had
    waits = queue.job("two", "true", "-G", 4)
    assert queue.wait(queue.job("three", "true", "-G", 3)) == 0
    assert allocating(queue, waits)
    queue.open_gate("one")
    assert queue.wait(waits) == 0
    assert queue.wait(id) == 255
    all_free(queue, leases)


def test_everything_killed(queue, leases):
    server = queue.start_server()
    id = gpu_job(queue, "one", DEVICES)
    pid = queue.until_running(id)
    runner = queue.runner_of(pid)
    for victim in (server, runner, pid):
        queue.kill(victim)
    queue.wait(id)
    all_free(queue, leases)


def test_processes_that_a_job_leaves_behind(queue, nvml, leases):
    """The runner gives the leases back; what is left is seen by its memory."""
    queue.start_server()
    id = queue.job("one", f"({queue.until_opened('left')}) & {queue.until_opened('one')}", "-G", DEVICES)
    queue.until_running(id)
    for number in range(DEVICES):
        nvml.set(number, memory_free=0)
    waits = queue.job("two", "true", "-G", 1)
    queue.open_gate("one")
    assert queue.wait(id) == 0
    queue.wait_until(lambda: not locked(leases), "the leases are free")
    queue.wait_until(lambda: "short of free memory" in queue.ts("--why", waits), "the memory is seen")
    assert allocating(queue, waits)
    nvml.set(4, memory_free=nvml.devices[4].memory_total)
    assert queue.wait(waits) == 0
    assert gpus(queue, waits) == {4}
    queue.open_gate("left")


def test_shared_gpus_after_a_restart(queue, nvml, leases):
    """The lock is in the jobs now: nobody joins them, and when they have ended it is free."""
    nvml.resize(1)
    queue.start_server()
    ids = {}
    for name in ("a", "b"):
        ids[name] = queue.job(name, queue.until_opened(name), "-G", "0.25")
        queue.until_running(ids[name])
    queue.kill_server()
    queue.start_server()
    assert locked(leases) == {0}
    waits = queue.job("c", "true", "-G", "0.25")
    whole = queue.job("d", "true", "-G", 1)
    queue.wait_until(lambda: "1 is used by jobs of this queue" in queue.ts("--why", whole), "the GPU is seen")
    queue.open_gate("a")
    assert queue.wait(ids["a"]) == 0
    assert locked(leases) == {0}
    assert allocating(queue, waits) and allocating(queue, whole)
    queue.open_gate("b")
    assert queue.wait(waits) == 0
    assert queue.wait(whole) == 0
    queue.wait_until(lambda: not locked(leases), "the lease is free")


def test_shared_gpu_whose_runner_was_killed(queue, nvml, leases):
    """One sharer leaves a process behind: it keeps nobody from sharing, but the lease stays."""
    nvml.resize(1)
    queue.start_server()
    id = queue.job("a", f"({queue.until_opened('left')}) & {queue.until_opened('a')}", "-G", "0.5")
    queue.kill(queue.runner_of(queue.until_running(id)))
    queue.open_gate("a")
    queue.wait(id)
    assert locked(leases) == {0}
    waits = queue.job("b", "true", "-G", "0.5")
    queue.wait_until(lambda: "leased" in queue.ts("--why", waits), "the lease is seen")
    queue.open_gate("left")
    assert queue.wait(waits) == 0
    queue.wait_until(lambda: not locked(leases), "the lease is free")


def test_lease_file_replaced(queue, nvml, leases):
    """What counts is the file that has the name when a job starts."""
    nvml.resize(1)
    queue.start_server()
    id = gpu_job(queue, "one", 1)
    path = leases / nvml.uuid(0)
    path.unlink()
    path.touch()
    waits = queue.job("two", queue.until_opened("two"), "-G", 1)
    queue.wait_until(lambda: "used by jobs of this queue" in queue.ts("--why", waits), "the GPU is seen")
    queue.open_gate("one")
    assert queue.wait(id) == 0
    queue.until_running(waits)
    assert locked(leases) == {0}
    queue.open_gate("two")
    all_free_one = queue.job("three", "true", "-G", 1)
    assert queue.wait(all_free_one) == 0


# ---- at a named point -----------------------------------------------------------------------------------------------


def run_through(queue, leases, expected):
    ids = {name: queue.job(name, "exit 4", *need) for name, need in expected.items()}
    ids["long"] = queue.job("long", queue.until_opened("long") + "; exit 4", "-g", "1,0")
    queue.until_running(ids["long"])
    queue.open_gate("long")
    assert [queue.wait(id) for id in ids.values()] == [4] * len(ids), queue.report()
    assert not (queue.directory / "fault").exists(), "the point was never reached"
    assert sorted(queue.started()) == sorted(ids), queue.report()
    all_free(queue, leases)


NEEDS = {"a": ("-G", DEVICES), "b": ("-G", 3), "c": ("-G", "0.5"), "d": ("--vram", "70G")}


@pytest.mark.parametrize("point", [*LATE_POINTS, *END_POINTS])
def test_death_of_the_server(queue, leases, point):
    queue.start_server(f"{point}:kill")
    run_through(queue, leases, NEEDS)


@pytest.mark.parametrize("point", RUNNER_POINTS)
def test_death_of_a_runner(queue, leases, point):
    queue.start_server(f"{point}:kill")
    run_through(queue, leases, NEEDS)


@pytest.mark.parametrize("point", CHILD_POINTS)
def test_death_of_the_child(queue, leases, point):
    """It never ran, and its GPUs come back."""
    queue.start_server(f"{point}:kill")
    id = queue.job("never", "true", "-G", DEVICES)
    assert queue.wait(id) != 0
    assert queue.started() == []
    all_free(queue, leases)


@pytest.mark.parametrize("need", [("-G", DEVICES), ("-G", "0.5")])
@pytest.mark.parametrize("point", [*RUNNER_POINTS, "child-before-exec"])
def test_death_of_both(queue, leases, point, need):
    server = queue.start_server(f"{point}:stop")
    id = queue.job("one", "exit 4", *need)
    queue.wait_until(lambda: not (queue.directory / "fault").exists(), "a process stopped")
    runner = queue.wait_until(lambda: list(queue.runners().values()), "the runner")[0]
    queue.kill(server)
    queue.kill(runner)
    queue.start_server()
    if point == "child-before-exec":
        assert locked(leases), "who is about to become the job has the leases, too"
        for pid in filter(stopped, queue.processes()):
            kill(pid, signal.SIGCONT)
    assert queue.wait(id) in (4, 255)
    queue.wait_until(lambda: queue.started() == ["one"], "it has run")
    all_free(queue, leases)


# ---- many at once ---------------------------------------------------------------------------------------------------


def claiming(folder, seconds=0):
    """A job's script: for each of its GPUs it makes a directory that must not be there."""
    each = 'for gpu in $(echo "$CUDA_VISIBLE_DEVICES" | tr , " "); do'
    return (
        f"{each} mkdir {folder}/taken.$gpu || exit 9; done; echo $TS_JOBID $CUDA_VISIBLE_DEVICES >> {folder}/used;"
        f"sleep {seconds};"
        f"{each} rmdir {folder}/taken.$gpu; done"
    )


def test_storm_of_kills(queue, leases):
    """Servers, runners and pollers die again and again while jobs of one to four GPUs come and go."""
    queue.start_server()
    script = claiming(queue.directory)
    ids = []
    for number in range(60):
        ids.append(int(queue.ts("-G", 1 + number % 4, "sh", "-c", script)))
        victims = []
        if number % 10 == 2 and queue.server():
            victims = queue.monitors()
        if number % 10 == 5:
            victims = list(queue.runners().values())[:1]
        if number % 10 == 9:
            victims = [queue.server()]
        for victim in filter(None, victims):
            kill(victim)
    for id in ids:
        assert queue.wait(id) == 0 or "lost" in queue.details(id), queue.report()
    used = [int(line.split()[0]) for line in (queue.directory / "used").read_text().splitlines()]
    assert sorted(used) == ids
    all_free(queue, leases)


def test_poller_killed_again_and_again(queue, leases):
    queue.start_server()
    ids = [int(queue.ts("-G", 1, "sh", "-c", claiming(queue.directory))) for _ in range(20)]
    holder = gpu_job(queue, "one", DEVICES)
    last = queue.job("last", "true", "-G", 1)
    for _ in range(2):
        poller = queue.wait_until(lambda: queue.monitors(), "a poller")[0]
        queue.kill(poller)
        queue.wait_until(lambda dead=poller: queue.monitors() not in ([], [dead]), "another one")
    queue.open_gate("one")
    assert [queue.wait(id) for id in (*ids, holder, last)] == [0] * 22
    all_free(queue, leases)


@pytest.fixture
def public():
    """A directory in which everybody can look; tmp_path is for its owner."""
    path = Path(tempfile.mkdtemp(prefix="gpus-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def become(uid):
    """For a child: that user, who can nevertheless read the environment that the tests run in."""
    prctl, capset = ctypes.CDLL(None).prctl, ctypes.CDLL(None).capset
    right = 1 << CAP_DAC_OVERRIDE
    version, rights = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(right, right, right)

    def switch():
        prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        capset(version, rights)
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)

    return switch if uid else None


@pytest.mark.root
def test_two_users(public, fault_points_work):
    """Two servers of two users with the same leases: no two of their jobs are ever on one GPU."""
    nvml = FakeNvml(public / "nvml", DEVICES)
    leases = public / "leases"
    shared = public / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "used").touch()
    (shared / "used").chmod(0o666)
    queues = []
    try:
        for uid in (0, NOBODY):
            folder = public / f"queue-{uid}"
            folder.mkdir()
            os.chown(folder, uid, uid)
            queue = FaultQueue(folder, slots=50)
            queue.give_gpus(nvml, leases)
            for path in (queue.journal, queue.out, queue.work):
                os.chown(path, uid, uid)
            queues.append((uid, queue))
        script = claiming(shared, seconds=0.02)
        ids = {uid: [] for uid, _ in queues}
        with contextlib.ExitStack() as held:  # so that all of them start at the same moment
            for path in leases.iterdir():
                fcntl.flock(held.enter_context(path.open()), fcntl.LOCK_EX)
            for _ in range(100):
                for uid, queue in queues:
                    ids[uid].append(int(queue.ts("-G", 1, "sh", "-c", script, preexec_fn=become(uid))))
        for uid, queue in queues:
            assert queue.ts("-w", *ids[uid][-1:], preexec_fn=become(uid)) == ""
            queue.wait_until(lambda queue=queue, uid=uid: not unended(queue, uid), "all of them end")
            jobs = queue.ts("-M", "tab", preexec_fn=become(uid)).splitlines()
            assert {line.split("\t")[3] for line in jobs} == {"0"}, jobs
        assert len((shared / "used").read_text().splitlines()) == 200
        queue.wait_until(lambda: not locked(leases), "the leases are free")
    finally:
        for _, queue in queues:
            queue.end()


def unended(queue, uid):
    return [
        line for line in queue.ts("-M", "tab", preexec_fn=become(uid)).splitlines() if line.split("\t")[1] != "finished"
    ]
