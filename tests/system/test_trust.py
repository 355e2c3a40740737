"""What another user can put on the way to a queue's state, and change while it is walked: nothing of theirs is read,
executed, written through or waited for. The other user is a real one, and swaps directories while calls are made."""

import ctypes
import mmap
import os
import shutil
import signal
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.installation import BIN
from support.patience import wait_until
from support.queues import Queue
from system.test_strangers import STRANGER, as_stranger
from tsfast.base import trust

pytestmark = pytest.mark.root


@pytest.fixture
def tmp_path(passable: Path) -> Path:
    return passable


def reachable(queue: Queue) -> None:
    """Others may pass the queue's directory, and look at what they know in it."""
    queue.directory.chmod(0o711)


def shared(queue: Queue, mode: int = 0o1777) -> Path:
    """A directory like /var/tmp, with the queue's state to be below it."""
    reachable(queue)
    place = queue.directory / "shared"
    place.mkdir()
    place.chmod(mode)
    queue.state_dir = place / "state"
    queue.environment["TS_STATE"] = str(queue.state_dir)
    return place


def test_state_below_a_sticky_directory(queue: Queue) -> None:
    """As in /var/tmp: others can make entries, but not rename ours."""
    shared(queue)
    assert queue.output(queue.finish("echo", "x")) == "x\n"
    assert queue.state_dir.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("depth", [0, 1])
def test_their_directory_at_the_place_of_the_state(queue: Queue, depth: int) -> None:
    """They were there first: with the directory itself, or with one above it."""
    place = shared(queue)
    theirs = place / "theirs"
    queue.environment["TS_STATE"] = str(theirs if depth == 0 else theirs / "state")
    assert as_stranger(lambda: theirs.mkdir(0o777))
    assert f"{theirs} belongs to user {STRANGER}" in queue.refused("true")
    assert list(theirs.iterdir()) == []


@pytest.mark.parametrize(("mode", "who"), [(0o777, "all users (chmod o-w"), (0o770, f"group {STRANGER} (chmod g-w")])
def test_parent_that_others_can_write_to(queue: Queue, mode: int, who: str) -> None:
    place = shared(queue, mode)
    os.chown(place, 0, STRANGER)
    assert f"{place} is writable by {who} it)" in queue.refused("true")
    assert list(place.iterdir()) == []


def test_parent_of_the_private_group(queue: Queue) -> None:
    """umask 002, where each user has a group of their own: as good as 0755."""
    place = shared(queue, 0o2775)
    assert queue.submit("true") == 0
    assert [path.name for path in place.iterdir()] == ["state"]


def test_links_on_the_way(queue: Queue) -> None:
    """Ours lead to where they lead, theirs nowhere; and where others can make links, ours could be one of theirs."""
    place = shared(queue)
    mine, target = queue.directory / "mine", queue.directory / "target"
    target.mkdir(0o755)
    mine.symlink_to("target/../target/.")
    assert as_stranger(lambda: (place / "theirs").symlink_to(target))
    (place / "ours").symlink_to(target)
    for name, reason in (("theirs", f"belongs to user {STRANGER}"), ("ours", "is a symbolic link")):
        message = queue.refused("true", env={"TS_STATE": str(place / name)})
        assert f"{place / name} {reason}" in message
        message = queue.refused("true", env={"TS_STATE": str(place / name / "state")})
        assert f"{place / name} {reason}" in message
    assert list(target.iterdir()) == []
    assert target.stat().st_mode & 0o777 == 0o755
    queue.environment["TS_STATE"] = str(mine / "state")
    assert queue.submit("true") == 0
    assert (target / "state" / "header").exists()
    target.rename(queue.directory / "else")
    mine.unlink()
    mine.symlink_to(mine)
    queue.kill_server()
    assert "too many symbolic links" in queue.refused("true")


