"""The future of a task of an executor."""

import concurrent.futures
import logging
from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")

_LOGGER = logging.getLogger("concurrent.futures")


class _Tasks(Protocol):
    """Of an executor: tasks.py."""

    def cancel(self, future: "JobFuture[T]", /) -> bool: ...
    def inside(self) -> bool: ...


class JobFuture(concurrent.futures.Future[T]):
    """A task of an executor. `id`: its job."""

    id: int
    _tasks: _Tasks
    _unwanted = False  # cancel() was called
    _notified = False  # of being cancelled

    def cancel(self) -> bool:
        """Take the job out of the queue. False if it runs or has ended: it continues, and Queue.cancel() with `id`
        would end it. Also False if the server does not answer in a moment; then it is taken out later, unless it has
        begun by then. Raises QueueError."""
        return self._tasks.cancel(self)

    def add_done_callback(self, fn: Callable[[concurrent.futures.Future[T]], object]) -> None:
        """See concurrent.futures.Future. Logs whatever a callback raises."""

        def callback(future: concurrent.futures.Future[T]) -> None:
            try:
                fn(future)
            except Exception:
                raise  # is logged
            except BaseException:
                if not self._tasks.inside():
                    raise
                _LOGGER.exception("exception calling callback for %r", self)

        super().add_done_callback(callback)

    def __repr__(self) -> str:
        return f"<{super().__repr__()[1:-1]} job={self.id}>"
