"""What a future of an executor raises where there is no result of the task."""

from tsfast.client.errors import QueueError
from tsfast.client.result import Result


class JobError(QueueError):
    """A task whose job did not end by itself, or left no result. `result`: how it ended; `output`: the end of what it
    wrote, "" if that is not known."""

    def __init__(self, result: Result, reason: str, output: str = ""):
        super().__init__(f"job {result.id} {reason}" + (f"; its output ends with:\n{output}" if output else ""))
        self.result = result
        self.reason = reason
        self.output = output

    def __reduce__(self) -> tuple[type["JobError"], tuple[Result, str, str]]:
        return type(self), (self.result, self.reason, self.output)


class JobFailed(JobError):
    """It ended with an exit code and without a result."""


class JobKilled(JobError):
    """It was ended by a signal, which is `result.signal`."""


class JobCancelled(JobError):
    """It was taken out of the queue (`ts -r`) or cancelled, by somebody else than the future's cancel()."""


class JobSkipped(JobError):
    """A job that it had to wait for ended badly."""


class JobNotStarted(JobError):
    """Its process could not be started: no such directory, no output file."""


class JobLost(JobError):
    """How it ended is not known: the machine was restarted, or the job is forgotten, as after `ts -K`."""


class TaskError(QueueError):
    """A task raised an exception that cannot be pickled; the text is its traceback. Or its call could not be read, or
    its result not be written."""


class RemoteTraceback(Exception):
    """The cause of an exception that a task raised: the traceback there."""
