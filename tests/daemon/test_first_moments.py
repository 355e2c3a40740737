"""A queue that is just being made: readers beside it, deaths of its first server, and one server in any case."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tsfast
from support.installation import BIN
from support.patience import patient
from support.processes import cmdline, kill
from support.queues import Queue
from tsfast.cli import listing
from tsfast.client.queue import Queue as Api

PACKAGES = Path(tsfast.__file__).parents[1]
BOOT = "import sys; sys.path.append(sys.argv.pop(1)); from tsfast.daemon.boot import main; main()"

# What changes something that outlives the process, or that others can see.
STEPS = (
    "mkdir,mkdirat,rename,renameat,renameat2,link,linkat,unlink,unlinkat,symlink,write,pwrite64,ftruncate,fallocate,"
    "flock,bind,listen,fchmod,fchmodat,fsync,fdatasync,setsid,rmdir,utimensat"
)


def boot(queue: Queue, *before: str, **env: str | None) -> tuple["subprocess.Popen[bytes]", int]:
    """A process that is to be the server, as the launcher starts one, and where it reports."""
    read, write = os.pipe()
    words = [*before, sys.executable, "-I", "-S", "-c", BOOT, str(PACKAGES), str(queue.socket)]
    environment = queue.env({**env, "TSFAST_BOOT_FD": str(write)})
    process = subprocess.Popen(words, env=environment, pass_fds=[write], stderr=subprocess.PIPE, cwd=queue.work)
    queue.children.append(process)
    os.close(write)
    return process, read


def listed(queue: Queue) -> tuple[int, int, str]:
    """Exit code, number of lines, and stderr of a list that needs no server."""
    done = queue.run("-l", env={"TS_SOCKET": str(queue.socket)}, executable=BIN / "tsfast")
    return done.returncode, done.stdout.count("\n"), done.stderr


def headless(queue: Queue) -> None:
    """What a first server leaves that died before it had made the table."""
    queue.get("-S")
    queue.kill_server()
    (queue.state_dir / "header").unlink()


def test_no_header_yet_is_an_empty_queue(queue: Queue, api: Api) -> None:
    headless(queue)
    assert listed(queue) == (0, 1, "")
    assert len(api.jobs()) == 0
    with pytest.raises(tsfast.UnknownJob):
        api.state(0)
    doctor = queue.run("doctor", executable=BIN / "tsfast")
    assert "it was never used" in doctor.stdout and "No such file" not in doctor.stdout
    assert queue.servers() == []
    assert queue.submit("true") == 0
    assert api.wait([0])[0].ok


def test_reader_that_was_opened_before_the_table_was_made(queue: Queue) -> None:
    from tsfast.client.reader import NONE, Reader

    headless(queue)
    reader = Reader(os.open(queue.state_dir, os.O_RDONLY))
    assert (reader.committed, reader.floor, reader.state(0)) == (0, 0, NONE)
    job = queue.finish("true")
    assert reader.committed == 1 and reader.result(job).exit_code == 0


def test_lists_beside_racing_first_calls(queue: Queue) -> None:
    for turn in range(5):
        socket, state = queue.directory / f"socket{turn}", queue.directory / f"state{turn}"
        env = {"TS_SOCKET": str(socket), "TS_STATE": str(state)}
        calls = [queue.start("true", env=env) for _ in range(3)]
        lists = [queue.start("-l", env=env, executable=BIN / "tsfast") for _ in range(6)]
        assert [call.communicate(timeout=patient(30))[1] for call in calls + lists] == [b""] * 9
        assert {call.returncode for call in calls + lists} == {0}


def test_header_missing_beside_jobs_is_refused(queue: Queue, api: Api) -> None:
    for _ in range(3):
        queue.finish("true")
    queue.kill_server()
    header = queue.state_dir / "header"
    aside = header.rename(queue.directory / "header")
    for words in (["true"], ["-l"], ["-K"]):
        assert "header is missing" in queue.refused(*words)
    code, _, said = listed(queue)
    assert code == 255 and "header is missing" in said
    with pytest.raises(tsfast.QueueError, match="header is missing"):
        api.jobs()
    assert re.search("error +queue .*header is missing", queue.run("doctor", executable=BIN / "tsfast").stdout)
    assert not header.exists() and queue.servers() == []
    aside.rename(header)
    assert queue.submit("true") == 3


# ---- one server ----


def test_lock_deleted_under_a_stopped_server(queue: Queue) -> None:
    job = queue.finish("true")
    server = queue.server_pid()
    os.kill(server, signal.SIGSTOP)
    (queue.state_dir / "lock").unlink()
    queue.socket.unlink()
    second, report = boot(queue)
    assert os.read(report, 2) == b"X\xff"
    assert b"another server holds the queue" in second.communicate()[1]
    os.close(report)
    assert queue.servers() == [server]
    os.kill(server, signal.SIGCONT)
    queue.wait_until(queue.socket.exists)
    assert queue.submit("true") == job + 1
    assert queue.servers() == [server]


def test_everything_beside_the_jobs_deleted_under_a_running_server(queue: Queue) -> None:
    """SOCKET.lock and SOCKET.state too; racing boots find the one that there is."""
    queue.submit("true")
    server = queue.server_pid()
    for path in (queue.state_dir / "lock", Path(f"{queue.socket}.lock"), Path(f"{queue.socket}.state")):
        path.unlink()
    boots = [boot(queue) for _ in range(3)]
    assert [os.read(report, 1) for _, report in boots] == [b"L"] * 3
    for process, report in boots:
        assert process.wait() == 0
        os.close(report)
    assert queue.servers() == [server]
    assert queue.submit("true") == 1


def test_state_directory_renamed_under_a_stopped_server(queue: Queue) -> None:
    """What holds the queue goes with the directory."""
    queue.finish("true")
    server = queue.server_pid()
    os.kill(server, signal.SIGSTOP)
    queue.socket.unlink()
    moved = queue.state_dir.rename(queue.directory / "moved")
    Path(f"{queue.socket}.state").unlink()
    second, report = boot(queue, TS_STATE=str(moved))
    assert os.read(report, 2) == b"X\xff"
    os.close(report)
    assert b"another server holds the queue" in second.communicate()[1]
    os.kill(server, signal.SIGCONT)


def test_copy_of_the_state_directory_is_not_served_beside_it(queue: Queue) -> None:
    queue.finish("true")
    server = queue.server_pid()
    shutil.copytree(queue.state_dir, queue.directory / "copy")
    queue.state_dir.rename(queue.directory / "original")
    (queue.directory / "copy").rename(queue.state_dir)
    second, report = boot(queue)
    assert os.read(report, 1) == b"L"
    assert second.wait() == 0
    os.close(report)
    assert queue.servers() == [server]


def test_drop_beside_a_starting_server(queue: Queue) -> None:
    """-K waits for it, and asks it."""
    queue.submit("true")
    queue.kill_server()
    for _ in range(5):
        starts = [queue.start("-S"), queue.start("-K"), queue.start("-K")]
        assert [call.communicate(timeout=patient(30))[1] for call in starts] == [b""] * 3
        assert {call.returncode for call in starts} == {0}
    queue.run("-K")
    queue.wait_until(lambda: not queue.servers())


# ---- Ctrl-C ----


def test_ctrl_c_of_the_first_call_does_not_reach_the_server(queue: Queue) -> None:
    """The call dies of it, without a word; the server that it was starting serves those that come later."""
    for turn in range(5):
        socket, state = queue.directory / f"s{turn}", queue.directory / f"t{turn}"
        env = {"TS_SOCKET": str(socket), "TS_STATE": str(state)}
        call = queue.start("-w", env=env, start_new_session=True)
        queue.wait_until(lambda env=env: any(os.fsencode(env["TS_SOCKET"]) in cmdline(pid) for pid in queue.servers()))
        os.killpg(call.pid, signal.SIGINT)
        assert call.communicate(timeout=patient(30))[1].count(b"Traceback") == 0
        assert queue.submit("true", env=env) == 0
        assert "ended" not in (state / "log").read_text()
        assert (state / "log").read_text().count("serving") == 1


def test_ctrl_c_of_the_python_command(queue: Queue) -> None:
    """While it still imports what it needs."""
    queue.submit("true")
    inject = ["-P", listing.__cached__, "-e", "trace=openat", "-e", "inject=openat:signal=INT:when=1"]
    done = queue.run(
        "-qq", "-o", "/dev/null", *inject, sys.executable, "-m", "tsfast", "-l", executable="/usr/bin/strace"
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


# ---- deaths ----


READER = """
import sys, tsfast
try:
    tsfast.Queue(sys.argv[1]).state(0)
