"""NVML hangs, crashes and loses GPUs: CPU jobs go on, the log says it once, --why says it, and it heals."""

import os
import re
import signal

import pytest

from support.fake_nvml import FakeNvml
from support.gpu_queue import GpuQueue
from support.processes import alive, kill

VERSION_MISMATCH = 18
UNKNOWN_ERROR = 999


@pytest.fixture
def queue(gpu_queue: GpuQueue) -> GpuQueue:
    """With little patience for NVML."""
    gpu_queue.environment["TS_GPU_TIMEOUT"] = "1"
    return gpu_queue


def goes_on(queue: GpuQueue) -> bool:
    return queue.wait(queue.submit("true")) == 0


def poller(queue: GpuQueue) -> int:
    return queue.wait_until(queue.monitors, "a poller")[0]


# ---- the process that asks ------------------------------------------------------------------------------------------


def test_poller_lives_while_a_gpu_job_waits(queue: GpuQueue) -> None:
    queue.finish("true")
    assert queue.monitors() == []
    queue.learn()
    first = poller(queue)
    queue.finish("-G", 8, "true")
    assert queue.monitors() == [first], "for some time it stays"
    _, gate = queue.hold("-G", 8)
    queue.wait_until(lambda: not queue.monitors(), "nobody waits: it ends")
    late = queue.waiting("-G", 1, "true")
    assert poller(queue) != first
    gate.open()
    assert queue.wait(late) == 0
    assert queue.log_lines("GPU") == []


@pytest.mark.parametrize("end", ["-K", "SIGTERM", "SIGKILL"])
def test_poller_ends_with_the_server(queue: GpuQueue, end: str) -> None:
    queue.learn()
    pid = poller(queue)
    if end == "-K":
        queue.get("-K")
    else:
        queue.kill_server(signal.Signals[end])
    queue.wait_until(lambda: not alive(pid), "the poller is gone")


def test_poller_that_hangs_ends_with_the_server(queue: GpuQueue, nvml: FakeNvml) -> None:
    nvml.hang("nvmlInitWithFlags")
    queue.waiting("-G", 1, "true")
    pid = poller(queue)
    queue.kill_server()
    queue.wait_until(lambda: not alive(pid), "the poller is gone")


def test_poller_killed(queue: GpuQueue) -> None:
    queue.learn()
    _, gate = queue.hold("-G", 8)
    job = queue.waiting("-G", 8, "true")
    for _ in range(2):
        pid = poller(queue)
        kill(pid)
        queue.wait_until(lambda pid=pid: queue.monitors() not in ([], [pid]), "another one")
    assert goes_on(queue)
    gate.open()
    assert queue.wait(job) == 0


def test_signals_to_the_group_of_the_server_are_not_for_the_poller(queue: GpuQueue) -> None:
    queue.learn()
    assert os.getpgid(poller(queue)) != os.getpgid(queue.server_pid())


def test_wrong_timeout(queue: GpuQueue) -> None:
    assert "TS_GPU_TIMEOUT" in queue.refused("-S", env={"TS_GPU_TIMEOUT": "0"})
    assert "TS_GPU_TIMEOUT" in queue.refused("-S", env={"TS_GPU_TIMEOUT": "soon"})


# ---- one device -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_device_that_hangs(queue: GpuQueue, nvml: FakeNvml) -> None:
    """It is left out; the others go on, and after a while it is asked again."""
    queue.learn()
    holder, gate = queue.hold("-G", 8)
    all_of_them = queue.waiting("-G", 8, "true")
    nvml.hang("nvmlDeviceGetMemoryInfo", 3)
    queue.wait_until(lambda: queue.log_lines("GPU 3 is not available"))
    gate.open()
    assert queue.wait(holder) == 0
    assert goes_on(queue)
    assert queue.wait(queue.submit("-G", 7, "true")) == 0
    queue.wait_until(lambda: "1 is not available" in queue.why(all_of_them))
    nvml.heal()
    assert queue.wait(all_of_them) == 0
    assert len(queue.log_lines("GPU 3 is not available")) == 1
    assert len(queue.log_lines("GPU 3 answers again")) == 1


