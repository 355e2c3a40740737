"""`tsfast gpus`: the devices, and who holds each."""

import fcntl
import json
import os
import pwd
import signal
import subprocess
from pathlib import Path

import pytest

from support.fake_nvml import GIB, FakeNvml
from support.gpu_poller import NO_PROCESS
from support.installation import BIN
from support.queues import Queue

ME = pwd.getpwuid(os.getuid()).pw_name
UNKNOWN_ERROR = 999


@pytest.fixture
def gpu_queue(queue: Queue, nvml: FakeNvml) -> Queue:
    """A queue on a machine of 8 GPUs."""
    queue.environment.update(nvml.env())
    return queue


@pytest.fixture
def leases(queue: Queue, nvml: FakeNvml) -> Path:
    """TS_LEASE_DIR with a file for each GPU."""
    path = queue.directory / "leases"
    path.mkdir()
    for number in range(8):
        (path / nvml.uuid(number)).touch()
    queue.environment["TS_LEASE_DIR"] = str(path)
    return path


def gpus(queue: Queue, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [BIN / "tsfast", "gpus", *words],
        env=queue.env({**env}),
        capture_output=True,
        text=True,
        timeout=60,
    )


def told(queue: Queue, **env: str) -> list[dict[str, object]]:
    done = gpus(queue, "--json", **env)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def reasons(queue: Queue, **env: str) -> list[object]:
    rows = told(queue, **env)
    assert all(row["free"] == (row["why"] is None) for row in rows)
    return [row["why"] for row in rows]


def test_table(gpu_queue: Queue, nvml: FakeNvml, leases: Path) -> None:
    nvml.resize(3)
    nvml.set(1, name="Another GPU", memory_total=24 * GIB, memory_free=GIB)
    nvml.set(2, processes=[(NO_PROCESS, 1)])
    done = gpus(gpu_queue)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "GPU  UUID                                      Name         Used MiB  Total MiB  Held by",
        f"0    {nvml.uuid(0)}  Fake GPU          512      81920  free",
        f"1    {nvml.uuid(1)}  Another GPU     23552      24576  4 % free, 90 % needed",
        f"2    {nvml.uuid(2)}  Fake GPU          512      81920  process {NO_PROCESS}, invisible from here",
    ]


def test_json(gpu_queue: Queue, nvml: FakeNvml, leases: Path) -> None:
    nvml.resize(1)
    nvml.set(0, numa=1, memory_free=80 * GIB - 5)
    assert told(gpu_queue) == [
        {
            "index": 0,
            "uuid": nvml.uuid(0),
            "name": "Fake GPU",
            "bus": "0000:01:00.0",
            "numa": 1,
            "nvlink_group": None,
            "mig": False,
            "memory_total": 80 * GIB,
            "memory_used": 5,
            "free": True,
            "why": None,
            "jobs": [],
            "lease_file": str(leases / nvml.uuid(0)),
            "lease_pid": None,
            "foreign_pid": None,
            "foreign_user": None,
        }
    ]


def test_no_server_is_started(gpu_queue: Queue, leases: Path) -> None:
    assert reasons(gpu_queue) == [None] * 8
    assert gpu_queue.servers() == []
    assert not gpu_queue.state_dir.exists()


def test_a_queue_with_jobs_is_read(gpu_queue: Queue, leases: Path) -> None:
    _, gate = gpu_queue.blocker()
    assert reasons(gpu_queue) == [None] * 8
    gate.open()


@pytest.mark.root
def test_processes_and_compute_modes(gpu_queue: Queue, nvml: FakeNvml, leases: Path, stranger: int) -> None:
    nvml.set(0, processes=[(stranger, 1)])
    nvml.set(1, processes=[(os.getpid(), 1)])
    nvml.set(2, compute_mode=2)
    nvml.set(3, lost=True)
    nvml.set(4, compute_mode=3)
    nvml.set(5, compute_mode=3, processes=[(os.getpid(), 1)])
    assert reasons(gpu_queue, TS_VISIBLE_DEVICES="0,1,2,3,4,5") == [
        f"process {stranger} of {pwd.getpwuid(65534).pw_name}",
        None,
        "compute mode prohibited",
        "does not answer: GPU is lost",
        None,
        "compute mode exclusive, and a process computes on it",
        "not in TS_VISIBLE_DEVICES",
        "not in TS_VISIBLE_DEVICES",
    ]


def test_a_process_of_ours_that_is_of_no_job(gpu_queue: Queue, nvml: FakeNvml, leases: Path) -> None:
    """Its memory decides, as for the queue."""
    nvml.resize(2)
    for number, left in enumerate((80 * GIB, 10 * GIB)):
        nvml.set(number, memory_free=left, processes=[(os.getpid(), 1)])
    assert reasons(gpu_queue) == [None, "12 % free, 90 % needed"]
    assert gpus(gpu_queue).stdout.splitlines()[1].endswith("  free, beside a process of yours that is of no job")


