"""What tasks, their results, callbacks, files and servers can do to an executor: every future hears of its end."""

import asyncio
import concurrent.futures
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

import tsfast
from support.futures import RESULT_S, begun, blocked, still_works
from support.patience import wait_until
from support.queues import Queue

# ---- files


def test_files_are_below_the_state_directory(queue: Queue, executor: tsfast.Executor) -> None:
    gate = queue.gate()
    future = executor.submit(blocked(gate))
    begun(executor.queue, future)
    [place] = (queue.state_dir / "executors").iterdir()
    assert place.stat().st_mode & 0o777 == place.parent.stat().st_mode & 0o777 == 0o700
    assert [path.parent for path in place.iterdir()] == [place]
    assert list(queue.out.glob("*executor*")) == []
    gate.open()
    future.result(RESULT_S)
    assert list(place.iterdir()) == []
    executor.shutdown()
    assert not place.exists()


def test_files_that_vanish(queue: Queue, executor: tsfast.Executor) -> None:
    """Only that task fails."""
    _, gate = queue.blocker()
    first = executor.submit(abs, -1)
    place = next((queue.state_dir / "executors").iterdir())
    for path in place.iterdir():
        path.unlink()
    second = executor.submit(abs, -2)
    gate.open()
    with pytest.raises(tsfast.TaskError, match="No such file"):
        first.result(RESULT_S)
    assert second.result(RESULT_S) == 2
    shutil.rmtree(place)
    still_works(executor)
    _, gate = queue.blocker()
    third = executor.submit(abs, -1)
    shutil.rmtree(place.parent)
    gate.open()
    with pytest.raises(tsfast.JobFailed, match="ended with code 1 and no result"):
        third.result(RESULT_S)
    still_works(executor)


def leaves_empty(path: str) -> None:
    open(path, "w").close()


def leaves_half(path: str) -> None:
    with open(path, "wb") as file:
        file.write(b"TSFR" + (1000).to_bytes(8, "little") + pickle.dumps((True, 1, "")))


def leaves_text(path: str) -> None:
    with open(path, "w") as file:
        file.write("a text that is no result")


def leaves_link(path: str) -> None:
    os.symlink("/etc/passwd", path)


@pytest.mark.parametrize("leave", [leaves_empty, leaves_half, leaves_text, leaves_link, os.mkdir, os.mkfifo])
def test_results_that_cannot_be_read(executor: tsfast.Executor, leave: Callable[[str], None]) -> None:
    def task() -> None:
        leave(sys.argv[3])
        os._exit(0)

    with pytest.raises(tsfast.JobFailed, match="what it gave cannot be read") as failed:
        executor.submit(task).result(RESULT_S)
    assert isinstance(failed.value.__cause__, OSError | ValueError)
    still_works(executor)


def test_a_task_that_deletes_its_files(executor: tsfast.Executor) -> None:
    def task() -> None:
        shutil.rmtree(os.path.dirname(sys.argv[1]))

    with pytest.raises(tsfast.JobFailed, match="No such file"):
        executor.submit(task).result(RESULT_S)
    still_works(executor)


