"""An executor where it is too late for tasks, and in surroundings that lack something."""

import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest

import tsfast
from integration.spool_harness import Gate, Queue, wait_until
from patience import patient
from tsfast.executor import JobFuture

RESULT_S = patient(30)


@pytest.fixture
def executor(queue: Queue, api: tsfast.Queue) -> Iterator[tsfast.Executor]:
    with tsfast.Executor(api) as opened:
        yield opened


def blocked(gate: Gate) -> Callable[[], str]:
    """A callable that waits for a gate."""
    path = str(gate.path)

    def wait() -> str:
        with open(path) as fifo:
            return fifo.read()

    return wait


def begun(api: tsfast.Queue, future: JobFuture[str]) -> None:
    """Its job runs, and the future says so."""
    wait_until(lambda: api.state(future.id) == "running" and future.running(), f"job {future.id} runs")


def still_works(executor: tsfast.Executor) -> None:
    assert executor.submit(abs, -3).result(RESULT_S) == 3
    assert executor.submit_argv(["true"]).result(RESULT_S).ok


# ---- too late


def python(queue: Queue, text: str, *flags: str, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *flags, "-c", text],
        env=queue.env(),
        cwd=queue.work,
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
        **options,
    )


AT_EXIT = """
import atexit, os
@atexit.register
def late():
    fds = [os.open("/dev/null", os.O_RDWR) for _ in range(20)]  # the numbers of what was closed
    for call in (lambda: executor.submit(abs, -1), lambda: executor.submit_argv(["true"])):
        try:
            call()
        except RuntimeError as error:
            print(error)
    print(queue.wait(queue.submit(["true"]))[0].state)
import tsfast
queue = tsfast.Queue()
executor = tsfast.Executor(queue)
executor.submit(abs, -1){result}
"""


@pytest.mark.parametrize("result", ["", ".result()"])
def test_submitting_at_the_end_of_the_interpreter(queue: Queue, result: str) -> None:
    done = python(queue, AT_EXIT.format(result=result))
    late = "cannot schedule new futures after interpreter shutdown\n"
    assert (done.stdout, done.stderr, done.returncode) == (2 * late + "finished\n", "", 0)


def test_submitting_in_a_callback_at_the_end(queue: Queue) -> None:
    text = """
import tsfast
executor = tsfast.Executor()
def again(_):
    try: executor.submit(abs, -1)
    except RuntimeError as error: print(error)
import time
executor.submit(time.sleep, 0.5).add_done_callback(again)
"""
    done = python(queue, text)
    assert (done.stdout, done.stderr) == ("cannot schedule new futures after interpreter shutdown\n", "")


def test_an_executor_that_is_made_too_late(queue: Queue) -> None:
    text = """
import atexit, threading
@atexit.register
def late():
    import tsfast
    try: tsfast.Executor().submit(abs, -1)
    except RuntimeError as error: print(error)
"""
    done = python(queue, text)
    assert (done.stdout, done.stderr) == ("cannot schedule new futures after interpreter shutdown\n", "")


def test_in_del_at_the_end(queue: Queue) -> None:
    """When nothing can be imported any more."""
    text = """
import tsfast
QueueError = tsfast.QueueError
class Last:
    def __init__(self): self.queue, self.executor = tsfast.Queue(), tsfast.Executor()
    def __del__(self):
        try: self.executor.submit(abs, -1)
        except RuntimeError as error: print(error)
        try: self.queue.state(0)
        except QueueError: print("QueueError")
last = Last()
last.executor.submit(abs, -1).result()
"""
    done = python(queue, text)
    assert done.stdout == "cannot schedule new futures after interpreter shutdown\nQueueError\n", done


def test_in_a_daemon_thread(queue: Queue) -> None:
    """The program waits for its tasks all the same."""
    text = """
import tsfast, threading, pathlib
executor = tsfast.Executor()
thread = threading.Thread(target=lambda: executor.submit(pathlib.Path("made").touch), daemon=True)
thread.start()
thread.join()
"""
    assert (python(queue, text, "-W", "error").stderr, (queue.work / "made").exists()) == ("", True)


def test_shutdown_without_waiting_at_the_end(queue: Queue) -> None:
    text = """
import tsfast, time, pathlib
executor = tsfast.Executor()
executor.submit(pathlib.Path("made").touch)
executor.shutdown(wait=False)
"""
    assert (python(queue, text, "-W", "error").stderr, (queue.work / "made").exists()) == ("", True)
    assert list((queue.state_dir / "executors").iterdir()) == []


def test_without_more_threads(queue: Queue, executor: tsfast.Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is queued that nobody would listen to; and what was queued is passed on."""
    gate = queue.gate()
    first = executor.submit(blocked(gate))
    begun(executor.queue, first)

    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with tsfast.Executor(executor.queue) as other, pytest.raises(tsfast.QueueError, match="can't start new thread"):
            other.submit(abs, -1)
        gate.open(1)
        assert first.result(RESULT_S) == "1\n"
    assert len(executor.queue.jobs()) == 1
    still_works(executor)


# ---- other surroundings


def test_without_standard_descriptors(queue: Queue) -> None:
    text = """
import os
os.closerange(0, 3)
import tsfast
with tsfast.Executor() as executor:
    results = list(executor.map(abs, range(-3, 0)))
os.open("result", os.O_WRONLY | os.O_CREAT)
os.write(os.open("answer", os.O_WRONLY | os.O_CREAT), repr(results).encode())
"""
    python(queue, text)
    assert (queue.work / "answer").read_text() == "[3, 2, 1]"


def test_nothing_is_left_open_and_nothing_warned_of(queue: Queue, api: tsfast.Queue) -> None:
    text = """
import os, tsfast
def use():
    with tsfast.Executor() as executor:
        list(executor.map(abs, range(3)))
        try: executor.submit(print, open("/dev/null")).result()
        except TypeError: pass
    queue = tsfast.Queue()
    list(queue.as_completed(queue.submit_many([["true"]] * 3)))
    with queue.watch(): pass
use()
before = os.listdir("/proc/self/fd")
use()
assert os.listdir("/proc/self/fd") == before
"""
    done = python(
        queue, text.replace('open("/dev/null")', "__import__('threading').Lock()"), "-W", "error", "-X", "dev"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(api.jobs()) == 12


# ---- as the other executors


def test_words_that_are_those_of_submit(executor: tsfast.Executor) -> None:
    def capture(*arguments: object, **keywords: object) -> tuple[object, object]:
        return arguments, keywords

    assert executor.submit(capture, 1, self=2, fn=3).result(RESULT_S) == ((1,), {"self": 2, "fn": 3})
    with pytest.raises(TypeError):
        executor.submit(fn=capture, arg=1)  # type: ignore[call-arg]


class Mark:
    """What can be looked for."""

    def method(self) -> None:
        pass


def test_nothing_is_kept_of_what_was_taken(executor: tsfast.Executor) -> None:
    argument = Mark()
    gone = threading.Event()
    watched = weakref.ref(argument, lambda _: gone.set())
    executor.submit(argument.method)
    del argument
    assert gone.wait(RESULT_S) and watched() is None
    for chunksize in (1, 2):
        for result in executor.map(lambda _: Mark(), range(4), chunksize=chunksize):
            look = weakref.ref(result)
            del result
            wait_until(lambda look=look: look() is None, "the result is forgotten")
