"""Another user of the machine: what they can reach of a queue, and what they can put in its way. Each test acts as a
second uid, with the directories as open as a careless owner could have made them."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.processes import parent
from support.queues import Queue
from support.wire import connect, drained, frame, send
from tsfast.client.errors import ServerUnavailable
from tsfast.client.events import WATCH, EventStream

pytestmark = pytest.mark.root
STRANGER = 65534


@pytest.fixture
def tmp_path(passable: Path) -> Path:
    return passable


def open_up(queue: Queue) -> None:
    """Everybody may pass and write in what lies around the queue, like in /tmp without its sticky bit; but not around a
    state directory that is still to be made, for there none is made then."""
    for path in (queue.directory, queue.out):
        path.chmod(0o777)
    if not queue.state_dir.exists():
        queue.state_dir = queue.directory.with_name(f"{queue.directory.name}-state")
        queue.environment["TS_STATE"] = str(queue.state_dir)


def as_stranger(act: Callable[[], object], user: int = STRANGER) -> bool:
    """Did it succeed, done by the other user?"""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            act()
            code = 0
        except OSError:
            code = 1
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    assert os.WIFEXITED(status) and os.WEXITSTATUS(status) in (0, 1), status
    return os.WEXITSTATUS(status) == 0


def served_by_a_stranger(queue: Queue, path: Path) -> tuple[int, Path]:
    """Somebody else listens at the path and notes what they hear; their pid, and the notes."""
    notes = queue.directory / "heard"
    notes.touch()
    os.chown(notes, STRANGER, STRANGER)
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(STRANGER)
            os.setuid(STRANGER)
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))
                os.chmod(path, 0o777)
                server.listen()
                os.write(tell, b"x")
                while True:
                    with server.accept()[0] as client, notes.open("ab") as file:
                        file.write(b"!" + drained(client))
        finally:
            os._exit(1)
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    os.close(tell)
    return child, notes


def test_they_cannot_connect(queue: Queue) -> None:
    """The mode of the socket; and where that was opened, the server looks at who calls."""
    queue.get("true")
    open_up(queue)

    def call() -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(queue.socket))

    assert not as_stranger(call)
    assert queue.socket.stat().st_mode & 0o777 == 0o600


def test_they_cannot_read_or_write_the_queue(queue: Queue) -> None:
    queue.get("-S", "2")
    queue.blocker()
    queue.submit("true", env={"TOKEN": "secret"})
    open_up(queue)
    files = [path for path in queue.state_dir.rglob("*") if path.is_file()]
    assert len(files) >= 6
    for path in (*files, Path(queue.get("-o", 0))):
        assert not as_stranger(lambda path=path: path.read_bytes()), path
        assert not as_stranger(lambda path=path: path.open("ab").close()), path
    assert not as_stranger(lambda: os.listdir(queue.state_dir))
    assert not as_stranger(lambda: (queue.state_dir / "new").touch())


@pytest.mark.parametrize("program", ["server", "runner"])
def test_they_cannot_signal_or_look_into_our_processes(queue: Queue, program: str) -> None:
    job, _ = queue.blocker()
    pid = queue.server_pid() if program == "server" else parent(int(queue.get("-p", job)))
    assert not as_stranger(lambda: os.kill(pid, 0))
    assert not as_stranger(lambda: Path(f"/proc/{pid}/environ").read_bytes())
    assert not as_stranger(lambda: os.listdir(f"/proc/{pid}/fd"))


def test_a_socket_of_theirs_hears_nothing(queue: Queue) -> None:
    """Before the environment is sent the launcher looks at who listens."""
    open_up(queue)
    child, notes = served_by_a_stranger(queue, queue.socket)
    try:
        environment = {"TOKEN": "secret"}
        for words in (("true",), ("-l",), ("-nf", "true"), ("-K",)):
            done = subprocess.run(
                ["setpriv", "--reuid", "1", "--regid", "1", "--clear-groups", *inherited(queue), *words],
                env=queue.env(environment), capture_output=True, timeout=20, text=True, cwd="/",
            )  # fmt: skip
            assert done.returncode == 255 and f"belongs to user {STRANGER}" in done.stderr, done
            assert done.stderr.count("\n") == 1
        assert b"secret" not in notes.read_bytes() and set(notes.read_bytes()) <= {ord("!")}
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_they_hear_nothing_of_the_jobs(queue: Queue) -> None:
    """Not where the socket was opened to all, either: their connection ends without a word."""
    queue.get("true")
    open_up(queue)
    queue.socket.chmod(0o777)

    def watch() -> None:
        with connect(queue) as client:
            send(client, frame(WATCH, b"\0" * 8))
            if not drained(client):
                raise OSError

    assert not as_stranger(watch)


def test_their_events_are_not_ours(queue: Queue) -> None:
    """Whoever watches looks at who tells, before anything is said."""
    open_up(queue)
    child, notes = served_by_a_stranger(queue, queue.socket)

    def watch() -> None:
        with pytest.raises(ServerUnavailable, match=f"belongs to user {STRANGER}"):
            EventStream(str(queue.socket))

    try:
        assert as_stranger(watch, user=1)
        assert set(notes.read_bytes()) <= {ord("!")}
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def inherited(queue: Queue) -> list[str]:
    """A copy of `ts` that every user can execute."""
    program = queue.directory / "ts"
    shutil.copy(queue.program, program)
    program.chmod(0o755)
    return [str(program)]


@pytest.mark.parametrize("kind", ["file", "symlink", "directory"])
def test_their_file_at_the_socket_s_place(queue: Queue, kind: str) -> None:
    """It is refused with its owner's number, and left as it is."""
    open_up(queue)
    target = queue.directory / "target"

    def squat() -> None:
        if kind == "file":
            queue.socket.touch()
        elif kind == "symlink":
            queue.socket.symlink_to(target)
        else:
            queue.socket.mkdir()

    assert as_stranger(squat)
    message = queue.refused("true")
    assert str(queue.socket) in message
    assert not target.exists() and queue.servers() == []


