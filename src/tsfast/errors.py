"""What can go wrong for a program that uses a queue."""


class QueueError(Exception):
    """Base of all errors of this package."""


class ServerUnavailable(QueueError):
    """There is no server for the queue and none could be started, or it cannot be spoken to."""


class RequestFailed(QueueError):
    """The server refused a request; the text is its line."""


class QueueFull(RequestFailed):
    """There is no room in the queue (TS_MAXCONN), and waiting for it was not wanted or cannot help."""


class UnknownJob(RequestFailed, LookupError):
    """A job id was never given out, or the job is no longer known."""


class JobRefused(QueueError, ValueError):
    """A job that cannot be queued; nothing of its batch was. `place`: which one of the batch it is, counted from 0."""

    def __init__(self, place: int, reason: str):
        super().__init__(f"job {place} of the batch: {reason}" if place else reason)
        self.place = place
        self.reason = reason


class BatchInterrupted(QueueError):
    """A batch that was queued in part: the first `len(ids)` jobs of `total` are, with these ids, and no other one is."""

    def __init__(self, ids: list[int], total: int, reason: str):
        super().__init__(f"{len(ids)} of {total} jobs are queued: {reason}")
        self.ids = ids
        self.total = total
        self.reason = reason
