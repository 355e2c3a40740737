"""`Queue`: a queue of `ts` as a Python object."""

import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from tsfast import connection, jobs
from tsfast._encode import EncodeError, Encoder
from tsfast.connection import ADDED, ERR, EXIT, GIVE_WAY, REFUSED, Connection
from tsfast.errors import (
    BatchInterrupted,
    JobRefused,
    QueueError,
    QueueFull,
    QueueWarning,
    RequestFailed,
    ServerUnavailable,
)
from tsfast.jobs import Job, Options, Word

if TYPE_CHECKING:
    import numpy
    import numpy.typing

JobLike: TypeAlias = Job | Mapping[str, Any] | Sequence[Word]

# enum tsf_refusal of native/wire.h
_REFUSED_JOB, _REFUSED_ID, _REFUSED_FULL, _REFUSED_SYSTEM, _REFUSED_CALLER = range(1, 6)
_WINDOW = 8  # frames on the way


class Queue:
    """The queue of a socket: as given, else TS_SOCKET, else the default of `ts`. Its server is started when it is
    needed. Can be used from several threads, and after a fork. Usable as a context manager, which closes the
    connection; the queue and its jobs go on."""

    def __init__(self, socket: str | os.PathLike[str] | None = None):
        self.path = connection.socket_path(socket)
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._pid = 0

    def __enter__(self) -> "Queue":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Queue({self.path!r})"

    def close(self) -> None:
        """Close the connection; it is made again when it is needed."""
        with self._lock:
            self._drop()

    # ---- adding jobs

    def submit(self, argv: Sequence[Word], *, block: bool = True, **options: Unpack[Options]) -> int:
        """Queue a command; its id. options: the fields of `tsfast.Job`. block: wait for room where the queue is full.

        Raises TypeError, ValueError (JobRefused) for what is no job, QueueFull, RequestFailed, ServerUnavailable."""
        return self._submit(self._encoded([Job(argv, **options) if options else argv]), block)[0][1]

    def submit_many(self, batch: Iterable[JobLike], *, block: bool = True) -> "numpy.typing.NDArray[numpy.uint64]":
        """Queue many jobs: lists of words, `Job`s, or mappings with the fields of a Job. Their ids, in their order.

        In `after` and `after_ok` "@N" stands for the Nth job of the batch. A wrong job raises JobRefused, and then none
        is queued. Large batches go in several frames, each of which is queued as a whole: if the server goes away for
        good or its disk is full, BatchInterrupted tells which jobs are queued."""
        import numpy

        parts = self._submit(self._encoded(batch), block)
        if not parts:
            return numpy.empty(0, numpy.uint64)
        return numpy.concatenate([numpy.arange(first, first + count, dtype=numpy.uint64) for _, first, count in parts])

    def submit_lines(self, text: bytes, *, options: Sequence[bytes] = (), block: bool = True) -> list[tuple[int, int]]:
        """Queue the lines of a batch file (see `ts --batch`); the first and the last id of each run of ids. The place
        of JobRefused is the number of the line, from 1."""
        encoder = Encoder()
        try:
            encoder.lines(text, jobs.from_json, options)
        except EncodeError as error:
            raise JobRefused(error.place, error.reason) from None
        try:
            return _runs(self._submit(encoder, block))
        except JobRefused as error:
            raise JobRefused(_line_of(text, error.place), error.reason) from None

    @staticmethod
    def _encoded(batch: Iterable[JobLike]) -> Encoder:
        encoder = Encoder()
        try:
            encoder.extend(batch, jobs.encoded)
        except EncodeError as error:
            if isinstance(error.__cause__, TypeError):
                raise TypeError(str(error) if error.place else error.reason) from None
            raise JobRefused(error.place, error.reason) from None
        return encoder

    def _submit(self, encoder: Encoder, block: bool) -> list[tuple[int, int, int]]:
        """Place in the batch, first id and number of the jobs of each frame."""
        if not len(encoder):
            return []
        caller = connection.caller()
        number, token = int.from_bytes(os.urandom(8), "little"), os.urandom(8)
        tokens = [token + ((number + i) % 2**64).to_bytes(8, "little") for i in range(encoder.frames)]
        parts: list[tuple[int, int, int]] = []
        with self._lock:
            failures = 0
            while len(parts) < len(tokens):
                before = len(parts)
                try:
                    self._send_frames(encoder, caller, tokens, parts, block)
                except OSError as error:
                    self._drop()
                    failures = 1 if len(parts) > before else failures + 1
                    if failures >= connection.ATTEMPTS:
                        raise self._interrupted(encoder, parts, f"the server is gone: {error}") from None
                    time.sleep(connection.PAUSE_S * max(0, failures - 2))
                except ServerUnavailable as error:
                    self._drop()
                    if not parts:
                        raise
                    raise self._interrupted(encoder, parts, str(error)) from None
                except BaseException:
                    self._drop()
                    raise
        return parts

    def _send_frames(
        self, encoder: Encoder, caller: bytes, tokens: list[bytes], parts: list[tuple[int, int, int]], block: bool
    ) -> None:
        """Those that are not acknowledged, some ahead of the answers. Raises OSError: to be continued."""
        server = self._connected()
        sent = len(parts)
        while len(parts) < len(tokens):
            while sent < len(tokens) and sent - len(parts) < _WINDOW:
                back = encoder.looks_back(sent)
                if back and sent > len(parts):
                    break  # the ids of the frames before it are to be known first
                earlier = [(place, first) for place, first, _ in parts] if back else []
                try:
                    frame = encoder.frame(sent, caller, tokens[sent], earlier, not block, connection.VERSION)
                except ValueError as error:
                    raise self._interrupted(encoder, parts, str(error)) from None
                server.send(frame)
                sent += 1
            kind, payload = server.receive()
            if kind == ADDED:
                first, count = int.from_bytes(payload[:8], "little"), int.from_bytes(payload[8:12], "little")
                parts.append((encoder.places(len(parts))[0], first, count))
            elif kind == REFUSED:
                raise self._refused(encoder, parts, payload)
            elif kind == GIVE_WAY:
                self._drop()
                connection.start_server(self.path)
                raise ConnectionResetError("the server gave way to this release")
            elif kind == ERR:
                text = payload.decode(errors="replace").strip()
                if not text.startswith("ts: warning: "):
                    raise self._interrupted(encoder, parts, text.removeprefix("ts: "))
                import warnings

                warnings.warn(text.removeprefix("ts: warning: "), QueueWarning, stacklevel=5)
            elif kind == EXIT:
                raise ConnectionResetError("the server ended")

    def _refused(self, encoder: Encoder, parts: list[tuple[int, int, int]], payload: bytes) -> QueueError:
        place = int.from_bytes(payload[:4], "little")
        reason = int.from_bytes(payload[4:8], "little")
        text = payload[8:].decode(errors="replace") or "out of memory"
        self._drop()
        if parts:
            return self._interrupted(encoder, parts, text)
        if reason == _REFUSED_FULL:
            return QueueFull(text)
        if reason in (_REFUSED_JOB, _REFUSED_ID):
            return JobRefused(encoder.places(len(parts))[0] + place, text)
        return RequestFailed(text)

    @staticmethod
    def _interrupted(encoder: Encoder, parts: list[tuple[int, int, int]], reason: str) -> QueueError:
        if not parts:
            return RequestFailed(reason)
        return BatchInterrupted(_runs(parts), len(encoder), reason)

    # ---- the connection

    def _connected(self) -> Connection:
        if self._connection is not None and self._pid != os.getpid():
            self._drop()  # a parent's: its answers are not ours
        if self._connection is None:
            self._connection = Connection(self.path)
            self._pid = os.getpid()
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _line_of(text: bytes, place: int) -> int:
    """Number of the line that a job of a batch file stands in."""
    for number, line in enumerate(text.split(b"\n"), 1):
        if line.strip(b" \t\r") and not line.lstrip(b" \t").startswith(b"#"):
            if place == 0:
                return number
            place -= 1
    return 0


def _runs(parts: list[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """First and last id of each run of ids in a row."""
    runs: list[tuple[int, int]] = []
    for _, first, count in parts:
        if runs and runs[-1][1] + 1 == first:
            runs[-1] = runs[-1][0], first + count - 1
        else:
            runs.append((first, first + count - 1))
    return runs
