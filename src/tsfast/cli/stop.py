"""`tsfast stop`: stop the server and keep the queue, for another environment, another release, or a removal."""

import contextlib
import os
import signal
import socket

from tsfast.base.text import as_line
from tsfast.cli import parsing, processes
from tsfast.client import connection
from tsfast.client.errors import QueueError
from tsfast.daemon import boot
from tsfast.location import paths


def run(words: list[str]) -> int:
    """The exit code; 0 also where no server runs."""
    options = parsing.parse("stop", words)
    if isinstance(options, int):
        return options
    try:
        path = paths.socket_path()
        text = stop(paths.canonical(path), options.timeout)
    except (QueueError, paths.StateError, boot.BootError, OSError) as error:
        os.write(2, as_line(f"tsfast: {error}"))
        return 255
    os.write(1, as_line(f"{path}: {text}"))
    return 0


def stop(path: str, patience: float) -> str:
    """Returns what it did. Raises OSError, QueueError, boot.BootError."""
    found = connection.connect(path, patience)
    if found is None:
        if not os.path.lexists(os.path.dirname(path)):
            boot.check_name(path, make=False)  # a mistyped TS_SOCKET is told; the default's directory can be missing
        return "no server runs"
    with found:
        pid, _uid = connection.peer(found)
        if pid == 0:
            raise OSError(f"{path}: its server cannot be seen from here (another container?)")
        if is_open(found):  # so the process is the one that listens, not a later one with its pid
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            if processes.wait_for([pid], patience):
                late = f"has not ended in {patience:g} s; SIGKILL keeps the queue as well"
                raise OSError(f"the server, pid {pid}, {late}")
    return f"the server, pid {pid}, has ended; the queue is kept, and running jobs go on"


def is_open(found: socket.socket) -> bool:
    found.setblocking(False)
    try:
        return found.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
