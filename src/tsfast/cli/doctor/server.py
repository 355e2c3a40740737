"""The socket, and the server behind it: never starts one, and asks only what changes nothing."""

import os
import resource
import socket
import stat
import time
from collections.abc import Iterator

from tsfast.cli import processes
from tsfast.cli.doctor.finding import Finding, error, ok, warning

TICKS = os.sysconf("SC_CLK_TCK")


def queue_socket() -> str:
    """Raises paths.StateError."""
    from tsfast.location import paths

    return paths.canonical(paths.socket_path())


def is_named() -> bool:
    """False: TS_SOCKET cannot be a queue's, which another check reports."""
    from tsfast.location import paths

    try:
        queue_socket()
    except paths.StateError:
        return False
    return True


def place() -> str | None:
    """The queue's state directory; None if there is none or it cannot be used, which another check reports."""
    from tsfast.location import paths, state

    try:
        return state.find(queue_socket(), os.environ)
    except paths.StateError:
        return None


def name() -> Iterator[Finding]:
    """The socket's name and directory."""
    from tsfast.location import paths

    try:
        path = queue_socket()
    except paths.StateError as failure:
        yield error("socket", str(failure), "correct TS_SOCKET")
        return
    directory = os.path.dirname(path)
    own = "" if os.environ.get("TS_SOCKET") else " (TS_SOCKET is not set)"
    given = os.path.dirname(paths.socket_path())
    if own and os.path.islink(given):
        yield error("socket", f"{given} is a symbolic link: `ts` refuses it", "remove it, or set TS_SOCKET")
    try:
        about = os.stat(directory)
    except FileNotFoundError:
        if paths.is_default(path):
            yield ok("socket", f"{path}{own}; its directory is not there yet")
        else:
            what = f"{directory} is not there, so it cannot hold a queue"
            yield error("socket", what, "make it, or correct TS_SOCKET")
        return
    except OSError as failure:
        yield error("socket", f"{directory}: {failure.strerror}", "set TS_SOCKET to another path")
        return
    if not stat.S_ISDIR(about.st_mode):
        yield error("socket", f"{directory} is not a directory, so it cannot hold a queue", "correct TS_SOCKET")
        return
    if not own and about.st_mode & 0o002 and not about.st_mode & stat.S_ISVTX:
        yield warning("socket", f"any user can put another socket into {directory}", f"chmod o-w {directory}")
    if own and about.st_uid != os.geteuid():
        yield error("socket", f"{directory} belongs to user {about.st_uid}", "set TS_SOCKET to another path")
    elif own and about.st_mode & 0o077:
        yield error("socket", f"{directory} is open to other users", f"chmod 700 {directory}")
    if not os.access(directory, os.W_OK | os.X_OK):
        yield error("socket", f"{directory} is not writable: no server can be started", "set TS_SOCKET to another path")
    try:
        about = os.lstat(path)
    except FileNotFoundError:
        yield ok("socket", f"{path}{own}")
        return
    if not stat.S_ISSOCK(about.st_mode):
        yield error("socket", f"{path} is not a socket", "remove it, or set TS_SOCKET to another path")
    elif about.st_uid != os.geteuid():
        yield error("socket", f"{path} is taken by user {about.st_uid}", "set TS_SOCKET to another path")
    else:
        yield ok("socket", f"{path}{own}")


def ask(words: list[bytes], patience: float) -> tuple[int, str] | None:
    """The server's pid, and its reply to these words; None without a server. Raises OSError, QueueError."""
    from tsfast.client import connection, encoder

    found = connection.connect(queue_socket(), patience)
    if found is None:
        return None
    with found:
        pid, _uid = connection.peer(found)
        # No version: the server should reply, and not give way.
        found.sendall(connection.request(words, connection.caller(False), version=b""))
        end = time.monotonic() + patience
        text = b""
        while True:
            found.settimeout(max(0.001, end - time.monotonic()))
            head = found.recv(connection.FRAME.size, socket.MSG_WAITALL)
            if len(head) < connection.FRAME.size:
                raise OSError("it closes the connection")
            version, kind, length, _ = connection.FRAME.unpack(head)
            if version != encoder.WIRE_VERSION or length > encoder.FRAME_MAX:
                raise OSError("it uses another protocol")
            payload = found.recv(length, socket.MSG_WAITALL) if length else b""
            if kind in (encoder.OUT, encoder.ERR):
                text += payload
            if kind == encoder.EXIT:
                return pid, text.decode("utf-8", "replace").strip()


