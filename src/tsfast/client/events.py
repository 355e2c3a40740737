"""Every change of a queue's jobs, as its server reports them: `EventStream`. docs/protocol.md describes the events."""

import contextlib
import os
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple

from tsfast.client import timerfd
from tsfast.client.connection import FRAME, connect, patience_s, peer, resolve_socket, silent, start_server
from tsfast.client.encoder import EVENTS, FRAME_MAX, WATCH, WIRE_VERSION
from tsfast.client.errors import QueueError, ServerUnavailable

CHANGE, HEAD, GAP = KINDS = ("change", "head", "gap")
# By enum tsf_state. `finished` is exit status 0; lists call failed, killed, lost and not-startable ones finished too.
STATES = (
    "",
    "queued",
    "starting",
    "running",
    "finished",
    "failed",
    "killed",
    "not-startable",
    "lost",
    "skipped",
    "removed",
    "forgotten",
    "cancelled",
)
UNFINISHED = frozenset({"queued", "starting", "running"})
# By enum tsf_end: how a job has ended, finer than its state.
ENDS = (
    "",
    "done",
    "failed",
    "killed",
    "timed-out",
    "out-of-memory",
    "cancelled",
    "skipped",
    "removed",
    "lost",
    "not-startable",
)
# Final states. A job may be forgotten afterwards; a removed one is forgotten already.
ENDED = frozenset({"finished", "failed", "killed", "not-startable", "lost", "skipped", "removed", "cancelled"})

_WATCH = struct.Struct("=Q")
_EVENT = struct.Struct("=QQQiBBBBBB6x")
_RECEIVED = 1 << 18
_RETRY_S = 0.05
_RETRY_MAX_S = 0.5
_POLL_MAX_S = 3600.0  # epoll accepts at most some weeks


class Event(NamedTuple):
    """A change of a job, or a note about the stream itself.

    kind `change`: job `id` is in `state` since `time` (seconds since 1970); `status` is as from os.wait(), None if
    there is none; `end` is how it has ended, "" if it has not. `head`, the first of a stream: every later event will
    follow. `gap`: changes up to `seq` are missing. The table, read after these two, shows what was not reported; they
    have no id, state, status and end."""

    seq: int
    id: int
    state: str
    status: int | None
    time: float
    kind: str = CHANGE
    end: str = ""


def unpacked(payload: bytes | memoryview) -> list[Event]:
    """The events of a frame. Raises ServerUnavailable."""
    if len(payload) % _EVENT.size:
        raise ServerUnavailable("the server has sent half an event")
    found = []
    for seq, job, time_ns, status, state, kind, waited, end, _tries, _group in _EVENT.iter_unpack(payload):
        if kind < len(KINDS) and state < len(STATES):  # otherwise of a later release: unknown here
            known = ENDS[end] if end < len(ENDS) else ENDS[0]
            waited_for = status if waited else None
            found.append(Event(seq, job, STATES[state], waited_for, time_ns / 1e9, KINDS[kind], known))
    return found


