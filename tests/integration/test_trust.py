"""What another user can put on the way to a queue's state, and change while it is walked: nothing of theirs is read,
executed, written through or waited for. The other user is a real one, and swaps directories while calls are made."""

import os
import subprocess
from pathlib import Path

import pytest

from integration.spool_harness import BIN, Queue
from integration.test_strangers import STRANGER, as_stranger

pytestmark = pytest.mark.root


def reachable(queue: Queue) -> None:
    """Others may pass the directories above the queue's, and look into it."""
    for path in (*queue.directory.parents, queue.directory):
        if path not in (Path("/"), Path("/tmp")):
            path.chmod(0o711)


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


@pytest.mark.parametrize(("mode", "who"), [(0o777, "everybody (chmod o-w"), (0o770, f"group {STRANGER} (chmod g-w")])
def test_parent_that_others_can_write_to(queue: Queue, mode: int, who: str) -> None:
    place = shared(queue, mode)
    os.chown(place, 0, STRANGER)
    assert f"{place} can be written by {who} it)" in queue.refused("true")
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
