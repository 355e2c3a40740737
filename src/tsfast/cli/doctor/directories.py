"""The directories of the queue, their contents, and leftovers of other queues."""

import os
import shlex
import stat
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tsfast.cli import processes
from tsfast.cli.doctor import server
from tsfast.cli.doctor.finding import Finding, error, ok, warning

if TYPE_CHECKING:
    from tsfast.client.reader import Reader

MIB = 1 << 20
LITTLE_ROOM = 256 * MIB
# A server starts with an empty `runs`, header and log; a queue without room refuses jobs.
NO_ROOM = 2 * MIB
FEW_INODES = 100
NEWEST_LOOKED_AT = 64
LONG_COUNT_S = 1.0
CLOCK_SLACK_S = 60
MOST_SHOWN = 20


def file_system(path: str) -> str:
    """The kernel's name of a directory's file system."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", errors="replace") as file:
            for line in file:
                fields, _, rest = line.partition(" - ")
                if fields.split()[2] == wanted:
                    return rest.split()[0]
    except OSError:
        pass  # hidden
    return "unknown file system"


def room(check: str, path: str) -> Iterator[Finding]:
    """Free bytes and inodes."""
    about = os.statvfs(path)
    free = about.f_bavail * about.f_frsize
    move = "make room"
    if about.f_flag & os.ST_RDONLY:
        yield error(check, f"{path} is on a file system mounted read-only", "mount it writable")
    if free < NO_ROOM:
        yield error(check, f"no room in {path}: {free // 1024} KiB", move)
    elif free < LITTLE_ROOM:
        yield warning(check, f"little room in {path}: {free // MIB} MiB", move)
    if about.f_files and about.f_favail == 0:
        yield error(check, f"no inodes are left in {path}", move)
    elif about.f_files and about.f_favail < FEW_INODES:
        yield warning(check, f"only {about.f_favail} inodes are left in {path}", move)


# ---- the state directory ----


def state_directory() -> Iterator[Finding]:
    from tsfast.location import checks, paths, pointers, state

    if (trouble := pointers.trouble()) is not None:
        what = "it is found only by the pointer beside the socket and by the environment"
        yield warning(
            "state", f"no second pointer to the state directory can be kept: {trouble}; {what}", "remove that"
        )
    path = server.queue_socket()
    try:
        place = state.find(path, os.environ)
    except paths.StateError as failure:
        yield error("state", str(failure), "see Where in docs/table-format.md")
        return
    if place is None:
        yield ok("state", f"none yet; the first call makes {state.candidates(path, os.environ)[0]}")
        return
    about = os.stat(place)
    if about.st_uid != os.geteuid():
        yield error("state", f"{place} belongs to user {about.st_uid}", f"chown -R {os.geteuid()} {place}")
    if about.st_mode & 0o077:
        yield warning("state", f"{place} is open to other users; it holds environments", f"chmod 700 {place}")
    try:
        fd = state.open_place(place)
    except state.StateError as failure:
        yield error("state", str(failure), f"chown -R {os.geteuid()} {place}")
        return
    yield from files(place)
    network = state.NETWORK_FILE_SYSTEMS.get(checks.filesystem_type(fd))
    os.close(fd)
    kind = file_system(place)
    if network:
        move = "drop the queue (-K), remove the directory, and begin it with TS_STATE on a local disk"
        yield error("state", f"{place} is on a network file system ({network})", move)
    if not os.access(place, os.W_OK | os.X_OK):
        yield error("state", f"{place} is not writable", f"chmod 700 {place}")
    yield from room("state", place)
    if kind == "tmpfs" and os.path.isdir(os.path.join(place, "journal")):
        what = "TS_DURABLE promises nothing on tmpfs, which a loss of power empties"
        yield warning("state", what, "begin the queue anew with TS_STATE on a disk")
    yield ok("state", f"{place}, {kind}, {free_text(place)}")


def free_text(path: str) -> str:
    about = os.statvfs(path)
    inodes = f", {about.f_favail} inodes" if about.f_files else ""
    return f"{about.f_bavail * about.f_frsize // MIB} MiB{inodes} free"


def files(place: str) -> Iterator[Finding]:
    """Whether other users can read the jobs' data."""
    open_to_others = []
    for name in sorted(os.listdir(place)):
        try:
            about = os.lstat(os.path.join(place, name))
        except FileNotFoundError:
            continue
        if about.st_mode & 0o077 or (stat.S_ISREG(about.st_mode) and about.st_mode & 0o600 != 0o600):
            open_to_others.append(name)
    if open_to_others:
        names = ", ".join(open_to_others[:5])
        yield warning("state", f"wrong modes in {place}: {names}", f"chmod -R u=rwX,go= {place}")


# ---- the table ----


