"""`tsfast install-service` and `tsfast serve`."""

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.installation import BIN
from support.patience import patient, wait_until
from support.processes import alive, cmdline, open_files
from support.queues import Queue
from tsfast.cli import service
from tsfast.location import paths


class Machine:
    """One that runs systemd, or does not, and a systemctl that notes what it is called with."""

    def __init__(self, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
        self.queue = queue
        self.calls_path = queue.directory / "calls"
        self.booted = queue.directory / "booted"
        self.linger = queue.directory / "linger"
        programs = queue.directory / "programs"
        for path in (programs, self.booted, self.linger):
            path.mkdir()
        self.systemctl = programs / "systemctl"
        self.answers(0)
        for name, value in {**queue.environment, "PATH": f"{programs}:/usr/bin:/bin"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
        monkeypatch.setattr(service, "BOOTED_WITH_SYSTEMD", str(self.booted))
        monkeypatch.setattr(service, "LINGERING", str(self.linger))
        name = paths.canonical(str(queue.socket))
        self.name = f"tsfast-{paths.queue_name(name)}.service"
        self.unit = queue.directory / ".config" / "systemd" / "user" / self.name

    def answers(self, code: int, to: str = "*", told: str = "") -> None:
        """With this exit code to calls that begin with these words, with 0 to all others."""
        noted = shlex.quote(str(self.calls_path))
        self.systemctl.write_text(
            f'#!/bin/sh\necho "$@" >> {noted}\n[ -z "{told}" ] || echo {told}\n'
            f'case "$*" in "--user "{to}*) exit {code};; esac\n'
        )
        self.systemctl.chmod(0o755)

    def calls(self) -> list[str]:
        """Since the last look."""
        text = self.calls_path.read_text() if self.calls_path.exists() else ""
        self.calls_path.unlink(missing_ok=True)
        return text.splitlines()


@pytest.fixture
def machine(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(queue, monkeypatch)


# ---- the unit --------------------------------------------------------------------------------------------------------


def test_install_and_uninstall(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    enable = ["--user daemon-reload", f"--user enable --now {machine.name}"]
    assert service.run([]) == 0
    first = machine.unit.read_text()
    assert f"written: {machine.unit}" in capfd.readouterr().out
    assert f'ExecStart="{BIN}/tsfast" serve\n' in first
    assert f'Environment="TS_SOCKET={machine.queue.socket}"\n' in first
    assert f'Environment="TS_STATE={machine.queue.state_dir}"\n' in first
    assert machine.calls() == enable

    assert service.run([]) == 0  # once more
    assert machine.unit.read_text() == first
    assert machine.calls() == enable

    capfd.readouterr()
    assert service.run(["--uninstall"]) == 0
    assert f"removed: {machine.unit}" in capfd.readouterr().out
    assert machine.calls() == [f"--user disable --now {machine.name}", "--user daemon-reload"]
    assert list(machine.unit.parent.iterdir()) == []

    assert service.run(["--uninstall"]) == 0  # once more
    assert capfd.readouterr().out == f"not installed: {machine.unit} is not there\n"
    assert machine.calls() == []


def test_another_variable(machine: Machine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    restart = f"systemctl --user restart {machine.name}\n"
    assert service.run([]) == 0
    assert service.run([]) == 0
    assert restart not in capfd.readouterr().out
    monkeypatch.setenv("TS_SLOTS", "4")
    assert service.run([]) == 0
    assert restart in capfd.readouterr().out
    assert 'Environment="TS_SLOTS=4"\n' in machine.unit.read_text()


def test_lingering_is_explained(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    assert service.run([]) == 0
    assert f"\n    loginctl enable-linger {service.user()} " in capfd.readouterr().out
    (machine.linger / service.user()).touch()
    assert service.run([]) == 0
    assert "lingering is on" in capfd.readouterr().out


def test_no_user_manager(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    """As over `su`, or in a container: the unit is written all the same."""
    machine.answers(1)
    assert service.run([]) == 0
    assert f"systemctl --user enable --now {machine.name}\n" in capfd.readouterr().out
    assert machine.unit.exists()
    machine.systemctl.unlink()
    wanted = machine.unit.parent / service.WANTS / machine.name
    wanted.parent.mkdir()
    wanted.symlink_to(machine.unit)
    assert service.run(["--uninstall"]) == 0
    assert not wanted.is_symlink()
    assert f"systemctl --user stop {machine.name}\n" in capfd.readouterr().out
    assert not machine.unit.exists()


def test_no_server_comes_up(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    machine.answers(1, to="enable")
    assert service.run([]) == 255
    assert f"no server started: systemctl --user status {machine.name} says why\n" in capfd.readouterr().err
    assert machine.unit.exists()


def test_a_server_of_a_call_is_told(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    machine.queue.finish("true")
    assert service.run([]) == 0
    assert f"process {machine.queue.server_pid()}: it and its jobs are not the service's." in capfd.readouterr().out
    machine.answers(0, told=str(machine.queue.server_pid()))  # as MainPID: the service's own
    assert service.run([]) == 0
    assert "are not the service's" not in capfd.readouterr().out


def test_a_wrong_grace_time_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TS_CANCEL_GRACE", "x")
    assert service.run([]) == 255
    assert not machine.unit.exists()


@pytest.mark.parametrize("kind", ["file", "link"])
@pytest.mark.parametrize("words", [[], ["--uninstall"]], ids=["install", "uninstall"])
def test_a_unit_of_somebody_else_stays(
    machine: Machine, capfd: pytest.CaptureFixture[str], kind: str, words: list[str]
) -> None:
    machine.unit.parent.mkdir(parents=True)
    if kind == "file":
        machine.unit.write_text("[Unit]\n")
    else:
        machine.unit.symlink_to("/dev/null")  # as systemctl mask leaves it
    assert service.run(words) == 255
    assert capfd.readouterr().err.endswith("was not written by `tsfast install-service`: remove it first\n")
    assert machine.unit.read_text() == ("[Unit]\n" if kind == "file" else "")
    assert machine.calls() == []


def test_without_systemd(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    machine.booted.rmdir()
    assert service.run([]) == 255
    error = capfd.readouterr().err
    assert "does not run systemd" in error
    (line,) = [line.strip() for line in error.splitlines() if "@reboot" in line]
    assert f"TS_SOCKET={machine.queue.socket} " in line
    assert not machine.unit.exists()
    subprocess.run(["sh", "-c", line.removeprefix("@reboot ")], check=False, timeout=patient(30))
    assert len(machine.queue.servers()) == 1


def test_default_queue(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TS_SOCKET")
    monkeypatch.delenv("TMPDIR")
    assert service.run([]) == 0
    text = (machine.unit.parent / "tsfast.service").read_text()
    assert f'Environment="TS_SOCKET={os.path.realpath("/tmp")}/tsfast-{os.geteuid()}/socket"\n' in text


def test_print_changes_nothing(queue: Queue) -> None:
    done = call(queue, "install-service", "--print")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(service.MARK)
    assert "OOMPolicy=continue\n" in done.stdout
    assert f"UnsetEnvironment={service.UNSET}\n" in done.stdout
    assert "KillMode=process\n" in done.stdout
    assert "StartLimitIntervalSec=0\n" in done.stdout
    assert "TimeoutStopSec=20\n" in done.stdout  # the grace time and 10 s
    longer = call(queue, "install-service", "--print", TS_CANCEL_GRACE="30").stdout
    assert "TimeoutStopSec=40\n" in longer
    assert not (queue.directory / ".config").exists()
    assert call(queue, "install-service", "--wrong").returncode == 255


NAMES = ["plain", "with blanks", 'quotes " and \\', "50% of $HOME", "äöü"]


@pytest.mark.parametrize("name", NAMES)
def test_unit_is_valid(queue: Queue, name: str) -> None:
    done = call(queue, "install-service", "--print", TS_SOCKET=str(queue.directory / name), TS_SAVELIST=f"/tmp/{name}")
    unit = queue.directory / "tsfast-test.service"
    unit.write_text(done.stdout)
    checked = subprocess.run(
        ["systemd-analyze", "--user", "verify", "--man=no", unit],
        env={**queue.environment, "XDG_RUNTIME_DIR": str(queue.out)},
        capture_output=True,
        text=True,
        check=False,
    )
    mine = [line for line in checked.stderr.splitlines() if unit.name in line]  # and none of the machine's own units
    assert mine == []


def unquoted(text: str, command: bool) -> str:
    """As systemd reads what `quoted` has written: by hand, from systemd.syntax(7)."""
    result, at, text = "", 0, text[1:-1]
    while at < len(text):
        two = text[at : at + 2]
        escapes = {"\\\\": "\\", '\\"': '"', "\\n": "\n", "%%": "%"} | ({"$$": "$"} if command else {})
        result += escapes.get(two, text[at])
        at += 2 if two in escapes else 1
    return result


@pytest.mark.parametrize("text", [*NAMES, "\\n is not a newline", "line\nbreak", "%%", "$$x"])
@pytest.mark.parametrize("command", [False, True])
def test_quoting(text: str, command: bool) -> None:
    written = service.quoted(text, command=command)
    assert "\n" not in written
    assert unquoted(written, command) == text


# ---- what it runs ----------------------------------------------------------------------------------------------------


def call(queue: Queue, *words: str, **env: str | None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [BIN / "tsfast", *words],
        env=queue.env(env),
        cwd=queue.work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=patient(30),
    )


class Service:
    """`tsfast serve`, as the service manager runs it."""

    def __init__(self, queue: Queue, **env: str) -> None:
        self.queue = queue
        self.child = subprocess.Popen(
            [BIN / "tsfast", "serve"],
            env=queue.env(dict(env)),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        queue.children.append(self.child)

    def serves(self) -> bool:
        return f"serving {self.queue.socket}, pid {self.child.pid}," in self.queue.log()

    def waits(self) -> bool:
        """It has the lock's file open, and has not become a server."""
        return b"serve" in cmdline(self.child.pid) and any(
            name.endswith("/state/lock") for name in open_files(self.child.pid)
        )


@pytest.fixture
def started(queue: Queue) -> Iterator[Service]:
    yield Service(queue)


def test_it_is_the_server(queue: Queue, started: Service) -> None:
    wait_until(started.serves)
    assert queue.output(queue.finish("echo", "served")) == "served\n"
    assert queue.servers() == [started.child.pid]
    _, gate = queue.blocker()
    job = int(queue.get("-p"))
    started.child.terminate()  # as KillMode=process does
    assert started.child.wait(patient(10)) == 0
    assert alive(job)
    again = Service(queue)
    wait_until(again.serves)
    gate.open(3)
    assert queue.wait(1) == 3


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL", "-K"])
def test_it_waits_for_the_end_of_another_server(queue: Queue, end: str) -> None:
    job, gate = queue.blocker()
    queued = queue.submit("true")
    other = queue.server_pid()
    service = Service(queue)
    wait_until(service.waits)
    assert queue.state(job) == "running"
    if end == "-K":
        queue.get("-K")
    else:
        os.kill(other, getattr(signal, end))
    wait_until(service.serves)
    gate.open()
    assert queue.servers() == [service.child.pid]
    if end == "-K":
        assert queue.ids() == []
    else:
        assert (queue.wait(job), queue.wait(queued)) == (0, 0)


@pytest.fixture(params=["path", "abstract"])
def manager(queue: Queue, request: pytest.FixtureRequest) -> Iterator[tuple[str, socket.socket]]:
    """What NOTIFY_SOCKET says, and the end at which the service manager listens."""
    name = f"@{queue.directory}/manager" if request.param == "abstract" else str(queue.directory / "manager")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0"))
        listener.settimeout(patient(30))
        yield name, listener


def test_the_manager_hears_that_it_serves(queue: Queue, manager: tuple[str, socket.socket]) -> None:
    name, listener = manager
    service = Service(queue, NOTIFY_SOCKET=name)
    assert listener.recv(4096).splitlines()[1:] == [b"READY=1", b"STATUS=Serving the queue"]
    assert queue.servers() == [service.child.pid]
    assert "NOTIFY_SOCKET" not in Path(f"/proc/{service.child.pid}/environ").read_text()


def test_the_manager_hears_that_it_waits(queue: Queue, manager: tuple[str, socket.socket]) -> None:
    queue.finish("true")
    name, listener = manager
    service = Service(queue, NOTIFY_SOCKET=name)
    ready, status = listener.recv(4096).splitlines()
    assert ready == b"READY=1"
    assert b"waiting for its end" in status
    queue.kill_server()
    assert b"READY=1" in listener.recv(4096).splitlines()
    assert service.serves()


def test_while_it_waits_sigterm_ends_it(queue: Queue) -> None:
    queue.finish("true")
    service = Service(queue)
    wait_until(service.waits)
    service.child.terminate()
    assert service.child.wait(patient(10)) == -signal.SIGTERM
    assert queue.get("-s", 0) == "finished"


def test_a_server_that_cannot_start_is_not_tried_again(queue: Queue) -> None:
    """RestartPreventExitStatus is its code."""
    done = call(queue, "serve", TS_SLOTS="x")
    assert (done.returncode, done.stderr.count("\n")) == (service.REFUSED, 1)
    assert done.stderr.startswith("ts: TS_SLOTS is 'x'")
    queue.finish("true")
    queue.kill_server()
    done = call(queue, "serve", TS_STATE="/elsewhere")
    assert (done.returncode, done.stderr.count("\n")) == (service.REFUSED, 1)
    assert call(queue, "serve", "now").returncode == 255


# ---- what it runs after that -----------------------------------------------------------------------------------------


def after(machine: Machine, state: str, **env: str | None) -> None:
    machine.answers(0, told=state)
    done = call(machine.queue, "serve", "--after", PATH=os.environ["PATH"], **env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert machine.calls() == ["--user is-system-running"]


@pytest.mark.parametrize("saved", [0, 7])
def test_as_the_machine_goes_down_jobs_can_save(machine: Machine, saved: int) -> None:
    queue = machine.queue
    ready = queue.directory / "ready"
    job = queue.submit("sh", "-c", f"trap 'echo saved; exit {saved}' TERM; touch {ready}; while :; do sleep 0.1; done")
    queued = queue.submit("echo", "later")
    wait_until(ready.exists)
    queue.kill_server(signal.SIGTERM)
    after(machine, "stopping")
    assert [pid for pid in queue.processes() if alive(pid)] == []
    assert queue.wait(job) == saved  # another server has come
    assert queue.output(job).endswith("saved\n")
    assert queue.wait(queued) == 0


def test_a_job_that_stays_is_not_waited_for_longer_than_the_grace_time(machine: Machine) -> None:
    queue = machine.queue
    ready = queue.directory / "ready"
    script = f"trap 'touch {queue.directory}/told' TERM; touch {ready}; while :; do sleep 0.1; done"
    job = queue.submit("sh", "-c", script)
    wait_until(ready.exists)
    pid = int(queue.get("-p", job))
    queue.kill_server(signal.SIGTERM)
    after(machine, "stopping", TS_CANCEL_GRACE="1")
    assert (queue.directory / "told").exists()
    assert alive(pid)


def test_jobs_that_the_server_did_not_see_start(machine: Machine) -> None:
    """It was killed too early to hear of it."""
    queue = machine.queue
    queue.get("-S", 30)
    jobs = [queue.submit("sh", "-c", f"touch {queue.directory}/begun.{i}; exec sleep 1000") for i in range(30)]
    queue.kill_server(signal.SIGKILL)
    begun = [job for job in jobs if (queue.directory / f"begun.{job}").exists()]
    after(machine, "stopping")
    told = {job: queue.run("-w", job).returncode for job in begun}
    assert told == dict.fromkeys(begun, 255)


def test_a_stopped_job_can_save_too(machine: Machine) -> None:
    queue = machine.queue
    ready = queue.directory / "ready"
    job = queue.submit("sh", "-c", f"trap 'exit 7' TERM; touch {ready}; while :; do sleep 0.1; done")
    wait_until(ready.exists)
    os.killpg(int(queue.get("-p", job)), signal.SIGSTOP)
    queue.kill_server(signal.SIGTERM)
    after(machine, "stopping")
    assert queue.wait(job) == 7


def test_a_manager_that_is_gone(queue: Queue) -> None:
    """Nobody hears that it serves, but it does."""
    child = subprocess.Popen([BIN / "tsfast", "serve"], env=queue.env({"NOTIFY_SOCKET": str(queue.directory / "none")}))
    queue.children.append(child)
    wait_until(queue.socket.exists)
    assert queue.wait(queue.submit("true")) == 0
    assert queue.server_pid() == child.pid


@pytest.mark.parametrize("state", ["running", "degraded", "offline"])
def test_at_any_other_end_jobs_run_on(machine: Machine, state: str) -> None:
    job, gate = machine.queue.blocker()
    machine.queue.kill_server(signal.SIGTERM)
    after(machine, state)
    gate.open()
    assert machine.queue.wait(job) == 0


def test_after_a_queue_that_was_never_used(machine: Machine) -> None:
    after(machine, "stopping")


def test_it_runs_as_a_module_too(queue: Queue) -> None:
    child = subprocess.Popen([sys.executable, "-m", "tsfast", "serve"], env=queue.environment)
    queue.children.append(child)
    wait_until(lambda: f"pid {child.pid}," in queue.log())


@pytest.mark.parametrize("name", ["serve", "install-service"])
def test_these_names_are_jobs_for_ts(queue: Queue, name: str) -> None:
    program: Path = queue.work / name
    program.write_text("#!/bin/sh\necho a job\n")
    program.chmod(0o755)
    job = queue.finish(name, env={"PATH": f"{queue.work}:{queue.environment['PATH']}"})
    assert queue.output(job) == "a job\n"
