"""tsfast: a fast job spooler for one machine.

`Queue` is a queue of `ts` for programs; see docs/python.md. What the package offers is imported when it is first used:
the command line must not wait for it.
"""

import sys
from _frozen_importlib_external import EXTENSION_SUFFIXES, ExtensionFileLoader  # importlib.machinery takes 0.4 ms

from tsfast._compiled import MODULES, TOGETHER

__version__ = "0.1.0"

TYPE_CHECKING = False  # as checkers know it; the import of `typing` would double the time of the first call

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    from tsfast.client.aio import AsyncQueue
    from tsfast.client.errors import (
        BatchInterrupted,
        JobRefused,
        QueueError,
        QueueFull,
        QueueWarning,
        RequestFailed,
        ServerUnavailable,
        UnknownJob,
    )
    from tsfast.client.failures import (
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
    from tsfast.client.job import Job
    from tsfast.client.queue import Queue
    from tsfast.client.result import Result
    from tsfast.executor.executor import Executor, JobFuture


class _SharedObject:
    """Finds the compiled modules: one file, that of tsfast._core, holds all of them."""

    path = f"{__path__[0]}/_core{EXTENSION_SUFFIXES[0]}"

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> "ModuleSpec | None":
        if name not in MODULES:
            return None
        spec = type(__spec__)(name, ExtensionFileLoader(name, cls.path), origin=cls.path)
        spec.has_location = True
        return spec


if TOGETHER:
    sys.meta_path.insert(0, _SharedObject)

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
    **dict.fromkeys(["Executor", "JobFuture"], "executor.executor"),
    **dict.fromkeys(
        ["JobCancelled", "JobError", "JobFailed", "JobKilled", "JobLost", "JobNotStarted", "JobSkipped"],
        "client.failures",
    ),
    **dict.fromkeys(["RemoteTraceback", "TaskError"], "client.failures"),
    "AsyncQueue": "client.aio",
    "Job": "client.job",
    "Queue": "client.queue",
    "Result": "client.result",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'client.errors')}"), name)
    globals()[name] = value
    return value


def get_include() -> str:
    """The directory to compile with (-I): for `#include "tsfast/native/table.h"`, and for what cimports from tsfast."""
    import os

    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
