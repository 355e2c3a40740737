"""tsfast: a fast job spooler for one machine.

`Queue` is a queue of `ts` for programs; see docs/python.md. What the package offers is imported when it is first used:
the command line must not wait for it.
"""

import sys
from _frozen_importlib_external import EXTENSION_SUFFIXES, ExtensionFileLoader  # importlib.machinery takes 0.4 ms

from tsfast._compiled import MODULES, PACKAGES, TOGETHER

__version__ = "0.1.0"

TYPE_CHECKING = False  # as checkers know it; the import of `typing` would double the time of the first call

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    from tsfast.client.aio import AsyncQueue
    from tsfast.client.dtypes import JOB_DTYPE
    from tsfast.client.encoder import Encoder
    from tsfast.client.errors import (
        BatchInterrupted,
        JobCancelled,
        JobError,
        JobFailed,
        JobKilled,
        JobLost,
        JobNotStarted,
        JobRefused,
        JobSkipped,
        QueueError,
        QueueFull,
        QueueWarning,
        RemoteTraceback,
        RequestFailed,
        ServerUnavailable,
        SubmissionInterrupted,
        TaskError,
        UnknownJob,
    )
    from tsfast.client.events import ENDED, STATES, Event, EventStream
    from tsfast.client.job import Job, Options
    from tsfast.client.queue import Queue
    from tsfast.client.reader import Reader, ReadError, TableError
    from tsfast.client.result import Result
    from tsfast.executor.executor import Executor, JobFuture


class _Finder:
    """Finds the compiled modules, which are all in the file of tsfast._core, and packages that hold nothing but their
    rule: reading the __init__.py of each would take 1 ms of a server's start."""

    path = f"{__path__[0]}/_core{EXTENSION_SUFFIXES[0]}"

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> "ModuleSpec | None":
        if name in MODULES:
            spec = type(__spec__)(name, ExtensionFileLoader(name, cls.path), origin=cls.path)
            spec.has_location = True
            return spec
        if name in PACKAGES:
            spec = type(__spec__)(name, None, is_package=True)
            spec.submodule_search_locations = [f"{__path__[0]}/{name[len('tsfast.') :].replace('.', '/')}"]
            return spec
        return None


if TOGETHER:
    sys.meta_path.insert(0, _Finder)

__all__ = [
    "ENDED",
    "JOB_DTYPE",
    "STATES",
    "AsyncQueue",
    "BatchInterrupted",
    "Encoder",
    "Event",
    "EventStream",
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
    "Options",
    "Queue",
    "QueueError",
    "QueueFull",
    "QueueWarning",
    "ReadError",
    "Reader",
    "RemoteTraceback",
    "RequestFailed",
    "Result",
    "ServerUnavailable",
    "SubmissionInterrupted",
    "TableError",
    "TaskError",
    "UnknownJob",
    "get_include",
]
_HOMES = {  # the others are errors
    "AsyncQueue": "client.aio",
    "JOB_DTYPE": "client.dtypes",
    "Encoder": "client.encoder",
    **dict.fromkeys(["ENDED", "STATES", "Event", "EventStream"], "client.events"),
    **dict.fromkeys(["Job", "Options"], "client.job"),
    "Queue": "client.queue",
    **dict.fromkeys(["Reader", "ReadError", "TableError"], "client.reader"),
    "Result": "client.result",
    **dict.fromkeys(["Executor", "JobFuture"], "executor.executor"),
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
