"""`tsfast.Executor` on a real server: results, exceptions, and every way in which a job can end without either."""

import asyncio
import concurrent.futures
import os
import pickle
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy
import pytest

import tsfast
from support.futures import blocked
from support.gpu_queue import GpuQueue
from support.patience import patient, wait_until
from support.processes import alive, kill
from support.queues import Queue
from tsfast.executor.executor import JobFuture


def running(api: tsfast.Queue, future: JobFuture[object]) -> None:
    wait_until(lambda: api.state(future.id) == "running", f"job {future.id} runs")


# ---- what comes back


def test_results(queue: Queue, executor: tsfast.Executor) -> None:
    future = executor.submit(divmod, 17, 5)
    assert future.result(30) == (3, 2)
    assert future.done() and not future.cancelled() and not future.cancel()
    assert executor.queue.job(future.id)["label"] == b"divmod"
    assert executor.queue.result(future.id).ok
    base = 10
    assert executor.submit(lambda x, *, y: base * x + y, 4, y=2).result(30) == 42
    assert executor.submit(numpy.arange, 5).result(30).tolist() == [0, 1, 2, 3, 4]
    assert executor.submit(lambda: None).result(30) is None
    assert executor.submit(os.getcwd).result(30) == str(queue.work)


def test_classes_of_the_program_come_back_as_themselves(executor: tsfast.Executor) -> None:
    class Point:
        def __init__(self, x: int):
            self.x = x

    moved = executor.submit(lambda point: Point(point.x + 1), Point(1)).result(30)
    assert type(moved) is Point and moved.x == 2


def test_exceptions(queue: Queue, executor: tsfast.Executor) -> None:
    def fails(key: str) -> object:
        return {}[key]

    future = executor.submit(fails, "missing")
    error = future.exception(30)
    assert isinstance(error, KeyError) and error.args == ("missing",)
    assert isinstance(error.__cause__, tsfast.RemoteTraceback)
    assert "in fails" in str(error.__cause__) and "KeyError" in str(error.__cause__)
    assert "KeyError: 'missing'" in queue.output(future.id)
    assert executor.queue.result(future.id).exit_code == 1
    assert isinstance(executor.submit(sys.exit, 3).exception(30), SystemExit)


def test_what_cannot_be_pickled(queue: Queue, executor: tsfast.Executor) -> None:
    with pytest.raises((TypeError, pickle.PicklingError)):
        executor.submit(print, threading.Lock())
    assert os.listdir(executor._tasks._directory) == []
    with pytest.raises(TypeError, match="cannot pickle") as failed:
        executor.submit(threading.Lock).result(30)
    assert "_thread.lock" in str(failed.value.__cause__)

    class Picky(Exception):
        def __init__(self, one: int, two: int):
            super().__init__(f"{one} and {two}")

    def fails() -> None:
        raise Picky(1, 2)

    with pytest.raises(tsfast.TaskError, match="Picky: 1 and 2"):
        executor.submit(fails).result(30)

    class Vicious:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.stat, ("/does/not/exist",))

    with pytest.raises(FileNotFoundError):
        executor.submit(Vicious).result(30)


def test_two_hundred_tasks(queue: Queue, executor: tsfast.Executor) -> None:
    executor.queue.slots = 4
    assert list(executor.map(pow, range(200), [2] * 200, timeout=100)) == [i * i for i in range(200)]
    assert os.listdir(executor._tasks._directory) == []
    assert list(executor.map(pow, [], [])) == []