def test_root_with_the_home_of_a_user(queue: Queue) -> None:
    """sudo that keeps HOME: nothing of root's is kept where a user can change it, and root has a queue all the same."""
    reachable(queue)
    home = queue.directory / "home"
    home.mkdir()
    os.chown(home, STRANGER, STRANGER)
    below = queue.directory / "state-home"
    below.mkdir()
    os.chown(below, STRANGER, STRANGER)
    environment = {"TS_STATE": None, "HOME": str(home), "XDG_STATE_HOME": str(below)}
    done = queue.run("true", env=environment)
    state = Path(Path(f"{queue.socket}.state").read_text().strip())
    try:
        assert (done.returncode, done.stdout) == (0, "0\n"), done
        assert done.stderr.startswith(f"ts: warning: the queue is kept in {state}, because "), done
        for path in (home, below):
            assert f"{path} belongs to user {STRANGER}" in done.stderr
            assert list(path.iterdir()) == []
        assert state.stat().st_uid == 0
    finally:
        queue.get("-K", env=environment)
        for path in sorted(state.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        state.rmdir()


def test_queue_whose_parent_was_opened_later(queue: Queue) -> None:
    """It is refused with the reason, not begun anew elsewhere: also where the note beside the socket is lost."""
    place = shared(queue, 0o755)
    queue.submit("true")
    queue.kill_server()
    place.chmod(0o777)
    message = queue.refused("true")
    assert str(place) in message and "chmod o-w it" in message
    Path(f"{queue.socket}.state").unlink()
    assert f"the state of {queue.socket} is in {queue.state_dir}, which cannot be used: {place}" in queue.refused("-l")
    place.chmod(0o755)
    assert queue.ids() == [0]


FILES = ["header", "seg.00000000", "blob.00000000", "runs", "log", "log.old", "lock", "queue", "header.new", "other"]
DIRECTORIES = ["ctx", "journal"]


def plant(queue: Queue, name: str, kind: str, victim: Path) -> None:
    """What somebody else has put into a state directory that was open to all; now it is closed."""
    reachable(queue)
    queue.state_dir.mkdir()
    queue.state_dir.chmod(0o777)
    path = queue.state_dir / name
    if kind == "link":
        os.link(victim, path)  # by us: where the kernel does not protect links, anybody could
    else:
        makers = {"file": path.touch, "fifo": lambda: os.mkfifo(path, 0o666), "directory": lambda: path.mkdir(0o777)}
        assert as_stranger(makers.get(kind, lambda: path.symlink_to(victim)))
    queue.state_dir.chmod(0o700)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["file", "fifo", "symlink", "link", "directory"])
def test_what_others_put_into_a_state_directory(queue: Queue, name: str, kind: str) -> None:
    """Nothing of it is read or written, waited for or changed; one line says what it is, and without it all is well."""
    victim = queue.directory / "victim"
    victim.write_text("mine")
    mode = victim.stat().st_mode
    plant(queue, name, kind, victim)
    message = queue.refused("true")
    assert f"{queue.state_dir}/{name} " in message
    assert ("a hard link" if kind == "link" else f"belongs to user {STRANGER}") in message
    assert (victim.read_text(), victim.stat().st_mode) == ("mine", mode)
    path = queue.state_dir / name
    path.rmdir() if kind == "directory" else path.unlink()
    assert queue.submit("true") == 0


def test_socket_in_the_state_directory(queue: Queue) -> None:
    """One directory for all of a queue: what a killed server leaves there is none of others."""
    queue.state_dir.mkdir()
    queue.environment["TS_SOCKET"] = str(queue.state_dir / "socket")
    queue.finish("true")
    tab = queue.get("-M", "tab")
    queue.kill_server()
    assert (queue.state_dir / "socket").is_socket()
    listed = queue.run("-M", "tab", executable=BIN / "tsfast")
    assert (listed.stdout, listed.stderr) == (f"{tab}\n", "")
    assert queue.submit("true") == 1


