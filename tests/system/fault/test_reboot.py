"""The machine was started anew, or is another one: nothing of before lives, and what its table says of processes means
others now."""

import os
import re
import shutil
import subprocess

import pytest

from support.fake_nvml import FakeNvml
from support.fault_queue import is_free
from support.layouts import tsf_run
from support.processes import alive, kill
from support.state_files import ENTRY, changed, entries
from system.fault.test_storm import processes


@pytest.fixture
def gpu_queue(queue):
    queue.give_gpus(FakeNvml(queue.directory / "nvml", devices=2))
    queue.environment["TS_SLOTS"] = "4"
    return queue


def reboot(queue, recorder):
    """All processes end at once; the next server finds another boot."""
    server, runners = queue.server(), list(queue.runners().values())
    kill(server, 19)
    for pid in (*runners, *processes(queue), server):
        kill(pid)
    for pid in (*runners, server):
        queue.until_dead(pid)
    queue.wait_until(lambda: not processes(queue), "nothing lives")
    boot = queue.directory / "boot"
    boot.write_text("another boot\n")
    queue.environment |= {"LD_PRELOAD": str(recorder), "TSFAST_BOOT_ID_FILE": str(boot)}


def give_pids_to_others(queue):
    """The pids of the jobs that ran belong to this process now, and even its start time fits."""
    with open("/proc/self/stat") as stat:
        ticks = int(stat.read().rpartition(")")[2].split()[19])
    for entry in entries(queue.state_dir):
        with changed(queue.state_dir / "runs", tsf_run, entry * ENTRY) as run:
            run.pid, run.start_ticks = os.getpid(), ticks


@pytest.mark.parametrize("durable", [False, True])
def test_reboot(gpu_queue, recorder, durable):
    queue = gpu_queue
    queue.environment["TS_DURABLE"] = str(int(durable))
    queue.start_server()
    ids = {"ended": queue.job("ended", "exit 3")}
    queue.wait(ids["ended"])
    ids |= {name: queue.job(name, queue.until_opened(name), "-G", 1) for name in ("gpu", "gpu-too")}
    ids["plain"] = queue.job("plain", queue.until_opened("plain"))
    for name in ("gpu", "gpu-too", "plain"):
        queue.until_running(ids[name])
    assert not any(map(is_free, queue.leases.iterdir()))
    ids["after"] = queue.job("after", "exit 4", "-D", ids["gpu"])
    ids["skipped"] = queue.job("skipped", "true", "-W", ids["plain"])
    ids["next-gpu"] = queue.job("next-gpu", "exit 5", "-G", 2)
    socket = queue.environment["TS_SOCKET"]
    reboot(queue, recorder)
    assert os.path.exists(socket), "its name is left; nobody is behind it"
    give_pids_to_others(queue)
    queue.start_server()
    for name in ("gpu", "gpu-too", "plain"):
        assert queue.wait(ids[name]) == 255
        assert "lost: the machine stopped while it ran" in queue.details(ids[name])
        assert f"job {ids[name]}: lost" in queue.log()
    assert queue.wait(ids["ended"]) == 3
    assert queue.wait(ids["after"]) == 4
    assert queue.wait(ids["skipped"]) == 255
    assert queue.wait(ids["next-gpu"]) == 5, "both GPUs are free again"
    assert sorted(queue.started()) == ["after", "ended", "gpu", "gpu-too", "next-gpu", "plain"]
    queue.wait_until(lambda: not entries(queue.state_dir), "the entries are free")
    queue.wait_until(lambda: all(map(is_free, queue.leases.iterdir())), "the leases are free")
    assert alive(os.getpid())


def test_result_of_before_the_reboot_counts(gpu_queue, recorder):
    queue = gpu_queue
    queue.start_server()
    job = queue.job("gpu", f"{queue.until_opened('gpu')}; exit 6", "-G", 1)
    queue.until_running(job)
    queue.kill_server()
    queue.open_gate("gpu")
    queue.wait_until(lambda: not queue.runners(), "the runner leaves the result")
    queue.environment |= {"LD_PRELOAD": str(recorder), "TSFAST_BOOT_ID_FILE": str(queue.directory / "boot")}
    (queue.directory / "boot").write_text("another boot\n")
    assert queue.wait(job) == 6
    assert re.search(r"^GPUs?", queue.details(job), re.MULTILINE), "the record of what it was granted"
    assert queue.wait(queue.job("next", "exit 7", "-G", 2)) == 7


def test_queue_copied_from_another_host(queue, recorder):
    """While jobs ran there: here they are lost, the queued ones go on, and no process of the same pid is touched."""
    queue.start_server()
    running = queue.job("running", queue.until_opened("running"))
    pid = queue.until_running(running)
    queued = queue.job("queued", "exit 4", "-D", running)
    other = queue.directory / "other"
    shutil.copytree(queue.state_dir, other)
    queue.kill_server()
    queue.state_dir.rename(queue.directory / "state-of-the-host")
    other.rename(queue.state_dir)
    queue.environment |= {"LD_PRELOAD": str(recorder), "TSFAST_BOOT_ID_FILE": str(queue.directory / "boot")}
    (queue.directory / "boot").write_text("another boot\n")
    queue.start_server()
    assert queue.wait(running) == 255 and "lost: the machine stopped while it ran" in queue.details(running)
    assert queue.wait(queued) == 4
    assert queue.ts("-k", running, code=None).startswith("ts: ")
    assert queue.ts("--cancel", running, code=None).startswith("ts: ") and alive(pid)
    queue.open_gate("running")
    queue.until_dead(pid)
    assert queue.started() == ["running", "queued"]


@pytest.mark.root
def test_pid_of_a_job_that_another_process_has_now(queue):
    """On the same boot: the start time tells them apart. The other one is neither waited for nor signalled."""
    server = queue.start_server()
    job = queue.job("one", queue.until_opened("one"))
    pid = queue.until_running(job)
    runner = queue.runner_of(pid)
    kill(server, 19)
    for victim in (runner, server, pid):
        queue.kill(victim)
    queue.wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "its pid is free")
    others = []

    def has_its_pid():
        with open("/proc/sys/kernel/ns_last_pid", "w") as last:
            last.write(str(pid - 1))
        others.append(subprocess.Popen(["sleep", "1000"]))
        return others[-1].pid == pid

    try:
        queue.wait_until(has_its_pid, "a process of the same pid")
        queue.start_server()
        assert queue.wait(job) == 255 and "lost" in queue.details(job)
        queue.ts("-k", job, code=None)
        queue.ts("--cancel", job, code=None)
        assert others[-1].poll() is None
        assert queue.wait(queue.job("two", "exit 3")) == 3
    finally:
        for process in others:
            process.kill()
            process.wait()