def test_free_is_what_the_queue_calls_free(gpu_queue: Queue, nvml: FakeNvml, leases: Path) -> None:
    """The setting of the queue counts, with and without its server, and --why of a job says the same."""
    nvml.resize(1)
    nvml.set(0, memory_free=20 * GIB)
    assert reasons(gpu_queue) == ["25 % free, 90 % needed"]
    job = int(gpu_queue.run("-G", 1, "true").stdout)
    gpu_queue.wait_until(lambda: "GPU 0: 25 % free, 90 % needed" in gpu_queue.get("--why", job))
    gpu_queue.get("--set_gpu_free_perc", 30)
    assert reasons(gpu_queue) == ["25 % free, 30 % needed"]
    gpu_queue.get("-r", job)
    gpu_queue.kill_server()
    assert reasons(gpu_queue) == ["25 % free, 30 % needed"]
    assert gpu_queue.servers() == []
    gpu_queue.get("--set_gpu_free_perc", 24)
    assert reasons(gpu_queue) == [None]


def test_free_for_a_job_of_these_options(gpu_queue: Queue, nvml: FakeNvml, leases: Path) -> None:
    nvml.resize(3)
    nvml.set(0, memory_free=20 * GIB)
    nvml.set(1, compute_mode=3)

    def why(*words: str) -> list[object]:
        done = gpus(gpu_queue, "--json", *words)
        assert (done.returncode, done.stderr) == (0, "")
        return [row["why"] for row in json.loads(done.stdout)]

    exclusive = "compute mode exclusive: jobs cannot share it"
    assert why("--vram", "20GB") == [None, exclusive, None]
    assert why("--vram", "20.5G") == ["20G free, 20.5G needed", exclusive, None]
    assert why("--gpus", "0.5") == ["25 % free, 90 % needed", exclusive, None]
    assert why("--gpus", "1") == ["25 % free, 90 % needed", None, None]
    assert why("--vram", "1000T")[2] == "80G in all, 1000T needed"
    done = gpus(gpu_queue, "--vram", "much")
    assert (done.returncode, done.stderr) == (
        255,
        "tsfast: --vram: 'much' is not a size of memory (such as 20G, 0.5G or 512M)\n",
    )


def test_variables_of_the_server_count(gpu_queue: Queue, nvml: FakeNvml, leases: Path) -> None:
    nvml.resize(2)
    own = {"TS_VISIBLE_DEVICES": "1"}
    assert reasons(gpu_queue, **own) == ["not in TS_VISIBLE_DEVICES", None]
    assert gpus(gpu_queue, **own).stdout.splitlines()[-1] == "TS_VISIBLE_DEVICES=1 (of this call)"
    gpu_queue.finish("true")
    assert reasons(gpu_queue, **own) == [None, None], "the server has none"
    gpu_queue.get("--setenv", "TS_VISIBLE_DEVICES=0")
    assert reasons(gpu_queue) == [None, "not in TS_VISIBLE_DEVICES"]
    assert gpus(gpu_queue).stdout.splitlines()[-1] == "TS_VISIBLE_DEVICES=0 (of the queue's server)"
    gpu_queue.get("--setenv", "TS_LEASE_DIR=/nowhere")
    assert reasons(gpu_queue)[0] == "no file in TS_LEASE_DIR"


def test_a_server_that_does_not_answer(gpu_queue: Queue, nvml: FakeNvml, leases: Path) -> None:
    nvml.resize(1)
    gpu_queue.finish("true")
    os.kill(gpu_queue.server_pid(), signal.SIGSTOP)
    done = gpus(gpu_queue, TS_VISIBLE_DEVICES="0")
    assert done.returncode == 0
    assert done.stderr.startswith("tsfast: the queue's server cannot be asked (")
    assert done.stderr.endswith("): the variables of this call count\n")
    assert done.stdout.splitlines()[-1] == "TS_VISIBLE_DEVICES=0 (of this call)"


