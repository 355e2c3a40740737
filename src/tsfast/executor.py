"""`Executor`: concurrent.futures whose tasks are jobs of a queue."""

import concurrent.futures
import io
import os
import pickle
import select
import shutil
import signal
import stat
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar, Unpack

from tsfast import failures
from tsfast.errors import BatchInterrupted, QueueError, RequestFailed, UnknownJob
from tsfast.events import CHANGE, ENDED, Event, EventStream
from tsfast.failures import JobError, RemoteTraceback, TaskError
from tsfast.jobs import Job, Options, Word
from tsfast.queue import Queue, ending
from tsfast.results import Result

P = ParamSpec("P")
T = TypeVar("T")

_GONE_S = 0.5  # an event follows what it tells by no more than a turn of the server
_TAIL = 2000  # bytes of a job's output that an exception shows
_WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "worker.py")
_Call = tuple[tuple[Any, ...], dict[str, Any]]


class JobFuture(concurrent.futures.Future[T]):
    """A task of an executor. `id`: its job."""

    id: int
    _tasks: "_Tasks"
    _path: str | None  # the file of the result, if the task leaves one
    _unwanted = False  # cancel() was called

    def cancel(self) -> bool:
        """Take the job out of the queue. False if it runs or has ended: then it goes on, and Queue.cancel() with `id`
        would end it. Raises QueueError."""
        return self._tasks.cancel(self)

    def __repr__(self) -> str:
        return f"<{super().__repr__()[1:-1]} job={self.id}>"


