"""A GPU poller as a process, over the tests' driver library, and its records as they come."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from support.fake_nvml import FakeNvml
from support.patience import DEADLINE_S
from tsfast.monitor import records
from tsfast.monitor.records import Record

PERIOD_MS = 20
NO_PROCESS = 4194305  # above every pid that Linux gives


class Poller:
    command = (sys.executable, "-I", "-m", "tsfast.monitor")

    def __init__(self, nvml: FakeNvml, *words: object, period: int = PERIOD_MS, **env: str) -> None:
        self.child = subprocess.Popen(
            [*self.command, "--period", str(period), *map(str, words)],
            env={**os.environ, **nvml.env(), **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self.buffer = b""
        self.last: Record | None = None

    def read(self) -> Record | None:
        """The next record; None when the poller has ended."""
        deadline = time.monotonic() + DEADLINE_S
        while len(self.buffer) < records.SIZE:
            ready, _, _ = select.select([self.child.stdout], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"no record in {DEADLINE_S} s, the last one was {self.last}"
            data = os.read(self.child.stdout.fileno(), 1 << 16)
            if not data:
                assert not self.buffer, "a record is cut off"
                return None
            self.buffer += data
        self.last = records.unpack(self.buffer[: records.SIZE])
        self.buffer = self.buffer[records.SIZE :]
        return self.last

    def until(self, condition: Callable[[Record], object]) -> Record:
        """The next record that fulfils the condition."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            record = self.read()
            assert record is not None, f"the poller has ended with {self.child.wait()}"
            if condition(record):
                return record
        raise AssertionError(f"never came, the last one was {record}")

    def failure(self) -> str:
        return self.until(lambda record: record.kind == records.FAILED).why

    def round(self) -> list[Record]:
        """The devices of the next round, which must be a whole one, from its beginning."""
        devices: list[Record] = []
        before = None
        while (record := self.read()) is not None:
            assert record.kind != records.FAILED, record.why
            if record.kind == records.DEVICE:
                assert before is not None
                assert (before.kind, before.index) == (records.ASKING, record.index)
                devices.append(record)
            if record.kind == records.ROUND:
                assert [device.index for device in devices] == list(range(record.index))
                return devices
            before = record
        raise AssertionError(f"the poller has ended with {self.child.wait()}")

    def round_until(self, condition: Callable[[list[Record]], object]) -> list[Record]:
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            devices = self.round()
            if condition(devices):
                return devices
        raise AssertionError(f"never came, the last round was {devices}")

    def ask(self) -> None:
        """Ask for a round at once."""
        self.child.stdin.write(b"?")

    def rest(self) -> list[Record]:
        """What it writes until it ends."""
        found = []
        while (record := self.read()) is not None:
            found.append(record)
        return found

    def end(self) -> None:
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGKILL)
        self.child.wait()
        for stream in (self.child.stdin, self.child.stdout):
            stream.close()