def queue() -> Iterator[Finding]:
    """The table and the journal: whether they are readable, a server can run the jobs, and the times lie in the
    past."""
    from tsfast.client.reader import Reader, TableError
    from tsfast.location import state

    place = server.place()
    if place is None:
        return
    try:
        reader = Reader(state.open_place(place))
    except state.StateError:
        return  # state_directory() tells it
    except (TableError, OSError) as failure:
        yield error("queue", f"the job table: {failure}", "ts -K drops the queue; see Damage in docs/reliability.md")
        return
    if reader.committed == 0:
        yield ok("queue", "it was never used")
        return
    count = live(reader)
    if not count.startswith("0 ") and processes.server_of(place) is None:
        yield warning("queue", f"{count}, and no server", "the next call of `ts` starts one, which goes on with them")
    else:
        yield ok("queue", f"{count}; {reader.committed} jobs in all so far")
    yield from times(reader)
    yield from durability(place)


def live(reader: "Reader") -> str:
    """The number of unfinished jobs; does not count a long table to its end."""
    from tsfast.client.reader import QUEUED, RUNNING, STARTING

    end = time.monotonic() + LONG_COUNT_S
    count = 0
    for id in range(reader.floor, reader.committed):
        count += reader.state(id) in (QUEUED, STARTING, RUNNING)
        if id % 4096 == 0 and time.monotonic() > end:
            return f"{count} or more jobs have not ended"
    return f"{count} jobs have not ended"


def times(reader: "Reader") -> Iterator[Finding]:
    """The clock against the newest jobs."""
    from tsfast.client.reader import TableError

    newest = 0
    for id in range(max(reader.floor, reader.committed - NEWEST_LOOKED_AT), reader.committed):
        try:
            job = reader.job(id)
        except (OSError, TableError):
            yield warning("queue", f"the record of job {id} is damaged", f"ts -r {id} forgets it")
            continue
        if job is not None:
            newest = max(newest, job["enqueue_ns"], job["start_ns"])
    ahead = newest / 1e9 - time.time()
    if ahead > CLOCK_SLACK_S:
        what = f"the newest jobs are {ahead:.0f} s in the future: the clock was set back"
        yield warning("clock", what, "set the clock (timedatectl); times in lists are wrong until then")


def durability(place: str) -> Iterator[Finding]:
    journal = os.path.join(place, "journal")
    wanted = os.environ.get("TS_DURABLE", "")
    try:
        sizes = [entry.stat().st_size for entry in os.scandir(journal)]
    except FileNotFoundError:
        sizes = []
    if sizes:
        yield ok("journal", f"durable: {len(sizes)} files, {sum(sizes) // MIB} MiB")
    else:
        yield ok("journal", "none: the queue is kept across crashes of the server, not across a loss of power")
    if wanted in ("0", "1") and (wanted == "1") != bool(sizes):
        when = "it counts when a server starts: end this one by SIGTERM, the queue stays"
        yield warning("journal", f"TS_DURABLE is {wanted}, but the queue is {'' if sizes else 'not '}durable", when)


# ---- the directory of the output ----


def log_directory(patience: float) -> Iterator[Finding]:
    from tsfast.client.errors import QueueError

    try:
        answer = server.ask([b"--get_logdir"], patience)
    except (OSError, QueueError):
        return  # the check of the server tells
    path = answer[1] if answer else os.path.abspath(os.environ.get("TMPDIR") or "/tmp")
    elsewhere = "ts --set_logdir DIRECTORY" if answer else "set TMPDIR"
    if not os.path.isdir(path):
        yield error("output", f"{path}, for the jobs' output, is not a directory", f"make it, or {elsewhere}")
    elif not os.access(path, os.W_OK | os.X_OK):
        yield error("output", f"{path}, for the jobs' output, is not writable", elsewhere)
    else:
        yield from room("output", path)
        yield ok("output", f"{path}, {file_system(path)}, {free_text(path)}")


# ---- other queues of this user ----


def others() -> Iterator[Finding]:
    """State directories in the usual places whose socket cannot be reached any more."""
    from tsfast.location import state

    path = server.queue_socket()
    found = 0
    stale = []
    for candidate in state.candidates(path, os.environ)[1 if os.environ.get("TS_STATE") else 0 :]:
        for place in below(os.path.dirname(candidate)):
            note = state.note(place)
            if not note or note == path:
                continue
            found += 1
            if not os.path.isdir(os.path.dirname(note)) and processes.server_of(place) is None:
                stale.append((place, note))
    yield ok("other queues", f"{found} of this user on this machine")
    for place, note in stale[:MOST_SHOWN]:
        what = f"{place} is of {note}, whose directory is gone{waiting(place)}"
        see = f"TS_SOCKET={shlex.quote(note)} tsfast -l"
        yield warning("other queues", what, f"{see} shows it; rm -r {shlex.quote(place)} ends it")
    if len(stale) > MOST_SHOWN:
        yield warning("other queues", f"{len(stale) - MOST_SHOWN} more like that", "look at them with --json")


def below(directory: str) -> list[str]:
    try:
        return sorted(entry.path for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def waiting(place: str) -> str:
    """What such a queue still contains."""
    from tsfast.client.reader import Reader, TableError
    from tsfast.location import state

    try:
        reader = Reader(state.open_place(place))
    except (state.StateError, TableError, OSError):
        return "; its job table cannot be read"
    if reader.committed == 0:
        return "; it was never used"
    count = live(reader)
    return "" if count.startswith("0 ") else f"; {count}"
