"""`Queue`: a queue of `ts` as a Python object."""

import codecs
import operator
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias, Unpack, cast

from tsfast.client import connection
from tsfast.client.connection import Connection
from tsfast.client.encoder import (
    ADDED,
    ERR,
    EXIT,
    EXIT_AT_CLOSE,
    GIVE_WAY,
    OUT,
    REFUSED,
    EncodeError,
    Encoder,
)
from tsfast.client.encoder import (
    caller as encoded_caller,
)
from tsfast.client.errors import (
    BatchInterrupted,
    JobRefused,
    QueueError,
    QueueFull,
    QueueWarning,
    RequestFailed,
    ServerUnavailable,
    SubmissionInterrupted,
    UnknownJob,
)
from tsfast.client.events import CHANGE, ENDED, STATES, Event, EventStream
from tsfast.client.job import Job, Options, Word, encoded, from_json
from tsfast.client.result import Result, of_event, of_record

if TYPE_CHECKING:
    import numpy
    import numpy.typing

    from tsfast.client.reader import Reader
    from tsfast.render.listing import WholeJob

Ids: TypeAlias = SupportsIndex | Iterable[SupportsIndex]
JobLike: TypeAlias = Job | Mapping[str, Any] | Sequence[Word]

# enum tsf_refusal of native/wire.h
_REFUSED_JOB, _REFUSED_ID, _REFUSED_FULL = 1, 2, 3
_WINDOW = 8  # frames on the way
_IDLE = 4  # connections that are kept for the next call
_LOOK_S = 1.0  # after so long it checks that the table is still the queue's
_RANGES = 65536  # of ids that one request can name


