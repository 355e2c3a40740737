"""Which socket the launcher connects to, and whom it refuses."""

import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from support.launcher_queue import ANOTHER_USER, LauncherQueue, ended
from support.wire import EXIT, code, frame


def test_long_socket_path(launcher, tmp_path):
    directory = tmp_path / ("d" * 120) / ("e" * 120)
    directory.mkdir(parents=True)
    queue = LauncherQueue(launcher, directory / "socket", tmp_path)
    queue.listen()
    child = queue.start()
    peer = queue.accept()
    peer.request()
    peer.send(frame(EXIT, code(4)))
    assert ended(child)[0] == 4
    child = queue.start(env={"TS_SOCKET": "socket"}, cwd=directory)
    queue.accept().send(frame(EXIT, code(5)))
    assert ended(child)[0] == 5
    queue.close()


def test_socket_name_that_fits_nowhere(idle_queue):
    idle_queue.path = idle_queue.path.parent / ("n" * 200)
    status, _, err = ended(idle_queue.start())
    assert (status, err.count(b"\n")) == (255, 1)
    assert b"too long" in err


def test_default_socket(idle_queue, tmp_path):
    directory = tmp_path / f"tsfast-{os.geteuid()}"
    directory.mkdir(mode=0o700)
    idle_queue.path = directory / "socket"
    idle_queue.listen()
    env = {"TS_SOCKET": "", "TMPDIR": str(tmp_path)}
    child = idle_queue.start(env=env)
    idle_queue.accept().send(frame(EXIT, code(6)))
    assert ended(child)[0] == 6

    directory.chmod(0o750)
    status, _, err = ended(idle_queue.start(env=env))
    assert (status, err.count(b"\n")) == (255, 1)
    assert os.fsencode(directory) in err

    shutil.move(directory, tmp_path / "elsewhere")
    directory.symlink_to(tmp_path / "elsewhere")
    status, _, err = ended(idle_queue.start(env=env))
    assert (status, err.count(b"\n")) == (255, 1)


def test_file_that_is_no_socket(idle_queue):
    idle_queue.path.write_text("")
    status, _, err = ended(idle_queue.start())
    assert status == 255
    assert b"not a socket" in err


def as_another_user():
    os.setgroups([])
    os.setgid(ANOTHER_USER)
    os.setuid(ANOTHER_USER)


@pytest.mark.root
@pytest.mark.parametrize("listening", [True, False])
def test_socket_of_another_user_is_refused_before_anything_is_sent(open_queue, listening):
    open_queue.listen()
    open_queue.path.chmod(0o777)
    if not listening:
        open_queue.listener.close()
    status, out, err = ended(open_queue.start("secret", preexec_fn=as_another_user))
    assert (status, out, err.count(b"\n")) == (255, b"", 1)
    assert b"belongs to user 0" in err
    if listening:
        assert open_queue.accept().socket.recv(1) == b""


@pytest.mark.root
def test_root_may_talk_to_any_server(open_queue):
    """The peer's user is that of the process which called listen()."""
    script = """
        import os, socket, sys
        os.setuid(int(sys.argv[2]))
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(sys.argv[1])
        listener.listen()
        print(flush=True)
        peer = listener.accept()[0]
        peer.recv(1 << 20)
        peer.sendall(bytes.fromhex(sys.argv[3]))
    """
    os.chmod(open_queue.tmp_path, 0o777)
    server = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), open_queue.path, str(ANOTHER_USER), frame(EXIT, code(8)).hex()],
        stdout=subprocess.PIPE,
    )
    open_queue.children.append(server)
    assert server.stdout.readline()
    assert ended(open_queue.start())[0] == 8