def test_device_that_hangs_from_the_beginning(queue: GpuQueue, nvml: FakeNvml) -> None:
    nvml.hang("nvmlDeviceGetUUID", 5)
    job = queue.waiting("-G", 7, "true")
    assert queue.wait(job) == 0
    assert 5 not in queue.gpus(job)
    assert len(queue.log_lines("GPU 5 is not available: NVML does not answer")) == 1


def test_device_at_which_it_crashes(queue: GpuQueue, nvml: FakeNvml) -> None:
    nvml.crash("nvmlDeviceGetMemoryInfo", 0)
    nvml.crash("nvmlDeviceGetMemoryInfo", 6)
    job = queue.waiting("-G", 6, "true")
    assert queue.wait(job) == 0
    assert queue.gpus(job) == [1, 2, 3, 4, 5, 7]
    assert [len(queue.log_lines(f"GPU {number} is not available")) for number in (0, 6)] == [1, 1]
    assert goes_on(queue)


def test_lost_device(queue: GpuQueue, nvml: FakeNvml) -> None:
    queue.learn()
    holder, gate = queue.hold("-g", "2")
    nvml.set(2, lost=True)
    waits = queue.waiting("-G", 8, "true")
    queue.wait_until(lambda: queue.log_lines("GPU 2 is not available"))
    gate.open()
    assert queue.wait(holder) == 0, "the job that has it is not touched"
    assert queue.wait(queue.submit("-G", 7, "true")) == 0
    queue.wait_until(lambda: "1 is not available" in queue.why(waits))
    nvml.set(2, lost=False)
    assert queue.wait(waits) == 0
    assert len(queue.log_lines("GPU 2 is not available")) == 1
    assert len(queue.log_lines("GPU 2 answers again")) == 1


def test_what_a_job_is_told_of_a_gpu_that_does_not_answer(queue: GpuQueue, nvml: FakeNvml) -> None:
    """That, and not that TS_VISIBLE_DEVICES leaves it out; also if it has never said who it is."""
    nvml.resize(3)
    nvml.set(1, lost=True)
    waits = queue.waiting("-G", 3, "true")
    said = r"GPU 1 has not answered for \d+ s: GPU is lost"
    queue.wait_until(lambda: re.search(f"^{said}$", queue.why(waits), re.MULTILINE), "--why says so")
    more = "it waits until there are more"
    told = queue.run("-G", 3, "true").stderr
    assert re.fullmatch(rf"ts: warning: the job needs 3 GPUs and the machine has 3; {said}; {more}\n", told)
    assert queue.run("-G", 2, "true").stderr == ""
    told = queue.run("-g", 1, "true").stderr
    there = "are known on this machine"
    assert re.fullmatch(rf"ts: warning: not all of the GPUs 1 {there}; {said}; the job waits until .*\n", told)
    nvml.set(1, lost=False)
    assert queue.wait(waits) == 0
    _, gate = queue.hold("-g", 0)
    nvml.set(1, lost=True)
    waits = queue.waiting("-G", 3, "true")
    queue.wait_until(lambda: re.search(f"^{said}$", queue.why(waits), re.MULTILINE), "--why says so")
    told = queue.run("-G", 3, "true").stderr
    assert re.fullmatch(rf"ts: warning: the job needs 3 GPUs and the machine has 3; {said}; {more}\n", told)
    gate.open()


def test_gpus_that_wake_up_one_after_the_other(queue: GpuQueue, nvml: FakeNvml) -> None:
    """Longer in all than the server's patience with one."""
    nvml.delay("nvmlDeviceGetHandleByIndex", ms=300)
    job = queue.waiting("-G", 8, "true")
    assert queue.wait(job) == 0
    assert queue.log_lines("not available") == queue.log_lines("no GPU") == []


