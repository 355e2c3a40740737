"""The errors of a queue and of an executor."""

TYPE_CHECKING = False  # as in tsfast/__init__.py
if TYPE_CHECKING:
    import tsfast


class QueueError(Exception):
    """Base of all errors of this package."""


class ServerUnavailable(QueueError):
    """The queue has no server and none could be started, or its server cannot be used."""


class RequestFailed(QueueError):
    """The server refused a request; the text is its line."""


class QueueFull(RequestFailed):
    """The queue is full (TS_MAXCONN), and the call should not wait, or waiting cannot help."""


class UnknownJob(RequestFailed, LookupError):
    """A job id was never assigned, or the job is no longer known."""


class JobRefused(QueueError, ValueError):
    """A job that cannot be queued; nothing of its batch was. `place`: its place in the batch, counted from 0."""

    def __init__(self, place: int, reason: str):
        super().__init__(f"job {place} of the batch: {reason}" if place else reason)
        self.place = place
        self.reason = reason

    def __reduce__(self) -> tuple[type["JobRefused"], tuple[int, str]]:
        return type(self), (self.place, self.reason)


class BatchInterrupted(QueueError):
    """A batch that was queued in part. runs: first and last id of each run of consecutive ids, in the order of the
    batch; they belong to its first `queued` jobs, of `total`. The others are not queued; only if the server disappeared
    for good, those of frames that were on their way (at most 8, of 4,096 jobs) may be queued although no reply has
    arrived."""

    def __init__(self, runs: list[tuple[int, int]], total: int, reason: str):
        self.queued = sum(last - first + 1 for first, last in runs)
        super().__init__(f"{self.queued} of {total} jobs are queued: {reason}")
        self.runs = runs
        self.total = total
        self.reason = reason

    @property
    def ids(self) -> list[int]:
        """The ids of the queued jobs, in the order of the batch."""
        return [id for first, last in self.runs for id in range(first, last + 1)]

    def __reduce__(self) -> tuple[type["BatchInterrupted"], tuple[list[tuple[int, int]], int, str]]:
        return type(self), (self.runs, self.total, self.reason)


class SubmissionInterrupted(KeyboardInterrupt):
    """SIGINT came while a batch was on its way. runs, queued, total: as of BatchInterrupted."""

    def __init__(self, runs: list[tuple[int, int]], total: int):
        self.queued = sum(last - first + 1 for first, last in runs)
        super().__init__(f"{self.queued} of {total} jobs are known to be queued")
        self.runs = runs
        self.total = total

    def __reduce__(self) -> tuple[type["SubmissionInterrupted"], tuple[list[tuple[int, int]], int]]:
        return type(self), (self.runs, self.total)


class QueueWarning(UserWarning):
    """A queued job may wait forever, for slots or GPUs that do not exist. runs: as of BatchInterrupted, of all jobs
    that the call has queued: if warnings are errors, this is raised instead of returning their ids."""

    def __init__(self, text: str, runs: list[tuple[int, int]] | None = None):
        super().__init__(text)
        self.runs = runs or []

    def __reduce__(self) -> tuple[type["QueueWarning"], tuple[str, list[tuple[int, int]]]]:
        return type(self), (str(self), self.runs)

    @property
    def ids(self) -> list[int]:
        """The ids of those jobs, in the order of the batch."""
        return [id for first, last in self.runs for id in range(first, last + 1)]


# ---- what a future of an executor raises if the task has no result ----


class JobError(QueueError):
    """A task whose job did not end by itself, or left no result. `result`: how it ended; `output`: the end of its
    output, "" if unknown."""

    def __init__(self, result: "tsfast.Result", reason: str, output: str = ""):
        super().__init__(f"job {result.id} {reason}" + (f"; its output ends with:\n{output}" if output else ""))
        self.result = result
        self.reason = reason
        self.output = output

    def __reduce__(self) -> "tuple[type[JobError], tuple[tsfast.Result, str, str]]":
        return type(self), (self.result, self.reason, self.output)


class JobFailed(JobError):
    """It ended with an exit code and without a result."""


class JobKilled(JobError):
    """A signal, `result.signal`, ended it."""


class JobCancelled(JobError):
    """It was removed (`ts -r`) or cancelled, but not by the future's cancel()."""


class JobSkipped(JobError):
    """A job that it depended on failed."""


class JobNotStarted(JobError):
    """Its process could not be started: no such directory, no output file."""


class JobLost(JobError):
    """Nobody knows how it ended: the machine was restarted, or the job is forgotten, as after `ts -K`."""


class TaskError(QueueError):
    """A task raised an exception that cannot be pickled; the text is its traceback. Or the task could not read its
    call, or not write its result."""


class RemoteTraceback(Exception):
    """The cause of an exception that a task raised: the task's traceback."""


for _error in list(globals().values()):
    if isinstance(_error, type) and issubclass(_error, BaseException):
        _error.__module__ = "tsfast"  # where programs find it
