"""Opens what other users could have put in place: first open, then examine the open file, then use only that.

It reaches a directory from / one name at a time, and no other user may be able to change any of them: the owner must be
us or root, and no group and no other user may write to it, unless it is sticky (/tmp, /var/tmp), where only owners can
rename. So the target of such a path cannot change, and opening it again is safe. Who is trusted with which path is a
table in docs/reliability.md; the rules for the native programs are in native/trust.h. Imports nothing but os and stat:
it is on the way of the first call.
"""

import os
import stat

LINKS_MOST = 40  # as the kernel
ACCESS_LIST = "system.posix_acl_access"


class Untrusted(PermissionError):
    """Another user could have put it there, or could change it. The text is one line: what, whose, and advice."""


def open_directory(path: str, make: bool = False) -> int:
    """A descriptor of a directory of ours, by an absolute path that only we and root can change.

    make: create what is missing of the path, closed to others. Raises Untrusted, OSError."""
    names = _names(path)
    links = 0
    walk = _Walk()
    try:
        while names:
            name = names.pop()
            target = walk.enter(name, bool(names), make)
            if target is None:
                continue
            links += 1
            if links > LINKS_MOST:
                raise Untrusted(f"{path}: too many symbolic links")
            names += _names(target)
            if target.startswith("/"):
                before, walk = walk, _Walk()
                before.close()
        return walk.open()
    finally:
        walk.close()


def _names(path: str) -> list[str]:
    """Of a path, the last one first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


class _Walk:
    """A directory that only we and root can change, and the way down from it."""

    def __init__(self) -> None:
        self.fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.path = ""
        self.shared = False  # other users can create entries, but not rename ours
        self.system = os.fstat(self.fd).st_uid  # not 0 in a user namespace without root, where its owner is unknown

    def close(self) -> None:
        os.close(self.fd)

    def open(self) -> int:
        """A descriptor for reading it. Raises OSError."""
        try:
            return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)
        except OSError as error:
            raise type(error)(error.errno, error.strerror, self.path or "/") from None

    def enter(self, name: str, on_the_way: bool, make: bool) -> str | None:
        """Go to an entry, or to the target of a symbolic link. on_the_way: it is not the last one."""
        path = os.path.dirname(self.path) if name == ".." else f"{self.path}/{name}"
        entry = self._open(name, path, make)
        try:
            about = os.fstat(entry)
            owners = [os.geteuid()]
            if on_the_way or stat.S_ISLNK(about.st_mode):
                owners += [0] if self.shared else [0, self.system]
            if about.st_uid not in owners:
                raise Untrusted(f"{path} belongs to user {about.st_uid}")
            if stat.S_ISLNK(about.st_mode):
                if self.shared:
                    raise Untrusted(f"{path} is a symbolic link where other users can create links")
                return os.readlink("", dir_fd=entry)
            if not stat.S_ISDIR(about.st_mode):
                raise Untrusted(f"{path} is not a directory")
            others = _writers(entry, about)
            if others and not (on_the_way and about.st_mode & stat.S_ISVTX):
                raise Untrusted(f"{path or '/'} {others}")
            self.fd, entry = entry, self.fd
            self.path = path
            self.shared = bool(others)
            return None
        finally:
            os.close(entry)

    def _open(self, name: str, path: str, make: bool) -> int:
        flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            try:
                return os.open(name, flags, dir_fd=self.fd)
            except FileNotFoundError:
                if not make:
                    raise
            try:
                os.mkdir(name, 0o700, dir_fd=self.fd)
            except FileExistsError:
                pass
            return os.open(name, flags, dir_fd=self.fd)
        except OSError as error:
            raise type(error)(error.errno, error.strerror, path) from None


def _writers(fd: int, about: os.stat_result) -> str:
    """Which other users can write to a file or directory, and advice; empty if none can."""
    if about.st_mode & stat.S_IWOTH:
        return "is writable by all users (chmod o-w it)"
    if about.st_mode & stat.S_IWGRP and not _is_private_group(fd, about):
        return f"is writable by group {about.st_gid} (chmod g-w it)"
    return ""


def _is_private_group(fd: int, about: os.stat_result) -> bool:
    """The group of its owner alone, as Debian and Fedora make one for each user, who then work with umask 002. It is
    the owner's main group, has its name, and lists no members; and no access list admits another user."""
    import errno
    import grp
    import pwd

    try:
        owner, group = pwd.getpwuid(about.st_uid), grp.getgrgid(about.st_gid)
    except KeyError:
        return False
    alone = owner.pw_gid == group.gr_gid and owner.pw_name == group.gr_name and set(group.gr_mem) <= {owner.pw_name}
    try:
        os.getxattr(f"/proc/self/fd/{fd}", ACCESS_LIST)
    except OSError as error:
        return alone and error.errno in (errno.ENODATA, errno.EOPNOTSUPP)
    return False


