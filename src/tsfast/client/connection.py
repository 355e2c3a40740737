"""The connection of a program to the server of a queue; it does what the launcher does (native/launcher,
docs/protocol.md)."""

import os
import select
import socket
import stat
import struct
import subprocess
import time
from collections import deque

from tsfast import __version__
from tsfast.client import encoder
from tsfast.client.errors import QueueError, RequestFailed, ServerUnavailable
from tsfast.location import paths, programs

FRAME = struct.Struct("=IIII")  # struct tsf_frame of native/wire.h
ATTEMPTS = 20
PAUSE_S = 0.05
CHUNK = 65536
PATIENCE_S = 30
PEER = struct.Struct("3i")  # struct ucred
VERSION = f"tsfast {__version__}".encode()


def resolve_socket(given: str | os.PathLike[str] | None = None) -> str:
    """The socket of a queue: as given, or else TS_SOCKET, or else the default of `ts`. Raises QueueError,
    ValueError."""
    if given is not None and "\0" in (given := os.fsdecode(given)):
        raise ValueError(f"the path of a socket contains a NUL byte: {given!r}")
    try:
        return paths.socket_path(given)
    except paths.StateError as error:
        raise ServerUnavailable(str(error)) from None
    except OSError as error:
        raise QueueError("the path of the socket is relative to the working directory, which is gone") from error


def patience_s() -> float | None:
    """TS_PATIENCE: how long a server may stay silent; None: forever. Raises ServerUnavailable."""
    text = os.environ.get("TS_PATIENCE") or str(PATIENCE_S)
    if not (text.isascii() and text.isdigit() and len(text) <= 7 and int(text) <= 1000000):
        raise ServerUnavailable(f"TS_PATIENCE is {text[:60]!r}, allowed is a number from 0 to 1000000")
    return float(text) or None


def peer(connection: socket.socket) -> tuple[int, int]:
    """The pid and the user of the process at the other end, as it was when it listened. Pid 0: it is invisible from
    here."""
    pid, uid, _gid = PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))
    return pid, uid


def silent(connection: socket.socket, path: str) -> ServerUnavailable:
    """The message about a server that has been silent for so long."""
    pid, _uid = peer(connection)
    return ServerUnavailable(f"the server {f'(pid {pid})' if pid else f'at {path}'} does not answer")


def connect(path: str, patience: float | None = None) -> socket.socket | None:
    """A connection to the server of our user; None if there is none. patience: in seconds, for connecting and for each
    later call of the connection; with 0 also None if connecting would have to wait. Raises ServerUnavailable."""
    wait = patience_s() if patience is None else patience
    directory, name = os.path.split(path)
    try:
        about = os.lstat(directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ServerUnavailable(f"{directory}: {error.strerror}") from error
    default = name == "socket" and os.path.basename(directory) == f"tsfast-{os.geteuid()}"
    ours = stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & 0o077
    if default and not ours:
        raise ServerUnavailable(f"{directory}: not an own directory that is closed to others (chmod 700 it)")
    try:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as error:
        raise ServerUnavailable(f"no connection can be made: {error.strerror}") from error
    connection.setblocking(patience != 0)
    if wait:  # if the kernel's queue is full; a time-out of Python's would not wait at all
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(wait), int(wait % 1 * 1e6)))
    through = -1
    try:
        if len(os.fsencode(path)) > 107:  # longer than an address: through the directory's descriptor
            through = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            connection.connect(f"/proc/self/fd/{through}/{name}")
        else:
            connection.connect(path)
        connection.settimeout(patience)
        _pid, uid = peer(connection)
        if uid != os.geteuid() and (os.geteuid() != 0 or default):
            raise ServerUnavailable(f"{path}: this socket belongs to user {uid}")
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except BlockingIOError:
        connection.close()
        if patience == 0:  # it has not accepted the last ones yet
            return None
        raise ServerUnavailable(f"the server at {path} does not answer") from None
    except OSError as error:
        connection.close()
        raise ServerUnavailable(f"{path}: {error.strerror or error}") from error
    except BaseException:
        connection.close()
        raise
    finally:
        if through >= 0:
            os.close(through)
    return connection


