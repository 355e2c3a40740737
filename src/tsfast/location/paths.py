"""The queue that a call means: the path of its socket. Imports only os, because the first call waits for it."""

import os

NAME_MOST = 88  # bytes of a socket's name: TSF_SOCKET_NAME_MOST of native/wire.h


class StateError(Exception):
    """The path cannot hold a queue, or the queue's state cannot be used. The text is one line for the user, without a
    `ts: `."""


def default_path(base: str | None = None) -> str:
    """The socket of calls without TS_SOCKET, whose TMPDIR is as given, or that of this process."""
    base = base or os.environ.get("TMPDIR") or "/tmp"
    return os.path.join(os.path.abspath(base), f"tsfast-{os.geteuid()}", "socket")


def socket_path(given: str | None = None) -> str:
    """The absolute path of the socket: as given, or else TS_SOCKET, or else the default. Raises StateError for what
    looks mistyped, as native/launcher/connect.c does."""
    path = os.environ.get("TS_SOCKET") if given is None else given
    if not path:
        return default_path()
    what = f"{'TS_SOCKET' if given is None else 'the socket'} is '{path}'"
    name = os.path.basename(path)
    if path.startswith("~"):
        raise StateError(f"{what}, but only shells expand ~, and only unquoted (./~ is a file of that name)")
    if name in ("", ".", ".."):
        raise StateError(f"{what}, which is a directory: give the path of a socket in it")
    if len(os.fsencode(name)) > NAME_MOST:
        raise StateError(f"{what}: the socket's name is too long")
    return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)


def canonical(socket: str) -> str:
    """The path that names the queue: absolute, its directory without symbolic links."""
    directory, name = os.path.split(socket)
    if ".." in directory.split("/") and not os.path.isdir(directory):
        return socket  # no queue can be there, and its path must keep what is missing
    return os.path.join(os.path.realpath(directory), name)


def is_default(socket: str) -> bool:
    """The queue of calls without TS_SOCKET. Only its directory is created if it is missing. A service's is below /tmp,
    whatever its TMPDIR is."""
    return socket in (canonical(default_path()), canonical(default_path("/tmp")))


def machine_id() -> str:
    """What distinguishes this machine from others that share its home directories."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            text = os.read(fd, 64).decode("ascii", "replace").strip()
        finally:
            os.close(fd)
        if text.isalnum():
            return text
    return os.uname().nodename


def queue_name(socket: str) -> str:
    """Directory name of a queue: 64 bits of FNV-1a of its socket's path; the note inside distinguishes collisions."""
    value = 0xCBF29CE484222325
    for byte in os.fsencode(socket):
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"