class Queue:
    """The queue of a socket: as given, or else TS_SOCKET, or else the default of `ts`. It starts a server when it needs
    one. Several threads can use it without waiting for each other, and so can a child after a fork. A context manager,
    which closes the connections; the queue and its jobs continue."""

    def __init__(self, socket: str | os.PathLike[str] | None = None):
        self.path = connection.resolve_socket(socket)
        self._idle: list[Connection] = []
        self._pid = os.getpid()
        self._reader: Reader | None = None
        self._header: tuple[int, int] | None = None  # which file the reader has open
        self._looked = 0.0

    def __enter__(self) -> "Queue":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Queue({self.path!r})"

    def __reduce__(self) -> "tuple[type[Queue], tuple[str]]":
        return type(self), (self.path,)

    def close(self) -> None:
        """Close what is open; the queue opens it again when necessary."""
        while self._idle:
            self._idle.pop().close()
        self._reader = None

    # ---- adding jobs

    def submit(self, argv: Sequence[Word], *, block: bool = True, **options: Unpack[Options]) -> int:
        """Queue a command; its id. options: the fields of `tsfast.Job`. block: wait for room if the queue is full.

        Raises TypeError, ValueError (JobRefused) for what is not a job, QueueFull, RequestFailed, ServerUnavailable. If
        warnings are errors, a QueueWarning has the ids of the jobs, which are queued."""
        return self._submit(self.encode([Job(argv, **options) if options else argv]), block)[0][1]

    def submit_many(self, batch: Iterable[JobLike], *, block: bool = True) -> "numpy.typing.NDArray[numpy.uint64]":
        """Queue many jobs: lists of words, `Job` objects, or mappings with the fields of a Job. Their ids, in order.

        In `after` and `after_ok` "@N" stands for the Nth job of the batch. A wrong job raises JobRefused, and then none
        is queued. Large batches go in several frames, each of which is queued as a whole: if the server disappears for
        good or its disk is full, BatchInterrupted says which jobs are queued."""
        import numpy

        parts = self._submit(self.encode(batch), block)
        if not parts:
            return numpy.empty(0, numpy.uint64)
        return numpy.concatenate([numpy.arange(first, first + count, dtype=numpy.uint64) for _, first, count in parts])

    def submit_lines(self, text: bytes, *, options: Sequence[bytes] = (), block: bool = True) -> list[tuple[int, int]]:
        """Queue the lines of a batch file (see `ts --batch`); the first and the last id of each run of ids. The place
        of JobRefused is the number of the line, from 1."""
        encoder = Encoder()
        try:
            encoder.lines(text, from_json, options)
        except EncodeError as error:
            raise JobRefused(error.place, error.reason) from None
        try:
            return _runs(self._submit(encoder, block))
        except JobRefused as error:
            raise JobRefused(_line_of(text, error.place), error.reason) from None

    def submit_encoded(self, encoder: Encoder, *, block: bool = True) -> list[tuple[int, int]]:
        """Queue the jobs of an encoder, which Cython modules can fill without Python objects; the first and the last id
        of each run of ids. Needs no numpy; raises what submit_many() does."""
        return _runs(self._submit(encoder, block))

    @staticmethod
    def encode(batch: Iterable[JobLike]) -> Encoder:
        """The jobs, checked, for submit_encoded(). Raises JobRefused, TypeError."""
        encoder = Encoder()
        try:
            encoder.extend(batch, encoded)
        except EncodeError as error:
            if isinstance(error.__cause__, TypeError):
                raise TypeError(str(error) if error.place else error.reason) from None
            raise JobRefused(error.place, error.reason) from None
        return encoder

    def _submit(self, encoder: Encoder, block: bool) -> list[tuple[int, int, int]]:
        """Place in the batch, first id and number of the jobs of each frame."""
        if not len(encoder):
            return []
        caller = connection.caller(encoder.needs_directory)
        number, token = int.from_bytes(os.urandom(8), "little"), os.urandom(8)
        tokens = [token + ((number + i) % 2**64).to_bytes(8, "little") for i in range(encoder.frames)]
        parts: list[tuple[int, int, int]] = []
        warned: list[str] = []
        server = None
        failures = 0
        try:
            if encoder.frames > 1:
                self._check_ids(encoder)
            while len(parts) < len(tokens):
                before = len(parts)
                try:
                    server = self._take()
                    self._send_frames(server, encoder, caller, tokens, parts, warned, block)
                except OSError as error:
                    if server is not None:
                        server.close()
                    server = None
                    failures = 1 if len(parts) > before else failures + 1
                    if failures >= connection.ATTEMPTS:
                        raise ServerUnavailable(f"the server is gone: {error}") from error
                    time.sleep(connection.PAUSE_S * max(0, failures - 2))
            if server is not None:
                self._give_back(server)
                server = None
        except ServerUnavailable as error:
            if not parts:
                raise
            raise self._interrupted(encoder, parts, str(error)) from error
        except KeyboardInterrupt:
            raise SubmissionInterrupted(_runs(parts), len(encoder)) from None
        finally:
            if server is not None:
                server.close()
        if warned:
            import warnings

            # Not before all is queued: if warnings are errors, the first one ends the call.
            for text in warned:
                warnings.warn(QueueWarning(text, _runs(parts)), stacklevel=3)
        return parts

    def _check_ids(self, encoder: Encoder) -> None:
        """Checks before anything is sent: the server would find out frame by frame. Raises JobRefused."""
        if encoder.refers_to is not None:
            self._give_back(self._take())  # there is a server, so there is a table
            id, place = encoder.refers_to
            table = self._table()
            if table is not None and id >= table.committed:
                raise JobRefused(place, f"job {id} does not exist, so nothing can wait for it")

    def _send_frames(
        self,
        server: Connection,
        encoder: Encoder,
        caller: bytes,
        tokens: list[bytes],
        parts: list[tuple[int, int, int]],
        warned: list[str],
        block: bool,
    ) -> None:
        """Sends the frames that are not acknowledged, some ahead of the replies. Raises OSError: to be continued."""
        sent = len(parts)
        open_for_more = True
        while len(parts) < len(tokens):
            while open_for_more and sent < len(tokens) and sent - len(parts) < _WINDOW:
                back = encoder.looks_back(sent)
                if back and sent > len(parts):
                    break  # it needs the ids of the frames before it
                earlier = [(place, first) for place, first, _ in parts] if back else []
                try:
                    frame = encoder.frame(sent, caller, tokens[sent], earlier, not block, connection.VERSION)
                except ValueError as error:
                    raise self._interrupted(encoder, parts, str(error)) from None
                try:
                    server.send(frame)
                except OSError:
                    open_for_more = False  # it may have refused an earlier frame: its replies are there
                sent += 1
            kind, payload = server.receive()
            if kind == ADDED:
                first, count = int.from_bytes(payload[:8], "little"), int.from_bytes(payload[8:12], "little")
                parts.append((encoder.places(len(parts))[0], first, count))
            elif kind == REFUSED:
                raise self._refused(encoder, parts, payload)
            elif kind == GIVE_WAY:
                connection.start_server(self.path)
                raise ConnectionResetError("the server gave way to this release")
            elif kind == ERR:
                text = payload.decode(errors="replace").strip()
                if not text.startswith("ts: warning: "):
                    raise self._interrupted(encoder, parts, text.removeprefix("ts: "))
                if (warning := text.removeprefix("ts: warning: ")) not in warned:  # a frame may be sent twice
                    warned.append(warning)
            elif kind == EXIT:
                raise ConnectionResetError("the server ended")

    def _refused(self, encoder: Encoder, parts: list[tuple[int, int, int]], payload: bytes) -> QueueError:
        place = int.from_bytes(payload[:4], "little")
        reason = int.from_bytes(payload[4:8], "little")
        text = payload[8:].decode(errors="replace") or "out of memory"
        if parts:
            return self._interrupted(encoder, parts, text)
        if reason == _REFUSED_FULL:
            return QueueFull(text)
        if reason in (_REFUSED_JOB, _REFUSED_ID):
            return JobRefused(place, text)  # of the first frame
        return RequestFailed(text)

    @staticmethod
    def _interrupted(encoder: Encoder, parts: list[tuple[int, int, int]], reason: str) -> QueueError:
        if not parts:
            return RequestFailed(reason)
        return BatchInterrupted(_runs(parts), len(encoder), reason)

    # ---- reading: the job table, without the server

    def state(self, id: int) -> str:
        """A word of `tsfast.client.events.STATES`, or `damaged`: its record cannot be read, and it does not start.
        Raises UnknownJob for an id that was never assigned."""
        table = self._table()
        try:
            code = table.state(id) if table is not None else 0
        except OverflowError:
            code = 0
        if code:
            return STATES[code] if code < len(STATES) else "damaged"
        return self._forgotten(table, id).state

    def result(self, id: int) -> Result:
        """How the job ended, or that it has not. Raises UnknownJob."""
        table = self._table()
        try:
            record = table.result(id) if table is not None else None
        except OverflowError:
            record = None
        except OSError:
            return Result(id, "damaged")
        return self._forgotten(table, id) if record is None else of_record(record)

    def jobs(self) -> "numpy.typing.NDArray[numpy.void]":
        """All jobs that are known, by id: an array of `tsfast.client.dtypes.JOB_DTYPE`, whose `state` is an index into
        `tsfast.client.events.STATES`."""
        table = self._table()
        if table is None:
            import numpy

            from tsfast.client.dtypes import JOB_DTYPE

            return numpy.empty(0, JOB_DTYPE)
        try:
            return table.snapshot()
        except OSError as error:
            raise QueueError(f"the job table cannot be read: {error}") from error

    def job(self, id: int) -> "WholeJob":
        """Everything known about a job: command, label, dependencies, output file and more. Raises UnknownJob,
        QueueError if its record is damaged."""
        table = self._table()
        try:
            found = table.job(id) if table is not None else None
        except OverflowError:
            found = None
        except OSError as error:
            raise QueueError(f"the record of job {id} cannot be read: {error.strerror}") from error
        if found is None:
            self._forgotten(table, id)
            raise UnknownJob(f"job {id} is no longer known")
        return found

    def output_path(self, id: int) -> str | None:
        """The path of the job's output file; None if it has none, or not yet. Raises UnknownJob."""
        return os.fsdecode(self.job(id)["output"]) or None

    @staticmethod
    def _forgotten(table: "Reader | None", id: int) -> Result:
        if table is None or not 0 <= id < table.committed:
            raise UnknownJob(f"job {id} does not exist")
        return Result(id, "forgotten")

    def _table(self) -> "Reader | None":
        now = time.monotonic()
        reader = self._reader  # another thread may change it
        if reader is None or now - self._looked > _LOOK_S:
            try:
                from tsfast.client.reader import Reader, TableError
                from tsfast.location import paths, state
            except ImportError as error:  # in a __del__ at the end of the interpreter
                raise QueueError(f"the job table cannot be read any more: {error}") from error
            try:
                place = state.find(paths.canonical(self.path), os.environ)
                if place is None:
                    reader = None
                else:
                    header = _identity(os.path.join(place, "header"))
                    if reader is None or self._header != header:
                        reader = Reader(state.open_place(place))
                        self._header = header
                self._reader = reader
            except (paths.StateError, TableError, OSError) as error:
                self._reader = None
                raise QueueError(f"the job table cannot be read: {error}") from error
            self._looked = now
        return reader

    # ---- waiting

    def watch(self, since: int | None = None) -> EventStream:
        """The changes of the queue's jobs, from now on or after the event `since`."""
        return EventStream(self.path, since)

    def as_completed(self, ids: Ids, timeout: float | None = None) -> Iterator[Result]:
        """The results of the jobs, in the order in which they end. Raises UnknownJob at once, TimeoutError after so
        many seconds."""
        waiting = Ends(self, ids)
        deadline = None if timeout is None else time.monotonic() + timeout

        def results() -> Iterator[Result]:
            with waiting:
                while True:
                    yield from waiting.take()
                    if not waiting.pending:
                        return
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        raise TimeoutError(f"{len(waiting.pending)} jobs have not ended")
                    waiting.read(left)

        return results()

    def wait(self, ids: Ids, timeout: float | None = None) -> list[Result]:
        """Wait until all of them have ended; their results, in the order of the ids. Raises UnknownJob,
        TimeoutError."""
        wanted = id_list(ids)
        found = {result.id: result for result in self.as_completed(wanted, timeout)}
        return [found[id] for id in wanted]

    # ---- changing

    def cancel(self, ids: Ids) -> None:
        """Take them out of the queue, or end all their processes, first with SIGTERM. Raises UnknownJob."""
        self._for_all("--cancel", ids)

    def kill(self, ids: Ids) -> None:
        """SIGTERM to running jobs. Raises RequestFailed for one that does not run, UnknownJob."""
        self._for_all("-k", ids)

    def remove(self, ids: Ids) -> None:
        """Take jobs that do not run out of the queue or the list. Raises RequestFailed, UnknownJob."""
        self._for_all("-r", ids)

    def urgent(self, ids: Ids) -> None:
        """Start these before all others. Raises RequestFailed for one that is not queued, UnknownJob."""
        self._for_all("-u", ids)

    @property
    def slots(self) -> int:
        """The number of slots."""
        return int(self.ask("-S"))

    @slots.setter
    def slots(self, number: int) -> None:
        self.ask("-S", str(number))

    def clear(self) -> None:
        """Forget the jobs that have ended."""
        self.ask("-C")

    def shutdown(self) -> None:
        """Stop the server and drop the queue, like `ts -K`. Running jobs continue."""
        self.ask("-K")

    def _for_all(self, option: str, ids: Ids) -> None:
        runs: list[list[int]] = []
        for id in sorted(set(id_list(ids))):
            if runs and runs[-1][1] + 1 == id:
                runs[-1][1] = id
            else:
                runs.append([id, id])
        words = [f"{first}-{last}" if first < last else str(first) for first, last in runs]
        for at in range(0, len(words), _RANGES):
            self.ask(option, ",".join(words[at : at + _RANGES]))

    def ask(self, *words: str) -> str:
        """What `ts` prints for these words, for an action that needs only the server (not -f, -c, -t or what `tsfast`
        itself shows). Raises RequestFailed with its line, UnknownJob, ServerUnavailable."""
        if any("\0" in word for word in words):
            raise ValueError(f"a word contains a NUL byte: {words!r}")
        context = os.urandom(16) + encoded_caller(b"/", [], 0o22, 0, [(0, 0)] * 16, b"")[16:]
        frame = connection.request([os.fsencode(word) for word in words], context)
        failures = 0
        while True:
            server = Connection(self.path)
            try:
                server.send(frame)
                return self._answer(server)
            except OSError as error:
                failures += 1
                if failures >= connection.ATTEMPTS:
                    raise ServerUnavailable(f"the server is gone: {error}") from error
                time.sleep(connection.PAUSE_S * max(0, failures - 2))
            finally:
                server.close()

    def _answer(self, server: Connection) -> str:
        """The reply to a request, to its end. Raises OSError: the request must be repeated."""
        out = err = b""
        while True:
            kind, payload = server.receive()
            if kind == OUT:
                out += payload
            elif kind == ERR:
                err += payload
            elif kind in (EXIT, EXIT_AT_CLOSE):
                text = err.decode(errors="replace").strip().removeprefix("ts: ")
                if int.from_bytes(payload, "little", signed=True) == 0 or not text:
                    if kind == EXIT_AT_CLOSE:
                        server.drain()
                    return os.fsdecode(out)
                unknown = "does not exist" in text or "is no longer known" in text
                raise (UnknownJob if unknown else RequestFailed)(text)
            elif kind == GIVE_WAY:
                connection.start_server(self.path)
                raise ConnectionResetError("the server gave way to this release")
            else:
                raise RequestFailed("this action exists only on the command line")

    # ---- the connection

    def _take(self) -> Connection:
        """An idle connection, or a new one. Each call has its own."""
        if self._pid != os.getpid():  # the parent's: its replies are not for this process
            self._idle, self._pid = [], os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return Connection(self.path)

    def _give_back(self, server: Connection) -> None:
        if len(self._idle) < _IDLE:
            self._idle.append(server)
        else:
            server.close()