# ---- NVML as a whole ------------------------------------------------------------------------------------------------


def heals(queue: GpuQueue, nvml: FakeNvml, *, says: str) -> None:
    """A GPU job waits for NVML, which is in trouble, and runs when it is not any more."""
    job = queue.waiting("-G", 8, "true")
    queue.wait_until(lambda: queue.log_lines("no GPU is available", says), f"the log says {says}")
    assert says in queue.why(job)
    assert goes_on(queue)
    before = queue.monitors()
    queue.wait_until(lambda: queue.monitors() != before or before, "it goes on trying")
    nvml.heal()
    assert queue.wait(job) == 0
    assert len(queue.log_lines("no GPU is available")) == 1
    assert len(queue.log_lines("NVML answers again")) == 1


@pytest.mark.slow
def test_init_that_hangs(queue: GpuQueue, nvml: FakeNvml) -> None:
    nvml.hang("nvmlInitWithFlags")
    heals(queue, nvml, says="NVML does not answer")


def test_init_that_crashes(queue: GpuQueue, nvml: FakeNvml) -> None:
    nvml.crash("nvmlInitWithFlags")
    heals(queue, nvml, says="the process that asks NVML")


def test_init_that_fails(queue: GpuQueue, nvml: FakeNvml) -> None:
    nvml.error("nvmlInitWithFlags", code=UNKNOWN_ERROR)
    heals(queue, nvml, says="Unknown Error")


def test_driver_that_was_replaced(queue: GpuQueue, nvml: FakeNvml) -> None:
    """Its library no longer fits: only a new process can help, and the reason stays the one that was told."""
    nvml.error("nvmlInitWithFlags", code=VERSION_MISMATCH)
    job = queue.waiting("-G", 1, "true")
    first = poller(queue)
    queue.wait_until(lambda: queue.monitors() not in ([], [first]), "another one")
    assert "the driver was replaced" in queue.why(job)
    nvml.heal()
    assert queue.wait(job) == 0
    assert len(queue.log_lines("no GPU is available: the driver was replaced")) == 1
    assert len(queue.log_lines("no GPU is available")) == 1


def test_every_device_lost(queue: GpuQueue, nvml: FakeNvml) -> None:
    nvml.resize(1)
    queue.learn()
    nvml.set(0, lost=True)
    _, gate = queue.hold("-g", 0)
    job = queue.waiting("-G", 1, "true")
    queue.wait_until(lambda: queue.log_lines("no GPU is available"))
    gate.open()
    assert goes_on(queue)
    nvml.set(0, lost=False)
    assert queue.wait(job) == 0
    for once in ("GPU 0 is not available", "no GPU is available", "GPU 0 answers again", "NVML answers again"):
        assert len(queue.log_lines(once)) == 1, once


def test_driver_reloaded(queue: GpuQueue, nvml: FakeNvml) -> None:
    queue.learn()
    _, gate = queue.hold("-G", 8)
    job = queue.waiting("-G", 8, "true")
    nvml.reload()
    gate.open()
    assert queue.wait(job) == 0
    again = queue.submit("-G", 8, "true")
    assert queue.wait(again) == 0


def test_jobs_that_name_their_gpus_need_no_answer(queue: GpuQueue, nvml: FakeNvml) -> None:
    """They are known from before; and they are addressed by UUID, since indices may have changed."""
    queue.learn()
    _, gate = queue.hold("-G", 8)
    waits = queue.waiting("-G", 1, "true")
    nvml.error("nvmlDeviceGetCount", code=UNKNOWN_ERROR)
    queue.wait_until(lambda: queue.log_lines("no GPU is available"))
    job = queue.submit("-g", "4,2", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
    assert queue.wait(job) == 0
    assert queue.output(job).strip() == f"{nvml.uuid(4)},{nvml.uuid(2)}"
    gate.open()
    nvml.heal()
    assert queue.wait(waits) == 0
