"""The first caller must not decide for the others: what a server inherits from the call that starts it is taken off as
far as the kernel allows; who gets less than they have is told; what cannot work is refused."""

import ctypes
import os
import re
import resource
import signal
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import tsfast
from cli.test_doctor import look, told
from support.installation import BIN
from support.patience import wait_until
from support.queues import Queue

LIBC = ctypes.CDLL(None, use_errno=True)
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
CAP_SYS_NICE, CAP_SYS_RESOURCE = 23, 24
ADDR_NO_RANDOMIZE = 0x0040000
IOPRIO_IDLE = 3 << 13
IOPRIO_SET, IOPRIO_GET = {"x86_64": (251, 252), "aarch64": (30, 31)}[os.uname().machine]
MEBIBYTE = 1 << 20

Limits = dict[int, tuple[int, int]]


def may_lift() -> bool:
    """Whether this user may raise hard limits: root, unless a container forbids it."""
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 1))
            os._exit(0)
        except (OSError, ValueError):
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def bound(limits: Limits | None = None, *, may_lift: bool = False, nice: int = 0) -> Callable[[], None]:
    """For preexec_fn: these limits, and, as for most users, no right to raise them again."""

    def act() -> None:
        if not may_lift:
            for right in (CAP_SYS_NICE, CAP_SYS_RESOURCE):
                LIBC.prctl(PR_CAPBSET_DROP, right, 0, 0, 0)
            resource.setrlimit(resource.RLIMIT_NICE, (0, 0))
        os.nice(nice)
        for number, values in (limits or {}).items():
            resource.setrlimit(number, values)

    return act


def hard(number: int, value: int) -> Limits:
    return {number: (value, value)}


def shown(number: int) -> str:
    own = resource.getrlimit(number)[1]
    return "unlimited" if own == resource.RLIM_INFINITY else str(own)


def warning(*differences: str) -> str:
    return (
        f"ts: warning: jobs get no more than the server was started with, and you have more: {', '.join(differences)}; "
        "`tsfast stop`, and the next call starts a server with yours (the queue is kept)\n"
    )


def start_with(queue: Queue, act: Callable[[], None]) -> None:
    done = queue.run("true", preexec_fn=act)
    assert (done.returncode, done.stdout) == (0, "0\n"), done


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RLIMIT_CPU", 1000),
        ("RLIMIT_FSIZE", 512 * MEBIBYTE),
        ("RLIMIT_DATA", 512 * MEBIBYTE),
        ("RLIMIT_AS", 4096 * MEBIBYTE),
        ("RLIMIT_NOFILE", 256),
        ("RLIMIT_CORE", 4096),
        ("RLIMIT_MEMLOCK", 4096),
    ],
)
def test_lower_limit_is_told(queue: Queue, name: str, value: int) -> None:
    """In one line of each call that has more, with the limit, the server's value and the caller's."""
    number = getattr(resource, name)
    start_with(queue, bound(hard(number, value)))
    expected = warning(f"{name} {value} (yours is {shown(number)})")
    done = queue.run("cat", "/proc/self/limits")
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", expected)
    assert queue.wait(1) == 0
    assert re.search(rf"^Max .* \S+ +{value} ", queue.output(1), re.MULTILINE)


def test_one_warning_for_a_call(queue: Queue, api: tsfast.Queue) -> None:
    """Not for each job of it, not for who has as little, not for questions."""
    act = bound(hard(resource.RLIMIT_CPU, 1000) | hard(resource.RLIMIT_CORE, 4096))
    start_with(queue, act)
    line = warning(
        f"RLIMIT_CPU 1000 (yours is {shown(resource.RLIMIT_CPU)})",
        f"RLIMIT_CORE 4096 (yours is {shown(resource.RLIMIT_CORE)})",
    )
    assert queue.run("--array", "1-5", "true").stderr == line
    assert queue.run("-f", "true").stderr == line
    assert queue.run("--batch", "-", stdin="true\n" * 50).stderr == line
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ids = api.submit_many([["true", "x" * 1000]] * 12000)  # two frames, for one is 8 MiB
    assert len(ids) == 12000
    assert [(type(one.message), f"ts: warning: {one.message}\n") for one in caught] == [(tsfast.QueueWarning, line)]
    assert queue.run("true", preexec_fn=act).stderr == ""
    for words in (["-l"], ["-w", "0"], ["-q"], ["-s", "0"]):
        assert queue.run(*words).stderr == ""


def test_the_next_server_has_the_limits_of_its_caller(queue: Queue) -> None:
    """What the warning advises."""
    start_with(queue, bound(hard(resource.RLIMIT_CPU, 1000)))
    subprocess.run([BIN / "tsfast", "stop"], env=queue.env(), check=True, capture_output=True)
    job = queue.submit("sh", "-c", "ulimit -Ht")
    assert queue.wait(job) == 0
    assert queue.output(job).strip() == shown(resource.RLIMIT_CPU)