def test_calls_in_one_job(queue: Queue, executor: tsfast.Executor) -> None:
    assert list(executor.map(lambda x: (x, os.getpid()) and x + 1, range(7), chunksize=3)) == list(range(1, 8))
    assert len(executor.queue.jobs()) == 3
    with pytest.raises(ZeroDivisionError):
        list(executor.map(lambda x: 1 // x, [1, 0, 1], chunksize=3))
    with pytest.raises(ValueError, match="chunksize"):
        executor.map(pow, [1], [1], chunksize=0)


def test_map_gives_up_what_is_not_taken(queue: Queue, executor: tsfast.Executor) -> None:
    job, gate = queue.blocker()
    results = executor.map(abs, [-1, -2, -3], timeout=0.05)
    with pytest.raises(TimeoutError):
        next(results)
    wait_until(lambda: executor.queue.jobs()["id"].tolist() == [job], "all are removed")
    gate.open()


def test_commands(queue: Queue, executor: tsfast.Executor) -> None:
    result = executor.submit_argv(["sh", "-c", "exit 7"], label="seven").result(30)
    assert (result.state, result.exit_code) == ("failed", 7)
    assert executor.queue.job(result.id)["label"] == b"seven"
    assert executor.submit_argv(["true"]).result(30).ok
    with pytest.raises(tsfast.JobRefused):
        executor.submit_argv([])


def test_options_of_tasks(queue: Queue, api: tsfast.Queue, tmp_path: Path) -> None:
    api.slots = 4
    with tsfast.Executor(str(queue.socket), env={"MARK": "all"}) as executor:
        inside = executor.with_options(cwd="/", slots=2, label="inside", output=tmp_path / "text")
        future = inside.submit(lambda: (os.environ["MARK"], os.getcwd(), print("written")))
        assert future.result(30) == ("all", "/", None)
        job = api.job(future.id)
        assert (job["label"], job["slots"]) == (b"inside", 2)
        assert (tmp_path / "text").read_text() == "written\n"
        after = executor.with_options(after_ok=future.id, env={"MARK": "other"})
        assert after.submit(os.getenv, "MARK").result(30) == "other"
        with pytest.raises(tsfast.JobRefused, match="not a field"):
            executor.with_options(colour="red").submit(int)  # type: ignore[call-arg]


def test_gpus(gpu_queue: GpuQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in gpu_queue.environment.items():
        monkeypatch.setenv(name, value)
    gpu_queue.learn()
    with tsfast.Executor() as executor:
        with_gpus = executor.with_options(gpus=2)
        given = list(with_gpus.map(lambda _: os.environ["CUDA_VISIBLE_DEVICES"], range(2)))
        assert [len(devices.split(",")) for devices in given] == [2, 2]


# ---- jobs without a result


def test_jobs_that_die(queue: Queue, executor: tsfast.Executor) -> None:
    def dies() -> None:
        print("last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(tsfast.JobKilled, match=r"was killed by SIGKILL; its output ends with:\nlast words") as failed:
        executor.submit(dies).result(30)
    assert (failed.value.result.signal, failed.value.output) == (9, "last words\n")
    again = pickle.loads(pickle.dumps(failed.value))
    assert (type(again), str(again)) == (tsfast.JobKilled, str(failed.value))
    with pytest.raises(tsfast.JobFailed, match="ended with code 5 and no result"):
        executor.submit(os._exit, 5).result(30)
    with pytest.raises(tsfast.JobFailed, match="ended with code 0 and no result"):
        executor.submit(os._exit, 0).result(30)
    with pytest.raises(tsfast.JobKilled, match="SIGTERM"):
        executor.submit_argv(["sh", "-c", "kill $$"]).result(30)
    with pytest.raises(tsfast.JobNotStarted, match="its directory: No such file"):
        executor.with_options(cwd="/does/not/exist").submit(int).result(30)


def test_jobs_that_others_end(queue: Queue, executor: tsfast.Executor) -> None:
    api = executor.queue
    future = executor.submit(blocked(queue.gate()))
    removed = executor.submit(int)
    ended = executor.submit(int)
    failing = executor.submit(os._exit, 1)
    skipped = executor.with_options(after_ok=failing.id).submit(int)
    running(api, future)
    api.remove(removed.id)
    with pytest.raises(tsfast.JobCancelled, match="was removed"):
        removed.result(30)
    api.cancel(ended.id)
    with pytest.raises(tsfast.JobCancelled, match="was cancelled"):
        ended.result(30)
    kill(int(queue.get("-p", future.id)))
    with pytest.raises(tsfast.JobKilled) as failed:
        future.result(30)
    assert failed.value.result.signal == 9
    with pytest.raises(tsfast.JobSkipped):
        skipped.result(30)
    assert isinstance(skipped.exception(), tsfast.JobError)


def test_a_dropped_queue(queue: Queue, executor: tsfast.Executor) -> None:
    gate = queue.gate()
    future = executor.submit(blocked(gate))
    queued = executor.submit(int)
    with gate.path.open("w"):  # the task has been read: its file goes when the job is lost
        queue.get("-K")
        with pytest.raises(tsfast.JobLost, match="its queue was dropped"):
            queued.result(30)
        with pytest.raises(tsfast.JobLost):
            future.result(30)
        assert executor.submit(abs, -3).result(30) == 3


def test_a_server_that_is_killed_meanwhile(queue: Queue, executor: tsfast.Executor) -> None:
    gate = queue.gate()
    future = executor.submit(blocked(gate))
    queued = executor.submit(abs, -1)
    running(executor.queue, future)
    queue.kill_server()
    gate.open(4)
    assert future.result(30) == "4\n"
    assert queued.result(30) == 1


def test_servers_that_are_killed_all_the_time(queue: Queue, executor: tsfast.Executor) -> None:
    executor.queue.slots = 4
    futures: dict[concurrent.futures.Future[object], object] = {}
    for number in range(40):
        futures[executor.submit(abs, -number)] = number
        futures[executor.submit_argv(["sh", "-c", f"exit {number}"])] = number
    for place, future in enumerate(concurrent.futures.as_completed(futures, 60)):
        result = future.result()
        assert (result.exit_code if isinstance(result, tsfast.Result) else result) == futures[future]
        if place % 8 == 0:
            for server in queue.servers():
                kill(server)


def test_a_server_that_cannot_be_started_again(queue: Queue, executor: tsfast.Executor) -> None:
    """Futures do not wait for ever, and the executor goes on once there can be a server."""
    gate = queue.gate()
    future = executor.submit(blocked(gate))
    running(executor.queue, future)
    wait_until(future.running, "its start was heard")
    os.kill(queue.server_pid(), signal.SIGSTOP)  # it would bind its name again
    queue.socket.unlink()
    queue.socket.mkdir()
    queue.kill_server()
    with pytest.raises(tsfast.ServerUnavailable):
        future.result(30)
    queue.socket.rmdir()
    gate.open()
    assert executor.submit(abs, -3).result(30) == 3


def test_results_of_jobs_that_are_forgotten_at_once(queue: Queue, api: tsfast.Queue) -> None:
    queue.environment["TS_MAXFINISHED"] = "1"
    _, gate = queue.blocker()
    with tsfast.Executor(api) as executor:
        results = executor.map(abs, range(-10, 0))
        commands = [executor.submit_argv(["sh", "-c", f"exit {i}"]) for i in range(5)]
        gate.open()
        assert list(results) == list(range(10, 0, -1))
        assert [future.result(30).exit_code for future in commands] == list(range(5))


def test_an_end_is_forgotten_before_it_is_heard(queue: Queue, executor: tsfast.Executor) -> None:
    """Both are told at once to the thread that listens, which is held up meanwhile."""
    queue.environment["TS_MAXFINISHED"] = "0"
    queue.get("-l")
    gate = queue.gate()
    future = executor.submit_argv(gate.command)
    running(executor.queue, future)
    wait_until(future.running, "its start was heard")
    with executor._tasks._changed:
        gate.open(3)
        wait_until(lambda: executor.queue.result(future.id).state == "forgotten", "it is forgotten")
    assert future.result(30).exit_code == 3


# ---- cancelling, shutting down


def test_cancel(queue: Queue, executor: tsfast.Executor) -> None:
    gate = queue.gate()
    future = executor.submit(blocked(gate))
    queued = [executor.submit(int) for _ in range(3)]
    running(executor.queue, future)
    wait_until(future.running, "its start was heard")
    assert not future.cancel()
    assert queued[1].cancel()
    assert queued[1].cancelled() and queued[1].cancel()
    assert executor.queue.state(queued[1].id) == "forgotten"
    with pytest.raises(concurrent.futures.CancelledError):
        queued[1].result()
    called: list[bool] = []
    # In the thread of the executor, where the first one's callbacks run.
    future.add_done_callback(lambda _: called.append(queued[2].cancel()))
    gate.open(3)
    assert future.result(30) == "3\n"
    assert queued[0].result(30) == 0
    done, not_done = concurrent.futures.wait([future, *queued], 30)
    assert (len(done), len(not_done)) == (4, 0)
    assert called == [queued[2].cancelled()]
    assert f"job={future.id}" in repr(future)


def test_cancel_in_callbacks_of_one_that_failed(queue: Queue, executor: tsfast.Executor) -> None:
    """As programs do that want all or nothing."""
    executor.queue.slots = 2
    gate, other = queue.gate(), queue.gate()
    failing, blocker = executor.submit(blocked(gate)), executor.submit(blocked(other))
    waiting = [executor.with_options(after=blocker.id).submit(int) for _ in range(50)]

    def give_up(_: object) -> None:
        for future in waiting:
            future.cancel()

    failing.add_done_callback(give_up)
    for one in waiting:
        one.add_done_callback(give_up)
    running(executor.queue, failing)
    gate.open()
    concurrent.futures.wait([failing, *waiting], 30)
    assert all(future.cancelled() for future in waiting)
    other.open()
    assert blocker.result(30) == "0\n"


def test_shutdown(queue: Queue, api: tsfast.Queue) -> None:
    executor = tsfast.Executor(api)
    directory = Path(executor._tasks._directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    gate = queue.gate()
    future = executor.submit(blocked(gate))
    queued = [executor.submit(int) for _ in range(5)]
    running(api, future)
    executor.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(RuntimeError, match=r"^cannot schedule new futures after shutdown$"):
        executor.submit(int)
    with pytest.raises(RuntimeError, match=r"^cannot schedule new futures after shutdown$"):
        executor.with_options(slots=1).submit_argv(["true"])
    done, _ = concurrent.futures.wait(queued, 30)
    assert done == set(queued) and all(one.cancelled() for one in queued)
    assert not future.done()
    gate.open(1)
    executor.shutdown()
    assert future.result(0) == "1\n"
    assert not directory.exists()
    executor.shutdown()


@pytest.mark.parametrize("dropped", [False, True])
def test_cancelled_before_its_thread_looks(queue: Queue, api: tsfast.Queue, dropped: bool) -> None:
    """It hears of jobs that were added and removed, or dropped, while it was held up."""
    executor = tsfast.Executor(api)
    entered, go_on = threading.Event(), threading.Event()
    gate = queue.gate()
    first = executor.submit_argv(gate.command)
    first.add_done_callback(lambda _: (entered.set(), go_on.wait(patient(60))))
    other = queue.gate()
    queue.submit(*other.command)
    gate.open()
    assert entered.wait(patient(30))
    with other.path.open("w"):  # the next job runs, and the slot is taken
        waiting = [executor.submit(int) for _ in range(3)]
        if dropped:
            queue.get("-K")
        executor.shutdown(wait=False, cancel_futures=True)
        go_on.set()
        concurrent.futures.wait(waiting, patient(30))
        assert all(future.cancelled() for future in waiting)


def test_shutdown_waits(queue: Queue, api: tsfast.Queue) -> None:
    api.wait(api.submit(["true"]))
    before = len(os.listdir("/proc/self/fd"))
    with tsfast.Executor(api) as executor:
        futures = [executor.submit(abs, -i) for i in range(3)]
    assert [future.result(0) for future in futures] == [0, 1, 2]
    with tsfast.Executor(api) as unused:
        pass
    assert not os.path.exists(unused._tasks._directory)
    assert len(os.listdir("/proc/self/fd")) == before
    assert not [thread for thread in threading.enumerate() if thread.name == "tsfast executor"]


def test_not_for_a_fork(queue: Queue, executor: tsfast.Executor) -> None:
    assert executor.submit(abs, -1).result(30) == 1
    wait_until(lambda: threading.active_count() == 1, "its thread has ended: Python warns of forks beside threads")
    pid = os.fork()
    if pid == 0:
        try:
            executor.submit(abs, -1)
        except RuntimeError:
            os._exit(3)
        os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3


def test_with_asyncio(queue: Queue, executor: tsfast.Executor) -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*[loop.run_in_executor(executor, abs, -i) for i in range(3)])

    assert asyncio.run(main()) == [0, 1, 2]


# ---- programs

NOTEBOOK = """
import tsfast
class Point:
    def __init__(self, x): self.x = x

def square(point): return Point(point.x * point.x)

executor = tsfast.Executor()
future = executor.submit(square, Point(7))
result = future.result(30)
print(type(result) is Point, result.x)
print(list(executor.map(lambda x: x + 1, range(3))))
"""


def program(queue: Queue, *words: str, text: str = "") -> str:
    done = subprocess.run(
        [sys.executable, *words],
        env=queue.env(),
        cwd=queue.work,
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_as_in_a_notebook(queue: Queue) -> None:
    """Functions and classes that are in no file, and no guard for __main__; nobody shuts the executor down."""
    assert program(queue, "-i", text=NOTEBOOK) == "True 49\n[1, 2, 3]\n"
    assert list(queue.out.glob("tsfast-executor*")) == []
    assert program(queue, "-c", f"exec({NOTEBOOK!r})") == "True 49\n[1, 2, 3]\n"


def test_modules_of_the_program(queue: Queue) -> None:
    """Found by the script's directory, whatever lies in the directory of the jobs."""
    place = queue.directory / "program"
    place.mkdir()
    (place / "helper.py").write_text("def twice(x): return 2 * x\n")
    (place / "main.py").write_text(
        "import helper, tsfast\nwith tsfast.Executor() as tasks: print(tasks.submit(helper.twice, 4).result(30))\n"
    )
    (queue.work / "pickle.py").write_text("raise SystemExit('not this one')\n")
    assert program(queue, str(place / "main.py")) == "8\n"


def test_a_program_that_ends_waits_for_its_tasks(queue: Queue) -> None:
    text = "import tsfast, pathlib; tsfast.Executor().submit(pathlib.Path('made').touch)"
    program(queue, "-c", text)
    assert (queue.work / "made").exists()
    assert list(queue.out.glob("tsfast-executor*")) == []


def test_a_program_that_is_killed(queue: Queue) -> None:
    """Its jobs run on."""
    gate = queue.gate()
    text = f"import tsfast\ntsfast.Executor().submit_argv({list(gate.command)!r})\nprint(flush=True)"
    child = subprocess.Popen([sys.executable, "-c", text], env=queue.env(), cwd=queue.work, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"\n"
    child.kill()
    child.wait()
    child.stdout.close()
    assert not alive(child.pid)
    gate.open(3)
    assert queue.wait(0) == 3


def test_import_is_cheap() -> None:
    text = "import sys, tsfast; tsfast.Executor; print(sorted({'numpy', 'cloudpickle', 'asyncio'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-I", "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_without_cloudpickle(executor: tsfast.Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(ImportError, match="executor"):
        executor.submit(int)
    assert executor.submit_argv(["true"]).result(30).ok
