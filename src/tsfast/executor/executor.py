"""`Executor`: concurrent.futures whose tasks are jobs of a queue."""

import concurrent.futures
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar, Unpack

from tsfast.client.job import Job, Options, Word
from tsfast.client.queue import Queue
from tsfast.client.result import Result
from tsfast.executor.calls import Call
from tsfast.executor.futures import JobFuture as JobFuture
from tsfast.executor.tasks import Tasks

P = ParamSpec("P")
T = TypeVar("T")


class Executor(concurrent.futures.Executor):
    """Runs callables and commands as jobs of a queue. queue: a Queue, or the argument of Queue(); options: the fields
    of `tsfast.Job` that all jobs get; with_options() sets those of single tasks.

    Callables and their arguments are pickled by cloudpickle (the extra `executor`), so functions of __main__ and of a
    notebook work. Each runs in an interpreter of its own, in the program's directory, with its sys.path. The future
    returns or raises what the call did, with the task's traceback as the cause; a job without either raises a
    JobError."""

    def __init__(self, queue: Queue | str | os.PathLike[str] | None = None, **options: Unpack[Options]):
        self._tasks = Tasks(queue)
        self._options = options

    @property
    def queue(self) -> Queue:
        """The queue of the jobs."""
        return self._tasks.queue

    def with_options(self, **options: Unpack[Options]) -> "Executor":
        """The same executor with more or other options for its tasks: `executor.with_options(gpus=1).submit(train)`. A
        shutdown ends both."""
        other = Executor.__new__(type(self))
        other._tasks = self._tasks
        other._options = {**self._options, **options}
        return other

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> JobFuture[T]:
        """Queue a call. Raises what pickling raises, what Queue.submit does, and RuntimeError after shutdown()."""
        return self._tasks.submit_calls(fn, [[(args, kwargs)]], False, self._options)[0]

    def submit_argv(self, argv: Sequence[Word], **options: Unpack[Options]) -> JobFuture[Result]:
        """Queue a command. The future's result is a Result, whatever its exit code; a JobError if it did not end by
        itself."""
        every: Options = {**self._options, **options}
        return self._tasks.submit_jobs([Job(argv, **every)], [None])[0]

    def map(
        self, fn: Callable[..., T], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[T]:
        """Queue a call for each element, in one batch; the results in their order. chunksize: calls per job. Raises
        TimeoutError so many seconds after this call; jobs whose results are not taken are removed from the queue."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if chunksize < 1:
            raise ValueError("chunksize must be 1 or more")
        calls: list[Call] = [(args, {}) for args in zip(*iterables, strict=False)]
        chunks = [calls[at : at + chunksize] for at in range(0, len(calls), chunksize)]
        futures: list[JobFuture[list[T]]] = self._tasks.submit_calls(fn, chunks, True, self._options)

        futures.reverse()

        def results() -> Iterator[T]:
            try:
                while futures:
                    left = None if deadline is None else deadline - time.monotonic()
                    values = futures[-1].result(left)
                    del futures[-1]  # keep nothing of a result that was taken
                    values.reverse()
                    while values:
                        yield values.pop()
            finally:
                self._tasks.remove(futures)

        return results()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more tasks; the present ones continue, but `cancel_futures` removes waiting ones from the queue.
        wait: until all have ended and their callbacks have run; not in a callback itself."""
        self._tasks.shutdown(wait, cancel_futures)