def test_soft_limits_of_the_first_call_bind_nobody(queue: Queue) -> None:
    most = resource.getrlimit(resource.RLIMIT_CPU)[1]
    low = {resource.RLIMIT_CPU: (5, most), resource.RLIMIT_AS: (16 * MEBIBYTE, resource.RLIM_INFINITY)}
    low |= {resource.RLIMIT_FSIZE: (0, resource.RLIM_INFINITY)}
    start_with(queue, bound(low))
    job = queue.submit("sh", "-c", "ulimit -St; ulimit -Sv; ulimit -Sf")
    assert queue.wait(job) == 0
    assert queue.output(job).split() == [shown(resource.RLIMIT_CPU), "unlimited", "unlimited"]


def test_who_may_lift_limits_does(queue: Queue) -> None:
    """Root's server has none of the first caller's; its jobs have their own caller's."""
    lifts = may_lift()
    limits = hard(resource.RLIMIT_CPU, 1000) | hard(resource.RLIMIT_FSIZE, 64 * MEBIBYTE)
    limits |= hard(resource.RLIMIT_NOFILE, 256) | hard(resource.RLIMIT_CORE, 4096)
    start_with(queue, bound(limits, may_lift=True))
    done = queue.run("sh", "-c", "ulimit -Ht; ulimit -Hn; ulimit -Hc")
    assert queue.wait(1) == 0
    text = Path(f"/proc/{queue.server_pid()}/limits").read_text()
    if lifts:
        own = [shown(number) for number in (resource.RLIMIT_CPU, resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)]
        assert (done.stderr, queue.output(1).split()) == ("", own)
        assert re.search(r"^Max cpu time +unlimited +unlimited", text, re.MULTILINE)
        assert re.search(r"^Max file size +unlimited +unlimited", text, re.MULTILINE)
        most = Path("/proc/sys/fs/nr_open").read_text().strip()
        assert re.search(rf"^Max open files +{most} +{most}", text, re.MULTILINE)
    else:
        assert done.stderr.startswith("ts: warning: jobs get no more") and done.stderr.count("\n") == 1
        assert queue.output(1).split()[:2] == ["1000", "256"]


def test_higher_nice_value_is_told(queue: Queue) -> None:
    start_with(queue, bound(nice=10))
    assert queue.run("true", preexec_fn=bound()).stderr == warning("nice value 10 (yours is 0)")
    assert queue.run("true", preexec_fn=bound(nice=10)).stderr == ""
    assert queue.run("true", preexec_fn=bound(nice=15)).stderr == ""


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("RLIMIT_FSIZE", 0, 12 * MEBIBYTE),
        ("RLIMIT_FSIZE", 12 * MEBIBYTE - 1, 12 * MEBIBYTE),
        ("RLIMIT_AS", 20 * MEBIBYTE, 64 * MEBIBYTE),
        ("RLIMIT_DATA", 8 * MEBIBYTE, 32 * MEBIBYTE),
        ("RLIMIT_NOFILE", 20, 64),
        ("RLIMIT_CPU", 1, 2),
    ],
)
def test_limit_that_no_server_can_work_with(queue: Queue, name: str, value: int, least: int) -> None:
    """Refused in one line, and nothing is there afterwards; another call starts the server, which serves this one."""
    before = sorted(queue.directory.iterdir())
    act = bound(hard(getattr(resource, name), value))
    message = queue.refused("true", preexec_fn=act)
    assert re.fullmatch(
        rf"ts: no server can be started by this call: {name} \(ulimit -\w\) is {value}, "
        rf"a server needs {least} at least\n",
        message,
    )
    assert sorted(queue.directory.iterdir()) == before
    assert queue.submit("true") == 0
    if name != "RLIMIT_FSIZE" or value:
        assert queue.submit("true", preexec_fn=act) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RLIMIT_FSIZE", 12 * MEBIBYTE),
        ("RLIMIT_AS", 64 * MEBIBYTE),
        ("RLIMIT_DATA", 32 * MEBIBYTE),
        ("RLIMIT_NOFILE", 64),
    ],
)
def test_least_limit_that_a_server_works_with(queue: Queue, name: str, value: int) -> None:
    act = bound(hard(getattr(resource, name), value))
    assert queue.submit("echo", "x", preexec_fn=act) == 0
    assert queue.wait(0) == 0
    assert queue.output(0) == "x\n"


def test_finite_processor_time_is_told(queue: Queue) -> None:
    """The server works until the kernel kills it; then the next one does, with the limits of its own caller."""
    done = queue.run("true", preexec_fn=bound(hard(resource.RLIMIT_CPU, 2)))
    assert (done.returncode, done.stdout) == (0, "0\n")
    assert done.stderr == (
        "ts: warning: RLIMIT_CPU (ulimit -t) is 2, so the server is killed after so many seconds of processor time; "
        "the queue is kept, and the next call starts another one\n"
    )
    queue.kill_server()  # as the kernel does then
    assert queue.wait(0) == 0
    assert queue.submit("true") == 1


