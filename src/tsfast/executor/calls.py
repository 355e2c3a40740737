"""The files between an executor and its tasks; worker.py is the other side.

They lie below the queue's state directory, which only its user can enter and which no cleaner of temporary files
touches: SOCKET's state/executors/PID.RANDOM, locked by the executor while it lives.
"""

import fcntl
import io
import os
import pickle
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from tsfast.base import trust
from tsfast.client.errors import QueueError
from tsfast.client.events import UNFINISHED
from tsfast.client.queue import Queue
from tsfast.location import paths, state

MARK = b"TSFR"  # a result: this, the length of what follows in 8 bytes, and a pickle

Call = tuple[tuple[Any, ...], dict[str, Any]]

_LEFT_S = 3600.0  # the age at which leftovers of an executor are examined
_LOOKED_AT = 100_000  # jobs; with a longer list the leftovers stay for another day


class Directory:
    """The directory of an executor, created when the first task needs it."""

    def __init__(self, queue: Queue):
        self.path = ""
        self.needed_by: set[int | None] = set()  # jobs that may continue; None: unknown which
        self._queue = queue
        self._lock = -1

    def make(self) -> str:
        """Its path; creates it again if it is gone. The queue has a state directory. Raises QueueError."""
        if self.path and os.path.isdir(self.path):
            return self.path
        try:
            place = state.find(paths.canonical(self._queue.path), os.environ)
            if place is None:
                raise QueueError(f"the queue {self._queue.path} has no state directory")
            base = os.path.join(place, "executors")
            os.close(trust.open_directory(base, make=True))
            _sweep(base, self._queue)
            made = tempfile.mkdtemp(prefix=f"{os.getpid()}.", dir=base)
            self._unlock()
            self.path = made
            self._lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (OSError, paths.StateError) as error:
            raise QueueError(f"the directory for the tasks of the executor cannot be created: {error}") from error
        return self.path

    def remove(self) -> None:
        """Removes it with all files, unless jobs may still need them; then a later executor does."""
        self._unlock()
        if self.path and not self.needed_by:
            shutil.rmtree(self.path, ignore_errors=True)

    def leave(self) -> None:
        """Leaves it to the process that this one was forked from."""
        self._unlock()

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class Calls:
    """The file of the calls that were submitted together."""

    def __init__(self, path: str, jobs: int):
        self.path = path
        self.jobs = jobs  # jobs that have not ended

    def write(self, text: bytes) -> None:
        """Raises QueueError."""
        try:
            with open(self.path, "xb") as file:
                file.write(text)
        except OSError as error:
            self.remove()
            raise QueueError(f"{self.path} cannot be written: {error.strerror}") from error

    def job_ended(self) -> None:
        self.jobs -= 1
        if not self.jobs:
            self.remove()

    def remove(self) -> None:
        remove(self.path)


def remove(path: str) -> None:
    """Removes a file that may be gone."""
    try:
        os.unlink(path)
    except OSError:
        pass


def packed(function: Callable[..., Any], jobs: list[list[Call]], several: bool) -> tuple[bytes, list[int]]:
    """A file for worker.py, and where in it the calls of each job begin. several: the result of a job is the list of
    those of its calls. Raises ImportError, and what pickling raises."""
    try:
        import cloudpickle
    except ImportError:
        raise ImportError("callables need the package cloudpickle: pip install tsfast-spooler[executor]") from None
    file = io.BytesIO()
    pickle.dump(_places(), file)
    cloudpickle.dump(function, file)
    offsets = []
    for calls in jobs:
        offsets.append(file.tell())
        cloudpickle.dump((calls, several), file)
    return file.getvalue(), offsets


def label(function: object) -> str:
    """The name of a callable, if it has one."""
    try:
        name = function.__name__  # type: ignore[attr-defined]
        if isinstance(name, str) and name.isprintable() and name:
            return name
    except Exception:
        pass
    return type(function).__name__


def _places() -> list[str]:
    """sys.path for an interpreter that may have another directory."""
    try:
        return [os.path.abspath(place) for place in sys.path]
    except OSError:  # ours is gone, and all that is in it
        return [place for place in sys.path if os.path.isabs(place)]


def read(path: str) -> bytes:
    """The file that a task has left. Raises OSError; ValueError for an incomplete file."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError("it is not a file")
        head = file.read(len(MARK) + 8)
        data = file.read()
    if len(head) != len(MARK) + 8 or head[: len(MARK)] != MARK:
        raise ValueError("the file is damaged")
    size = int.from_bytes(head[len(MARK) :], "little")
    if len(data) != size:
        raise ValueError(f"the file has {len(data)} bytes of {size}")
    return data


def _sweep(base: str, queue: Queue) -> None:
    """Removes leftovers of executors that were killed, or whose jobs continued, once no job of the queue needs them."""
    left = [place for place in _left(base) if _unlocked(place)]
    if left and (needed := _words(queue)) is not None:
        for place in left:
            if os.fsencode(place) not in needed:
                shutil.rmtree(place, ignore_errors=True)


def _left(base: str) -> list[str]:
    with os.scandir(base) as entries:
        found = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    since = time.time() - _LEFT_S
    places = []
    for entry in found:
        try:
            if entry.stat(follow_symlinks=False).st_mtime < since:
                places.append(entry.path)
        except FileNotFoundError:
            pass  # its executor has just ended
    return places


def _unlocked(place: str) -> bool:
    try:
        fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def _words(queue: Queue) -> set[bytes] | None:
    """The directories whose files commands of unfinished jobs name; None if unknown."""
    found: set[bytes] = set()
    table = queue._table()
    if table is None or table.committed - table.floor > _LOOKED_AT:
        return None
    for id in range(table.floor, table.committed):
        try:
            if queue.state(id) in UNFINISHED:
                found.update(map(os.path.dirname, queue.job(id)["argv"]))
        except QueueError:
            return None  # a record is damaged, or the job has just ended
    return found
