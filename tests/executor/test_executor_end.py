"""An executor where it is too late for tasks, and in surroundings that lack something."""

import threading
import weakref

import pytest

import tsfast
from support.futures import RESULT_S, begun, blocked, still_works
from support.patience import wait_until
from support.queues import Queue

# ---- too late


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
    done = queue.python(AT_EXIT.format(result=result))
    late = "cannot schedule new futures after interpreter shutdown\n"
    assert (done.stdout, done.stderr, done.returncode) == (2 * late + "finished\n", "", 0)


def test_submitting_in_a_callback_at_the_end(queue: Queue) -> None:
    """The task ends when the interpreter has begun to: what was registered first is called last."""
    gate = queue.gate()
    text = f"""
import threading
threading._register_atexit(lambda: open({str(gate.path)!r}, "w").write("0"))
import tsfast
executor = tsfast.Executor()
def again(_):
    try: executor.submit(abs, -1)
    except RuntimeError as error: print(error)
executor.submit_argv({gate.command!r}).add_done_callback(again)
"""
    done = queue.python(text)
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
    done = queue.python(text)
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
    done = queue.python(text)
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
    assert (queue.python(text, "-W", "error").stderr, (queue.work / "made").exists()) == ("", True)


def test_shutdown_without_waiting_at_the_end(queue: Queue) -> None:
    text = """
import tsfast, time, pathlib
executor = tsfast.Executor()
executor.submit(pathlib.Path("made").touch)
executor.shutdown(wait=False)
"""
    assert (queue.python(text, "-W", "error").stderr, (queue.work / "made").exists()) == ("", True)
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
    queue.python(text)
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
    done = queue.python(text.replace('open("/dev/null")', "__import__('threading').Lock()"), "-W", "error", "-X", "dev")
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
