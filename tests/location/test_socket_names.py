"""What TS_SOCKET can be: a mistyped one is told with one line, makes nothing and begins no second queue."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tsfast
from support.installation import BIN
from support.queues import Queue
from tsfast.client.queue import Queue as Api

BYTES_MOST = 88


def everything(queue: Queue) -> list[str]:
    return sorted(str(path) for path in queue.directory.rglob("*"))


@pytest.fixture
def place(queue: Queue) -> Queue:
    """A queue whose state is below its home directory, with a file and a directory in its working directory."""
    queue.environment.pop("TS_STATE")
    (queue.work / "file").write_text("mine")
    (queue.work / "directory").mkdir()
    (queue.work / "link").symlink_to(queue.out)
    return queue


WRONG = {
    "~/q.sock": "only shells expand ~",
    "~nobody/q.sock": "only shells expand ~",
    "~": "only shells expand ~",
    "missing/q.sock": "missing is not there",
    "a/b/c/q.sock": "a/b/c is not there",
    "missing/../q.sock": "missing/.. is not there",
    "file/q.sock": "ot a directory",
    "directory/": "is a directory",
    "directory/new/": "is a directory",
    "directory/.": "is a directory",
    "..": "is a directory",
    "directory": "not a socket",
    "file": "not a socket",
    "n" * (BYTES_MOST + 1): "name is too long",
    "/" + "n" * 300: "name is too long",
    "directory/" * 500 + "q": "too long",
}


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("name", WRONG, ids=lambda name: name[:24])
def test_wrong_name(place: Queue, name: str, absolute: bool) -> None:
    given = str(place.work) + "/" + name if absolute and name[0] not in "~/" else name
    before = everything(place)
    env = {"TS_SOCKET": given}
    for words in (["true"], ["-l"], ["-K"]):
        assert WRONG[name] in place.refused(*words, env=env)
        assert WRONG[name] in place.refused(*words, env=env, executable=BIN / "tsfast")
    serve = place.run("serve", env=env, executable=BIN / "tsfast")
    assert (serve.returncode, serve.stderr.count("\n")) == (255, 1), serve
    doctor = place.run("doctor", env=env, executable=BIN / "tsfast")
    assert doctor.returncode == 1 and "please report" not in doctor.stdout, doctor.stdout
    assert everything(place) == before
    assert place.processes() == []


@pytest.mark.parametrize("name", ["~/q.sock", "~", "missing/q.sock", "directory/", ".", "n" * (BYTES_MOST + 1)])
def test_wrong_name_in_python(place: Queue, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in place.environment.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv("TS_STATE", raising=False)
    monkeypatch.chdir(place.work)
    before = everything(place)
    with pytest.raises(tsfast.QueueError) as caught, Api(name) as api:
        api.submit(["true"])
    assert "\n" not in str(caught.value) and WRONG.get(name, "is a directory") in str(caught.value)
    monkeypatch.setenv("TS_SOCKET", name)
    with pytest.raises(tsfast.QueueError), Api() as api:
        api.submit(["true"])
    assert everything(place) == before


@pytest.mark.root
def test_directory_that_cannot_be_written(place: Queue, small_disk: Path) -> None:
    """Nothing is chosen and pinned for a queue that cannot be."""
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert "not writable" in place.refused("true", env={"TS_SOCKET": str(small_disk / "q")})
    assert not (place.directory / ".local").exists()


@pytest.mark.parametrize(
    "name", ["q", "./q", "../cwd/q", "directory/../q", "link/../cwd/q", "n" * BYTES_MOST, "./~", "with space\n"]
)
def test_right_name(place: Queue, name: str) -> None:
    env = {"TS_SOCKET": name}
    assert place.submit("true", env=env) == 0
    place.run("-w", 0, env=env)
    socket = place.work / name
    assert os.path.exists(socket) and socket.is_socket()
    listed = subprocess.run(
        [BIN / "tsfast", "-s", "0"], env=place.env(env), cwd=place.work, capture_output=True, text=True, check=True
    )
    assert listed.stdout == "finished\n"
    program = "import tsfast, sys; print(tsfast.Queue(sys.argv[1]).state(0))"
    api = subprocess.run(
        [sys.executable, "-c", program, name], env=place.env(), cwd=place.work, capture_output=True, text=True
    )
    assert (api.stdout, api.stderr) == ("finished\n", "")


def test_only_the_default_s_directory_is_made(place: Queue) -> None:
    directory = place.out / f"tsfast-{os.geteuid()}"
    for given in (None, "", str(directory / "socket")):
        assert place.submit("true", env={"TS_SOCKET": given}) == 0
        place.run("-K", env={"TS_SOCKET": given})
        place.wait_until(lambda: not place.servers())
        for path in sorted(place.directory.rglob("*"), reverse=True):
            if directory in path.parents or ".local" in str(path):
                path.rmdir() if path.is_dir() else path.unlink()
        directory.rmdir()
    assert "is not there" in place.refused("true", env={"TS_SOCKET": str(directory / "other")})
    assert not directory.exists()
