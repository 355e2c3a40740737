"""tsfast: a fast job spooler for one machine.

`Queue` is a queue of `ts` for programs; see docs/python.md. What the package offers is imported when it is first used:
the command line must not wait for it.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False  # as checkers know it; the import of `typing` would double the time of the first call

if TYPE_CHECKING:
    from tsfast.aio import AsyncQueue
    from tsfast.errors import (
        BatchInterrupted,
        JobRefused,
        QueueError,
        QueueFull,
        QueueWarning,
        RequestFailed,
        ServerUnavailable,
        UnknownJob,
    )
    from tsfast.executor import Executor, JobFuture
    from tsfast.failures import (
        JobCancelled,
        JobError,
        JobFailed,
        JobKilled,
        JobLost,
        JobNotStarted,
        JobSkipped,
        RemoteTraceback,
        TaskError,
    )
    from tsfast.jobs import Job
    from tsfast.queue import Queue
    from tsfast.results import Result

__all__ = [
    "AsyncQueue",
    "BatchInterrupted",
    "Executor",
    "Job",
    "JobCancelled",
    "JobError",
    "JobFailed",
    "JobFuture",
    "JobKilled",
    "JobLost",
    "JobNotStarted",
    "JobRefused",
    "JobSkipped",
    "Queue",
    "QueueError",
    "QueueFull",
    "QueueWarning",
    "RemoteTraceback",
    "RequestFailed",
    "Result",
    "ServerUnavailable",
    "TaskError",
    "UnknownJob",
    "get_include",
]
_HOMES = {  # the others are errors
    **dict.fromkeys(["Executor", "JobFuture"], "executor"),
    **dict.fromkeys(
        ["JobCancelled", "JobError", "JobFailed", "JobKilled", "JobLost", "JobNotStarted", "JobSkipped"], "failures"
    ),
    **dict.fromkeys(["RemoteTraceback", "TaskError"], "failures"),
    "AsyncQueue": "aio",
    "Job": "jobs",
    "Queue": "queue",
    "Result": "results",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def get_include() -> str:
    """The directory to compile with (-I): for `#include "tsfast/native/table.h"`, and for what cimports from tsfast."""
    import os

    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
