"""How a job ended, for programs."""

import os
from typing import NamedTuple

from tsfast.client import reader
from tsfast.client.events import ENDED, STATES, Event

_STAGES = {1: "its record", 2: "its output file", 3: "its directory", 4: "its process", 6: "gzip"}  # enum tsf_stage
_LOSSES = ("its runner was killed", "the machine was restarted", "its record was damaged")  # enum tsf_loss


class Result(NamedTuple):
    """The state of a job, and how it ended if it has.

    state: a word of `tsfast.STATES`; exit_code: 0 to 255, or None if it did not end by itself; signal: the one that
    ended it; start: seconds since 1970; duration, user_time, system_time: seconds, once it has ended; maxrss: bytes;
    reason: why it could not start, or is lost. Unknown values, of a job that is forgotten or has not ended, are
    None."""

    id: int
    state: str
    exit_code: int | None = None
    signal: int | None = None
    start: float | None = None
    duration: float | None = None
    user_time: float | None = None
    system_time: float | None = None
    maxrss: int | None = None
    reason: str | None = None

    @property
    def ok(self) -> bool:
        """It ended with exit code 0."""
        return self.state == "finished"

    @property
    def ended(self) -> bool:
        """It will not run any more: it has ended, is forgotten, or its record is damaged."""
        return self.state in ENDED or self.state in ("forgotten", "damaged")


def of_record(record: "reader.Result") -> Result:
    """From the job table."""
    state = STATES[record.state] if record.state < len(STATES) else "lost"
    if state not in ENDED:
        return Result(record.id, state, start=record.start_ns / 1e9 or None)
    reason = None
    if state == "not-startable":
        reason = f"{_STAGES.get(record.stage, 'its set-up')}: {os.strerror(record.cause)}"
    elif state == "lost":
        reason = _LOSSES[record.cause] if record.cause < len(_LOSSES) else "it could not be waited for"
    return Result(
        record.id,
        state,
        record.exit_code,
        record.signal,
        record.start_ns / 1e9 or None,
        record.duration_ns / 1e9,
        record.utime_ms / 1e3,
        record.stime_ms / 1e3,
        record.maxrss_kb * 1024,
        reason,
    )


def of_event(event: Event) -> Result:
    """From the stream of events, for a job that is forgotten since."""
    if event.status is None:
        return Result(event.id, event.state)
    if os.WIFSIGNALED(event.status):
        return Result(event.id, event.state, signal=os.WTERMSIG(event.status))
    return Result(event.id, event.state, exit_code=os.WEXITSTATUS(event.status))
