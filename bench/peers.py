"""The peers that are no queue like `ts`: nq, gflow, xargs, GNU parallel, HyperQueue, and the bare C loop."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from common import HERE, PATIENCE_S, await_true, helper, memory, seconds, tsp_program

BIN = Path(sys.executable).parent


def missing() -> list[str]:
    """Who is left out of this run, and where it would come from."""
    absent = [] if tsp_program() else ["tsp (Debian's task-spooler)"]
    absent += [f"{name} (Debian)" for name in ("nq", "parallel", "xargs") if not shutil.which(name)]
    if not gflow():
        absent.append("gflow (PyPI runqd, and tmux)")
    if not hyperqueue():
        absent.append("HyperQueue (PyPI hyperqueue)")
    return absent


def gflow() -> bool:
    return (BIN / "gflowd").exists() and shutil.which("tmux") is not None


def hyperqueue() -> bool:
    return importlib.util.find_spec("hyperqueue") is not None


class Nq:
    """Each call of nq leaves a process behind, which waits for the lock of the one before."""

    name = "nq"

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="bench-nq-", dir=memory()))

    def __enter__(self) -> "Nq":
        return self

    def command(self, *words: str) -> list[str]:
        return [f"NQDIR={self.directory}", str(shutil.which("nq")), *words]

    def block(self) -> None:
        place = self.directory / "pid"
        assignment, *words = self.command("sh", "-c", f"echo $$ > {place}; exec sleep 10000")
        name, _, value = assignment.partition("=")
        subprocess.run(words, env=os.environ | {name: value}, check=True, stdout=subprocess.DEVNULL)
        await_true(lambda: place.exists() and place.read_text().endswith("\n"), "the start of nq's job")
        self.blocker = int(place.read_text())

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "blocker"):
            with suppress(ProcessLookupError):
                os.kill(self.blocker, signal.SIGKILL)
        subprocess.run(["nq", "-w"], env=os.environ | {"NQDIR": str(self.directory)}, check=False, timeout=PATIENCE_S)
        shutil.rmtree(self.directory, ignore_errors=True)


class Gflow:
    """A gflowd of its own. Its jobs need tmux; those of the benchmark begin tomorrow, so that none runs."""

    name = "gflow"

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="bench-gflow-", dir=memory()))
        places = {"HOME": ".", "TMUX_TMPDIR": "."} | {
            f"XDG_{name}": name.lower() for name in ("CONFIG_HOME", "DATA_HOME", "STATE_HOME", "RUNTIME_DIR")
        }
        self.assigned = {name: str(self.directory / place) for name, place in places.items()}
        for place in self.assigned.values():
            Path(place).mkdir(exist_ok=True)

    def __enter__(self) -> "Gflow":
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            port = probe.getsockname()[1]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": os.environ | self.assigned}
        subprocess.run([BIN / "gflowd", "init", "--yes", "--port", str(port)], check=True, timeout=PATIENCE_S, **quiet)
        self.daemon = subprocess.Popen([BIN / "gflowd"], **quiet)

        def answers() -> bool:
            return subprocess.run([BIN / "gqueue"], check=False, timeout=PATIENCE_S, **quiet).returncode == 0

        await_true(answers, "gflowd's start")
        return self

    def command(self, *words: str) -> list[str]:
        assignments = [f"{name}={value}" for name, value in self.assigned.items()]
        return [*assignments, str(BIN / "gbatch"), "--begin", "now+1d", *words]

    def block(self) -> None:
        """Nothing to be done: no job begins."""

    def __exit__(self, *_: object) -> None:
        self.daemon.terminate()
        self.daemon.wait(PATIENCE_S)
        shutil.rmtree(self.directory, ignore_errors=True)


def submitters() -> list[Nq | Gflow]:
    """Those that one can queue a command with, each with a fresh queue; to be entered."""
    return [*([Nq()] if shutil.which("nq") else []), *([Gflow()] if gflow() else [])]


# ---- jobs per second, from the first call to the last end ---------------------------------------------------------


def floor(count: int, parallel: int, *command: str) -> float:
    """Without any spooler, with a job's set-up: session, directory, output file."""
    with tempfile.TemporaryDirectory(dir=memory()) as directory:
        words = [helper("floor", static=True), str(count), str(parallel), directory, *command]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return count / (int(done.stdout) / 1e9)


def xargs(count: int, parallel: int, *command: str) -> float:
    return by_shell(count, f"seq {count} | xargs -P {parallel} -n 1 {' '.join(command)}")


def gnu_parallel(count: int, parallel: int, *command: str) -> float:
    return by_shell(count, f"seq {count} | parallel --will-cite -j {parallel} {' '.join(command)}")


def by_shell(count: int, script: str) -> float:
    return count / seconds(["/bin/sh", "-c", script])


def nq_all(count: int, *command: str) -> float:
    """nq runs one job at a time."""
    with tempfile.TemporaryDirectory(prefix="bench-nq-", dir=memory()) as directory:
        words = f"NQDIR={directory} nq"
        loop = f"i=0; while [ $i -lt {count} ]; do {words} {' '.join(command)}; i=$((i+1)); done; {words} -w"
        return by_shell(count, loop)


def hyperqueue_batch(count: int) -> dict[str, float]:
    """Seconds to build and to submit a batch of tasks by the Python API, in a process of its own."""
    words = [sys.executable, str(HERE / "hyperqueue_batch.py"), str(count)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, timeout=PATIENCE_S)
    return json.loads(done.stdout.splitlines()[-1])
