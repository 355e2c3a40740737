"""Parts of GPUs, memory, MIG instances, compute modes, and GPUs that somebody else uses."""

import fcntl
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fake_nvml import GIB, FakeNvml
from support.gpu_queue import GpuQueue
from tsfast.monitor import records

NOBODY = 65534
EXCLUSIVE_PROCESS = 3
PROHIBITED = 2


@pytest.fixture
def two(gpu_queue: GpuQueue, nvml: FakeNvml) -> GpuQueue:
    """A queue that knows two GPUs, of which about 79 GiB are free."""
    nvml.resize(2)
    gpu_queue.learn()
    return gpu_queue


# ---- parts ----------------------------------------------------------------------------------------------------------


def test_halves(two: GpuQueue) -> None:
    """Two on one GPU, so that the other stays whole; the third on the other."""
    (first, gate), (second, _) = two.hold("-G", "0.5"), two.hold("-G", "0.5")
    assert two.gpus(first) == two.gpus(second)
    whole, _ = two.hold("-G", 1)
    assert two.gpus(whole) != two.gpus(first)
    third = two.waiting("-G", "0.5", "true")
    gate.open()
    assert two.wait(third) == 0
    assert two.gpus(third) == two.gpus(second)


def test_parts_add_up_to_one(two: GpuQueue) -> None:
    most, _ = two.hold("-G", "0.875")
    small = [two.hold("-G", "0.125")[0] for _ in range(2)]
    assert two.gpus(small[0]) == two.gpus(most)
    assert two.gpus(small[1]) != two.gpus(most)


def test_whole_and_shared_never_meet(two: GpuQueue) -> None:
    whole, gate = two.hold("-G", 1)
    part, part_gate = two.hold("-G", "0.25")
    assert two.gpus(whole) != two.gpus(part)
    late = two.waiting("-G", 1, "true")
    gate.open()
    assert two.wait(late) == 0
    assert two.gpus(late) == two.gpus(whole)
    both = two.waiting("-G", 2, "true")
    part_gate.open()
    assert two.wait(both) == 0


def test_memory_is_promised_before_it_is_used(two: GpuQueue) -> None:
    """Nothing is used yet, as while programs load; still no more than 79 GiB are given away."""
    first = [two.hold("--vram", "20G") for _ in range(3)]
    (gpu,) = {two.gpus(job)[0] for job, _ in first}
    fourth, _ = two.hold("--vram", "20G")
    assert two.gpus(fourth) == [1 - gpu]
    waits = two.waiting("--vram", "60G", "true")
    rest, _ = two.hold("--vram", "19G")
    assert two.gpus(rest) == [gpu], "the fullest into which it fits"
    for _, gate in first:
        gate.open()
    assert two.wait(waits) == 0
    assert two.gpus(waits) == [gpu]


def test_memory_that_is_used_counts(two: GpuQueue, nvml: FakeNvml) -> None:
    """Never more than NVML says is free now, though more was promised to nobody."""
    job, _ = two.hold("--vram", "10G")
    (gpu,) = two.gpus(job)
    whole = two.waiting("-G", 2, "true")
    for number in range(2):
        nvml.set(number, memory_free=5 * GIB)
    two.wait_until(lambda: "short of free memory" in two.why(whole))
    waits = two.waiting("-G", 2, "--vram", "8G", "true")
    late = two.waiting("--vram", "70G", "true")
    nvml.set(1 - gpu, memory_free=75 * GIB)
    assert two.wait(late) == 0
    assert two.gpus(late) == [1 - gpu]
    nvml.set(gpu, memory_free=60 * GIB)
    assert two.wait(waits) == 0


def test_memory_of_several(two: GpuQueue) -> None:
    jobs = [two.hold("-G", 2, "--vram", "30G") for _ in range(2)]
    assert [sorted(two.gpus(job)) for job, _ in jobs] == [[0, 1], [0, 1]]
    waits = two.waiting("-G", 2, "--vram", "30G", "true")
    one, _ = two.hold("--vram", "18G")
    assert len(two.gpus(one)) == 1
    jobs[0][1].open()
    assert two.wait(waits) == 0