@pytest.mark.root
def test_a_result_without_room(queue: Queue, executor: tsfast.Executor, small_disk: os.PathLike[str]) -> None:
    executor.submit(int).result(RESULT_S)
    place = queue.state_dir / "executors"
    os.chmod(small_disk, 0o700)
    subprocess.run(["mount", "--bind", small_disk, place], check=True)
    try:
        with tsfast.Executor(executor.queue) as full:
            with pytest.raises(tsfast.TaskError, match="No space left"):
                full.submit(bytes, 1_000_000).result(RESULT_S)
            with pytest.raises(tsfast.QueueError, match="No space left"):
                full.submit(len, bytes(1_000_000))
            still_works(full)
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_left_directories_are_removed(queue: Queue, api: tsfast.Queue) -> None:
    """Of programs that were killed, once nothing of them can run any more."""
    text = "import tsfast, os\ntsfast.Executor().submit(abs, -1)\nos.kill(os.getpid(), 9)"
    _, gate = queue.blocker()
    for _ in range(2):
        subprocess.run([sys.executable, "-c", text], env=queue.env(), cwd=queue.work, check=False)
    first, second = sorted((queue.state_dir / "executors").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    for path in (first, second):
        os.utime(path, (1, 1))
    api.remove(2)
    with tsfast.Executor(api) as executor:
        future = executor.submit(abs, -3)
        assert first.exists() and not second.exists()
        gate.open()
        assert future.result(RESULT_S) == 3
    assert api.result(1).ok
    for path in first.iterdir():
        os.utime(path, (1, 1))
    os.utime(first, (1, 1))
    with tsfast.Executor(api) as executor:
        still_works(executor)
    assert not first.exists()


# ---- what tasks return and raise


class Stops(BaseException):
    """Not an Exception."""


def raises(kind: type[BaseException]) -> None:
    raise kind("on arrival")


class Vicious:
    """Raises when it is made again, which is in the program."""

    def __init__(self, kind: type[BaseException]):
        self.kind = kind

    def __reduce__(self) -> tuple[object, tuple[type[BaseException]]]:
        return raises, (self.kind,)


class Unpicklable:
    def __init__(self, kind: type[BaseException]):
        self.kind = kind

    def __reduce__(self) -> tuple[object, ...]:
        raise self.kind("on departure")


KINDS = [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError, RecursionError, Stops]


@pytest.mark.parametrize("kind", KINDS)
def test_results_that_raise(executor: tsfast.Executor, kind: type[BaseException]) -> None:
    waiting = [executor.submit(make, kind) for make in (Vicious, Unpicklable)]
    for future, text in zip(waiting, ["on arrival", "on departure"], strict=True):
        error = future.exception(RESULT_S)
        if kind is RecursionError and text == "on departure":  # cloudpickle makes something else of it
            assert isinstance(error, pickle.PicklingError)
        else:
            assert (type(error).__name__, str(error)) == (kind.__name__, text)
    still_works(executor)


def test_exceptions_that_cannot_come_back(executor: tsfast.Executor) -> None:
    class Vague(Exception):
        def __init__(self, what: object):
            super().__init__("vague")
            self.what = what

        def __reduce__(self) -> tuple[object, ...]:
            return Vague, (self.what,)

    class Empty(Exception):
        def __bool__(self) -> bool:
            return False

    class Sealed(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise TypeError("sealed")

    class Other(Exception):
        def __reduce__(self) -> tuple[object, ...]:
            return str, ("no exception",)

    class Mute(Exception):
        def __str__(self) -> str:
            raise SystemExit("mute")

        __repr__ = __str__

    def task(error: Callable[[], BaseException]) -> None:
        raise error()

    for make in [lambda kind=kind: Vague(Vicious(kind)) for kind in KINDS]:
        with pytest.raises(tsfast.TaskError, match="vague"):
            executor.submit(task, make).result(RESULT_S)
    for make in (Empty, Sealed, Other):
        with pytest.raises(tsfast.TaskError, match=f"in task(.|\n)*{make.__name__}"):
            executor.submit(task, make).result(RESULT_S)
    assert executor.submit(task, Mute).exception(RESULT_S) is not None
    still_works(executor)


def test_tasks_that_spoil_their_process(queue: Queue, executor: tsfast.Executor) -> None:
    def closes() -> int:
        os.closerange(0, 3)
        sys.stderr = None
        return 1

    def fails_without_stderr() -> int:
        sys.stderr = None
        raise ValueError("unseen")

    def recurses() -> None:
        recurses()

    def greedy() -> bytes:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        return bytes(1 << 40)

    def few() -> list[object]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5))
        return [open("/dev/null") for _ in range(9)]

    def kills_its_parent(then: Callable[[int], object]) -> object:
        os.kill(os.getppid(), signal.SIGKILL)
        return then(0)

    assert executor.submit(closes).result(RESULT_S) == 1
    for task, kind in [(fails_without_stderr, ValueError), (recurses, RecursionError), (greedy, MemoryError)]:
        assert isinstance(executor.submit(task).exception(RESULT_S), kind)
    assert isinstance(executor.submit(few).exception(RESULT_S), OSError)
    assert executor.submit(kills_its_parent, abs).result(RESULT_S) == 0
    assert isinstance(executor.submit(kills_its_parent, os._exit).exception(RESULT_S), tsfast.JobError)
    still_works(executor)