class Ends:
    """Waits for the ends of jobs: read() and take() until nothing is pending."""

    def __init__(self, queue: Queue, ids: Ids):
        """Raises UnknownJob."""
        self.pending = set(id_list(ids))
        self._queue = queue
        self._found: list[Result] = []
        self._look_again = False
        self._stream: EventStream | None = None
        self._look()

    def __enter__(self) -> "Ends":
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    @property
    def stream(self) -> EventStream:
        """The stream to wait for while something is pending; starts a server if there is none. Raises
        ServerUnavailable."""
        if self._stream is None:
            self._stream = EventStream(self._queue.path, start=True)
        return self._stream

    def take(self) -> list[Result]:
        """Those that have ended since the last call."""
        if self._look_again:
            self._look_again = False
            self._look()
        found, self._found = self._found, []
        return found

    def _look(self) -> None:
        """Reads the table: for jobs that ended before the stream began, or while it had no connection."""
        self._queue._looked = 0.0  # it may be another one than a moment ago
        for id in sorted(self.pending):
            self._end(id, None)

    def read(self, timeout: float | None) -> None:
        """Wait for something to happen."""
        for event in self.stream.read(timeout):
            if event.kind != CHANGE:
                self._look_again = True
            elif event.id in self.pending and (event.state in ENDED or event.state == "forgotten"):
                self._end(event.id, event)

    def _end(self, id: int, event: Event | None) -> None:
        result = ending(self._queue, id, event)
        if result is not None:
            self.pending.discard(id)
            self._found.append(result)


