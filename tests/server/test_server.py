"""The server: when it starts and ends, where it is found, and whom it serves."""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from support.processes import alive, sleeping
from support.queues import Queue


def test_end(queue: Queue) -> None:
    ended = queue.finish("true")
    running, gate = queue.blocker()
    queued = queue.submit("true")
    server = queue.server_pid()
    job = int(queue.get("-p", running))
    assert queue.get("-K") == ""
    assert not queue.socket.exists()
    queue.wait_until(lambda: not alive(server))  # it has closed all it had; the kernel still takes it down
    assert alive(job)
    assert queue.ids() == []
    assert queue.submit("true") == queued + 1  # ids go on
    assert queue.state(queued + 1) in ("queued", "running", "finished")
    for old in (ended, running, queued):
        assert "no longer known" in queue.refused("-s", old)
    gate.open()
    queue.wait_until(lambda: not alive(job))


def test_end_without_a_server(queue: Queue) -> None:
    assert queue.get("-K") == ""
    assert queue.processes() == [] and not queue.state_dir.exists()


def test_end_without_a_server_drops_what_a_killed_one_left(queue: Queue) -> None:
    queue.blocker()
    queue.submit("true")
    queue.kill_server()
    assert queue.get("-K") == ""
    queue.wait_until(lambda: queue.servers() == [])
    assert queue.ids() == []
    assert queue.submit("true") == 2


def test_end_answers_those_who_wait(queue: Queue) -> None:
    job, _ = queue.blocker()
    waiters = [queue.start("-w", job), queue.start("-f", "true"), queue.start("-t", job)]
    queue.wait_until(lambda: len(queue.ids()) == 2 and all(sleeping(waiter.pid) for waiter in waiters))
    queue.get("-K")
    for waiter in waiters:
        _, err = waiter.communicate(timeout=20)
        assert waiter.returncode == 255 and err.count(b"\n") == 1


def test_many_ends_at_once(queue: Queue) -> None:
    queue.submit("true")
    callers = [queue.start("-K") for _ in range(10)]
    assert [caller.wait(20) for caller in callers] == [0] * 10
    queue.wait_until(lambda: queue.servers() == [])


def test_sigterm_keeps_the_queue(queue: Queue) -> None:
    blocker, gate = queue.blocker()
    queued = queue.submit("sh", "-c", "echo late; exit 2")
    queue.kill_server(signal.SIGTERM)
    assert not queue.socket.exists()
    gate.open(5)
    assert queue.wait(blocker) == 5
    assert queue.wait(queued) == 2
    assert queue.output(queued) == "late\n"
    assert len(queue.servers()) == 1


def test_result_of_a_job_that_ends_while_no_server_is_there(queue: Queue) -> None:
    blocker, gate = queue.blocker()
    pid = int(queue.get("-p", blocker))
    queue.kill_server(signal.SIGTERM)
    gate.open(42)
    queue.wait_until(lambda: not alive(pid))
    assert queue.wait(blocker) == 42


def test_name_of_the_socket_comes_back(queue: Queue) -> None:
    job = queue.submit("true")
    server = queue.server_pid()
    queue.socket.unlink()
    queue.wait_until(queue.socket.exists)
    assert queue.wait(job) == 0
    assert queue.servers() == [server]


def test_renamed_socket_comes_back(queue: Queue) -> None:
    job = queue.submit("true")
    queue.socket.rename(queue.directory / "moved")
    queue.wait_until(queue.socket.exists)
    assert queue.wait(job) == 0
    assert len(queue.servers()) == 1


def test_directory_of_the_socket_comes_back(queue: Queue) -> None:
    directory = queue.directory / "sub"
    directory.mkdir()
    queue.environment["TS_SOCKET"] = str(directory / "socket")
    job = queue.submit("true")
    server = queue.server_pid()
    directory.rename(queue.directory / "moved")
    shutil.rmtree(queue.directory / "moved")
    queue.wait_until((directory / "socket").exists)
    assert queue.wait(job) == 0
    assert queue.servers() == [server]


def test_calls_while_the_name_is_gone(queue: Queue) -> None:
    """A call between the removal and the return must not make a second server, nor lose the job."""
    queue.get("-l")
    server = queue.server_pid()
    for number in range(30):
        queue.socket.unlink()
        assert queue.submit("true") == number
        queue.wait_until(queue.socket.exists)
    assert queue.servers() == [server]