def check(patience: float) -> Iterator[Finding]:
    from tsfast.client.errors import QueueError

    where = place()
    log = f"look at {where or '(its state directory)'}/log"
    began = time.monotonic()
    try:
        answer = ask([b"-V"], patience)
    except TimeoutError:
        advice = f"{log}; `tsfast stop` ends it, the queue stays"
        yield error("server", f"it does not answer within {patience:g} s", advice)
        pid = processes.server_of(where) if where else None
        if pid is not None:
            yield from descriptors(pid)
            yield from stopped(pid)
        return
    except (OSError, QueueError) as failure:
        yield error("server", f"it cannot be reached: {failure}", f"{log}, or set TS_SOCKET to another path")
        return
    took = time.monotonic() - began
    if answer is None:
        yield absent(log, where)
        return
    pid, told = answer
    yield from releases(told)
    yield from installation_of(pid)
    yield from descriptors(pid)
    yield ok("server", f"pid {pid}, {told}, {uptime(pid)}, answers in {took * 1000:.0f} ms")


def absent(log: str, where: str | None) -> Finding:
    holder = processes.server_of(where) if where else None
    if holder is not None:
        what = f"process {holder} holds the queue and does not listen on its socket"
        return error("server", what, f"{log}; kill {holder} ends it, the queue stays, and the next call starts another")
    return ok("server", "none runs; the next call that needs one starts it")


def releases(told: str) -> Iterator[Finding]:
    from tsfast.client import connection, encoder

    its, ours = encoder.release(told.encode()), encoder.release(connection.VERSION)
    if its < ours:
        yield warning("server", f"it is of an earlier release, {told}", "the next call of `ts` replaces it")
    if its > ours:
        yield warning("server", f"it is of a later release, {told}", "update this installation: pip install -U")


def installation_of(pid: int) -> Iterator[Finding]:
    """A server keeps its loaded modules, but starts runners from its package's directory."""
    from tsfast.cli.doctor.installation import PACKAGE

    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            mapped = [line.split(None, 5)[5].strip() for line in file if b"/tsfast/_core." in line]
    except OSError:
        return
    for path in map(os.fsdecode, mapped[:1]):
        directory = os.path.dirname(path)
        if path.endswith(" (deleted)"):
            what = "its files were replaced or removed while it runs"
            yield warning("server", what, f"kill {pid} ends it, the queue stays, and the next call starts another")
        elif not os.path.samefile(directory, PACKAGE):
            yield warning("server", f"it is of the installation in {directory}", "to use this one: end it by SIGTERM")


def descriptors(pid: int) -> Iterator[Finding]:
    """Each waiting client has one; when none is left, the server accepts no connection until one closes."""
    try:
        most = resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
        used = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return
    if most != resource.RLIM_INFINITY and used > 0.9 * most:
        advice = "end waiting clients, or start the server with a higher RLIMIT_NOFILE"
        yield warning("server", f"it has {used} files open and is allowed {most}: further clients wait", advice)


def stopped(pid: int) -> Iterator[Finding]:
    if processes.fields(pid)[:1] in (["T"], ["t"]):
        yield error("server", f"process {pid} is stopped, by a signal or a debugger", f"kill -CONT {pid}")


def uptime(pid: int) -> str:
    if not (known := processes.fields(pid)):
        return "up for an unknown time"
    started = int(known[19]) / TICKS
    seconds = max(0, int(time.clock_gettime(time.CLOCK_BOOTTIME) - started))
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    return f"up {days} d {hours} h" if days else f"up {hours} h {minutes} min" if hours else f"up {minutes} min"
