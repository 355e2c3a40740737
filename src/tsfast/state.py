"""Which queue: the state directory of a socket, chosen once and pinned.

A queue is the canonical path of its socket. Its state directory is found again by the pointer file beside the socket
(`SOCKET.state`), or, where that was lost, by the note in the directory (`queue`), whatever the environment of the call
that looks for it: it must never decide that a queue is empty. Imports nothing but os, trust and the core: it is on
the way of the first call.
"""

import os

from tsfast import _core, trust
from tsfast.paths import StateError as StateError

# f_type of statfs(2), linux/magic.h: file systems on which flock may not exclude other hosts, or a mapping not be
# shared.
NETWORK_FILE_SYSTEMS = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFE534D42: "SMB2",
    0xFF534D42: "CIFS",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
    0x5346414F: "AFS",
    0x00C36400: "Ceph",
    0x01021997: "9P",
    0x65735546: "FUSE",
    0x19830326: "BeeGFS",
    0x7461636F: "OCFS2",
    0x01161970: "GFS2",
    0xAAD7AAEA: "PanFS",
}


def pointer_path(socket: str) -> str:
    """The file beside the socket that holds the path of its state directory."""
    return socket + ".state"


def _read(path: str, dir_fd: int | None = None) -> str | None:
    """Text of a private file of ours; None where there is none. Raises StateError for somebody else's."""
    try:
        fd = trust.open_file(path, dir_fd=dir_fd)
    except FileNotFoundError:
        return None
    except trust.Untrusted as error:
        raise StateError(str(error)) from None
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    try:
        return os.fsdecode(os.read(fd, 65536)).removesuffix("\n")
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    finally:
        os.close(fd)


def open_place(place: str, make: bool = False) -> int:
    """A descriptor of a state directory that only we and root can change or replace, and that holds nothing of others;
    what is in it is opened by that. Raises StateError; FileNotFoundError where there is none."""
    directory = _open(place, make)
    try:
        trust.check_entries(place, directory)
    except OSError as error:
        os.close(directory)
        raise StateError(str(error)) from None
    return directory


def _open(place: str, make: bool = False) -> int:
    try:
        return trust.open_directory(place, make)
    except trust.Untrusted as error:
        raise StateError(str(error)) from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StateError(f"{error.filename or place}: {error.strerror}") from None


def _note(place: str) -> str | None:
    """The socket that a state directory belongs to; None if it is not there. Raises StateError."""
    try:
        directory = _open(place)
    except FileNotFoundError:
        return None
    try:
        return _read("queue", directory)
    except StateError as error:
        raise StateError(f"{place}: {error}") from None
    finally:
        os.close(directory)


def _write(path: str, text: str, dir_fd: int | None = None) -> None:
    trust.replace_file(path, os.fsencode(text) + b"\n", dir_fd)