def ending(queue: Queue, id: int, event: Event | None = None) -> Result | None:
    """How a job ended, if it has. event: the one that reported it; the table may have forgotten the job since."""
    result = queue.result(id)
    if event is not None and (not result.ended or result.state == "forgotten"):
        return of_event(event)
    return result if result.ended else None


def id_list(ids: SupportsIndex | Iterable[SupportsIndex]) -> list[int]:
    """One id or several, of any kind of whole number. Raises TypeError."""
    if isinstance(ids, SupportsIndex) and not getattr(ids, "ndim", 0):
        return [operator.index(ids)]
    return [operator.index(id) for id in cast("Iterable[SupportsIndex]", ids)]


def _identity(path: str) -> tuple[int, int] | None:
    """Which file it is; None if it does not exist. Raises OSError."""
    try:
        about = os.stat(path)
    except FileNotFoundError:
        return None
    return about.st_dev, about.st_ino


def _line_of(text: bytes, place: int) -> int:
    """Number of the line that a job of a batch file stands in."""
    for number, line in enumerate(text.split(b"\n"), 1):
        line = line.removeprefix(codecs.BOM_UTF8).strip(b" \t\r")
        if line and not line.startswith(b"#"):
            if place == 0:
                return number
            place -= 1
    return 0


def _runs(parts: list[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """First and last id of each run of consecutive ids."""
    runs: list[tuple[int, int]] = []
    for _, first, count in parts:
        if runs and runs[-1][1] + 1 == first:
            runs[-1] = runs[-1][0], first + count - 1
        else:
            runs.append((first, first + count - 1))
    return runs
