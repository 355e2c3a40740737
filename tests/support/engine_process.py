"""A local engine in a process of its own, which tests can kill as they kill a server."""

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.installation import RUNNER
from support.layouts import tsf_assign
from support.places import SUPPORT
from support.runner_queue import PATIENCE, RunnerQueue

BOOT_ID = "a boot of the tests"


class Engine:
    """The calls of tsfast.engine.local.EngineProbe."""

    def __init__(self, files: RunnerQueue) -> None:
        self.files = files
        with files.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, SUPPORT / "engine_driver.py", files.state, RUNNER, BOOT_ID],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def call(self, name: str, *arguments: object) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([name, *arguments]).encode() + b"\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        assert ready, f"no answer to {name}; log: {self.files.log.read_text()}"
        line = self.process.stdout.readline()
        assert line, f"the engine has ended at {name}; log: {self.files.log.read_text()}"
        return json.loads(line)

    def event(self) -> tuple[str, int, dict[str, Any]]:
        ((what, job, details),) = self.call("events", 1)
        return what, job, details

    def start(self, job: tsf_assign) -> tuple[int, int]:
        """As the lifecycle does it; the entry and its generation."""
        entry, gen = self.call("prepare")
        assert self.call("start", entry, gen, job.job, bytes(job.cold).hex()) == 0
        return entry, gen

    def started(self, job: tsf_assign) -> int:
        """The job runs: the pid of its first process."""
        what, id, details = self.event()
        assert (what, id) == ("started", job.job)
        return int(details["pid"])

    def ended(self, job: tsf_assign) -> dict[str, Any]:
        """Its outcome; a start that is reported before does not matter."""
        what, id, details = self.event()
        if what == "started":
            what, id, details = self.event()
        assert (what, id) == ("ended", job.job)
        return details

    def state_of(self, entry: int) -> int:
        return int(self.call("entry", entry)[0])

    def runner_of(self, entry: int) -> int:
        return int(self.call("entry", entry)[2])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


class Files(RunnerQueue):
    """What a runner reads of a queue, and the engines of the queue, one after the other."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, built=None)
        self.engines: list[Engine] = []
        self.jobs: list[int] = []

    def engine(self) -> Engine:
        self.engines.append(Engine(self))
        return self.engines[-1]

    def close(self) -> None:
        for engine in self.engines:
            engine.kill()
        for pid in self.jobs:
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        super().close()