def test_tasks_that_fork(executor: tsfast.Executor) -> None:
    """The result is that of the process that was started."""

    def forks(how: Callable[[], object]) -> tuple[str, int]:
        child = os.fork()
        if child == 0:
            how()
            return "child", 0
        _, status = os.waitpid(child, 0)
        return "parent", os.waitstatus_to_exitcode(status)

    assert executor.submit(forks, int).result(RESULT_S) == ("parent", 0)
    assert executor.submit(forks, lambda: sys.exit(3)).result(RESULT_S) == ("parent", 3)
    assert executor.submit(forks, lambda: 1 // 0).result(RESULT_S) == ("parent", 1)
    assert executor.submit(forks, lambda: os._exit(4)).result(RESULT_S) == ("parent", 4)


def test_a_large_result(executor: tsfast.Executor) -> None:
    assert executor.submit(bytes, 100_000_000).result(RESULT_S) == bytes(100_000_000)


def test_names_that_are_no_labels(executor: tsfast.Executor) -> None:
    class Odd:
        def __init__(self, name: object):
            self.__name__ = name

        def __call__(self) -> int:
            return 1

    for name in ("a\nb", "\0", 5, ""):
        future = executor.submit(Odd(name))
        assert future.result(RESULT_S) == 1
        assert executor.queue.job(future.id)["label"] == b"Odd"


# ---- callbacks


@pytest.mark.parametrize("kind", KINDS)
def test_callbacks_that_raise(
    queue: Queue, executor: tsfast.Executor, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    gate = queue.gate()
    future = executor.submit(blocked(gate))
    called = threading.Event()

    def raises_here(_: object) -> None:
        raise kind("in a callback")

    future.add_done_callback(raises_here)
    future.add_done_callback(lambda _: called.set())
    gate.open(1)
    assert future.result(RESULT_S) == "1\n"
    assert called.wait(RESULT_S)
    assert "in a callback" in caplog.text
    still_works(executor)


def test_callbacks_that_wait_for_others(queue: Queue, executor: tsfast.Executor) -> None:
    """For longer than anything else needs a thread."""
    executor.queue.slots = 4
    gate = queue.gate()
    first = executor.submit(blocked(gate))
    others = [executor.submit(abs, -number) for number in range(5)]
    released = threading.Event()
    seen: list[object] = []

    def wait(_: object) -> None:
        seen.append(executor.submit(abs, -10).result(RESULT_S))
        released.wait(RESULT_S)

    for future in others:
        future.add_done_callback(wait)
    try:
        assert [future.result(RESULT_S) for future in others] == [0, 1, 2, 3, 4]
        still_works(executor)
        gate.open(2)
        assert first.result(RESULT_S) == "2\n"
    finally:
        released.set()
    executor.shutdown()
    assert seen == [10] * 5


def test_results_that_wait_when_they_are_unpickled(queue: Queue, executor: tsfast.Executor) -> None:
    fifo = queue.gate()

    class Slow:
        def __init__(self, path: str):
            self.path = path

        def __reduce__(self) -> tuple[object, ...]:
            return open, (self.path,)

    slow = executor.submit(Slow, str(fifo.path))
    wait_until(lambda: executor.queue.result(slow.id).ok)
    still_works(executor)
    assert not slow.done()
    fifo.open(1)
    with slow.result(RESULT_S) as file:  # type: ignore[attr-defined]
        assert not file.closed


def test_callbacks_that_shut_down(queue: Queue, api: tsfast.Queue) -> None:
    executor = tsfast.Executor(api)
    _, gate = queue.blocker()
    first, second = executor.submit(abs, -1), executor.submit(abs, -2)
    ended = threading.Event()
    first.add_done_callback(lambda _: (executor.shutdown(wait=True), ended.set()))
    gate.open()
    assert ended.wait(RESULT_S)
    assert second.result(RESULT_S) == 2
    executor.shutdown()
    with pytest.raises(RuntimeError, match=r"^cannot schedule new futures after shutdown$"):
        executor.submit(int)


def test_callbacks_of_cancelled_ones_run_in_the_thread_that_cancels(queue: Queue, executor: tsfast.Executor) -> None:
    _, gate = queue.blocker()
    future = executor.submit(int)
    future.add_done_callback(lambda _: executor.submit(int).cancel())
    assert future.cancel()
    gate.open()
    still_works(executor)


# ---- futures that the program touches


def test_futures_that_the_program_sets(queue: Queue, executor: tsfast.Executor) -> None:
    gates = [queue.gate() for _ in range(4)]
    executor.queue.slots = 4
    futures = [executor.submit(blocked(gate)) for gate in gates]
    early = executor.with_options(after=futures[0].id).submit(blocked(gates[0]))
    for future in futures:
        begun(executor.queue, future)
    assert concurrent.futures.Future.cancel(early)
    futures[0].set_result("mine")
    futures[1].set_exception(KeyError("mine"))
    with pytest.raises(concurrent.futures.InvalidStateError):
        futures[0].set_result("again")
    for gate in gates:
        gate.open(1)
    assert futures[2].result(RESULT_S) == futures[3].result(RESULT_S) == "1\n"
    gates[0].open(1)
    done, _ = concurrent.futures.wait([early, *futures], RESULT_S)
    assert len(done) == 5
    assert futures[0].result() == "mine" and isinstance(futures[1].exception(), KeyError)
    still_works(executor)


# ---- servers


def test_a_server_that_cannot_be_started_for_a_moment(queue: Queue, executor: tsfast.Executor) -> None:
    """Nothing is given up, and the files of what is queued stay."""
    gate = queue.gate()
    running, queued = executor.submit(blocked(gate)), executor.submit(abs, -2)
    begun(executor.queue, running)
    refused = queue.directory / "socket.refused"
    os.kill(queue.server_pid(), signal.SIGSTOP)  # it would bind its name again
    queue.socket.rename(refused)
    queue.socket.mkdir()
    queue.kill_server()
    stream = executor._tasks._streams[0]
    wait_until(lambda: stream._pause >= 0.2, "it has tried in vain")
    assert not running.done() and not queued.done()
    queue.socket.rmdir()
    gate.open(1)
    assert running.result(RESULT_S) == "1\n"
    assert queued.result(RESULT_S) == 2


def test_files_of_tasks_that_were_given_up(queue: Queue, api: tsfast.Queue) -> None:
    """They are queued, and run once there is a server."""
    executor = tsfast.Executor(api)
    gate = queue.gate()
    running, queued = executor.submit(blocked(gate)), executor.submit(open, str(queue.work / "made"), "x")
    begun(api, running)
    place = next((queue.state_dir / "executors").iterdir())
    os.kill(queue.server_pid(), signal.SIGSTOP)
    queue.socket.unlink()
    queue.socket.mkdir()
    queue.kill_server()
    for future in (running, queued):
        with pytest.raises(tsfast.ServerUnavailable):
            future.result(RESULT_S)
    executor.shutdown()
    assert len(list(place.iterdir())) == 2
    queue.socket.rmdir()
    gate.open(1)
    assert api.wait(queued.id)[0].state == "failed"  # an open file cannot be pickled
    assert (queue.work / "made").exists()


def test_cancel_does_not_block_an_event_loop(queue: Queue, executor: tsfast.Executor) -> None:
    """Nor anything else for long, whatever the server does."""
    _, gate = queue.blocker()
    futures = [executor.submit(abs, -number) for number in range(3)]
    server = queue.server_pid()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def main() -> None:
        counter = asyncio.create_task(count())
        wrapped = [asyncio.wrap_future(future) for future in futures[:2]]
        for one in wrapped:
            one.cancel()
        await asyncio.sleep(0)
        before = turns
        assert not futures[2].cancel()
        while turns < before + 10:
            await asyncio.sleep(0)
        counter.cancel()

    os.kill(server, signal.SIGSTOP)
    try:
        asyncio.run(main())
        assert not any(future.done() for future in futures)
    finally:
        os.kill(server, signal.SIGCONT)
    concurrent.futures.wait(futures, RESULT_S)
    assert all(future.cancelled() for future in futures)
    gate.open()