except tsfast.UnknownJob:
    print("no job")
"""


def names(queue: Queue) -> list[str]:
    """All files but outputs of jobs, and without what differs from queue to queue."""
    found = [str(path.relative_to(queue.directory)) for path in queue.directory.rglob("*")]
    return sorted(re.sub("[0-9a-f]{16}", "X", name) for name in found if not name.startswith("out/"))


def steps_of_a_start(queue: Queue) -> list[tuple[str, int]]:
    """Each call of a start that changes something: its name, and which one of that name it is."""
    trace = queue.directory / "trace"
    process, report = boot(queue, "strace", "-qq", "-o", str(trace), "-e", f"trace={STEPS}")
    assert os.read(report, 1) == b"L"
    os.close(report)
    kill(int(re.findall(r"serving .*, pid (\d+),", queue.log())[-1]))
    process.wait()
    found: list[tuple[str, int]] = []
    for name in re.findall(r"^(\w+)\(", trace.read_text(), re.MULTILINE):
        found.append((name, sum(name == other for other, _ in found) + 1))
    trace.unlink()
    return found


@pytest.mark.parametrize("durable", ["0", "1"])
def test_death_at_each_step_of_the_first_start(tmp_path: Path, durable: str) -> None:
    """SIGKILL at calls that change something: readers see an empty queue, and the next call has one, with the files of
    a queue that nothing has happened to. TSFAST_CRASH_POINTS says at how many of them, or `all`."""

    def fresh(name: str) -> Queue:
        directory = tmp_path / name
        directory.mkdir()
        queue = Queue(directory)
        queue.environment["TS_DURABLE"] = durable
        return queue

    undisturbed = fresh("undisturbed")
    steps = steps_of_a_start(undisturbed)
    assert undisturbed.submit("true") == 0
    undisturbed.wait(0)
    wanted = names(undisturbed)
    assert undisturbed.end() == []
    points = os.environ.get("TSFAST_CRASH_POINTS", "16")
    count = len(steps) if points == "all" else min(len(steps), int(points))
    for number in range(count):
        name, which = steps[number * len(steps) // count]
        queue = fresh(f"{name}{which}")
        inject = f"inject={name}:signal=KILL:when={which}"
        process, report = boot(queue, "strace", "-qq", "-o", "/dev/null", "-e", f"trace={name}", "-e", inject)
        told = os.read(report, 1)
        os.close(report)
        assert process.wait() != 0
        assert told == b"" or steps.index((name, which)) >= len(steps) - 2, (name, which)
        seen = queue.run("-c", READER, queue.socket, executable=sys.executable)
        assert (seen.stdout, seen.stderr) == ("no job\n", ""), (name, which)
        assert queue.submit("true") == 0, (name, which)
        assert queue.wait(0) == 0
        assert names(queue) == wanted, (name, which)
        assert queue.end() == [], (name, which)