class EventStream:
    """The changes of the jobs of a queue (`path`: its socket, as for Queue), whichever server it has: after the end of
    one, the stream finds the next one within half a second of its start. It starts none, except with `start`.

    It reports what happens from now on, beginning with the start of a server if there is none; with `since` also what
    came after that event, as far as the server remembers it (1: all of that). `seq` is the newest event that was read:
    a stream opened with it as `since` continues from there. For asyncio: add_reader(stream.fileno(), ...), then
    read(0). For one thread at a time."""

    def __init__(
        self, path: str | os.PathLike[str] | None = None, since: int | None = None, *, start: bool = False
    ) -> None:
        """Raises ServerUnavailable if another user listens there, as read() does later, and QueueError."""
        self.path = resolve_socket(path)
        self.seq = since or 0
        self._start = start
        self._heard = self.seq  # the newest event that has arrived
        self._begun = False  # `head` has arrived
        self._told: deque[Event] = deque()
        self._socket: socket.socket | None = None
        self._server = 0  # pid of the last server
        self._other = False  # the connection is to another one
        self._input = bytearray()
        self._pause = _RETRY_S
        self._timer = -1
        self._pid = os.getpid()
        try:
            self._epoll = select.epoll()
            self._timer = timerfd.create()
            self._epoll.register(self._timer, select.EPOLLIN)
        except OSError as error:
            self.close()
            raise QueueError(f"the stream of events cannot be opened: {error.strerror}") from error
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    # ---- for the program ----

    def fileno(self) -> int:
        """The same descriptor as long as the stream is open: readable when read(0) has something to do."""
        return self._epoll.fileno()

    @property
    def connected(self) -> bool:
        """Whether there is a server, as far as known. If not, read() looks for one, which can take a moment."""
        return self._socket is not None

    def read(self, timeout: float | None = None) -> list[Event]:
        """The new events, at least one; none after so many seconds. Raises ServerUnavailable if the server belongs to
        another user, uses another protocol or does not answer for TS_PATIENCE (the next call tries again), QueueError
        in a process that was forked from that of the stream, ValueError if the stream is closed."""
        self._wait(timeout)
        return [self._next() for _ in range(len(self._told))]

    def close(self) -> None:
        if hasattr(self, "_epoll") and not self._epoll.closed:
            with contextlib.suppress(OSError):  # the program may have closed all descriptors
                self._epoll.close()
            if self._timer >= 0:
                with contextlib.suppress(OSError):
                    os.close(self._timer)
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def __del__(self) -> None:
        if hasattr(self, "_socket"):
            self.close()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        self._wait(None)
        return self._next()

    def __enter__(self) -> "EventStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- what has arrived ----

    def _wait(self, timeout: float | None) -> None:
        """Wait until there is something to read, or for so many seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._pid != os.getpid():  # an event that one of them reads would be missing in the other
            raise QueueError("the stream of events belongs to the process that this one was forked from")
        while not self._told:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._epoll.poll(None if left is None else min(left, _POLL_MAX_S), 2):
                if left is not None and left <= _POLL_MAX_S:
                    return
                continue
            if self._socket is None:
                self._connect()
            elif not self._receive(self._socket) and self._silent():
                error = silent(self._socket, self.path)
                self._lost(self._socket)
                raise error

    def _next(self) -> Event:
        event = self._told.popleft()
        if event.kind != HEAD or self.seq == 0:
            self.seq = event.seq
        return event

    # ---- the connection ----

    def _connect(self) -> None:
        """Connect to the server that listens now, or later."""
        try:
            connection = connect(self.path, None if self._start else 0)
            if connection is None and self._start:
                start_server(self.path)
                connection = connect(self.path)
        except BaseException:  # KeyboardInterrupt, too: the timer has run out
            self._later()
            raise
        if connection is None:
            self._later()
            return
        connection.setblocking(False)
        try:
            server, _uid = peer(connection)
            connection.send(FRAME.pack(WIRE_VERSION, WATCH, _WATCH.size, 0) + _WATCH.pack(self._heard))
        except OSError:  # it has just ended
            connection.close()
            self._later()
            return
        timerfd.start(self._timer, patience_s() or 0)  # until it has replied
        self._other = self._server not in (0, server)
        self._server = server
        self._input.clear()
        try:
            self._epoll.register(connection, select.EPOLLIN)
        except OSError as error:
            connection.close()
            self._later()
            raise QueueError(f"waiting for the server failed: {error.strerror}") from error
        self._socket = connection

    def _later(self) -> None:
        if not self._heard:
            self._heard = self.seq = 1  # whatever the next server reports has happened since this stream was opened
        timerfd.start(self._timer, self._pause)
        self._pause = min(2 * self._pause, _RETRY_MAX_S)

    def _lost(self, connection: socket.socket) -> None:
        if self._socket is not None:
            self._socket = None
            self._epoll.unregister(connection)
            connection.close()
            self._later()

    def _silent(self) -> bool:
        """The server should have replied by now."""
        try:
            return bool(os.read(self._timer, 8))
        except BlockingIOError:
            return False

    def _receive(self, connection: socket.socket) -> bool:
        """False: nothing had arrived."""
        try:
            try:
                data = connection.recv(_RECEIVED)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:
                data = b""
            if data:
                self._input += data
                self._frames()
            else:
                self._lost(connection)
        except BaseException:  # how far an interrupted one has come is unknown
            self._lost(connection)
            raise
        return True

    def _frames(self) -> None:
        """The complete frames that have arrived. Raises ServerUnavailable."""
        at = 0
        with memoryview(self._input) as view:
            while len(view) - at >= FRAME.size:
                version, kind, length, _ = FRAME.unpack_from(view, at)
                if version != WIRE_VERSION or length > FRAME_MAX:
                    raise ServerUnavailable("the server is of another release: the next call of ts replaces it")
                if len(view) - at - FRAME.size < length:
                    break
                at += FRAME.size
                if kind == EVENTS:
                    self._tell(unpacked(view[at : at + length]))
                at += length
        del self._input[:at]

    def _tell(self, events: list[Event]) -> None:
        if events and events[0].kind == HEAD:
            head = events[0]
            self._pause = _RETRY_S
            timerfd.start(self._timer, 0)
            # The numbers of two servers cannot be compared if the clock was set back in between.
            if self._other and not (len(events) > 1 and events[1].kind == GAP):
                events.insert(1, Event(self._heard, 0, "", None, head.time, GAP))
            self._other = False
            if self._begun:
                del events[0]
            elif self._heard == 0:
                self._heard = head.seq
            self._begun = True
        self._told += events
        if events and events[-1].kind != HEAD:
            self._heard = events[-1].seq
