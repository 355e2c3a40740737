"""Jobs are found again when the directory of the socket was emptied and the next call has another environment."""

import os
import subprocess
from pathlib import Path

import pytest

from support.installation import BIN
from support.queues import Queue


def machine(queue: Queue) -> Path:
    """The directory of the second pointers of this machine, of which there is one."""
    (found,) = (queue.directory / "var" / f"tsfast-{os.geteuid()}").iterdir()
    return found


def second(queue: Queue) -> Path:
    (found,) = machine(queue).glob("*.state")
    return found


def reboot(queue: Queue) -> None:
    """The server is gone, and all that stood beside its socket."""
    queue.kill_server()
    for path in queue.directory.glob("socket*"):
        path.unlink()


@pytest.fixture
def used(queue: Queue) -> Queue:
    """A queue below its home directory with two jobs, after a reboot."""
    queue.environment.pop("TS_STATE")
    queue.environment.pop("LC_ALL")
    for number in range(2):
        assert queue.finish("true") == number
    reboot(queue)
    return queue


def doctor(queue: Queue, **env: str | None) -> str:
    return queue.run("doctor", env=env, executable=BIN / "tsfast").stdout


@pytest.mark.parametrize("way", ["HOME", "XDG_STATE_HOME", "neither"])
def test_another_environment_after_a_reboot(used: Queue, way: str) -> None:
    """A list that needs no server, a server, and Python see the old jobs."""
    (used.directory / "elsewhere").mkdir()
    used.environment[way] = str(used.directory / "elsewhere")
    listed = used.run("-M", "tab", executable=BIN / "tsfast")
    assert [line.split("\t")[0] for line in listed.stdout.splitlines()] == ["0", "1"]
    assert used.submit("true") == 2
    assert sorted(used.ids()) == [0, 1, 2]
    assert list((used.directory / "elsewhere").iterdir()) == []
    assert Path(f"{used.socket}.state").exists()


def test_another_ts_state_after_a_reboot_is_refused(used: Queue) -> None:
    message = used.refused("true", env={"TS_STATE": str(used.directory / "other")})
    assert "TS_STATE" in message and str(used.directory / ".local") in message
    assert not (used.directory / "other").exists()
    assert used.submit("true") == 2


def test_state_of_ts_state_is_found_without_it(queue: Queue) -> None:
    queue.finish("true")
    reboot(queue)
    assert queue.submit("true", env={"TS_STATE": None}) == 1


def test_moved_home(used: Queue) -> None:
    """Both pointers lead nowhere, but the note in the directory says whose it is."""
    home = used.directory / "moved"
    home.mkdir()
    (used.directory / ".local").rename(home / ".local")
    assert used.submit("true", env={"HOME": str(home)}) == 2
    assert str(home) in second(used).read_text()


def test_moved_state_directory(queue: Queue) -> None:
    queue.finish("true")
    queue.kill_server()
    moved = queue.state_dir.rename(queue.directory / "moved")
    assert queue.submit("true", env={"TS_STATE": str(moved)}) == 1
    assert Path(f"{queue.socket}.state").read_text() == f"{moved}\n"


def test_the_pointer_beside_the_socket_comes_first(used: Queue) -> None:
    (used.directory / "other").mkdir()
    pointer = second(used)
    pointer.write_text(pointer.read_text().split()[0] + f" {used.directory / 'other'}\n")
    assert used.submit("true") == 2
    assert str(used.directory / ".local") in pointer.read_text()


def test_second_pointer_to_a_directory_that_is_another_queue_s_now(queue: Queue) -> None:
    queue.finish("true")
    reboot(queue)
    (queue.state_dir / "queue").write_text(f"{queue.directory / 'another'}\n")
    assert queue.submit("true", env={"TS_STATE": str(queue.directory / "new")}) == 0


def test_deleted_state_begins_an_empty_queue(queue: Queue) -> None:
    """With the socket's directory: nothing is hidden, for nothing is there."""
    queue.finish("true")
    reboot(queue)
    subprocess.run(["rm", "-r", queue.state_dir], check=True)
    assert queue.submit("true") == 0


def test_unmounted_state_is_not_an_empty_queue(queue: Queue) -> None:
    """The way to it ends on another file system than the one that the state was on."""
    queue.finish("true")
    reboot(queue)
    queue.state_dir.rename(queue.directory / "away")
    queue.environment.pop("TS_STATE")
    pointer = second(queue)
    pointer.write_text(f"1234567 {queue.directory}/disk/state\n")
    for words in (["true"], ["-l"]):
        assert "unmounted" in queue.refused(*words)
    assert "unmounted" in doctor(queue)
    assert queue.get("-K") == ""
    assert not pointer.exists()


