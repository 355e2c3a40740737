"""The way of a program to the server of a queue, as the launcher goes it (native/launcher, docs/protocol.md)."""

import errno
import os
import socket
import stat
import struct
import subprocess
import time

from tsfast import __version__, _encode, paths, programs
from tsfast.errors import QueueError, RequestFailed, ServerUnavailable

FRAME = struct.Struct("=IIII")  # struct tsf_frame of native/wire.h
ATTEMPTS = 20
PAUSE_S = 0.05
CHUNK = 65536
VERSION = f"tsfast {__version__}".encode()


def socket_path(given: str | os.PathLike[str] | None = None) -> str:
    """The socket of a queue: as given, else TS_SOCKET, else the default of `ts`. Raises QueueError, ValueError."""
    if given is not None and "\0" in (given := os.fsdecode(given)):
        raise ValueError(f"a NUL byte is in the path of a socket: {given!r}")
    try:
        return paths.socket_path(given)
    except paths.StateError as error:
        raise ServerUnavailable(str(error)) from None
    except OSError as error:
        raise QueueError("the path of the socket is relative to the working directory, which is gone") from error


def connect(path: str, patience: float | None = None) -> socket.socket | None:
    """A connection to the server of our user; None if there is none. patience: in seconds, for it and for each
    later call of the connection; with 0 there is none, either, where it would have to be waited for. Raises
    ServerUnavailable."""
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
        raise ServerUnavailable(f"{directory}: not a directory of ours that is closed to others (chmod 700 it)")
    try:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as error:
        raise ServerUnavailable(f"no connection can be made: {error.strerror}") from error
    connection.settimeout(patience)
    through = -1
    try:
        if len(os.fsencode(path)) > 107:  # longer than an address: by the directory's descriptor
            through = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            connection.connect(f"/proc/self/fd/{through}/{name}")
        else:
            connection.connect(path)
        peer = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if peer[1] != os.geteuid() and (os.geteuid() != 0 or default):
            raise ServerUnavailable(f"{path}: this socket belongs to user {peer[1]}")
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError as error:
        connection.close()
        if patience == 0 and error.errno == errno.EAGAIN:  # it has not accepted the last ones yet
            return None
        raise ServerUnavailable(f"{path}: {error.strerror or error}") from error
    except BaseException:
        connection.close()
        raise
    finally:
        if through >= 0:
            os.close(through)
    return connection


def start_server(path: str) -> None:
    """Have the launcher start the server, or replace one of an earlier release. Raises ServerUnavailable."""
    if not (launcher := programs.launcher()):
        raise ServerUnavailable("ts is not there, which starts servers: install tsfast-spooler again")
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
    """As it is now, whatever other threads do to it."""
    return {name: value for name in list(os.environ) if (value := os.environ.get(name)) is not None}


def _has_directory() -> bool:
    try:
        os.getcwdb()
        return True
    except OSError:
        return False


def caller(directory: bool = True) -> bytes:
    """What jobs inherit from this process as it is now (struct tsf_request and its strings). directory: one of them has
    none of its own. Raises RequestFailed."""
    try:
        cwd = os.getcwdb()
    except OSError as error:
        if directory:
            raise RequestFailed("the working directory is gone or cannot be read") from error
        cwd = b"/"
    try:
        return _encode.current_caller(cwd)
    except OSError as error:
        raise RequestFailed(str(error)) from error


def request(words: list[bytes], context: bytes, version: bytes = VERSION) -> bytes:
    """A REQUEST frame. context: as caller() returns it, with a token. Raises RequestFailed."""
    try:
        return _encode.request(words, context, version)
    except ValueError as error:
        raise RequestFailed(str(error)) from None


class Connection:
    """Frames to and from a server that is there, started if need be. Raises ServerUnavailable."""

    def __init__(self, path: str):
        connection = connect(path)
        for attempt in range(ATTEMPTS):
            if connection is not None:
                break
            time.sleep(PAUSE_S * min(attempt, 4))
            start_server(path)
            connection = connect(path)
        if connection is None:
            raise ServerUnavailable(f"{path}: a server was started and is not there")
        self.socket = connection
        self._rest = b""

    def close(self) -> None:
        self.socket.close()

    def __del__(self) -> None:
        if hasattr(self, "socket"):
            self.close()  # without the warning that a socket gives: a queue need not be closed

    def send(self, data: bytes) -> None:
        """Raises OSError: the connection is broken."""
        self.socket.sendall(data)

    def drain(self) -> None:
        """Until the server has closed the connection."""
        try:
            while self.socket.recv(CHUNK):
                pass
        except OSError:
            pass

    def receive(self) -> tuple[int, bytes]:
        """Type and payload of the next frame. Raises OSError: the connection is broken."""
        while True:
            if len(self._rest) >= FRAME.size:
                version, kind, length, _ = FRAME.unpack_from(self._rest)
                if version != _encode.WIRE_VERSION or length > _encode.FRAME_MAX:
                    raise ServerUnavailable("the server is of another release: restart it with ts -K")
                if len(self._rest) >= FRAME.size + length:
                    payload = self._rest[FRAME.size : FRAME.size + length]
                    self._rest = self._rest[FRAME.size + length :]
                    return kind, payload
            data = self.socket.recv(CHUNK)
            if not data:
                raise ConnectionResetError("the server closed the connection")
            self._rest += data
