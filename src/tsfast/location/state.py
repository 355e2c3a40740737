"""The state directory of a socket, chosen once and pinned.

A queue is the canonical path of its socket. One of two pointers (pointers.py) leads to its state directory, or, if both
are lost, the note in the directory (`queue`), whatever the environment of the call: the environment must never decide
that a queue is empty. Imports only os, trust and the core, because the first call waits for it.
"""

import os

from tsfast.base import trust
from tsfast.location import checks, pointers
from tsfast.location.paths import StateError as StateError
from tsfast.location.paths import machine_id, queue_name
from tsfast.location.pointers import read_text

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


def open_place(place: str, make: bool = False) -> int:
    """A descriptor of a state directory that only we and root can change or replace, and that contains nothing of other
    users; its files are opened relative to it. Raises StateError; FileNotFoundError where there is none."""
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
    """The socket that a state directory belongs to; None if it does not exist. Raises StateError."""
    try:
        directory = _open(place)
    except FileNotFoundError:
        return None
    try:
        return read_text("queue", directory)
    except StateError as error:
        raise StateError(f"{place}: {error}") from None
    finally:
        os.close(directory)


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
    """The possible places for the state of a queue, best first; the last one is for homes that cannot be used."""
    below = os.path.join(machine_id(), queue_name(socket))
    places = [os.path.abspath(environ["TS_STATE"])] if environ.get("TS_STATE") else []
    places += [os.path.join(home, "tsfast", below) for home in _homes(environ)]
    return [*places, os.path.join(pointers.home(), below)]


def note(place: str) -> str | None:
    """The socket that a state directory belongs to; None if it has no trusted note."""
    try:
        return _note(place)
    except StateError:
        return None


class Gone(StateError):
    """The state directory is not where the pointers lead."""

    def __init__(self, place: str, socket: str) -> None:
        end = "if it is not merely unmounted, ts -K gives it up, and the next call begins an empty queue"
        queue = os.path.basename(place) == queue_name(socket)
        if queue and (machine := os.path.basename(os.path.dirname(place))) != machine_id():
            end = f"it is of machine {machine}: set TS_SOCKET to a path that the machines do not share"
            self.other_machine = True
        super().__init__(f"the state directory {place} of {socket} is gone; {end}")

    other_machine = False


def find(socket: str, environ: "os._Environ[str]") -> str | None:
    """The state directory of a canonical socket path, or None if there is none yet. Raises StateError.

    The note in it decides: in the directory of the pointer beside the socket, or else in that of the second pointer, or
    else in one of the candidates. Refuses a TS_STATE that contradicts it, and a pointer to a missing directory."""
    pinned = read_text(pointers.beside(socket)) or None
    second = None
    place = pinned and _of_pointer(pinned, socket, True)
    if place is None and (second := pointers.second(socket)) is not None:
        place = _of_pointer(second.place, socket, False)
    if place is not None:
        wanted = environ.get("TS_STATE")
        if wanted and os.path.realpath(wanted) != os.path.realpath(place):
            raise StateError(f"TS_STATE is {wanted}, but the state of {socket} is in {place}")
        return place
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
    if pinned is not None:
        raise Gone(pinned, socket)
    if second is not None and not os.path.lexists(second.place) and not second.is_deleted():
        raise Gone(second.place, socket)
    return None


def _of_pointer(place: str, socket: str, beside: bool) -> str | None:
    """The place if it is the socket's; None if it is gone, or if the second pointer leads to another queue's directory.
    If a loss of power has destroyed the note, the pointer alone counts."""
    try:
        note = _note(place)
    except StateError as error:
        raise StateError(f"the state of {socket} is in {place}, which cannot be used: {error}") from None
    if note and note != socket and beside:
        raise StateError(f"the state directory {place} belongs to {note}, not to {socket}")
    return place if note in (socket, "") else None


def _is_marked(place: str, socket: str) -> bool:
    """Whether it is this queue, in a place that others can change: it must not be used, nor count as empty."""
    try:
        return os.lstat(place).st_uid == os.geteuid() and read_text(os.path.join(place, "queue")) == socket
    except (StateError, OSError):
        return False


def _unsuitable(place: str) -> str | None:
    """Why a directory (created if it does not exist) cannot hold a queue; None if it can."""
    try:
        directory = open_place(place, make=True)
    except StateError as error:
        return str(error)
    except OSError as error:
        return f"{place}: {error.strerror}"
    try:
        if os.fstat(directory).st_mode & 0o077:
            os.fchmod(directory, 0o700)
        kind = NETWORK_FILE_SYSTEMS.get(checks.filesystem_type(directory))
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


def choose(socket: str, environ: "os._Environ[str]") -> tuple[str, str | None]:
    """The state directory of a new queue, made: its path, and a warning or None. Raises StateError."""
    places = candidates(socket, environ)
    reasons = []
    if environ.get("TS_STATE"):
        places = places[:1]
        if not os.path.isdir(os.path.dirname(places[0])):
            raise StateError(f"TS_STATE is {environ['TS_STATE']}, but {os.path.dirname(places[0])} is not there")
    for place in places:
        reason = _unsuitable(place)
        if reason is None:
            break
        reasons.append(reason)
    else:
        raise StateError(f"no directory can hold the state of the queue: {'; '.join(reasons)}")
    warning = f"the queue is kept in {place}, because {'; '.join(reasons)}" if reasons else None
    return place, warning


def mark(directory: int, socket: str, place: str) -> None:
    """Write into a state directory, whose locks we hold, which socket it belongs to. Raises StateError."""
    try:
        known = read_text("queue", directory)
        if known == socket:
            os.utime("queue", dir_fd=directory, follow_symlinks=False)  # or it would be removed for its age in /var/tmp
        elif known:
            raise StateError(f"the state directory {place} belongs to {known}, not to {socket}")
        else:
            pointers.write_text("queue", socket, directory)
    except OSError as error:
        raise StateError(f"{place}: {error.strerror}") from None