def test_gone_state_is_given_up_by_drop(queue: Queue) -> None:
    queue.finish("true")
    queue.kill_server()
    subprocess.run(["rm", "-r", queue.state_dir], check=True)
    assert "ts -K" in queue.refused("true")
    assert queue.get("-K") == ""
    assert queue.submit("true") == 0


def test_state_of_another_machine(queue: Queue) -> None:
    """A home directory that several share: its queue is not this one's to begin or to give up."""
    queue.finish("true")
    queue.kill_server()
    name = second(queue).stem
    Path(f"{queue.socket}.state").write_text(f"{queue.directory}/{'0' * 32}/{name}\n")
    second(queue).unlink()
    for words in (["true"], ["-K"]):
        assert f"machine {'0' * 32}" in queue.refused(*words, env={"TS_STATE": None})
    assert Path(f"{queue.socket}.state").exists()


@pytest.mark.root
@pytest.mark.parametrize("how", ["owner", "mode", "link", "file"])
def test_second_pointer_cannot_be_kept(queue: Queue, how: str) -> None:
    """One line in the log and in doctor; the queue works."""
    home = queue.directory / "var" / f"tsfast-{os.geteuid()}"
    home.parent.mkdir()
    if how == "link":
        (queue.directory / "planted").mkdir()
        home.symlink_to(queue.directory / "planted")
        os.chown(home, 65534, 65534, follow_symlinks=False)
    elif how == "file":
        home.write_text("")
    else:
        home.mkdir()
        home.chmod(0o777 if how == "mode" else 0o755)
        if how == "owner":
            os.chown(home, 65534, 65534)
    assert queue.finish("true") == 0
    assert queue.log().count("no second pointer") == 1
    assert "no second pointer" in doctor(queue)
    queue.kill_server()
    assert queue.submit("true") == 1


def test_pointers_of_deleted_queues_are_removed(queue: Queue) -> None:
    """Each new one looks at some others; those of queues that are there stay."""
    queue.finish("true")
    mine = second(queue)
    file_system = mine.read_text().split()[0]
    for number in range(60):
        name = f"{number * 0x0400000000000000 % 2**64:016x}.state"
        (machine(queue) / name).write_text(f"{file_system} {queue.directory}/deleted/{number}\n")
        (machine(queue) / name).chmod(0o600)
    unmounted = machine(queue) / f"{'f' * 16}.state"
    unmounted.write_text(f"1234567 {queue.directory}/disk/state\n")
    for number in range(8):
        env = {"TS_SOCKET": str(queue.directory / f"s{number}"), "TS_STATE": str(queue.directory / f"t{number}")}
        assert queue.submit("true", env=env) == 0
    left = list(machine(queue).glob("*.state"))
    assert len(left) == 10 and mine in left and unmounted in left


@pytest.mark.parametrize("text", ["", "\0" * 40, "no-path\n", "1234567 relative/path\n"])
def test_damaged_pointers(used: Queue, text: str) -> None:
    """As a loss of power leaves them: they count as none, hold up nobody, and are written anew."""
    pointer, beside = second(used), Path(f"{used.socket}.state")
    wanted = pointer.read_text()
    for path in (pointer, machine(used) / f"{'0' * 16}.state"):
        path.write_text(text)
        path.chmod(0o600)
    if " " not in text and "-" not in text:
        beside.write_text(text)
        beside.chmod(0o600)
    assert sorted(used.ids()) == [0, 1]
    assert used.submit("true") == 2
    assert pointer.read_text() == wanted
    assert beside.read_text().strip() == wanted.split(" ", 1)[1].strip()
    env = {"TS_SOCKET": str(used.directory / "another"), "TS_STATE": str(used.directory / "state of another")}
    assert used.submit("true", env=env) == 0


@pytest.mark.parametrize("text", ["", "\0" * 40])
def test_damaged_note_in_the_state_directory(queue: Queue, text: str) -> None:
    """The pointer says whose it is."""
    queue.finish("true")
    queue.kill_server()
    (queue.state_dir / "queue").write_text(text)
    assert queue.submit("true", env={"TS_STATE": None}) == 1
    assert (queue.state_dir / "queue").read_text() == f"{queue.socket}\n"


def test_drop_keeps_the_pointer_to_the_ids(queue: Queue) -> None:
    """The ids of a dropped queue are not given out again."""
    assert queue.finish("true") == 0
    queue.get("-K")
    queue.wait_until(lambda: not queue.servers())
    for path in queue.directory.glob("socket*"):
        path.unlink()
    assert queue.submit("true", env={"TS_STATE": None}) == 1


def test_ts_state_is_made_where_its_parent_is(queue: Queue) -> None:
    message = queue.refused("true", env={"TS_STATE": str(queue.directory / "no" / "state")})
    assert f"{queue.directory}/no is not there" in message
    assert not (queue.directory / "no").exists() and queue.processes() == []
    assert queue.submit("true") == 0