def test_their_directory_at_the_default_place(queue: Queue) -> None:
    """/tmp/tsfast-UID, made by somebody else before us."""
    queue.out.chmod(0o1777)
    open_up(queue)
    place = queue.out / f"tsfast-{os.getuid()}"
    assert as_stranger(lambda: place.mkdir(0o777))
    assert f"belongs to user {STRANGER}" in queue.refused("true", env={"TS_SOCKET": None})
    place.rmdir()
    assert as_stranger(lambda: place.symlink_to(queue.work))
    assert "not a directory" in queue.refused("true", env={"TS_SOCKET": None})
    assert list(queue.work.iterdir()) == []


def test_their_pointer_beside_the_socket(queue: Queue) -> None:
    """The note that says where a queue's state is: one that is not ours is not believed, nor written through."""
    open_up(queue)
    pointer = Path(f"{queue.socket}.state")
    theirs = queue.directory / "theirs"

    def plant() -> None:
        theirs.mkdir(0o777)
        pointer.write_text(f"{theirs}\n")

    assert as_stranger(plant)
    assert f"belongs to user {STRANGER}" in queue.refused("true")
    pointer.unlink()
    victim = queue.directory / "victim"
    victim.write_text("mine")
    assert as_stranger(lambda: pointer.symlink_to(victim))
    queue.refused("true")
    assert victim.read_text() == "mine"
    assert list(theirs.iterdir()) == []


@pytest.mark.parametrize("name", ["header", "seg.00000000", "blob.00000000", "runs", "log", "lock", "queue", "ctx"])
def test_links_in_a_state_directory_that_was_open(queue: Queue, name: str) -> None:
    """A careless owner made it, open to all, before the first start. It is refused; and once it is closed, what they
    planted is not written through, nor what it leads to changed."""
    open_up(queue)
    queue.state_dir.mkdir()
    queue.state_dir.chmod(0o777)
    victim = queue.directory / "victim"
    if name == "ctx":
        victim.mkdir()
    else:
        victim.write_text("mine")
    mode = victim.stat().st_mode
    assert as_stranger(lambda: (queue.state_dir / name).symlink_to(victim))
    assert f"{queue.state_dir} is writable by all users (chmod o-w it)" in queue.refused("true")
    assert [path.name for path in queue.state_dir.iterdir()] == [name]
    queue.state_dir.chmod(0o755)
    assert f"{queue.state_dir / name} belongs to user {STRANGER}" in queue.refused("true")
    if name == "ctx":
        assert list(victim.iterdir()) == []
    else:
        assert victim.read_text() == "mine"
    assert victim.stat().st_mode == mode


def test_links_at_the_place_of_an_output_file(queue: Queue) -> None:
    """Names with a drawn end cannot be met; one that is given is not followed where somebody else could have put it."""
    open_up(queue)
    victim = queue.directory / "victim"
    victim.write_text("mine")
    assert as_stranger(lambda: (queue.out / "log").symlink_to(victim))
    job = queue.run("--log", queue.out / "log", "echo", "x")
    queue.run("-w")
    assert victim.read_text() == "mine", job
    path = Path(queue.get("-o", queue.finish("echo", "x")))
    assert path.stat().st_mode & 0o777 == 0o600 and path.stat().st_uid == 0