def test_another_state_directory_is_refused(queue: Queue) -> None:
    queue.submit("true")
    queue.kill_server()
    message = queue.refused("-l", env={"TS_STATE": str(queue.directory / "other")})
    assert "TS_STATE" in message and str(queue.state_dir) in message
    assert queue.servers() == [] and queue.ids() == [0]


def test_state_directory_of_another_queue_is_refused(queue: Queue) -> None:
    queue.submit("true")
    message = queue.refused("-l", env={"TS_SOCKET": str(queue.directory / "second")})
    assert str(queue.socket) in message
    assert queue.ids() == [0]


def test_lost_pointer(queue: Queue) -> None:
    """Without TS_STATE: the place is found again by its note."""
    home = {"TS_STATE": None}
    queue.finish("true", env=home)
    queue.run("-w", env=home)
    queue.kill_server()
    Path(f"{queue.socket}.state").unlink()
    assert queue.run("-s", "0", env=home).stdout == "finished\n"
    assert queue.submit("true", env=home) == 1


def test_started_again_from_another_environment(queue: Queue) -> None:
    """The environment of whoever restarts the server does not decide that the queue is empty."""
    home = {"TS_STATE": None}
    for number, other in enumerate([home, {"HOME": None}, {"XDG_STATE_HOME": str(queue.directory / "xdg")}, home]):
        assert queue.submit("true", env={**home, **other}) == number
        assert queue.run("-w", env=home).returncode == 0
        queue.kill_server()


def test_default_place(queue: Queue) -> None:
    directory = queue.out / f"tsfast-{os.getuid()}"
    default = {"TS_SOCKET": None}
    assert queue.submit("true", env=default) == 0
    assert (directory / "socket").is_socket()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert queue.run("-w", env=default).returncode == 0
    directory.chmod(0o755)
    assert "open to other users" in queue.refused("true", env=default)


def test_foreign_file_at_the_socket_s_place(queue: Queue) -> None:
    queue.socket.write_text("mine")
    assert str(queue.socket) in queue.refused("true")
    assert queue.socket.read_text() == "mine"
    assert queue.processes() == []


def test_dead_socket_is_replaced(queue: Queue) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(queue.socket))
    assert queue.submit("true") == 0


@pytest.mark.parametrize("length", [107, 108, 150, 1000])
def test_long_path_of_the_socket(queue: Queue, length: int) -> None:
    directory = queue.directory
    while len(str(directory)) < length - 8:
        directory /= "d" * min(100, max(1, length - 9 - len(str(directory))))
    directory.mkdir(parents=True)
    queue.environment["TS_SOCKET"] = str(directory / "socket")
    assert queue.submit("true") == 0
    assert queue.run("-w").returncode == 0
    queue.kill_server()
    assert queue.submit("true") == 1


def test_relative_and_linked_paths_name_the_same_queue(queue: Queue) -> None:
    assert queue.submit("true") == 0
    (queue.directory / "link").symlink_to(queue.directory)
    assert queue.submit("true", env={"TS_SOCKET": "../socket"}) == 1
    assert queue.submit("true", env={"TS_SOCKET": str(queue.directory / "link" / "socket")}) == 2
    queue.kill_server()
    assert queue.submit("true", env={"TS_SOCKET": "../socket"}) == 3
    assert len(queue.servers()) == 1


@pytest.mark.root
def test_other_users_are_refused(queue: Queue) -> None:
    """Both ways: their client does not trust our server, our server does not serve them."""
    queue.submit("true")
    for path in (*queue.directory.parents, queue.directory):
        if path.stat().st_mode & 0o1 != 0o1:
            path.chmod(0o711)
    queue.socket.chmod(0o777)
    program = queue.directory / "ts"
    shutil.copy(shutil.which("ts", path=queue.environment["PATH"]), program)
    done = subprocess.run(
        ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", program, "-l"],
        env=queue.env(), capture_output=True, timeout=20, text=True,
    )  # fmt: skip
    assert done.returncode == 255 and "belongs to user 0" in done.stderr
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(queue.socket))
            client.settimeout(20)
            try:
                refused = client.recv(1) == b""
            except ConnectionResetError:
                refused = True
            os._exit(0 if refused else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert queue.ids() == [0]