def test_part_and_memory(two: GpuQueue) -> None:
    first, _ = two.hold("-G", "0.5", "--vram", "60G")
    second, _ = two.hold("-G", "0.5", "--vram", "30G")
    assert two.gpus(first) != two.gpus(second)
    third, _ = two.hold("--vram", "15G")
    assert two.gpus(third) == two.gpus(first)


def test_named_gpus_are_shared_with_nobody(two: GpuQueue) -> None:
    part, gate = two.hold("-G", "0.5")
    (gpu,) = two.gpus(part)
    named, _ = two.hold("-g", gpu)
    other, _ = two.hold("-G", "0.5")
    assert two.gpus(named) == [gpu]
    assert two.gpus(other) == [1 - gpu]
    gate.open()


def test_a_part_beside_those_who_asked_for_memory(two: GpuQueue) -> None:
    two.hold("-G", "1")
    two.hold("--vram", "70G")
    late = two.waiting("-G", "0.5", "true")
    two.hold("-G", "0.1")
    assert two.state(late) == "allocating"


# ---- MIG and compute modes ------------------------------------------------------------------------------------------


def test_mig_instances(gpu_queue: GpuQueue, nvml: FakeNvml) -> None:
    """The instances are the devices, by UUID; the divided GPU is none."""
    nvml.resize(2)
    nvml.divide(0, 2)
    gpu_queue.add_lease_files()
    gpu_queue.learn()
    os.mkfifo(gpu_queue.directory / "wait")
    jobs = [gpu_queue.submit("-G", 1, "sh", "-c", f"echo $CUDA_VISIBLE_DEVICES; read x < {gpu_queue.directory}/wait")]
    held = [gpu_queue.hold("-G", 1)[0] for _ in range(2)]
    named = gpu_queue.finish("-g", nvml.uuid((0, 1)), "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
    assert gpu_queue.output(named).strip() == nvml.uuid((0, 1))
    uuids = [uuid for job in (*jobs, *held) for uuid in gpu_queue.job(job)["GPU_UUIDs"]]
    assert sorted(uuids) == sorted([nvml.uuid((0, 0)), nvml.uuid((0, 1)), nvml.uuid(1)])
    gpu_queue.wait_until(lambda: gpu_queue.output(jobs[0]))
    seen = gpu_queue.output(jobs[0]).strip()
    assert seen == ("1" if uuids[0].startswith("GPU-") else uuids[0])
    divided = gpu_queue.waiting("-g", 0, "true")
    gpu_queue.wait_until(lambda: "GPU" in gpu_queue.why(divided))
    gpu_queue.waiting("-G", 1, "true")
    (gpu_queue.directory / "wait").write_text("\n")


def test_exclusive_mode(gpu_queue: GpuQueue, nvml: FakeNvml) -> None:
    """One process at a time: whole it can be had, if nobody computes on it, shared it cannot."""
    nvml.resize(2)
    nvml.set(0, compute_mode=EXCLUSIVE_PROCESS)
    gpu_queue.learn()
    parts = [gpu_queue.hold("-G", "0.75") for _ in range(1)]
    assert gpu_queue.gpus(parts[0][0]) == [1]
    waits = gpu_queue.waiting("-G", "0.75", "true")
    assert gpu_queue.gpus(gpu_queue.finish("-G", 1, "true")) == [0]
    nvml.set(0, processes=[(os.getpid(), GIB)])
    late = gpu_queue.waiting("-G", 2, "true")
    gpu_queue.wait_until(lambda: "1 is not available" in gpu_queue.why(late))
    parts[0][1].open()
    assert gpu_queue.wait(waits) == 0
    nvml.set(0, processes=[])
    assert gpu_queue.wait(late) == 0


def test_prohibited_mode(gpu_queue: GpuQueue, nvml: FakeNvml) -> None:
    nvml.resize(2)
    nvml.set(0, compute_mode=PROHIBITED)
    gpu_queue.learn()
    assert gpu_queue.gpus(gpu_queue.finish("-G", 1, "true")) == [1]
    waits = [gpu_queue.waiting(*words, "true") for words in (("-g", "0"), ("-G", "2"))]
    assert gpu_queue.wait(gpu_queue.submit("-G", 1, "true")) == 0
    assert [gpu_queue.state(job) for job in waits] == ["allocating"] * 2
    nvml.set(0, compute_mode=0)
    assert [gpu_queue.wait(job) for job in waits] == [0, 0]


# ---- containers -----------------------------------------------------------------------------------------------------


@pytest.fixture
def inside(gpu_queue: GpuQueue) -> Iterator[GpuQueue]:
    """The queue's server is in a pid namespace of its own, as in a container; calls of ts come from outside."""
    script = '"$0" -S 10 && echo && exec sleep 1000'
    options = ["--pid", "--fork", "--mount-proc", "--kill-child"]
    command = ["unshare", *options, "sh", "-c", script, gpu_queue.program]
    with subprocess.Popen(command, env=gpu_queue.env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as container:
        assert container.stdout.readline() == b"\n"
        yield gpu_queue
        container.kill()


def outer_pid(queue: GpuQueue, job: int) -> int:
    """As the host counts, and NVML: of a process of the job."""
    mark = b"\0TS_JOBID=%d\0" % job
    return next(pid for pid in queue.processes() if mark in Path(f"/proc/{pid}/environ").read_bytes())


@pytest.mark.root
def test_jobs_that_share_a_gpu_in_a_container(inside: GpuQueue, nvml: FakeNvml) -> None:
    """NVML names the first by a pid of the host, which cannot be seen there: it is no stranger."""
    nvml.resize(2)
    nvml.set(0, memory_free=8 * GIB)
    inside.learn()
    first, gate = inside.hold("-G", "0.25")
    assert inside.gpus(first) == [1]
    nvml.set(1, processes=[(outer_pid(inside, first), GIB)])
    both = inside.waiting("-G", 2, "true")
    for percent in (5, 3):  # a round that tells this has been told of the process before the second one
        nvml.set(0, memory_free=80 * GIB * percent // 100 + GIB // 100)
        inside.wait_until(lambda percent=percent: f"GPU 0: {percent} % free" in inside.why(both))
    second, other_gate = inside.hold("-G", "0.25")
    assert inside.gpus(second) == [1]
    gate.open()
    other_gate.open()
    assert [inside.wait(job) for job in (first, second)] == [0, 0]
    inside.wait_until(lambda: "invisible from here" in inside.why(both), "now it is a stranger's")
    nvml.set(1, processes=[])
    nvml.set(0, memory_free=80 * GIB)
    assert inside.wait(both) == 0


@pytest.mark.root
@pytest.mark.parametrize("own_proc", [True, False])
def test_pids_of_the_host_in_a_container(nvml: FakeNvml, stranger: int, own_proc: bool) -> None:
    """With the host's /proc they can be looked up all the same."""
    nvml.set(0, processes=[(stranger, 1)])
    nvml.set(1, processes=[(os.getpid(), 1)])
    options = ["--pid", "--fork", *(["--mount-proc"] if own_proc else [])]
    command = ["unshare", *options, sys.executable, "-I", "-m", "tsfast.monitor", "--once"]
    done = subprocess.run(command, env={**os.environ, **nvml.env()}, stdin=subprocess.DEVNULL, capture_output=True)
    pieces = [done.stdout[at : at + records.SIZE] for at in range(0, len(done.stdout), records.SIZE)]
    told = [record for record in map(records.unpack, pieces) if record.kind == records.DEVICE]
    free = records.VISIBLE | records.ANSWERS
    unseen = free | records.BUSY | records.FOREIGN | records.UNSEEN
    expected = (
        [unseen, unseen, free] if own_proc else [free | records.BUSY | records.FOREIGN, free | records.BUSY, free]
    )
    assert [gpu.flags for gpu in told[:3]] == expected


# ---- others ---------------------------------------------------------------------------------------------------------


@pytest.mark.root
def test_process_of_another_user(gpu_queue: GpuQueue, nvml: FakeNvml, stranger: int) -> None:
    """It keeps the queue from the GPU though its memory is free, but not who names the GPU."""
    nvml.resize(2)
    nvml.set(0, processes=[(stranger, GIB)])
    gpu_queue.learn()
    assert [gpu_queue.gpus(gpu_queue.finish("-G", 1, "true")) for _ in range(4)] == [[1]] * 4
    waits = gpu_queue.waiting("-G", 2, "true")
    gpu_queue.wait_until(lambda: "1 is not available" in gpu_queue.why(waits))
    assert gpu_queue.wait(gpu_queue.submit("-g", 0, "true")) == 0
    nvml.set(0, processes=[])
    assert gpu_queue.wait(waits) == 0


@pytest.mark.root
def test_memory_only(gpu_queue: GpuQueue, nvml: FakeNvml, stranger: int) -> None:
    nvml.set(0, processes=[(stranger, GIB)])
    nvml.error("nvmlDeviceGetComputeRunningProcesses_v3", code=999)
    gpu_queue.environment["TS_GPU_MEMORY_ONLY"] = "1"
    assert gpu_queue.wait(int(gpu_queue.run("-G", 8, "true").stdout)) == 0


def test_own_process_without_a_job(gpu_queue: GpuQueue, nvml: FakeNvml) -> None:
    """Its memory decides."""
    nvml.resize(1)
    nvml.set(0, processes=[(os.getpid(), GIB)])
    gpu_queue.learn()
    nvml.set(0, memory_free=0)
    gpu_queue.wait_until(lambda: "short of free memory" in gpu_queue.why(gpu_queue.submit("-G", 1, "true")))


def given(queue: GpuQueue) -> list[int]:
    """What a job of one GPU gets."""
    job = int(queue.run("-G", 1, "true").stdout)
    assert queue.wait(job) == 0
    return queue.gpus(job)


def test_lease_of_another_queue(gpu_queue: GpuQueue, nvml: FakeNvml) -> None:
    nvml.resize(2)
    gpu_queue.learn()
    with (gpu_queue.leases / nvml.uuid(1)).open() as lease:
        fcntl.flock(lease, fcntl.LOCK_EX)
        assert [gpu_queue.gpus(gpu_queue.finish("-G", 1, "true")) for _ in range(4)] == [[0]] * 4
        both = gpu_queue.waiting("-G", 2, "true")
        gpu_queue.wait_until(lambda: "leased by another queue" in gpu_queue.why(both))
        assert gpu_queue.wait(gpu_queue.submit("-g", 1, "true")) == 0
        _, gate = gpu_queue.hold("-G", "0.5")
        assert gpu_queue.state(both) == "allocating"
        gate.open()
    assert gpu_queue.wait(both) == 0


def test_foreground_job_and_a_lease_of_another_queue(gpu_queue: GpuQueue, nvml: FakeNvml) -> None:
    """Its caller's descriptors wait with it, however often its start is tried in vain."""
    nvml.resize(1)
    gpu_queue.learn()
    with (gpu_queue.leases / nvml.uuid(0)).open() as lease:
        fcntl.flock(lease, fcntl.LOCK_EX)
        caller = gpu_queue.start("-nf", "-G", 1, "echo", "here")
        gpu_queue.wait_until(lambda: gpu_queue.ids(), "it is queued")
        (job,) = gpu_queue.ids()
        gpu_queue.wait_until(lambda: "leased" in gpu_queue.why(job))
    assert caller.communicate(timeout=20) == (b"here\n", b"")
    assert caller.returncode == 0


def test_job_of_a_queue_that_was_dropped(two: GpuQueue) -> None:
    """It runs on, and so its lease keeps the next server from its GPU."""
    job, gate = two.hold("-G", 1)
    (gpu,) = two.gpus(job)
    two.get("-K")
    assert locked(two, gpu)
    assert [given(two) for _ in range(3)] == [[1 - gpu]] * 3
    both = two.waiting("-G", 2, "true")
    gate.open()
    assert two.wait(both) == 0


def test_too_many_open_files_is_no_missing_lease(gpu_queue: GpuQueue, nvml: FakeNvml) -> None:
    """A lease that cannot be opened now is not one that does not exist."""
    nvml.resize(100)
    gpu_queue.add_lease_files()
    gpu_queue.learn()
    resource.prlimit(gpu_queue.server_pid(), resource.RLIMIT_NOFILE, (60, 4096))
    job = gpu_queue.waiting("-G", 100, "true")
    assert gpu_queue.wait(gpu_queue.submit("-G", 1, "true")) == 0
    assert gpu_queue.state(job) == "allocating"
    resource.prlimit(gpu_queue.server_pid(), resource.RLIMIT_NOFILE, (1024, 4096))
    assert gpu_queue.wait(job) == 0


def locked(queue: GpuQueue, number: int) -> bool:
    """Whether somebody holds the lease on this GPU."""
    with (queue.leases / queue.nvml.uuid(number)).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.parametrize("need", [("-G", "2"), ("-G", "0.5"), ("--vram", "1G"), ("-g", "1")])
def test_leases_are_held_while_jobs_run(two: GpuQueue, need: tuple[str, str]) -> None:
    job, gate = two.hold(*need)
    assert [locked(two, number) for number in (0, 1)] == [number in two.gpus(job) for number in (0, 1)]
    gate.open()
    two.wait(job)
    assert not any(locked(two, number) for number in (0, 1))


@pytest.mark.parametrize("need", ["1", "0.5"])
def test_a_named_gpu_stays_leased_when_its_other_job_ends(two: GpuQueue, need: str) -> None:
    first, first_gate = two.hold("-G", need)
    (gpu,) = two.gpus(first)
    second, second_gate = two.hold("-g", gpu)
    first_gate.open()
    two.wait(first)
    assert locked(two, gpu)
    second_gate.open()
    two.wait(second)
    two.wait_until(lambda: not locked(two, gpu), "nobody has it")


@pytest.mark.root
def test_lease_in_sysfs(gpu_queue: GpuQueue, nvml: FakeNvml) -> None:
    """Where no directory is named, the file is one of the PCI device's own: of any device that is there, else of one in
    a file system in the place of sysfs, which the server alone sees."""
    nvml.resize(1)
    device = next(Path("/sys/bus/pci/devices").glob("*"), Path("/sys/bus/pci/devices/0000:01:00.0"))
    nvml.set(0, bus=device.name)
    del gpu_queue.environment["TS_LEASE_DIR"]
    if not device.exists():
        make = f"mount -t tmpfs none /sys/bus && mkdir -p {device} && touch {device}/vendor && exec ts -S"
        subprocess.run(["unshare", "-m", "sh", "-c", make], env=gpu_queue.env(), check=True, timeout=30)
    gpu_queue.learn()
    _, gate = gpu_queue.hold("-G", 1)
    with Path(f"/proc/{gpu_queue.server_pid()}/root{device}/vendor").open() as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        gate.open()
        gpu_queue.wait(gpu_queue.get("-q"))
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        late = gpu_queue.waiting("-G", 1, "true")
        gpu_queue.wait_until(lambda: "leased by another queue" in gpu_queue.why(late))
    assert gpu_queue.wait(late) == 0


def test_no_lease_file(gpu_queue: GpuQueue, nvml: FakeNvml) -> None:
    """Where TS_LEASE_DIR is set, a GPU without a file there is not used, and that is said."""
    nvml.resize(2)
    (gpu_queue.leases / nvml.uuid(0)).unlink()
    gpu_queue.learn()
    assert [gpu_queue.gpus(gpu_queue.finish("-G", 1, "true")) for _ in range(4)] == [[1]] * 4
    both = gpu_queue.waiting("-G", 2, "true")
    gpu_queue.wait_until(lambda: "without a lease file" in gpu_queue.why(both))
    gpu_queue.add_lease_files()
    assert gpu_queue.wait(both) == 0
