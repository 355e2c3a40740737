"""What kills or breaks the older Task Spooler, each reproduced on it; one test a line of that list."""

import os
import subprocess

import pytest

from server.test_protocol import idle_switches
from support.fake_nvml import FakeNvml
from support.gpu_queue import GpuQueue
from support.installation import BIN
from support.patience import wait_until
from support.processes import alive, sleeping
from support.queues import Queue
from support.wire import connect, request


def still_fine(queue: Queue, server: int) -> None:
    assert queue.servers() == [server]
    job = queue.submit("-N", "0", "sh", "-c", "exit 3")
    assert queue.wait(job) == 3


@pytest.fixture
def server(queue: Queue) -> int:
    queue.get("-l")
    return queue.server_pid()


def test_job_without_slots(queue: Queue, server: int) -> None:
    assert queue.wait(queue.submit("-N", "0", "true")) == 0
    still_fine(queue, server)


def test_urgent_on_the_first_job(queue: Queue, server: int) -> None:
    blocker, gate = queue.blocker()
    queue.get("-r", queue.submit("true"))
    first = queue.submit("true")
    queue.get("-u", first)
    gate.open()
    assert queue.wait(first) == 0
    queue.refused("-u", blocker)
    still_fine(queue, server)


def test_urgent_on_the_running_first_job(queue: Queue, server: int) -> None:
    running, _ = queue.blocker()
    assert "not queued" in queue.refused("-u", running)
    still_fine(queue, server)


def test_killed_waiting_client_while_nothing_runs(queue: Queue, server: int) -> None:
    job = queue.run("-N", "5", "true").stdout.strip()
    waiter = queue.start("-w", job)
    queue.wait_until(lambda: sleeping(waiter.pid))
    waiter.kill()
    waiter.wait()
    still_fine(queue, server)


def test_many_ids_and_then_a_list(queue: Queue, server: int) -> None:
    blocker, gate = queue.blocker()
    ids = [blocker, *(queue.submit("true") for _ in range(20))]
    job = queue.submit("-D", ",".join(map(str, ids)), "echo", "after")
    row = next(line for line in queue.get().splitlines() if line.startswith(f"{job} "))
    assert row.endswith(f"[{ids[0]}-{ids[-1]}]&& echo after")
    apart = queue.submit("-D", ",".join(map(str, ids[::2])), "echo", "after")
    row = next(line for line in queue.get().splitlines() if line.startswith(f"{apart} "))
    assert row.endswith(f"[{','.join(map(str, ids[::2]))}]&& echo after")
    gate.open()
    assert queue.wait(job) == 0
    still_fine(queue, server)


def test_list_of_60000_ids(queue: Queue, server: int) -> None:
    blocker, gate = queue.blocker()
    repeated = ",".join([str(blocker)] * 30000)
    job = queue.submit("-D", repeated, "-D", repeated, "true")
    assert f"[{blocker}]&& true" in queue.get()
    gate.open()
    assert queue.wait(job) == 0
    still_fine(queue, server)


def test_client_that_dies_in_its_message_leaves_no_spin(queue: Queue, server: int) -> None:
    with connect(queue) as client:
        client.sendall(request("true")[:20])
    assert idle_switches(queue) < 20
    still_fine(queue, server)


def test_zero_bytes_on_the_socket(queue: Queue, server: int) -> None:
    with connect(queue) as client:
        client.sendall(b"\0\0\0")
    still_fine(queue, server)


@pytest.mark.parametrize("code", [128, 200, 255])
def test_exit_codes_above_127(queue: Queue, code: int) -> None:
    job = queue.finish("sh", "-c", f"exit {code}")
    assert queue.get().splitlines()[1].split()[3] == str(code)
    assert queue.get("-i", job).splitlines()[0] == f"Exit status: died with exit code {code}"


def test_stderr_apart_loses_nothing(queue: Queue) -> None:
    job = queue.finish("-E", "sh", "-c", "for i in $(seq 1000); do echo $i; echo $i >&2; done")
    path = queue.get("-o", job)
    expected = "".join(f"{number}\n" for number in range(1, 1001))
    for name in (path, f"{path}.e"):
        with open(name) as file:
            assert file.read() == expected


def test_gpu_99_of_8(gpu_queue: GpuQueue) -> None:
    queue = gpu_queue
    queue.learn()
    call = queue.run("-g", "99", "true")
    assert (call.returncode, call.stderr.count("\n")) == (0, 1) and "99" in call.stderr
    assert queue.get("-s", call.stdout.strip()) == "allocating"
    assert queue.wait(queue.submit("-G", "8", "true")) == 0
    still_fine(queue, queue.server_pid())


