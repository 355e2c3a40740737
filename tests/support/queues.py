"""A queue of its own for each test: directory, environment, calls of `ts`, and waiting for what should come."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from support.fake_nvml import FakeNvml
from support.installation import BIN
from support.patience import patient, wait_until
from support.processes import alive, cmdline, kill, open_files, parent

LOG_SHOWN = 3000


class Gate:
    """A job that runs until the test lets it end: it opens a FIFO and reads what code it exits with."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self.command = ("sh", "-c", 'read code < "$0"; exit "$code"', str(path))

    def open(self, code: int = 0) -> None:
        with self.path.open("w") as fifo:
            fifo.write(f"{code}\n")


class Queue:
    program = BIN / "ts"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.out = directory / "out"
        self.socket = directory / "socket"
        self.state_dir = directory / "state"
        self.work = directory / "cwd"
        for path in (self.out, self.work):
            path.mkdir()
        self.environment = {
            "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(directory),
            "TMPDIR": str(self.out),
            "TS_SOCKET": str(self.socket),
            "TS_STATE": str(self.state_dir),
            "TSFAST_VAR_TMP": str(directory / "var"),
            "LC_ALL": "C.UTF-8",
        }
        self.gates = 0
        self.children: list[subprocess.Popen[bytes]] = []

    def give_gpus(self, nvml: FakeNvml, leases: Path | None = None) -> None:
        """The machine has these GPUs from now on, with a lease file for each."""
        self.nvml = nvml
        self.leases = leases or self.directory / "leases"
        self.leases.mkdir(exist_ok=True)
        self.add_lease_files()
        self.environment |= {**nvml.env(), "TS_LEASE_DIR": str(self.leases)}

    def add_lease_files(self) -> None:
        """One for each GPU; anew after changes to the machine."""
        for device in self.nvml.devices.values():
            (self.leases / device.uuid).touch()

    # ---- calls ----

    def env(self, changes: dict[str, str | None] | None = None) -> dict[str, str]:
        merged = {**self.environment, **(changes or {})}
        return {name: value for name, value in merged.items() if value is not None}

    def run(
        self,
        *words: object,
        env: dict[str, str | None] | None = None,
        stdin: str | bytes | None = None,
        timeout: float = 30.0,
        **options: object,
    ) -> "subprocess.CompletedProcess[str]":
        """One call of ts, to its end."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        source = {"input": data} if data is not None else {"stdin": subprocess.DEVNULL}
        done = subprocess.run(
            [self.program, *map(os.fsencode, map(str, words))],
            env=self.env(env),
            capture_output=True,
            timeout=patient(timeout),
            **{"cwd": self.work, **source, **options},
        )
        text = (done.stdout.decode("utf-8", "surrogateescape"), done.stderr.decode("utf-8", "surrogateescape"))
        return subprocess.CompletedProcess(done.args, done.returncode, *text)

    def python(self, text: str, *flags: str, **options: object) -> "subprocess.CompletedProcess[str]":
        """A program of Python with the environment of the queue's calls, to its end."""
        return subprocess.run(
            [sys.executable, *flags, "-c", text],
            env=self.env(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=patient(60),
            **{"cwd": self.work, **options},
        )

    def start(self, *words: object, env: dict[str, str | None] | None = None, **options: object):
        """A call of ts that goes on while the test does; ended with the queue."""
        child = subprocess.Popen(
            [self.program, *map(str, words)],
            env=self.env(env),
            **{
                "bufsize": 0,
                "cwd": self.work,
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                **options,
            },
        )
        self.children.append(child)
        return child

    def get(self, *words: object, **options: object) -> str:
        """What a call that must succeed without a word on stderr prints, without the last newline."""
        done = self.run(*words, **options)
        assert (done.returncode, done.stderr) == (0, ""), (words, done)
        return done.stdout.removesuffix("\n")

    def submit(self, *words: object, **options: object) -> int:
        return int(self.get(*words, **options))

    def refused(self, *words: object, **options: object) -> str:
        """The one line on stderr of a call that must fail with 255."""
        done = self.run(*words, **options)
        assert done.returncode == 255, done
        assert done.stdout == "", done
        assert done.stderr.startswith("ts: ") and done.stderr.endswith("\n"), done
        assert done.stderr.count("\n") == 1, done
        return done.stderr

    def wait(self, job: int) -> int:
        return self.run("-w", job).returncode

    def finish(self, *words: object, **options: object) -> int:
        """Submit and wait; the id."""
        job = self.submit(*words, **options)
        self.wait(job)
        return job

    def output(self, job: int) -> str:
        return Path(self.get("-o", job)).read_text()

    def state(self, job: int) -> str:
        return self.get("-s", job)

    def info(self, job: int) -> dict[str, str]:
        lines = self.get("-i", job).splitlines()
        return dict(line.partition(": ")[::2] for line in lines)

    def jobs(self) -> list[dict[str, object]]:
        return json.loads(self.get("-M", "json"))

    def ids(self) -> list[int]:
        return [job["ID"] for job in self.jobs()]

    # ---- conditions ----

    def wait_until(self, condition: Callable[[], object], what: str = "") -> object:
        return wait_until(condition, what)

    def wait_for_state(self, job: int, state: str) -> None:
        wait_until(lambda: self.state(job) == state, f"job {job} is {state}")

    def gate(self) -> Gate:
        self.gates += 1
        return Gate(self.directory / f"gate.{self.gates}")

    def blocker(self, *options: object) -> tuple[int, Gate]:
        """A running job that fills the queue's slots until its gate is opened."""
        gate = self.gate()
        job = self.submit(*options, *gate.command)
        wait_until(lambda: "Time running" in self.info(job), f"job {job} runs")
        return job, gate

    # ---- processes ----

    def processes(self, zombies: bool = False) -> list[int]:
        """Pids of the server, its runners and its jobs: all that know this directory."""
        mark = os.fsencode(self.directory)
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            try:
                known = mark in Path(f"/proc/{entry}/environ").read_bytes() or (
                    Path(f"/proc/{entry}/comm").read_text() == "ts-run\n"
                    and any(name.startswith(str(self.directory)) for name in open_files(int(entry)))
                )
            except OSError:
                continue
            if known and (zombies or alive(int(entry))):
                found.append(int(entry))
        return found

    def servers(self) -> list[int]:
        """Pids of the servers of this queue, and of those that are about to become one; not of the child that is about
        to become a runner and has its server's name until then."""
        found = [
            pid for pid in self.processes() if any(mark in cmdline(pid) for mark in (b"tsfast.daemon.boot", b"--boot"))
        ]
        return [pid for pid in found if parent(pid) not in found]

    def monitors(self) -> list[int]:
        """The processes that ask NVML for the server."""
        return [pid for pid in self.processes() if b"tsfast.monitor" in cmdline(pid)]

    def server_pid(self) -> int:
        (pid,) = self.servers()
        return pid

    def kill_server(self, number: int = signal.SIGKILL) -> int:
        pid = self.server_pid()
        os.kill(pid, number)
        wait_until(lambda: not alive(pid), "the server is gone")
        return pid

    def log(self) -> str:
        path = self.state_dir / "log"
        return path.read_bytes().decode("utf-8", "replace") if path.exists() else ""

    def end(self) -> list[bytes]:
        """End everything; command lines of what is left of the queue's processes (nothing, if all is well)."""
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout, child.stderr):
                if stream is not None:
                    stream.close()
        for pid in self.servers():
            kill(pid)

        def gone() -> bool:
            for pid in (left := self.processes()):
                if self._is_job(pid):
                    kill(pid)
            return not left

        with contextlib.suppress(AssertionError):  # what is left then is told by its name
            wait_until(gone, "the end of all processes")
        left = self.processes()
        names = [cmdline(pid) for pid in left]
        for pid in left:
            kill(pid)
        return names

    def _is_job(self, pid: int) -> bool:
        try:
            return b"TS_JOBID=" in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