@pytest.mark.parametrize("name", DIRECTORIES)
@pytest.mark.parametrize("kind", ["file", "symlink", "directory"])
def test_what_others_put_in_place_of_its_directories(queue: Queue, name: str, kind: str) -> None:
    victim = queue.directory / "victim"
    victim.mkdir(0o755)
    plant(queue, name, kind, victim)
    message = queue.refused("true", env={"TS_DURABLE": "1"})
    assert f"{queue.state_dir}/{name} belongs to user {STRANGER}" in message
    assert list(victim.iterdir()) == []
    assert victim.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["header", "seg.00000000", "blob.00000000"])
def test_readers_use_nothing_that_others_made(queue: Queue, name: str) -> None:
    """Long lists, and Python, read the table without a server."""
    queue.finish("true")
    queue.kill_server()
    path = queue.state_dir / name
    os.chown(path, STRANGER, STRANGER)
    done = subprocess.run([BIN / "tsfast", "-M", "json"], env=queue.env(), capture_output=True, text=True)
    assert done.stderr == f"ts: {path} belongs to user {STRANGER} (if it is yours, chown it; else remove it)\n"
    assert (done.returncode, done.stdout) == (255, "")


# ---- while they change it ----

AT_FDCWD, RENAME_EXCHANGE = -100, 2


@contextmanager
def swapping(one: Path, other: Path) -> Iterator[Callable[[], int]]:
    """The other user exchanges two names as fast as they can; gives how often they did."""
    counter = mmap.mmap(-1, 8)

    def times() -> int:
        return int(struct.unpack("q", counter[:8])[0])

    renameat2 = ctypes.CDLL(None).renameat2
    names = os.fsencode(one), os.fsencode(other)
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(STRANGER)
            os.setuid(STRANGER)
            while renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0:
                counter[:8] = struct.pack("q", times() + 1)
        finally:
            os._exit(1)
    try:
        wait_until(lambda: times() > 100, "they swap")
        yield times
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "they could not swap any more"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def crafted(queue: Queue, marker: Path) -> Path:
    """A state directory with a job that is to start at once, made by the other user for this socket."""
    place = queue.directory / "crafted"
    environment = {"TS_STATE": str(place), "TS_SOCKET": str(queue.socket)}
    gate = queue.gate()
    queue.submit(*gate.command, env=environment)
    queue.submit("touch", marker, env=environment)
    queue.kill_server()
    gate.open()
    assert not marker.exists()
    Path(f"{queue.socket}.state").unlink()
    for path in (place, *place.rglob("*")):
        os.chown(path, STRANGER, STRANGER)
        path.chmod(0o777 if path.is_dir() else 0o666)
    return place


def contents(place: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in (place, *place.rglob("*"))
    }


@pytest.mark.parametrize("depth", ["leaf", "above"])
def test_state_directory_that_is_swapped_all_the_time(queue: Queue, depth: str) -> None:
    """Below a directory of theirs: ours, which is as it should be, for the table that they made. Nothing is run, and
    nothing of both is changed."""
    reachable(queue)
    marker = queue.directory / "marker"
    table = crafted(queue, marker)
    home = queue.directory / "home"
    home.mkdir()
    ours, theirs = home / "ours", home / "theirs"
    if depth == "leaf":
        ours.mkdir(0o700)
        table.rename(theirs)
    else:
        ours.mkdir(0o755)
        (ours / "state").mkdir(0o700)
        theirs.mkdir()
        os.chown(theirs, STRANGER, STRANGER)
        table.rename(theirs / "state")
    os.chown(home, STRANGER, STRANGER)
    home.chmod(0o755)
    queue.state_dir = ours if depth == "leaf" else ours / "state"
    queue.environment["TS_STATE"] = str(queue.state_dir)
    before = {value for found in (ours, theirs) for value in contents(found).values()}
    with swapping(ours, theirs):
        for _ in range(10):
            assert f"{home} belongs to user {STRANGER}" in queue.refused("true")
        for _ in range(3000):
            with pytest.raises(trust.Untrusted):
                trust.open_directory(str(queue.state_dir))
    assert {value for found in (ours, theirs) for value in contents(found).values()} == before
    assert not marker.exists() and queue.servers() == []


