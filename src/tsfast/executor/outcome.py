"""The outcome of a task: from the file of its result, or from how its job ended."""

import errno
import os
import pickle
import signal
import stat
import time
from typing import Any

from tsfast.client import errors
from tsfast.client.connection import ATTEMPTS, PAUSE_S
from tsfast.client.errors import JobError as JobError
from tsfast.client.errors import QueueError, RemoteTraceback, TaskError
from tsfast.client.queue import Queue
from tsfast.client.result import Result
from tsfast.executor import calls

_TAIL = 2000  # bytes of a job's output that an exception shows
_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}


def of(queue: Queue, path: str | None, result: Result) -> tuple[Any, BaseException | None]:
    """The result of the job, or what the task raised, or a JobError. path: of the file of the result, None for a
    command. Raises what unpickling raises."""
    if path is None:
        by_itself = result.state in ("finished", "failed")
        return (result, None) if by_itself else (None, without_result(queue, result))
    try:
        data = _read(path)
    except FileNotFoundError:
        return None, without_result(queue, result)
    except (OSError, ValueError) as error:
        reason = f"has ended, but what it gave cannot be read: {error}"
        failed = errors.JobFailed(result, reason)
        failed.__cause__ = error
        return None, failed
    returned, value, trace = pickle.loads(data)
    if returned:
        return value, None
    return None, _raised(value, trace)


def _read(path: str) -> bytes:
    """Waits while this program is short of something."""
    for attempt in range(ATTEMPTS):
        try:
            return calls.read(path)
        except OSError as error:
            if error.errno not in _SHORTAGES:
                raise
        time.sleep(PAUSE_S * min(attempt, 4))
    return calls.read(path)


def _raised(value: Any, trace: str) -> BaseException:
    """An exception that a future can raise: it would not raise anything else, nor anything that is false."""
    cause = RemoteTraceback(f'\n"""\n{trace}"""')
    try:
        if isinstance(value, BaseException) and value:
            value.__cause__ = cause
            return value
    except Exception:
        pass
    error = TaskError(trace)
    error.__cause__ = cause
    return error


def without_result(queue: Queue, result: Result) -> JobError:
    state, number = result.state, result.signal
    if state in ("finished", "failed"):
        return errors.JobFailed(result, f"ended with code {result.exit_code} and no result", _tail(queue, result.id))
    if state == "killed":
        name = signal.Signals(number).name if number in list(signal.Signals) else f"signal {number}"
        return errors.JobKilled(result, f"was killed by {name}", _tail(queue, result.id))
    if state == "not-startable":
        return errors.JobNotStarted(result, f"could not be started: {result.reason}")
    if state == "skipped":
        return errors.JobSkipped(result, "was skipped: a job that it depended on failed")
    if state in ("removed", "cancelled"):
        return errors.JobCancelled(result, f"was {state}", _tail(queue, result.id) if state == "cancelled" else "")
    reason = "its queue was dropped, or it was forgotten at its end" if state == "forgotten" else result.reason
    return errors.JobLost(result, f"is lost: {reason}")


def _tail(queue: Queue, id: int) -> str:
    """The end of the job's output."""
    try:
        path = queue.output_path(id)
        if path is None or path.endswith(".gz") or not stat.S_ISREG(os.stat(path).st_mode):
            return ""
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            return file.read(_TAIL).decode(errors="replace")
    except (QueueError, OSError):
        return ""
