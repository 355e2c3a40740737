"""tsfast: a fast job spooler for one machine.

`Queue` is a queue of `ts` for programs; see docs/python.md. What the package offers is imported when it is first used:
the command line must not wait for it.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

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
    from tsfast.jobs import Job
    from tsfast.queue import Queue
    from tsfast.results import Result

__all__ = [
    "AsyncQueue",
    "BatchInterrupted",
    "Job",
    "JobRefused",
    "Queue",
    "QueueError",
    "QueueFull",
    "QueueWarning",
    "RequestFailed",
    "Result",
    "ServerUnavailable",
    "UnknownJob",
    "get_include",
]
_HOMES = {"AsyncQueue": "aio", "Job": "jobs", "Queue": "queue", "Result": "results"}  # the others are errors


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