def test_links_that_are_swapped_with_directories(queue: Queue) -> None:
    """In a directory like /var/tmp: one of theirs for a link to one of ours, which is neither closed nor used."""
    place = shared(queue)
    victim = queue.directory / "victim"
    victim.mkdir(0o755)
    one, other = place / "one", place / "other"
    assert as_stranger(lambda: one.mkdir(0o755))
    assert as_stranger(lambda: other.symlink_to(victim))
    queue.environment["TS_STATE"] = str(one)
    with swapping(one, other):
        for _ in range(10):
            assert f"{one} " in queue.refused("true")
        for _ in range(3000):
            with pytest.raises(trust.Untrusted):
                trust.open_directory(str(one), make=True)
    assert list(victim.iterdir()) == []
    assert stat.S_IMODE(victim.stat().st_mode) == 0o755


# ---- names that can be guessed ----


@pytest.mark.parametrize("kind", ["fifo", "symlink"])
def test_names_that_could_be_guessed(queue: Queue, kind: str) -> None:
    """The socket in a directory like /tmp: what others make there, with the pids that come next, holds up nobody."""
    place = shared(queue)
    queue.environment.update(TS_SOCKET=str(place / "socket"), TS_STATE=str(queue.directory / "state"))
    victim = queue.directory / "victim"
    victim.write_text("mine")
    first = os.getpid()

    def make() -> None:
        for pid in range(first, first + 2000):
            for name in (f"socket.state.{pid}", f".tsfast-{str(pid)[::-1]}", f".tsfast-{pid}"):
                if os.path.lexists(place / name):
                    continue
                os.mkfifo(place / name) if kind == "fifo" else os.symlink(victim, place / name)

    assert as_stranger(make)
    assert queue.output(queue.finish("echo", "x")) == "x\n"
    assert victim.read_text() == "mine"
    queue.get("-K")


@pytest.mark.parametrize("name", ["socket.state", "socket.lock"])
@pytest.mark.parametrize("kind", ["fifo", "file", "symlink"])
def test_names_beside_the_socket(queue: Queue, name: str, kind: str) -> None:
    """They have to be known beforehand: what others made there is refused, whatever it is, and left as it is."""
    reachable(queue)
    place = queue.directory / "open"
    place.mkdir()
    place.chmod(0o777)
    queue.environment.update(TS_SOCKET=str(place / "socket"), TS_STATE=str(queue.directory / "state"))
    victim = queue.directory / "victim"
    makers = {"fifo": lambda: os.mkfifo(place / name, 0o666), "file": (place / name).touch}
    assert as_stranger(makers.get(kind, lambda: (place / name).symlink_to(victim)))
    message = queue.refused("true")
    assert str(place / name) in message and ("belongs to user" in message or "regular file" in message)
    assert not victim.exists() and queue.servers() == []


# ---- programs ----


def test_with_the_rights_of_somebody_else(queue: Queue) -> None:
    """As if it were set-user-ID: it runs nothing, for the environment is another one's."""
    program = queue.directory / "ts"
    shutil.copy(queue.program, program)
    reachable(queue)
    for change in (lambda: os.seteuid(STRANGER), lambda: os.setegid(STRANGER)):
        done = subprocess.run([program, "true"], env=queue.env(), preexec_fn=change, capture_output=True, text=True)
        assert done.returncode == 255
        assert done.stderr == "ts: this program must not be set-user-ID or set-group-ID (chmod ug-s it)\n"
    assert queue.servers() == []