def test_signals_of_limits_do_not_end_the_server(queue: Queue) -> None:
    """Nor are they ignored in jobs."""
    queue.get("-l")
    server = queue.server_pid()
    for number in (signal.SIGXCPU, signal.SIGXFSZ):
        os.kill(server, number)
    job = queue.finish("grep", "SigIgn", "/proc/self/status")
    assert queue.server_pid() == server
    assert int(queue.output(job).split()[1], 16) == 0


def test_table_that_grows_to_the_limit(queue: Queue, api: tsfast.Queue) -> None:
    """The submission fails, with the reason; the server and the jobs that are there do not."""
    start_with(queue, bound(hard(resource.RLIMIT_FSIZE, 12 * MEBIBYTE)))
    server = queue.server_pid()
    with warnings.catch_warnings(), pytest.raises(tsfast.QueueError, match="File too large"):
        warnings.simplefilter("ignore")
        for _ in range(4):
            api.submit_many([["true", "x" * 100000]] * 60)
    assert queue.server_pid() == server
    assert queue.run("-w", "0").returncode == 0


def test_priorities_of_the_first_call_bind_nobody(queue: Queue) -> None:
    """Scheduling class, class of I/O, processors, score for running out of memory, flags of setarch."""

    def act() -> None:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        LIBC.syscall(IOPRIO_SET, 1, 0, IOPRIO_IDLE)
        LIBC.personality(ADDR_NO_RANDOMIZE)
        Path("/proc/self/oom_score_adj").write_text("300")

    start_with(queue, act)
    pid = queue.server_pid()
    assert os.sched_getscheduler(pid) == os.SCHED_OTHER
    assert os.sched_getaffinity(pid) == os.sched_getaffinity(0)
    assert LIBC.syscall(IOPRIO_GET, 1, pid) != IOPRIO_IDLE
    assert int(Path(f"/proc/{pid}/personality").read_text(), 16) & ADDR_NO_RANDOMIZE == 0
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "0\n"
    job = queue.submit("cat", "/proc/self/oom_score_adj")
    assert queue.wait(job) == 0
    assert queue.output(job) == "0\n"


def test_server_of_a_unit_keeps_what_the_unit_says(queue: Queue) -> None:
    """Nice=, OOMScoreAdjust=, LimitCORE= of systemd are meant for the server and its jobs."""

    def act() -> None:
        bound(hard(resource.RLIMIT_CORE, 4096), nice=5)()
        Path("/proc/self/oom_score_adj").write_text("300")

    queue.children.append(
        subprocess.Popen(
            [BIN / "tsfast", "serve"], env=queue.env(), cwd=queue.work, stderr=subprocess.DEVNULL, preexec_fn=act
        )
    )
    wait_until(queue.socket.exists, "the server listens")
    pid = queue.server_pid()
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "300\n"
    assert os.getpriority(os.PRIO_PROCESS, pid) == 5
    line = queue.run("true", preexec_fn=bound()).stderr
    assert "RLIMIT_CORE 4096" in line and "nice value 5 (yours is 0)" in line
    assert line.endswith("; the unit of the server sets it (`tsfast install-service`)\n") and line.count("\n") == 1


def test_doctor_tells_what_jobs_get_from_the_server(queue: Queue) -> None:
    """What no request tells, too."""

    def act() -> None:
        LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        bound(hard(resource.RLIMIT_CPU, 1000), nice=10)()

    start_with(queue, act)
    (found,) = told(look(queue), "inherited", "warning")
    for part in ("RLIMIT_CPU 1000 (here", "nice value 10 (here 0)", "no_new_privs", "; `tsfast stop`, and the next"):
        assert part in found
    subprocess.run([BIN / "tsfast", "stop"], env=queue.env(), check=True, capture_output=True)
    assert told(look(queue), "inherited", "ok") == []  # no server
    queue.get("true")
    found = look(queue)
    assert told(found, "inherited", "warning") == []
    assert told(found, "inherited", "ok")[0].startswith("all is as here")


@pytest.mark.root
def test_doctor_tells_of_another_namespace(queue: Queue) -> None:
    done = subprocess.run(
        ["unshare", "--mount", queue.program, "true"], env=queue.env(), cwd=queue.work, capture_output=True
    )
    assert (done.returncode, done.stdout) == (0, b"0\n"), done
    assert "another mount namespace" in told(look(queue), "inherited", "warning")[0]


def test_time_zone_and_locale_of_the_first_call_are_its_own(queue: Queue) -> None:
    queue.get("true", env={"TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8"})
    zone = "echo $TZ $LC_ALL; date +%z"
    job = queue.finish("--log", "{date}.log", "sh", "-c", zone, env={"TZ": "UTC", "LC_ALL": "C"})
    assert queue.output(job).split() == ["UTC", "C", "+0000"]
