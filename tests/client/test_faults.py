"""`tsfast.Queue` and what belongs to it where something is missing: every failure is a QueueError."""

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import tsfast
from support.patience import patient, wait_until
from support.queues import Queue
from tsfast.client.errors import SubmissionInterrupted
from tsfast.client.events import EventStream

# Each opens something, or starts something.
CALLS = """
import asyncio, errno, os, resource, sys, tsfast, tsfast.client.reader, tsfast.location.state, subprocess, select
queue = tsfast.Queue()
async def first(results):
    return [result async for result in results]
calls = {
    "submit": lambda: queue.submit(["true"]),
    "submit_many": lambda: queue.submit_many([["true"]]),
    "submit_lines": lambda: queue.submit_lines(b"true"),
    "ask": lambda: queue.ask("-S"),
    "slots": lambda: queue.slots,
    "cancel": lambda: queue.cancel(0),
    "watch": lambda: queue.watch(),
    "state": lambda: queue.state(0),
    "result": lambda: queue.result(0),
    "job": lambda: queue.job(0),
    "jobs": lambda: queue.jobs(),
    "wait": lambda: queue.wait(0),
    "executor": lambda: tsfast.Executor(queue).submit(int),
}
def told(call):
    try:
        call()
        return "nothing"
    except tsfast.QueueError as error:
        return "QueueError"
    except BaseException as error:
        return repr(error)
"""

NO_DESCRIPTORS = """
import cloudpickle, numpy
tsfast.Executor
for name, call in calls.items():
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    was = told(call)
    for fd in taken:
        os.close(fd)
    print(name, was)
"""


def test_without_descriptors(queue: Queue) -> None:
    queue.finish("true")
    lines = queue.python(CALLS + NO_DESCRIPTORS).stdout.splitlines()
    assert [line for line in lines if not line.endswith(" QueueError")] == []
    assert len(lines) == 13
    assert queue.state(0) == "finished"


def test_without_processes(queue: Queue, api: tsfast.Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server cannot be started: a system call's refusal is the cause."""

    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr("_posixsubprocess.fork_exec", refuse)
        patch.setattr("subprocess._fork_exec", refuse, raising=False)
        for call in (lambda: api.submit(["true"]), lambda: api.ask("-S"), lambda: EventStream(api.path, start=True)):
            with pytest.raises(tsfast.ServerUnavailable, match="temporarily unavailable") as failed:
                call()
            assert isinstance(failed.value.__cause__, BlockingIOError)
    assert api.wait(api.submit(["true"]))[0].ok


def test_words_that_cannot_be_sent(queue: Queue, api: tsfast.Queue) -> None:
    for word in ("a\0b", "\ud800"):
        with pytest.raises(ValueError):
            api.submit([word])
        with pytest.raises(ValueError):
            api.ask("-S", word)
        with pytest.raises(ValueError):
            tsfast.Queue(f"/tmp/{word}").submit(["true"])
    with pytest.raises(tsfast.JobRefused):
        api.submit(["true"], label="\ud800")
    assert not queue.servers() or len(api.jobs()) == 0


# ---- a directory that is gone


def test_in_a_directory_that_is_gone(queue: Queue) -> None:
    """Whatever does not need it works, the start of a server too."""
    text = """
import os, tsfast
os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")
queue = tsfast.Queue()
job = queue.submit(["pwd"], cwd="/")
print(queue.wait(job)[0].state, open(queue.output_path(job)).read().strip())
print(queue.wait(queue.submit_many([tsfast.Job(["pwd"], cwd="/")]))[0].state)
for call in (lambda: queue.submit(["pwd"]), lambda: queue.submit_many([tsfast.Job(["pwd"], cwd="/"), ["pwd"]]),
             lambda: queue.submit(["pwd"], cwd="sub"), lambda: tsfast.Queue("relative")):
    try: call()
    except tsfast.QueueError as error: print(error)
with tsfast.Executor(queue, cwd="/") as executor:
    print(executor.submit(os.getcwd).result())
print(queue.slots, len(queue.jobs()))
"""
    done = queue.python(text)
    assert done.stderr == ""
    gone = "the working directory is gone or cannot be read"
    assert done.stdout.splitlines() == [
        "finished /",
        "finished",
        gone,
        gone,
        "cwd is 'sub', relative to a directory that is gone",
        "the path of the socket is relative to the working directory, which is gone",
        "/",
        "1 3",
    ]


# ---- interrupted


def test_interrupted_calls_leave_a_queue_that_works(queue: Queue) -> None:
    """Ctrl-C while a server does not answer."""
    text = """
import os, signal, sys, tsfast
queue = tsfast.Queue()
print(os.getpid(), flush=True)
for call in (lambda: queue.submit(["true"]), lambda: queue.ask("-S"), lambda: queue.wait(0)):
    sys.stdin.readline()
    try: call()
    except KeyboardInterrupt as error: print(type(error).__name__, flush=True)
sys.stdin.readline()
print(queue.slots, queue.wait(queue.submit(["true"]))[0].state, flush=True)
"""
    job, gate = queue.blocker()
    assert job == 0
    child = subprocess.Popen(
        [sys.executable, "-c", text],
        env=queue.env(),
        cwd=queue.work,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    queue.children.append(child)  # type: ignore[arg-type]
    assert child.stdin is not None and child.stdout is not None
    pid = int(child.stdout.readline())
    server = queue.server_pid()
    for name in ("SubmissionInterrupted", "KeyboardInterrupt", "KeyboardInterrupt"):
        os.kill(server, signal.SIGSTOP)
        child.stdin.write("\n")
        wait_until(lambda: _waits(pid), "it waits for the answer")
        os.kill(pid, signal.SIGINT)
        assert child.stdout.readline() == f"{name}\n"
        os.kill(server, signal.SIGCONT)
    gate.open()
    child.stdin.write("\n")
    assert child.stdout.readline() == "1 finished\n"
    child.wait(patient(30))


def _waits(pid: int) -> bool:
    """In recvfrom, connect, poll or epoll_wait, not in the read of its input."""
    calls = {"45", "42", "7", "232"} if os.uname().machine == "x86_64" else {"207", "203", "73", "22"}
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] in calls


# ---- other processes, other threads


def test_pickling(queue: Queue, api: tsfast.Queue) -> None:
    job = api.submit(["true"])
    again = pickle.loads(pickle.dumps(api))
    assert again.path == api.path and again.wait(job)[0].ok
    again.close()
    assert pickle.loads(pickle.dumps(tsfast.AsyncQueue(api.path))).queue.path == api.path
    described = pickle.loads(pickle.dumps(tsfast.Job(["true"], label="x")))
    assert (described.argv, described.options) == (["true"], {"label": "x"})
    for error in (
        tsfast.JobRefused(3, "why"),
        tsfast.BatchInterrupted([(1, 2)], 5, "why"),
        SubmissionInterrupted([(1, 2)], 5),
        tsfast.UnknownJob("why"),
        tsfast.TaskError("why"),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), copy.__dict__) == (type(error), str(error), error.__dict__)


