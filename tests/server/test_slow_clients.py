"""Callers that are slow, many, stopped, or gone, and a system that has no more descriptors or processes to give."""

import os
import resource
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.processes import sleeping
from support.queues import Queue
from support.wire import EXIT, code, connect, drained, frame, request

IDLE = 5000
WAITERS = 2000
TICKS_S = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = max(hard, IDLE + 500)  # more than is allowed takes root
    resource.setrlimit(resource.RLIMIT_NOFILE, (enough, enough))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def seconds_used(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_S


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def rss_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_thousands_of_idle_connections(queue: Queue, many_descriptors: None) -> None:
    """They cost a descriptor and a little memory each, and nobody else any time."""
    queue.finish("true")
    server = queue.server_pid()
    queue.wait_until(lambda: sleeping(server))
    before, memory = descriptors(server), rss_kb(server)
    clients = [connect(queue) for _ in range(IDLE)]
    queue.wait_until(lambda: descriptors(server) == before + IDLE, "all are accepted")
    assert rss_kb(server) - memory < IDLE  # KiB each, with what the allocator takes
    assert queue.wait(queue.submit("sh", "-c", "exit 3")) == 3
    for client in clients[::2]:
        client.sendall(request("-S")[:100])  # half of them begin to speak
    assert queue.wait(queue.submit("true")) == 0
    for client in clients:
        client.close()
    queue.wait_until(lambda: descriptors(server) <= before + 1)
    assert queue.server_pid() == server


def test_thousands_of_waiters_on_one_job(queue: Queue, many_descriptors: None) -> None:
    job, gate = queue.blocker()
    server = queue.server_pid()
    before = descriptors(server)
    clients = [connect(queue) for _ in range(WAITERS)]
    for client in clients:
        client.sendall(request("-w", str(job)))
    queue.wait_until(lambda: descriptors(server) >= before + WAITERS and sleeping(server))
    for client in clients[: WAITERS // 2]:
        client.close()
    assert queue.get("-S") == "1"
    gate.open(7)
    answers = {drained(client) for client in clients[WAITERS // 2 :]}
    assert answers == {frame(EXIT, code(7))}
    for client in clients:
        client.close()
    queue.wait_until(lambda: descriptors(server) <= before + 1)


@pytest.mark.unsanitized("ASan keeps what was freed for a while")
def test_readers_that_never_read(queue: Queue) -> None:
    """Long lists for callers that take none of them: what is kept for each is bounded, and goes with the caller."""
    queue.blocker()
    for _ in range(20):
        queue.submit("echo", "x" * 100_000)
    server = queue.server_pid()
    memory = rss_kb(server)
    clients = [connect(queue) for _ in range(20)]
    for client in clients:
        client.sendall(request("-l"))
        client.sendall(request("-l"))  # nor may one call be followed by another
    queue.wait_until(lambda: sleeping(server))
    assert queue.get("-S") == "1"
    assert rss_kb(server) - memory < 20 * 10_000
    for client in clients:
        client.close()
    queue.wait_until(lambda: rss_kb(server) - memory < 20_000, "the memory is given back")


def test_a_caller_stopped_in_the_middle_of_a_batch(queue: Queue) -> None:
    """Others are served meanwhile, and it goes on where it was."""
    queue.blocker()
    script = "for i in $(seq 300); do ts -n true || exit 1; done"
    batch = subprocess.Popen(["bash", "-c", script], env=queue.env(), cwd=queue.work, start_new_session=True)
    queue.children.append(batch)
    queue.wait_until(lambda: int(queue.get("-q") or 0) >= 20)
    os.killpg(batch.pid, signal.SIGSTOP)
    queue.wait_until(lambda: stopped(batch.pid))
    queued = int(queue.get("-q"))
    assert queued < 301 and queue.submit("true") >= queued
    os.killpg(batch.pid, signal.SIGCONT)
    assert batch.wait(60) == 0
    assert int(queue.get("-q")) >= 300


@pytest.mark.parametrize("words", [("-c", "0"), ("-w", "0"), ("-nf", "cat")], ids=" ".join)
def test_a_stopped_caller_holds_up_nobody(queue: Queue, words: tuple[str, ...]) -> None:
    queue.get("-S", "2")
    job, gate = queue.blocker()
    caller = queue.start(*words, stdin=subprocess.PIPE)
    queue.wait_until(lambda: sleeping(caller.pid))
    os.kill(caller.pid, signal.SIGSTOP)
    queue.wait_until(lambda: stopped(caller.pid))
    gate.open(4)
    assert queue.wait(job) == 4
    assert queue.wait(queue.submit("sh", "-c", "exit 5")) == 5
    os.kill(caller.pid, signal.SIGCONT)
    caller.stdin.close()
    assert caller.wait(20) == (0 if words[0] == "-nf" else 4)


def test_no_descriptor_left_for_a_start(queue: Queue) -> None:
    """The server has callers, but no descriptor for a new runner: the job stays queued and starts later."""
    message = request("true", cwd=str(queue.work), env=("PATH=/usr/bin:/bin",))
    queue.get("-l")
    server = queue.server_pid()
    with connect(queue) as client:
        client.sendall(message)
        assert b"0\n" in drained(client)
    assert queue.wait(0) == 0
    queue.get("-S", "2")
    queue.blocker()  # takes the idle runner
    _, hard = resource.prlimit(server, resource.RLIMIT_NOFILE)
    with connect(queue) as client:
        client.sendall(message[:-1])
        queue.wait_until(lambda: sleeping(server))
        highest = max(int(fd) for fd in os.listdir(f"/proc/{server}/fd"))
        resource.prlimit(server, resource.RLIMIT_NOFILE, (highest + 1, hard))
        with connect(queue) as other:  # takes what is left below the limit
            other.sendall(request("-S")[:-1])
            queue.wait_until(lambda: sleeping(server))
            resource.prlimit(server, resource.RLIMIT_NOFILE, (first_free(server), hard))
            client.sendall(b"\0")
            assert b"2\n" in drained(client)
            assert at_rest(queue, server)
            resource.prlimit(server, resource.RLIMIT_NOFILE, (hard, hard))
            assert queue.state(2) in ("queued", "running", "finished")
    assert queue.wait(2) == 0


def first_free(pid: int) -> int:
    taken = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
    return next(fd for fd in range(len(taken) + 1) if fd not in taken)


def at_rest(queue: Queue, server: int) -> bool:
    """It does not spin: it uses little of the processor's time while 100 looks at all processes are taken."""
    used = seconds_used(server)
    for _ in range(100):
        queue.processes()
    return seconds_used(server) - used < 0.3


AS_NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
# What lets a second user reach the interpreter of the tests, wherever it is; not what lifts limits.
WITH_FILES = ("--inh-caps", "+dac_override,+dac_read_search", "--ambient-caps", "+dac_override,+dac_read_search")


@pytest.mark.root
def test_no_process_left_for_a_start(queue: Queue) -> None:
    """The system refuses a process: jobs stay queued, the server waits between its tries, and goes on when it may."""
    for path in (queue.directory, queue.out, queue.work):
        os.chown(path, 65534, 65534)

    def ts(*words: object) -> str:
        done = subprocess.run(
            [*AS_NOBODY, *WITH_FILES, queue.program, *map(str, words)],
            env=queue.env(), cwd=queue.work, capture_output=True, timeout=30, text=True,
        )  # fmt: skip
        assert done.stderr == "", done
        return done.stdout.strip() or str(done.returncode)

    ts("-l")
    server = queue.server_pid()
    limit = [*AS_NOBODY, *WITH_FILES, "prlimit", "--pid", str(server)]
    subprocess.run([*limit, "--nproc=0:"], check=True)
    job = ts("sh", "-c", "exit 6")
    assert at_rest(queue, server)
    assert ts("-s", job) == "queued"
    subprocess.run([*limit, "--nproc=10000:"], check=True)
    assert ts("-w", job) == "6"
    assert queue.server_pid() == server


HIDDEN = """
set -e
mount -t tmpfs none /proc
ts -n true
ts sh -c 'exit 3' >/dev/null
set +e
ts -w 1
[ $? -eq 3 ] || exit 41
ts -l | grep -q finished || exit 42
ts -K
"""


@pytest.mark.root
def test_without_proc(queue: Queue) -> None:
    """In containers and chroots /proc can be missing."""
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", HIDDEN], env=queue.env(), cwd=queue.work, capture_output=True, timeout=60
    )
    assert done.returncode == 0, (done, queue.log())


HIDING = """
set -e
mount -t proc -o hidepid=invisible proc /proc
exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps +dac_override,+dac_read_search \\
    --ambient-caps +dac_override,+dac_read_search sh -c '
[ ! -e /proc/1/stat ] || exit 40
ts sh -c "exit 3" >/dev/null
ts -w 0
[ $? -eq 3 ] || exit 41
ts sh -c "read line < fifo; exit 4" >/dev/null
kill -9 $(ts -p 1 >/dev/null && cat "$TS_STATE/log" | sed -n "s/.*serving.*pid \\([0-9]*\\),.*/\\1/p")
echo go > fifo
ts -w 1
[ $? -eq 4 ] || exit 42
ts -K'
"""


@pytest.mark.root
def test_proc_that_hides_processes(queue: Queue) -> None:
    """hidepid: a user sees their own processes only; runners are adopted and jobs waited for all the same."""
    for path in (queue.directory, queue.out, queue.work):
        os.chown(path, 65534, 65534)
    os.mkfifo(queue.work / "fifo")
    os.chown(queue.work / "fifo", 65534, 65534)
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", HIDING], env=queue.env(), cwd=queue.work, capture_output=True, timeout=60
    )
    assert done.returncode == 0, (done, queue.log())


def test_half_a_frame_and_then_silence_of_many(queue: Queue) -> None:
    """Each cut of a request stays open; all of it is answered once the rest comes."""
    queue.get("-l")
    whole = request("-S")
    clients = []
    for cut in range(1, len(whole), 7):
        client = connect(queue)
        client.sendall(whole[:cut])
        clients.append((client, cut))
    assert queue.wait(queue.submit("true")) == 0
    for client, cut in clients:
        client.sendall(whole[cut:])
        assert b"1\n" in drained(client)
        client.close()


def test_a_caller_that_shuts_its_side_down(queue: Queue) -> None:
    job, gate = queue.blocker()
    with connect(queue) as client:
        client.sendall(request("-w", str(job)))
        client.shutdown(socket.SHUT_WR)
        gate.open()
        drained(client)
    assert queue.wait(job) == 0