class Executor(concurrent.futures.Executor):
    """Runs callables and commands as jobs of a queue. queue: a Queue, or what Queue() takes; options: the fields of
    `tsfast.Job` that all jobs get. with_options() is for those of single tasks.

    Callables and their arguments are pickled by cloudpickle (the extra `executor`), so functions of __main__ and of a
    notebook work. Each runs in an interpreter of its own, in the caller's directory, with its sys.path. What the call
    returns or raises comes back, with the traceback there as the cause; a job that gives neither raises a JobError."""

    def __init__(self, queue: Queue | str | os.PathLike[str] | None = None, **options: Unpack[Options]):
        self._tasks = _Tasks(queue)
        self._options = options

    @property
    def queue(self) -> Queue:
        """The queue of the jobs."""
        return self._tasks.queue

    def with_options(self, **options: Unpack[Options]) -> "Executor":
        """The same executor for tasks with more or other options: `executor.with_options(gpus=1).submit(train)`.
        What ends the one ends the other."""
        other = Executor.__new__(type(self))
        other._tasks = self._tasks
        other._options = {**self._options, **options}
        return other

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> JobFuture[T]:
        """Queue a call. Raises what pickling raises, and what Queue.submit does."""
        return self._tasks.submit_calls(fn, [[(args, kwargs)]], False, self._options)[0]

    def submit_argv(self, argv: Sequence[Word], **options: Unpack[Options]) -> JobFuture[Result]:
        """Queue a command. The future's result is how it ended, whatever its exit code; a JobError if it did not end by
        itself."""
        every: Options = {**self._options, **options}
        return self._tasks.submit_jobs([Job(argv, **every)], [None])[0]

    def map(
        self, fn: Callable[..., T], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[T]:
        """Queue a call for each element, in one batch; the results in their order. chunksize: calls in one job. Raises
        TimeoutError so many seconds after this call; jobs whose results are not taken are taken out of the queue."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if chunksize < 1:
            raise ValueError("chunksize must be 1 or more")
        calls: list[_Call] = [(args, {}) for args in zip(*iterables, strict=False)]
        chunks = [calls[at : at + chunksize] for at in range(0, len(calls), chunksize)]
        futures: list[JobFuture[list[T]]] = self._tasks.submit_calls(fn, chunks, True, self._options)

        def results() -> Iterator[T]:
            taken = 0
            try:
                for future in futures:
                    yield from future.result(None if deadline is None else deadline - time.monotonic())
                    taken += 1
            finally:
                self._tasks.remove(futures[taken:])

        return results()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """No more tasks; those that there are run on, without `cancel_futures`, which takes the ones that wait out of
        the queue. wait: until all have ended."""
        self._tasks.shutdown(wait, cancel_futures)


class _Calls:
    """The file of the calls that were submitted together."""

    def __init__(self, path: str, jobs: int):
        self.path = path
        self.jobs = jobs  # that have not ended

    def job_ended(self) -> None:
        self.jobs -= 1
        if not self.jobs:
            os.unlink(self.path)


class _Tasks:
    """The jobs of an executor, and a thread that hears of their ends, as long as there are any.

    Not a daemon: a program that ends waits for its tasks, as it does with the other executors."""

    def __init__(self, queue: Queue | str | os.PathLike[str] | None):
        self._own = not isinstance(queue, Queue)
        self.queue = queue if isinstance(queue, Queue) else Queue(queue)
        self._lock = threading.Lock()
        self._pending: dict[int, tuple[JobFuture[Any], _Calls | None]] = {}
        self._new: list[int] = []  # their ends may have been told before they were known here
        self._ends: dict[int, Result] = {}  # heard, not yet passed on
        self._early: dict[int, Event] = {}  # ends of jobs that are not known here, but may be those being submitted
        self._gone: dict[int, float] = {}  # no longer in the table; until when an event may still tell why (monotonic)
        self._submitting = 0
        self._closed = False
        self._thread: threading.Thread | None = None
        self._streams: list[EventStream] = []  # the one that is open
        self._pid = os.getpid()
        self._files = 0
        self._directory = tempfile.mkdtemp(prefix="tsfast-executor.", dir=os.path.abspath(tempfile.gettempdir()))
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._clean = weakref.finalize(self, _clean, self._directory, self._bell, self._streams, self._pid)

    # ---- adding

    def submit_calls(
        self, function: Callable[..., Any], jobs: list[list[_Call]], several: bool, options: Options
    ) -> list[JobFuture[Any]]:
        """A job for each list of calls. several: its result is the list of theirs."""
        if not jobs:
            return []
        if not sys.executable:
            raise RuntimeError("sys.executable is not known, which is to run the tasks")
        text, offsets = _packed(function, jobs, several)
        with self._lock:
            self._usable()
            self._files += 1
            path = os.path.join(self._directory, str(self._files))
            self._submitting += 1
        calls = _Calls(path, len(jobs))
        try:
            with open(path, "wb") as file:
                file.write(text)
            name = getattr(function, "__name__", type(function).__name__)
            fields: Options = {"label": name, **options}
            program = [sys.executable, "-P", _WORKER, path]
            return self.submit_jobs(
                [Job([*program, str(offset), f"{path}.{i}"], **fields) for i, offset in enumerate(offsets)],
                [f"{path}.{i}" for i in range(len(offsets))],
                calls,
            )
        except BaseException:
            if calls.jobs == len(jobs):
                os.unlink(path)
            raise
        finally:
            self._submitted()

    def submit_jobs(
        self, jobs: list[Job], results: list[str | None], calls: _Calls | None = None
    ) -> list[JobFuture[Any]]:
        """results: the files that they leave, if they do."""
        with self._lock:
            self._usable()
            self._submitting += 1
        try:
            encoded = self.queue.encode(jobs)
            self._open()
            try:
                runs = self.queue.submit_encoded(encoded)
            except BatchInterrupted as error:
                self._remove(error.ids)
                raise
            ids = [id for first, last in runs for id in range(first, last + 1)]
            futures: list[JobFuture[Any]] = []
            for id, result in zip(ids, results, strict=True):
                future: JobFuture[Any] = JobFuture()
                future.id, future._tasks, future._path = id, self, result
                futures.append(future)
            with self._lock:
                self._pending.update({future.id: (future, calls) for future in futures})
                self._new += ids
                if self._thread is None:
                    self._thread = threading.Thread(target=self._serve, name="tsfast executor")
                    self._thread.start()
            os.eventfd_write(self._bell, 1)
            return futures
        finally:
            self._submitted()

    def _open(self) -> EventStream:
        """The stream, from before the jobs are queued that it is to tell of."""
        with self._lock:
            if not self._streams:
                self._streams.append(EventStream(self.queue.path, start=True))
            return self._streams[0]

    def _usable(self) -> None:
        if self._closed:
            raise RuntimeError("the executor is shut down")
        if self._pid != os.getpid():
            raise RuntimeError("the executor belongs to the process that this one was forked from")

    def _submitted(self) -> None:
        with self._lock:
            self._submitting -= 1
            self._finish_if_done()

    # ---- taking away

    def cancel(self, future: JobFuture[Any]) -> bool:
        with self._lock:
            known = future.id in self._pending
            inside = threading.current_thread() is self._thread
        if not known or future.running():
            return future.cancelled()
        future._unwanted = True
        try:
            self.queue.remove(future.id)
        except UnknownJob:
            pass  # it has ended, or another call has removed it
        except RequestFailed:
            return False
        # It may have run to its end before it was removed: the events tell.
        if inside:
            while future.id not in self._ends and not future.done():
                self._listen()
            self._pass_on(future.id)
        else:
            concurrent.futures.wait([future])
        return future.cancelled()

    def remove(self, futures: Iterable[JobFuture[Any]]) -> None:
        """Cancel those that are queued, without waiting for it."""
        ids = []
        for future in futures:
            if not future.done() and not future.running():
                future._unwanted = True
                ids.append(future.id)
        self._remove(ids)

    def _remove(self, ids: list[int]) -> None:
        """A request removes all or none; those that run are left."""
        if not ids:
            return
        try:
            self.queue.remove(ids)
        except RequestFailed:
            if len(ids) > 1:
                self._remove(ids[len(ids) // 2 :])
                self._remove(ids[: len(ids) // 2])

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        with self._lock:
            self._closed = True
            futures = [future for future, _ in self._pending.values()]
            thread = self._thread
            self._finish_if_done()
        if cancel_futures:
            self.remove(futures)
        if wait and thread is not None:
            thread.join()

    def _finish_if_done(self) -> None:
        if self._closed and not self._submitting and self._thread is None and self._clean.alive:
            if self._own:
                self.queue.close()
            self._clean()

    # ---- hearing of ends: in the thread

    def _serve(self) -> None:
        while True:
            with self._lock:
                if not self._pending:
                    self._thread = None
                    self._finish_if_done()
                    return
            try:
                self._listen()
            except Exception as error:
                self._give_up(error)
            while self._ends:
                self._pass_on(next(iter(self._ends)))

    def _listen(self) -> None:
        """Wait until something has happened."""
        stream = self._open()
        both = select.poll()
        both.register(stream.fileno(), select.POLLIN)
        both.register(self._bell, select.POLLIN)
        both.poll(self._patience_ms())
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            pass
        with self._lock:
            new, self._new = self._new, []
        new += self._gone
        found: list[tuple[int, Event | None]] = []
        for event in stream.read(0):
            if event.kind != CHANGE:
                new += self._pending
            elif event.id in self._pending:
                future, _ = self._pending[event.id]
                if event.state in ENDED or event.state == "forgotten":
                    found.append((event.id, event))
                elif event.state == "running" and not future.running():
                    future.set_running_or_notify_cancel()
            elif self._submitting and (event.state in ENDED or event.state == "forgotten"):
                self._early.setdefault(event.id, event)
        # A look at the table comes last: there a job that was removed is only one that is not known.
        found += [(id, self._early.pop(id, None)) for id in dict.fromkeys(new)]
        with self._lock:
            if not self._submitting and not self._new:
                self._early.clear()
        for id, told in found:
            if id in self._pending and id not in self._ends:
                result = ending(self.queue, id, told)
                if result is None:
                    if told is None:
                        self._began(id)
                elif told is not None or result.state != "forgotten" or self._is_gone(id):
                    self._gone.pop(id, None)
                    self._ends[id] = result

    def _is_gone(self, id: int) -> bool:
        """A job that the table has forgotten has no event on its way that tells how it ended."""
        now = time.monotonic()
        return self._gone.setdefault(id, now + _GONE_S) <= now

    def _patience_ms(self) -> float | None:
        """Until a job is gone."""
        if not self._gone:
            return None
        return max(0.0, min(self._gone.values()) - time.monotonic()) * 1000 + 1

    def _began(self, id: int) -> None:
        """A job whose start may have been told before it was known here."""
        future, _ = self._pending[id]
        now = self.queue.result(id)
        if now.state == "running" and now.start is not None and not future.running():
            future.set_running_or_notify_cancel()

    def _pass_on(self, id: int) -> None:
        result = self._ends.pop(id, None)
        if result is None:
            return
        with self._lock:
            future, calls = self._pending.pop(id)
        value, error = self._outcome(future._path, result)
        if calls is not None:
            calls.job_ended()  # before anybody hears of the end: then its files are gone
        # What was removed before its events were read is only known to be gone.
        gone = result.state in ("removed", "forgotten") and isinstance(error, failures.JobError)
        if gone and future._unwanted and concurrent.futures.Future.cancel(future):
            future.set_running_or_notify_cancel()
        elif error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def _give_up(self, error: Exception) -> None:
        with self._lock:
            left, self._pending = self._pending, {}
            self._ends.clear()
            self._gone.clear()
        with self._lock:
            while self._streams:
                self._streams.pop().close()
        for future, _ in left.values():
            future.set_exception(error)

    def _outcome(self, path: str | None, result: Result) -> tuple[Any, BaseException | None]:
        """What the job gave, or what the task raised, or a JobError."""
        if path is None:
            by_itself = result.state in ("finished", "failed")
            return (result, None) if by_itself else (None, self._error(result))
        try:
            with open(path, "rb") as file:
                data = file.read()
            os.unlink(path)
        except FileNotFoundError:
            return None, self._error(result)
        except OSError as error:
            return None, error
        try:
            returned, value, trace = pickle.loads(data)
        except Exception as error:  # what was there to be pickled cannot be made again here
            return None, error
        if returned:
            return value, None
        raised: BaseException = TaskError(trace) if value is None else value
        raised.__cause__ = RemoteTraceback(f'\n"""\n{trace}"""')
        return None, raised

    def _error(self, result: Result) -> JobError:
        state, number = result.state, result.signal
        if state in ("finished", "failed"):
            return failures.JobFailed(
                result, f"ended with code {result.exit_code} and no result", self._tail(result.id)
            )
        if state == "killed":
            name = signal.Signals(number).name if number in list(signal.Signals) else f"signal {number}"
            return failures.JobKilled(result, f"was killed by {name}", self._tail(result.id))
        if state == "not-startable":
            return failures.JobNotStarted(result, f"could not be started: {result.reason}")
        if state == "skipped":
            return failures.JobSkipped(result, "was skipped: a job that it had to wait for ended badly")
        if state in ("removed", "cancelled"):
            return failures.JobCancelled(result, f"was {state}", self._tail(result.id) if state == "cancelled" else "")
        reason = "its queue was dropped, or it was forgotten at its end" if state == "forgotten" else result.reason
        return failures.JobLost(result, f"is lost: {reason}")

    def _tail(self, id: int) -> str:
        """The end of what the job wrote."""
        try:
            path = self.queue.output_path(id)
            if path is None or path.endswith(".gz") or not stat.S_ISREG(os.stat(path).st_mode):
                return ""
            with open(path, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
                return file.read(_TAIL).decode(errors="replace")
        except (QueueError, OSError):
            return ""


def _packed(function: Callable[..., Any], jobs: list[list[_Call]], several: bool) -> tuple[bytes, list[int]]:
    """A file for worker.py, and where in it the calls of each job begin."""
    try:
        import cloudpickle
    except ImportError:
        raise ImportError("callables need the package cloudpickle: pip install tsfast-spooler[executor]") from None
    file = io.BytesIO()
    pickle.dump([os.path.abspath(place) for place in sys.path], file)
    cloudpickle.dump(function, file)
    offsets = []
    for calls in jobs:
        offsets.append(file.tell())
        cloudpickle.dump((calls, several), file)
    return file.getvalue(), offsets


def _clean(directory: str, bell: int, streams: list[EventStream], pid: int) -> None:
    os.close(bell)
    for stream in streams:
        stream.close()
    if os.getpid() == pid:  # not in a fork
        shutil.rmtree(directory, ignore_errors=True)
