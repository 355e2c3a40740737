"""The two pointers to the state directory of a socket: beside the socket, and in a place that depends on neither the
environment nor a reboot.

`SOCKET.state` disappears with the directory of the socket, which is often below /tmp. Then the second pointer remains,
/var/tmp/tsfast-UID/MACHINE/QUEUE.state: the id of the file system of the state directory, a blank, and its path. If it
cannot be kept (the directory belongs to another user, the disk is full), the queue works without it. Later queues
remove the pointers of queues whose state was deleted.
"""

import os

from tsfast.base import trust
from tsfast.location import checks
from tsfast.location.paths import StateError, machine_id, queue_name

# f_type of statfs(2): their files do not outlive the mount, so a missing one is deleted and not just unmounted.
VOLATILE = {0x01021994, 0x858458F6}
ENDING = ".state"
LOOKED_AT = 16  # other pointers, by each new one


def read_text(path: str, dir_fd: int | None = None) -> str | None:
    """The text of our private file; None if there is none. Zeros, which a loss of power can leave in a file, count as
    empty. Raises StateError for another user's file."""
    try:
        fd = trust.open_file(path, dir_fd=dir_fd)
    except FileNotFoundError:
        return None
    except trust.Untrusted as error:
        raise StateError(str(error)) from None
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    try:
        data = os.read(fd, 65536)
        return "" if b"\0" in data else os.fsdecode(data).removesuffix("\n")
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    finally:
        os.close(fd)


def write_text(path: str, text: str, dir_fd: int | None = None) -> None:
    """Only the process with the locks of the queue may call this. Raises OSError."""
    trust.replace_file(path, os.fsencode(text) + b"\n", dir_fd)


# ---- beside the socket ----


def beside(socket: str) -> str:
    """The file beside the socket that holds the path of its state directory."""
    return socket + ENDING


def pin(socket: str, place: str) -> bool:
    """Write the pointer beside the socket. False: another server has just written another one. Raises StateError."""
    path = beside(socket)
    try:
        known = read_text(path)
        if known is None:
            try:
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                return read_text(path) == place
            try:  # a process that dies before the write leaves an empty file, which counts as none
                os.write(fd, os.fsencode(place) + b"\n")
            finally:
                os.close(fd)
        elif known != place:
            write_text(path, place)
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    return True


# ---- the second pointer ----


class Second:
    """The content of the second pointer."""

    def __init__(self, file_system: str, place: str) -> None:
        self.file_system = file_system
        self.place = place

    def is_deleted(self) -> bool:
        """The state directory was deleted. False: it exists, or may be on a file system that is not mounted."""
        path = self.place
        while not os.path.lexists(path):
            path = os.path.dirname(path)
        if path == self.place:
            return False
        try:
            return self.file_system == "volatile" or self.file_system == _file_system(path)
        except OSError:
            return False


def _parsed(text: str | None) -> Second | None:
    """None: there is no pointer, or it is damaged."""
    file_system, _, place = (text or "").partition(" ")
    return Second(file_system, place) if os.path.isabs(place) else None


def _file_system(path: str) -> str:
    """Identifies the file system of a path, also after a reboot. Raises OSError."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if checks.filesystem_type(fd) in VOLATILE:
            return "volatile"
        return f"{os.fstatvfs(fd).f_fsid:x}"
    finally:
        os.close(fd)


def home() -> str:
    """The directory that depends only on the user; a part of it is for states without another place."""
    return os.path.join(os.environ.get("TSFAST_VAR_TMP") or "/var/tmp", f"tsfast-{os.geteuid()}")


def _name(socket: str) -> str:
    return queue_name(socket) + ENDING


def second(socket: str) -> Second | None:
    """None: there is none, or none that can be trusted; see trouble()."""
    try:
        directory = trust.open_directory(os.path.join(home(), machine_id()))
    except OSError:
        return None
    try:
        text = read_text(_name(socket), directory)
    except StateError:
        return None
    finally:
        os.close(directory)
    return _parsed(text)


def trouble() -> str | None:
    """Why there can be no second pointers; None if there can. For doctor."""
    try:
        os.close(trust.open_directory(os.path.join(home(), machine_id())))
    except FileNotFoundError:
        pass
    except OSError as error:
        return str(error) if isinstance(error, trust.Untrusted) else f"{error.filename}: {error.strerror}"
    return None


def note_second(socket: str, place: str) -> str | None:
    """Write the second pointer, while this process holds the locks of the queue; or why that failed."""
    import fcntl

    try:
        # Open until the process ends: tmpfiles.d(5) removes no old files from a locked directory.
        directory = trust.open_directory(os.path.join(home(), machine_id()), make=True)
        try:
            fcntl.flock(directory, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            pass  # just being cleaned, or not known there
        name = _name(socket)
        text = f"{_file_system(place)} {place}"
        if read_text(name, directory) == text:
            os.utime(name, dir_fd=directory, follow_symlinks=False)
        else:
            write_text(name, text, directory)
            _tidy(directory, name)
    except trust.Untrusted as error:
        return str(error)
    except StateError as error:
        return f"{home()}: {error}"
    except OSError as error:
        return f"{error.filename or home()}: {error.strerror}"
    return None


def _tidy(directory: int, own: str) -> None:
    """Remove some of the pointers of deleted queues. Each new pointer looks at a few others, so that there are never
    many more than queues."""
    others = [name for name in os.listdir(directory) if name.endswith(ENDING) and name != own]
    first = int(own.removesuffix(ENDING), 16) % max(1, len(others))
    for name in (others[first:] + others[:first])[:LOOKED_AT]:
        try:
            other = _parsed(read_text(name, directory))
            if other is not None and other.is_deleted():
                os.unlink(name, dir_fd=directory)
        except (StateError, OSError):
            continue  # not one of ours


def forget(socket: str) -> None:
    """Remove both pointers if their state is gone: the next call may begin an empty queue."""
    try:
        os.unlink(beside(socket))
    except OSError:
        pass  # the next call reports what it finds there
    try:
        directory = trust.open_directory(os.path.join(home(), machine_id()))
    except OSError:
        return  # nothing has read it yet, either
    try:
        os.unlink(_name(socket), dir_fd=directory)
    except OSError:
        pass
    finally:
        os.close(directory)
