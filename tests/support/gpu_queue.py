"""A queue on a machine with GPUs of the tests' driver library."""

from pathlib import Path

from support.fake_nvml import FakeNvml
from support.queues import Gate, Queue

SLOTS = 50


class GpuQueue(Queue):
    def __init__(self, directory: Path, nvml: FakeNvml) -> None:
        super().__init__(directory)
        self.give_gpus(nvml)
        self.environment["TS_SLOTS"] = str(SLOTS)

    def learn(self) -> None:
        """Let a GPU job run: from then on the server knows how many GPUs there are, and the poller runs."""
        job = int(self.run("-G", 1, "true").stdout)
        assert self.wait(job) == 0
        self.get("-r", job)

    def hold(self, *options: object) -> tuple[int, Gate]:
        """A GPU job that keeps what it has got until its gate is opened."""
        return self.blocker(*options)

    def waiting(self, *words: object) -> int:
        """A GPU job that cannot start now."""
        job = int(self.run(*words).stdout)
        assert self.state(job) in ("allocating", "queued")
        return job

    def job(self, number: int) -> dict[str, object]:
        (found,) = [job for job in self.jobs() if job["ID"] == number]
        return found

    def gpus(self, number: int) -> list[int]:
        """What a job that runs, or has run, was given."""
        return self.job(number)["GPU_IDs"]

    def why(self, number: int) -> str:
        return self.get("--why", number)

    def log_lines(self, *parts: str) -> list[str]:
        """Those of the server's log in which all of these stand."""
        text = (self.state_dir / "log").read_text() if (self.state_dir / "log").exists() else ""
        return [line for line in text.splitlines() if all(part in line for part in parts)]