def test_patience_is_for_each_answer(gpu_queue: Queue, nvml: FakeNvml, leases: Path) -> None:
    """Without persistence mode the driver wakes each GPU when it is first asked."""
    nvml.delay("nvmlDeviceGetHandleByIndex", ms=500)
    done = gpus(gpu_queue, "--json", "--timeout", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert [row["free"] for row in json.loads(done.stdout)] == [True] * 8


@pytest.mark.slow
def test_initialisation_that_takes_long(gpu_queue: Queue, nvml: FakeNvml, leases: Path) -> None:
    """Older drivers wake all GPUs in it: 8 times 1.5 s."""
    nvml.delay("nvmlInitWithFlags", ms=12000)
    assert reasons(gpu_queue) == [None] * 8


def test_what_hangs_when_all_is_told_is_not_waited_for(gpu_queue: Queue, nvml: FakeNvml, leases: Path) -> None:
    nvml.hang("nvmlShutdown")
    done = gpus(gpu_queue, "--json", "--timeout", "2")
    assert (done.returncode, done.stderr, len(json.loads(done.stdout))) == (0, "", 8)


def test_mig(gpu_queue: Queue, nvml: FakeNvml) -> None:
    nvml.resize(2)
    nvml.divide(0, 2)
    rows = told(gpu_queue)
    assert [row["why"] for row in rows] == ["divided into MIG instances", None, None, None]
    assert [row["mig"] for row in rows] == [False, False, True, True]


def test_leases_are_seen_and_left_alone(gpu_queue: Queue, nvml: FakeNvml, leases: Path) -> None:
    with (leases / nvml.uuid(5)).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert reasons(gpu_queue)[5] == f"leased by another queue, process {os.getpid()} of {ME}"
        assert told(gpu_queue)[5]["lease_pid"] == os.getpid()
    with (leases / nvml.uuid(5)).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert reasons(gpu_queue) == [None] * 8


def test_gpus_without_a_lease_file(gpu_queue: Queue, nvml: FakeNvml, leases: Path) -> None:
    nvml.resize(2)
    (leases / nvml.uuid(1)).unlink()
    assert reasons(gpu_queue) == [None, "no file in TS_LEASE_DIR"]
    del gpu_queue.environment["TS_LEASE_DIR"]
    for number in range(2):  # a bus that no machine has
        nvml.set(number, bus=f"ffff:ff:1{number}.0")
    last = gpus(gpu_queue).stdout.splitlines()[-1]
    assert last == "No lease file for GPU 0, 1: other queues are seen through NVML only."


def test_no_driver(gpu_queue: Queue, nvml: FakeNvml) -> None:
    nvml.error("nvmlInitWithFlags", code=UNKNOWN_ERROR)
    done = gpus(gpu_queue)
    assert (done.returncode, done.stdout, done.stderr) == (0, "no GPU: Unknown Error\n", "")
    done = gpus(gpu_queue, "--json")
    assert (done.returncode, json.loads(done.stdout), done.stderr) == (0, [], "no GPU: Unknown Error\n")


def test_no_gpu(gpu_queue: Queue, nvml: FakeNvml) -> None:
    nvml.resize(0)
    assert gpus(gpu_queue).stdout == "no GPU: NVML knows none\n"


def test_a_wrong_variable(gpu_queue: Queue) -> None:
    assert gpus(gpu_queue, TS_VISIBLE_DEVICES="any").stdout.startswith("no GPU: TS_VISIBLE_DEVICES: 'any'")


@pytest.mark.parametrize(
    ("function", "key", "who"), [("nvmlInitWithFlags", None, "NVML"), ("nvmlDeviceGetMemoryInfo", 3, "GPU 3")]
)
def test_nvml_hangs_or_crashes(gpu_queue: Queue, nvml: FakeNvml, function: str, key: int | None, who: str) -> None:
    nvml.hang(function, key)
    done = gpus(gpu_queue, "--timeout", "1")
    assert (done.returncode, done.stdout, done.stderr) == (255, "", f"tsfast: {who} did not answer within 1 s\n")
    nvml.heal()
    nvml.crash(function, key)
    done = gpus(gpu_queue)
    assert (done.returncode, done.stdout) == (255, "")
    assert done.stderr == f"tsfast: the process that asked {who} died of signal 11\n"


def test_usage(gpu_queue: Queue) -> None:
    done = gpus(gpu_queue, "0")
    assert (done.returncode, done.stdout) == (255, "")
    assert done.stderr == "tsfast: unrecognized arguments: 0 (`tsfast gpus -h` lists the options)\n"
    assert "--json" in gpus(gpu_queue, "--help").stdout


@pytest.mark.parametrize("env", [{}, {"TS_ENV": "echo some text"}], ids=["", "TS_ENV"])
def test_ts_gpus_is_a_job(queue: Queue, env: dict[str, str]) -> None:
    """With TS_ENV it is tsfast that queues it, for `ts`."""
    program = queue.work / "gpus"
    program.write_text('#!/bin/sh\necho "a program, $*"\n')
    program.chmod(0o755)
    path = {"PATH": f"{queue.work}:{queue.environment['PATH']}"}
    job = queue.finish("gpus", "--json", env={**env, **path})
    assert queue.output(job) == "a program, --json\n"
    assert ("some text" in queue.get("-i", job)) == bool(env)
    done = subprocess.run([BIN / "tsfast", "--", "gpus"], env=queue.env(path), capture_output=True, text=True)
    assert (done.returncode, queue.wait(int(done.stdout))) == (0, 0)