@pytest.mark.parametrize("where", ["PATH", "TSFAST_PROGRAM"])
@pytest.mark.parametrize("whose", ["program", "directory", "open", "link"])
def test_root_executes_nothing_that_others_can_change(queue: Queue, where: str, whose: str) -> None:
    """A launcher without its installation looks where the environment says, which may be that of a user."""
    alone = queue.directory / "alone"
    alone.mkdir()
    shutil.copy(queue.program, alone / "ts")
    queue.program = alone / "ts"
    place = queue.directory / "place"
    place.mkdir()
    marker = queue.directory / "marker"
    program = place / "tsfast"
    program.write_text(f"#!/bin/sh\ntouch {marker}\n")
    program.chmod(0o755)
    if whose == "link":
        program.rename(queue.directory / "target")
        program.symlink_to(queue.directory / "target")
        os.chown(queue.directory / "target", STRANGER, STRANGER)
    elif whose == "open":
        place.chmod(0o777)
    else:
        os.chown(program if whose == "program" else place, STRANGER, STRANGER)
    value = f"{place}:/usr/bin:/bin" if where == "PATH" else str(program)
    message = queue.refused("true", env={"PATH": "/usr/bin:/bin", where: value})
    assert "root takes none that others can change" in message
    assert not marker.exists()


def test_default_queue_of_root_is_root_s(queue: Queue) -> None:
    """TMPDIR of a user: their server, in a directory of root's, hears nothing of root's environment."""
    reachable(queue)
    queue.out.chmod(0o777)
    place = queue.out / "tsfast-0"
    place.mkdir(0o700)
    os.chown(place, STRANGER, STRANGER)
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        import socket

        os.setgroups([])
        os.setgid(STRANGER)
        os.setuid(STRANGER)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(place / "socket"))
            server.listen()
            os.write(tell, b"x")
            signal.pause()
    try:
        assert os.read(ready, 1) == b"x"
        os.chown(place, 0, 0)
        for call in ([queue.program, "true"], [BIN / "tsfast", "stop"]):
            environment = queue.env({"TS_SOCKET": None})
            done = subprocess.run(call, env=environment, capture_output=True, text=True)
            assert done.returncode == 255 and f"belongs to user {STRANGER}" in done.stderr, done
    finally:
        os.close(ready)
        os.close(tell)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize("option", ["--append", "--truncate"])
def test_output_is_not_written_through_their_link(queue: Queue, option: str) -> None:
    """--append and --truncate take what is there; ours may be a link, in /tmp theirs may not."""
    place = shared(queue)
    queue.environment["TS_STATE"] = str(queue.directory / "state")
    victim = queue.directory / "victim"
    victim.write_text("mine")
    assert as_stranger(lambda: (place / "theirs").symlink_to(victim))
    (place / "ours").symlink_to(queue.directory / "target")
    assert queue.wait(queue.submit("--log", place / "theirs", option, "echo", "x")) == 255
    assert victim.read_text() == "mine"
    assert queue.wait(queue.submit("--log", place / "ours", option, "echo", "x")) == 0
    assert (queue.directory / "target").read_text() == "x\n"


def test_list_that_is_saved(queue: Queue) -> None:
    """TS_SAVELIST is a script that somebody will run: not through a link of others, and a FIFO holds up nobody."""
    place = shared(queue)
    queue.environment["TS_STATE"] = str(queue.directory / "state")
    victim = queue.directory / "victim"
    victim.write_text("mine")
    fifo, link, own = place / "fifo", place / "link", queue.directory / "own"
    assert as_stranger(lambda: os.mkfifo(fifo, 0o666))
    assert as_stranger(lambda: link.symlink_to(victim))
    own.symlink_to(queue.directory / "saved")
    for path in (fifo, link, own):
        queue.submit("true", env={"TS_SAVELIST": str(path)})
        queue.kill_server(signal.SIGTERM)
    log = (queue.directory / "state" / "log").read_text()
    assert log.count("the list could not be saved") == 2
    assert victim.read_text() == "mine"
    assert (queue.directory / "saved").exists()