def machine_id() -> str:
    """What tells this machine from others that share its home directories."""
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
    """Directory name of a queue: 64 bits of FNV-1a of its socket's path; the note inside tells collisions apart."""
    value = 0xCBF29CE484222325
    for byte in os.fsencode(socket):
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def _homes(environ: "os._Environ[str]") -> list[str]:
    """Directories for state, best first: XDG base directory specification, then the home of the password file."""
    found = []
    if os.path.isabs(environ.get("XDG_STATE_HOME", "")):
        found.append(environ["XDG_STATE_HOME"])
    homes = [environ.get("HOME", "")]
    import pwd

    try:
        homes.append(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        pass
    found += [os.path.join(home, ".local", "state") for home in homes if os.path.isabs(home)]
    return list(dict.fromkeys(found))


def candidates(socket: str, environ: "os._Environ[str]") -> list[str]:
    """Where the state of a queue can be, best first; the last one is the place for homes that cannot be used."""
    below = os.path.join(machine_id(), queue_name(socket))
    places = [os.path.abspath(environ["TS_STATE"])] if environ.get("TS_STATE") else []
    places += [os.path.join(home, "tsfast", below) for home in _homes(environ)]
    return [*places, os.path.join(f"/var/tmp/tsfast-{os.geteuid()}", below)]


def note(place: str) -> str | None:
    """The socket that a state directory belongs to; None if it says nothing that can be trusted."""
    try:
        return _note(place)
    except StateError:
        return None


def find(socket: str, environ: "os._Environ[str]") -> str | None:
    """The state directory of a canonical socket path, or None where there is none yet. Raises StateError."""
    pinned = _read(pointer_path(socket))
    if pinned is not None:
        wanted = environ.get("TS_STATE")
        if wanted and os.path.realpath(wanted) != os.path.realpath(pinned):
            raise StateError(f"TS_STATE is {wanted}, but the state of {socket} is in {pinned}")
        try:
            note = _note(pinned)
        except StateError as error:
            raise StateError(f"the state directory of {socket} cannot be used: {error}") from None
        if note is None:
            raise StateError(
                f"the state directory {pinned} is gone; to begin an empty queue, remove {pointer_path(socket)}"
            )
        if note != socket:
            raise StateError(f"the state directory {pinned} belongs to {note}, not to {socket}")
        return pinned
    for place in candidates(socket, environ):
        try:
            note = _note(place)
        except StateError as error:
            if _is_marked(place, socket):
                raise StateError(f"the state of {socket} is in {place}, which cannot be used: {error}") from None
            continue
        if note == socket:
            return place
        if note is not None and place == os.path.abspath(environ.get("TS_STATE") or "/"):
            raise StateError(f"the state directory {place} belongs to {note}, not to {socket}")
    return None


def _is_marked(place: str, socket: str) -> bool:
    """Is it our queue, in a place that others can change? Nothing of it is used, but neither is it an empty one."""
    try:
        return os.lstat(place).st_uid == os.geteuid() and _read(os.path.join(place, "queue")) == socket
    except (StateError, OSError):
        return False


def _unsuitable(place: str) -> str | None:
    """Why a directory (made if it is not there) cannot hold a queue; None if it can."""
    try:
        directory = open_place(place, make=True)
    except StateError as error:
        return str(error)
    except OSError as error:
        return f"{place}: {error.strerror}"
    try:
        if os.fstat(directory).st_mode & 0o077:
            os.fchmod(directory, 0o700)
        kind = NETWORK_FILE_SYSTEMS.get(_core.filesystem_type(directory))
        if kind:
            return f"{place} is on a network file system ({kind})"
        return _unlockable(place, directory)
    except OSError as error:
        return f"{place}: {error.strerror or error}"
    finally:
        os.close(directory)


def _unlockable(place: str, directory: int) -> str | None:
    import fcntl

    fds = []
    try:
        for _ in range(2):
            fds.append(trust.open_file("lock", os.O_RDWR | os.O_CREAT, directory))
        fcntl.flock(fds[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(fds[1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        return f"{place} does not lock files"
    except BlockingIOError:
        return None
    finally:
        for fd in fds:
            os.close(fd)


def create(socket: str, environ: "os._Environ[str]") -> tuple[str, str | None]:
    """Choose and mark the state directory of a new queue: its path, and a warning or None. Raises StateError."""
    places = candidates(socket, environ)
    reasons = []
    for place in places[:1] if environ.get("TS_STATE") else places:
        reason = _unsuitable(place)
        if reason is None:
            break
        reasons.append(reason)
    else:
        raise StateError(f"no place for the state of the queue: {'; '.join(reasons)}")
    try:
        directory = open_place(place)
        try:
            _write("queue", socket, directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise StateError(f"{place}: {error.strerror}") from None
    warning = f"the queue is kept in {place}, because {'; '.join(reasons)}" if reasons else None
    return place, warning


def unpin(socket: str) -> None:
    """A queue whose state is gone was dropped: the next call may begin an empty one."""
    try:
        os.unlink(pointer_path(socket))
    except OSError:
        pass  # the next call tells what it sees there


def pin(socket: str, place: str) -> None:
    """Note beside the socket where its state is. Raises StateError."""
    try:
        if _read(pointer_path(socket)) != place:
            _write(pointer_path(socket), place)
    except OSError as error:
        raise StateError(f"{pointer_path(socket)}: {error.strerror}") from None