def test_dying_client_of_named_gpus_frees_no_other_jobs(gpu_queue: GpuQueue) -> None:
    queue = gpu_queue
    queue.learn()
    _, gate = queue.blocker("-G", "8")
    client = queue.start("-f", "-g", "0", "sleep", "60")
    wait_until(lambda: len(queue.get("-g").splitlines()) == 3, "both run")
    client.kill()
    client.wait()
    waiting = queue.submit("-G", "1", "true")
    queue.get("-k", waiting - 1)
    queue.wait(waiting - 1)
    assert queue.get("-s", waiting) == "allocating"
    gate.open()
    assert queue.wait(waiting) == 0


@pytest.mark.parametrize("failure", ["error", "crash", "hang"])
def test_failing_nvml_stops_no_cpu_job(gpu_queue: GpuQueue, nvml: FakeNvml, failure: str) -> None:
    if failure == "error":
        nvml.error("nvmlInitWithFlags", code=999)
    else:
        getattr(nvml, failure)("nvmlInitWithFlags")
    waiting = gpu_queue.waiting("-G", "1", "true")
    still_fine(gpu_queue, gpu_queue.server_pid())
    assert gpu_queue.state(waiting) == "allocating"
    gpu_queue.get("-r", waiting)


def test_one_server_after_a_racing_start(queue: Queue) -> None:
    callers = [queue.start("true") for _ in range(40)]
    assert [caller.wait(30) for caller in callers] == [0] * 40
    assert len(queue.servers()) == 1
    assert len(queue.ids()) == 40


def test_killed_server_keeps_the_queue(queue: Queue) -> None:
    running, gate = queue.blocker()
    queued = queue.submit("true")
    queue.kill_server()
    assert queue.ids() == [running, queued]
    gate.open(2)
    assert (queue.wait(running), queue.wait(queued)) == (2, 0)


@pytest.mark.slow
def test_thousands_of_queued_jobs_block_nobody(queue: Queue, server: int) -> None:
    queue.blocker()
    subprocess.run(
        ["sh", "-c", f"seq 3000 | xargs -n 1 {BIN}/ts true"],
        env=queue.env(), stdout=subprocess.DEVNULL, check=True, timeout=60,
    )  # fmt: skip
    assert queue.get("-q") == "3000"
    still_fine(queue, server)


def test_foreground_job_with_two_waiters(queue: Queue, server: int) -> None:
    gate = queue.gate()
    caller = queue.start("-nf", *gate.command)
    queue.wait_until(lambda: queue.ids() and "Time running" in queue.info(0))
    waiters = [queue.start("-w", "0") for _ in range(2)]
    queue.wait_until(lambda: all(sleeping(waiter.pid) for waiter in waiters))
    gate.open(5)
    assert [child.wait(20) for child in (caller, *waiters)] == [5, 5, 5]
    assert queue.ids() == []
    still_fine(queue, server)


def test_no_ended_job_is_kept(queue: Queue) -> None:
    """TS_MAXFINISHED=0."""
    queue.get("-l", env={"TS_MAXFINISHED": "0"})
    blocker, gate = queue.blocker()
    waiter = queue.start("-w", blocker)
    after = queue.submit("-W", blocker, "sh", "-c", "echo fine > out")
    queue.wait_until(lambda: sleeping(waiter.pid))
    gate.open()
    assert waiter.wait(20) == 0
    queue.wait_until(lambda: queue.ids() == [])
    assert (queue.work / "out").read_text() == "fine\n"
    assert "no longer known" in queue.refused("-s", after)


def test_oldest_ended_jobs_are_forgotten_first(queue: Queue) -> None:
    queue.get("-l", env={"TS_MAXFINISHED": "3"})
    for _ in range(6):
        queue.wait(queue.submit("true"))
    assert queue.ids() == [3, 4, 5]


def test_killed_client_of_a_queued_job_while_nothing_runs(queue: Queue, server: int) -> None:
    caller = queue.start("-f", "-N", "5", "true")
    queue.wait_until(lambda: queue.ids() == [0])
    caller.kill()
    queue.wait_until(lambda: queue.ids() == [])
    still_fine(queue, server)


def test_half_a_submission_held_open(queue: Queue, server: int) -> None:
    with connect(queue) as client:
        client.sendall(request("true")[:30])
        still_fine(queue, server)


