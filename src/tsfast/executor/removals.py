"""Removes jobs of an executor from the queue: in a thread of its own, because the server may hang."""

import threading
from collections import deque
from collections.abc import Callable

from tsfast.client.errors import QueueError, RequestFailed, UnknownJob
from tsfast.client.queue import Queue


class Removal:
    """The jobs of one request, and its outcome."""

    def __init__(self, ids: list[int]):
        self.ids = ids
        self.answered = False
        self.refused: list[int] = []
        self.error: QueueError | None = None


class Removals:
    """changed: its lock is held while anything of a removal changes, and its waiters are notified."""

    def __init__(self, queue: Queue, changed: threading.Condition):
        self._queue = queue
        self._changed = changed
        self._asked: deque[Removal] = deque()
        self._removes = False  # there is a thread that does

    def ask(self, ids: list[int], run: Callable[[Callable[[], None]], None]) -> Removal:
        """run: runs a function in another thread, or raises RuntimeError; then it runs in this one."""
        removal = Removal(ids)
        with self._changed:
            if not ids:
                removal.answered = True
                return removal
            self._asked.append(removal)
            if self._removes:
                return removal
            self._removes = True
            try:
                run(self._remove_all)
                return removal
            except RuntimeError:
                pass
        self._remove_all()
        return removal

    def _remove_all(self) -> None:
        while True:
            with self._changed:
                if not self._asked:
                    self._removes = False
                    return
                removal = self._asked.popleft()
            try:
                self._remove(removal.ids, removal.refused)
            except QueueError as error:
                removal.error = error
            except BaseException as error:
                removal.error = QueueError(f"jobs cannot be removed: {type(error).__name__}: {error}")
                removal.error.__cause__ = error
            finally:
                with self._changed:
                    removal.answered = True
                    self._changed.notify_all()

    def _remove(self, ids: list[int], refused: list[int]) -> None:
        """A request removes all or none; running jobs stay."""
        try:
            self._queue.remove(ids)
        except RequestFailed as error:
            if len(ids) > 1:
                self._remove(ids[len(ids) // 2 :], refused)
                self._remove(ids[: len(ids) // 2], refused)
            elif not isinstance(error, UnknownJob):  # otherwise it has ended, or another call has removed it
                refused += ids