def open_file(path: str, flags: int = os.O_RDONLY, dir_fd: int | None = None) -> int:
    """A descriptor of our regular file that no other user can write to and that has no other name. O_CREAT creates it
    if it is missing. Never waits. Raises Untrusted, OSError."""
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    while True:
        try:
            fd = os.open(path, flags & ~os.O_CREAT, dir_fd=dir_fd)
            break
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
        except OSError as error:
            reason = _what_else(path, dir_fd)
            if reason:
                raise Untrusted(f"{path} {reason}") from None
            raise error
        try:
            return os.open(path, flags | os.O_EXCL, 0o600, dir_fd=dir_fd)
        except FileExistsError:
            continue  # another process was faster: examine its file
    try:
        about = os.fstat(fd)
        reason = _unsuitable(about) or _writers(fd, about)
        if reason:
            raise Untrusted(f"{path} {reason}")
    except OSError:
        os.close(fd)
        raise
    return fd


def open_named(path: str, flags: int = os.O_RDONLY) -> int:
    """open_file() for a path that the user chose: accepts a symbolic link where no other user can create one."""
    try:
        about = os.lstat(path)
        above = os.stat(os.path.dirname(path) or ".")
    except OSError:
        return open_file(path, flags)
    own = about.st_uid in (0, os.geteuid()) and above.st_uid in (0, os.geteuid())
    if stat.S_ISLNK(about.st_mode) and own and not above.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        path = os.path.realpath(path)
    return open_file(path, flags)


def open_subdirectory(name: str, dir_fd: int, make: bool = False) -> int:
    """A descriptor of our directory in one that only we can change. make: create it if it is missing. Raises Untrusted,
    OSError."""
    if make:
        try:
            os.mkdir(name, 0o700, dir_fd=dir_fd)
        except FileExistsError:
            pass
    try:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    except NotADirectoryError:
        raise Untrusted(f"{name} is not a directory") from None
    about = os.fstat(fd)
    reason = f"belongs to user {about.st_uid}" if about.st_uid != os.geteuid() else _writers(fd, about)
    if reason:
        os.close(fd)
        raise Untrusted(f"{name} {reason}")
    return fd


def check_entries(path: str, directory: int) -> None:
    """Other users cannot create entries in our open directory; checks whether they could before: then it contains
    something that is not ours, or that leads elsewhere. Raises Untrusted, OSError."""
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                about = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(about.st_mode) and about.st_uid in (0, os.geteuid()):
                continue  # root's: lost+found
            if stat.S_ISSOCK(about.st_mode) and about.st_uid == os.geteuid():
                continue  # TS_SOCKET may name one here; it is never read
            reason = _unsuitable(about)
            if reason:
                raise Untrusted(f"{path}/{entry.name} {reason} (if it is yours, chown it; else remove it)")


def _what_else(path: str, dir_fd: int | None) -> str:
    """Why a file that cannot be opened is not ours; empty if it is."""
    try:
        return _unsuitable(os.stat(path, dir_fd=dir_fd, follow_symlinks=False))
    except OSError:
        return ""


def _unsuitable(about: os.stat_result) -> str:
    if about.st_uid != os.geteuid():
        return f"belongs to user {about.st_uid}"
    if not stat.S_ISREG(about.st_mode):
        return "is not a regular file"
    return "has a second name (a hard link)" if about.st_nlink > 1 else ""


def create_file(path: str, dir_fd: int | None = None) -> int:
    """A new file for writing; unlinks an existing one of that name. Raises OSError."""
    try:
        os.unlink(path, dir_fd=dir_fd)
    except FileNotFoundError:
        pass
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)


def replace_file(path: str, data: bytes, dir_fd: int | None = None) -> None:
    """Replaces its contents as a whole or not at all. Only one process at a time may do so: the temporary name is
    always the same, so that the next process replaces what a killed one has left. If another user has taken that name
    in a shared directory, the name is random. Raises OSError."""
    temporary = f"{path}.new"
    try:
        fd = create_file(temporary, dir_fd)
    except OSError:
        temporary = f"{path}.{os.urandom(8).hex()}"
        fd = create_file(temporary, dir_fd)
    try:
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
        os.rename(temporary, path, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except OSError:
        os.unlink(temporary, dir_fd=dir_fd)
        raise