def test_long_list_into_a_pipe_that_nobody_reads(queue: Queue, server: int) -> None:
    queue.blocker()
    for _ in range(40):
        queue.submit("echo", "x" * 100_000)
    reader = queue.start("-l")
    assert reader.stdout.read(2) == b"ID"
    still_fine(queue, server)
    reader.stdout.close()
    reader.wait(20)
    still_fine(queue, server)
    assert len(queue.log()) < 1000


def test_full_queue_with_waiting_submitters(queue: Queue) -> None:
    queue.get("-l", env={"TS_MAXCONN": "1"})
    job, gate = queue.blocker()
    waiting = [queue.start("true") for _ in range(6)]
    queue.wait_until(lambda: all(sleeping(child.pid) for child in waiting))
    assert queue.state(job) == "running"
    gate.open()
    assert [child.wait(20) for child in waiting] == [0] * 6
    _, _ = queue.blocker()
    stuck = queue.start("true")
    queue.wait_until(lambda: sleeping(stuck.pid))
    assert queue.get("-K") == ""
    assert stuck.wait(20) == 255


def test_killed_client_of_a_running_job_frees_no_slot(queue: Queue, server: int) -> None:
    caller = queue.start("-nf", "sleep", "1000")
    queue.wait_until(lambda: queue.ids() and "Time running" in queue.info(0))
    pid = int(queue.get("-p", 0))
    queued = queue.submit("true")
    caller.kill()
    caller.wait()
    assert queue.state(queued) == "queued" and alive(pid)
    still_fine(queue, server)
    os.kill(pid, 9)
    assert queue.wait(queued) == 0


def test_removal_of_a_job_that_somebody_waits_for(queue: Queue, server: int) -> None:
    queue.blocker()
    job = queue.submit("true")
    waiter = queue.start("-w", job)
    queue.wait_until(lambda: sleeping(waiter.pid))
    queue.get("-r", job)
    assert waiter.wait(20) == 255
    still_fine(queue, server)


@pytest.mark.root
def test_full_disk_and_read_only_log_directory(queue: Queue, server: int, small_disk: os.PathLike[str]) -> None:
    queue.get("--set_logdir", small_disk)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    job = queue.finish("true")
    assert queue.jobs()[0]["E-Level"] != 0
    assert "Read-only file system" in queue.get("-i", job)
    queue.get("--set_logdir", queue.out)
    still_fine(queue, server)


@pytest.mark.parametrize("length", range(104, 156, 7))
def test_long_socket_path(queue: Queue, length: int) -> None:
    directory = queue.directory / ("d" * (length - len(str(queue.directory)) - 8))
    queue.environment["TS_SOCKET"] = f"{directory}/socket"
    assert len(queue.environment["TS_SOCKET"]) == length
    directory.mkdir()
    assert queue.submit("true") == 0
    assert queue.run("-w").returncode == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_submission_with_closed_descriptors(queue: Queue, closed: str) -> None:
    done = subprocess.run(["sh", "-c", f"ts echo out {closed}"], env=queue.env(), capture_output=True, timeout=20)
    assert done.returncode == 0
    assert queue.wait(0) == 0
    assert queue.output(0) == "out\n"


def test_wide_job_ahead_of_narrow_ones(queue: Queue) -> None:
    queue.get("-S", "2")
    _, gate = queue.blocker()
    _, other = queue.blocker()
    wide = queue.submit("-N", "2", "true")
    narrow = [queue.submit("true") for _ in range(20)]
    gate.open()
    other.open()
    for job in (wide, *narrow):
        assert queue.wait(job) == 0
    starts = {job["ID"]: job["Start_Time"] for job in queue.jobs()}
    assert starts[wide] <= min(starts[job] for job in narrow)


def test_newline_in_a_label(queue: Queue) -> None:
    queue.finish("-L", "a\nb\x1b[2J", "echo", "c\nd")
    lines = queue.get().splitlines()
    assert len(lines) == 2 and "\x1b" not in lines[1]
    assert len(queue.get("-M", "tab").splitlines()) == 1
    assert queue.jobs()[0]["Label"] == "a\nb\x1b[2J"


def test_json_of_bytes_that_are_no_utf8(queue: Queue) -> None:
    queue.finish("-L", "\udcff", "echo", "\udcff\udc80")
    assert queue.jobs()[0]["ID"] == 0
    queue.get("-M", "json").encode("utf-8")  # no surrogates: what was printed is UTF-8


def test_an_empty_list_read_from_the_table(queue: Queue) -> None:
    """qsort was given NULL; only the sanitizers notice it."""
    header = queue.get("-l")
    shown = subprocess.run([BIN / "tsfast", "-l"], env=queue.env(), capture_output=True, text=True, check=True)
    assert shown.stdout.removesuffix("\n") == header
