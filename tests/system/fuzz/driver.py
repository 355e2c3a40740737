"""A server under changed frames, and how it serves a good client meanwhile. `make fuzz` runs it on a build with the
sanitizers; a new form of answer makes its frame part of the corpus."""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import os
import random
import re
import select
import signal
import socket
import struct
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from support import installation, reports
from support.patience import patient
from support.queues import Queue
from support.wire import ERR, frames, request
from system.fuzz.mutate import mutated, seeds

CORPUS = Path(__file__).with_name("corpus")
PR_SET_CHILD_SUBREAPER = 36
DRAINED = 1 << 16
PATIENCE = patient(60.0)
KEPT_MAX = 400


@dataclass
class Figures:
    frames: int = 0
    seconds: float = 0.0
    rss_before_kb: int = 0
    rss_after_kb: int = 0
    ends: int = 0  # a -K among the changed frames
    latencies: list[float] = field(default_factory=list)
    found: list[bytes] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def __str__(self) -> str:
        return (
            f"{self.frames} frames in {self.seconds:.1f} s ({self.frames / max(self.seconds, 1e-9):.0f}/s), "
            f"{len(self.found)} new forms of answer, {self.ends} servers ended by -K, "
            f"RSS {self.rss_before_kb} -> {self.rss_after_kb} KiB; other client: {len(self.latencies)} calls, "
            f"p50 {1e3 * self.percentile(0.5):.2f} ms, p99 {1e3 * self.percentile(0.99):.2f} ms, "
            f"worst {1e3 * self.percentile(1.0):.2f} ms"
        )


class Died(AssertionError):
    """The server has ended in a way of its own. The last frames are in the message's file."""


class Target:
    """A server that is our child (we are a subreaper), so that how it ended is known."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        queue.environment |= {"TS_MAXCONN": "64", "TS_MAXFINISHED": "32"}
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.gate = queue.gate()
        self.start()

    def start(self) -> None:
        self.queue.get("-l", timeout=PATIENCE)
        self.pid = self.queue.server_pid()
        self.status: int | None = None

    def block(self) -> None:
        """Fill the slot, so that what is queued by chance stays queued."""
        self.queue.get("-n", *self.gate.command)

    def ended(self) -> int | None:
        """Wait status of the server, None while it lives."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status

    def rss_kb(self) -> int:
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        assert found
        return int(found[1])


def answer_form(answer: bytes) -> bytes:
    """What kind of answer it is: types of frames and texts without numbers, names and what varies otherwise."""
    form = b""
    for kind, payload in frames(answer):
        text = payload if kind == ERR else b""
        form += b"%d:" % kind + re.sub(rb"'.*'|[0-9]+|/\S*|[^ -~]|-\S+", b"#", text)[:40]
    return form[:120]


def shoot(path: str, data: bytes, listen: bool) -> bytes | None:
    """One caller with this message; what it was answered, if it listens. None: nobody is there."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        try:
            client.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return None
        try:
            client.sendall(data)
            if not listen:
                return b""
            client.shutdown(socket.SHUT_WR)
            answer = b""
            while len(answer) < DRAINED and (got := client.recv(65536)):
                answer += got
            return answer
        except (BrokenPipeError, ConnectionResetError):
            return b""


def good_client(path: str, results: int, stop: int) -> None:
    """Asks for the number of slots again and again; writes how long each answer took."""
    message = request("-S")
    while not select.select([stop], [], [], 0.002)[0]:
        begin = time.monotonic()
        answer = shoot_whole(path, message)
        if answer:
            os.write(results, struct.pack("=d", time.monotonic() - begin))


def shoot_whole(path: str, data: bytes) -> bytes:
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(path)
            client.sendall(data)
            return client.recv(4096)
    except (ConnectionError, FileNotFoundError):
        return b""  # -K came by chance


class GoodClient:
    """In a process of its own: it waits for nobody's interpreter but its own."""

    def __init__(self, path: str, directory: Path) -> None:
        self.file = directory / "latencies"
        stop, self.stop = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.stop)
            results = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                good_client(path, results, stop)
            finally:
                os._exit(0)
        os.close(stop)

    def end(self) -> list[float]:
        os.close(self.stop)
        os.waitpid(self.pid, 0)
        data = self.file.read_bytes() if self.file.exists() else b""
        return [value for (value,) in struct.iter_unpack("=d", data)]


def corpus() -> list[bytes]:
    return seeds() + [path.read_bytes() for path in sorted(CORPUS.glob("*.bin"))]


def run(queue: Queue, seed: int, frames: int = 0, seconds: float = 0.0) -> Figures:
    """Until one of the two limits is reached. Raises Died."""
    rng, inputs, figures = random.Random(seed), corpus(), Figures()
    target = Target(queue)
    target.block()
    path = str(queue.socket)
    known = set()
    for data in inputs:
        if answer := shoot(path, data, True):
            known.add(answer_form(answer))
    last: list[bytes] = []
    for _ in range(500):  # all that is allocated once
        last = [*last[-7:], mutated(inputs, rng)]
        if shoot(path, last[-1], True) is None:
            revive(target, last, figures)
    client = GoodClient(path, queue.directory)
    if target.ended() is not None:
        revive(target, last, figures)
    figures.rss_before_kb = target.rss_kb()
    begin = time.monotonic()
    try:
        while (not frames or figures.frames < frames) and (not seconds or time.monotonic() - begin < seconds):
            data = mutated(inputs, rng)
            last = [*last[-7:], data]
            listen = figures.frames % 8 == 0
            answer = shoot(path, data, listen)
            figures.frames += 1
            if answer is None:
                revive(target, last, figures)
            elif listen and (form := answer_form(answer)) not in known and len(inputs) < KEPT_MAX:
                known.add(form)
                inputs.append(data)
                figures.found.append(data)
    finally:
        figures.seconds = time.monotonic() - begin
        figures.latencies = client.end()
    shoot(path, request("-S"), True)
    status = target.ended()
    if status is not None and not normal_end(status):
        died(target, last, status)
    if status is None:
        figures.rss_after_kb = target.rss_kb()
    if found := reports.take():
        died(target, last, 0, found)
    return figures


def normal_end(status: int) -> bool:
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


def revive(target: Target, last: list[bytes], figures: Figures) -> None:
    """Nobody listens: after -K that is right."""
    deadline = time.monotonic() + PATIENCE
    while (status := target.ended()) is None:
        if target.queue.socket.exists():
            return  # the name of the socket has come back
        if time.monotonic() > deadline:
            died(target, last, 0)
    if not normal_end(status):
        died(target, last, status)
    figures.ends += 1
    target.start()


def died(target: Target, last: list[bytes], status: int, found: str = "") -> None:
    place = Path(tempfile.mkdtemp(prefix="tsfast-fuzz-"))
    for number, data in enumerate(last):
        (place / f"{number}.bin").write_bytes(data)
    raise Died(f"status {status:#x}, the last frames are in {place}\n{target.queue.log()}\n{found or reports.take()}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument("--keep", action="store_true", help="add what gave a new form of answer to the corpus")
    options = parser.parse_args()
    if told := installation.wrong():
        parser.error(told)
    reports.clear()
    print(f"seed {options.seed}, corpus of {len(corpus())}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        queue = Queue(Path(directory))
        try:
            figures = run(queue, options.seed, seconds=options.seconds)
        except Died as problem:
            print(problem)
            return 1
        finally:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            queue.end()
    print(figures)
    if options.keep:
        CORPUS.mkdir(exist_ok=True)
        for data in figures.found:
            (CORPUS / f"{hashlib.sha256(data).hexdigest()[:16]}.bin").write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