def start_server(path: str) -> None:
    """Let the launcher start the server, or replace one of an earlier release. Raises ServerUnavailable."""
    if not (launcher := programs.launcher()):
        raise ServerUnavailable("ts, which starts servers, is missing: install tsfast-spooler again")
    try:
        done = subprocess.run(
            [launcher, "-R"],
            env={**_environment(), "TS_SOCKET": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=None if _has_directory() else "/",
            check=False,
        )
    except (OSError, ValueError, RuntimeError) as error:  # no process, no descriptor; a variable that cannot be one
        raise ServerUnavailable(f"the server could not be started: {error}") from error
    if done.returncode != 0:
        text = done.stderr.decode(errors="replace").strip().removeprefix("ts: ")
        raise ServerUnavailable(text or f"the server could not be started (exit code {done.returncode})")


def _environment() -> dict[str, str]:
    """The present environment, whatever other threads do to it."""
    return {name: value for name in list(os.environ) if (value := os.environ.get(name)) is not None}


def _has_directory() -> bool:
    try:
        os.getcwdb()
        return True
    except OSError:
        return False


def caller(directory: bool = True) -> bytes:
    """What jobs inherit from this process now (struct tsf_request and its strings). directory: at least one of them has
    no directory of its own. Raises RequestFailed."""
    try:
        cwd = os.getcwdb()
    except OSError as error:
        if directory:
            raise RequestFailed("the working directory is gone or cannot be read") from error
        cwd = b"/"
    try:
        return encoder.current_caller(cwd)
    except OSError as error:
        raise RequestFailed(str(error)) from error


def request(words: list[bytes], context: bytes, version: bytes = VERSION) -> bytes:
    """A REQUEST frame. context: as caller() returns it, with a token. Raises RequestFailed."""
    try:
        return encoder.request(words, context, version)
    except ValueError as error:
        raise RequestFailed(str(error)) from None


class Connection:
    """Frames to and from a server, which is started if necessary. Gives up a server that is silent for TS_PATIENCE,
    unless it has reported that it lives. Raises ServerUnavailable."""

    def __init__(self, path: str):
        self.path = path
        self._patience = patience_s()
        connection = connect(path)
        for attempt in range(ATTEMPTS):
            if connection is not None:
                break
            time.sleep(PAUSE_S * min(attempt, 4))
            start_server(path)
            connection = connect(path)
        if connection is None:
            raise ServerUnavailable(f"{path}: a server was started and is gone")
        self.socket = connection
        connection.setblocking(False)
        self._poll = select.poll()
        self._rest = b""
        self._frames: deque[tuple[int, bytes]] = deque()
        self._alive = self._ended = False

    def close(self) -> None:
        self.socket.close()

    def __del__(self) -> None:
        if hasattr(self, "socket"):
            self.close()  # without a socket's warning: a queue need not be closed

    def send(self, data: bytes) -> None:
        """Raises OSError: the connection is broken. Keeps what arrives meanwhile for receive()."""
        left = memoryview(data)
        while left:
            try:
                left = left[self.socket.send(left) :]
            except BlockingIOError:
                if self._ended:
                    raise ConnectionResetError("the server closed the connection") from None
                if self._await(select.POLLIN | select.POLLOUT) & select.POLLIN:
                    self._take_in()

    def drain(self) -> None:
        """Until the server has closed the connection."""
        try:
            while True:
                self.receive()
        except OSError:
            pass

    def receive(self) -> tuple[int, bytes]:
        """Type and payload of the next frame. Raises OSError: the connection is broken."""
        while not self._frames:
            if self._ended:
                raise ConnectionResetError("the server closed the connection")
            self._await(select.POLLIN)
            self._take_in()
        return self._frames.popleft()

    def _await(self, events: int) -> int:
        """Which of them have arrived."""
        self._poll.register(self.socket, events)
        found = self._poll.poll(None if self._alive or self._patience is None else self._patience * 1000)
        if not found:
            raise silent(self.socket, self.path)
        return found[0][1]

    def _take_in(self) -> None:
        """What has arrived. A frame that reports that the server lives stays here, and counts until the next one."""
        try:
            data = self.socket.recv(CHUNK)
        except BlockingIOError:
            return
        self._ended = not data
        self._rest += data
        at = 0
        while len(self._rest) - at >= FRAME.size:
            version, kind, length, _ = FRAME.unpack_from(self._rest, at)
            if version == encoder.FIRST_WIRE_VERSION:
                start_server(self.path)  # it did not understand us, and has done nothing
                raise ConnectionResetError("the server was of an earlier release")
            if version != encoder.WIRE_VERSION or length > encoder.FRAME_MAX:
                raise ServerUnavailable("the server is of another release: end it with tsfast stop, its jobs stay")
            end = at + FRAME.size + length
            if len(self._rest) < end:
                break
            self._alive = kind == encoder.ALIVE
            if not self._alive:
                self._frames.append((kind, self._rest[at + FRAME.size : end]))
            at = end
        self._rest = self._rest[at:]