def test_after_a_fork(queue: Queue, api: tsfast.Queue) -> None:
    """A queue goes on in both; a stream of events, whose data would come to one of them, in its own process."""
    api.wait(api.submit(["true"]))
    with api.watch() as stream:
        assert stream.read(10)[0].kind == "head"
        pid = os.fork()
        if pid == 0:
            try:
                good = api.wait(api.submit(["true"]))[0].ok
                try:
                    stream.read(0)
                except tsfast.QueueError:
                    os._exit(5 if good else 6)
            finally:
                os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
        assert {event.id for event in stream.read(10)} == {1}
    assert api.wait(api.submit(["true"]))[0].ok


def test_threads_share_a_queue(queue: Queue, api: tsfast.Queue) -> None:
    api.slots = 4
    found: list[int] = []

    def work() -> None:
        for _ in range(20):
            job = api.submit(["true"])
            assert api.state(job) in ("queued", "starting", "running", "finished")
            found.extend(result.id for result in api.wait(job))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(160))


def test_nothing_warns_and_nothing_stays_open(queue: Queue) -> None:
    text = """
import os, tsfast
def use():
    queue = tsfast.Queue()
    list(queue.as_completed(queue.submit_many([["true"]] * 3)))
    queue.watch()
    next(queue.as_completed(queue.submit(["true"])))
use()
before = len(os.listdir("/proc/self/fd"))
for _ in range(5): use()
assert len(os.listdir("/proc/self/fd")) == before
"""
    done = queue.python(text, "-X", "dev", "-W", "error")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_environment_that_is_no_text(queue: Queue) -> None:
    text = """
import os, tsfast
os.environb[b"ODD"] = b"\\xff\\xfe"
with tsfast.Executor() as executor:
    print(executor.submit(os.environb.get, b"ODD").result())
queue = tsfast.Queue()
job = queue.submit([b"printf", b"\\xff"])
queue.wait(job)
print(open(queue.output_path(job), "rb").read())
"""
    done = queue.python(text)
    assert (done.stdout, done.stderr) == ("b'\\xff\\xfe'\nb'\\xff'\n", "")


# ---- asyncio


def test_an_event_loop_goes_on_while_the_server_does_not(queue: Queue, api: tsfast.Queue) -> None:
    """Whatever waits for the server, others have their turns; what is cancelled ends at once."""
    job, gate = queue.blocker()
    server = queue.server_pid()

    async def main() -> None:
        async with tsfast.AsyncQueue() as own:

            async def events() -> None:
                async for _ in own.watch():
                    pass

            calls = [own.submit(["true"]), own.submit_many([["true"]]), own.wait(job), own.remove(1000), events()]
            waiting = [asyncio.create_task(call) for call in calls]
            for _ in range(100):
                await asyncio.sleep(0.001)
            assert not any(task.done() for task in waiting)
            for task in waiting:
                task.cancel()
            done = await asyncio.gather(*waiting, return_exceptions=True)
            assert all(isinstance(error, asyncio.CancelledError) for error in done)
            os.kill(server, signal.SIGCONT)
            gate.open()
            assert (await own.wait(job))[0].ok
            assert (await own.wait(await own.submit(["true"])))[0].ok

    os.kill(server, signal.SIGSTOP)
    try:
        asyncio.run(main())
    finally:
        os.kill(server, signal.SIGCONT)
