"""Plays the server for the native runner: same files, same socket, same entry of `runs`."""

from __future__ import annotations

import array
import ctypes
import fcntl
import mmap
import os
import resource
import signal
import socket
import struct
import termios
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

from support import layouts, native
from support.layouts import (
    TSF_CTX_MAGIC,
    TSF_JOB_NO_OUTPUT,
    TSF_REPORT_ENDED,
    TSF_REPORT_STARTED,
    TSF_RUN_ASSIGNED,
    TSF_RUN_EXECING,
    TSF_RUN_EXITED,
    TSF_RUNS,
    TSF_RUNS_BYTES,
    TSF_RUNS_MAGIC,
    TSF_RUNS_VERSION,
    tsf_assign,
    tsf_cold,
    tsf_ctx,
    tsf_report,
    tsf_run,
    tsf_runs_header,
)
from support.patience import patient, wait_until
from support.state_files import ENTRY
from support.wire import strings

PATIENCE = patient(20.0)


def own_limits() -> list[tuple[int, int]]:
    limits = [resource.getrlimit(i) for i in range(16)]
    if native.UNDER_VALGRIND:  # shows no room above the soft limit, where it has its own descriptors
        limits[resource.RLIMIT_NOFILE] = (limits[resource.RLIMIT_NOFILE][0],) * 2
    return [tuple(value & 0xFFFFFFFFFFFFFFFF for value in pair) for pair in limits]


def build(folder: Path) -> SimpleNamespace:
    """The runner, and the runner with fault points."""
    for name, extra in (("ts-run", []), ("ts-run-faults", ["-DTSFAST_FAULTS"])):
        native.build(folder / name, "runner", "-O2", "-DGZIP_PATIENCE_MS=300", *extra, static=True)
    return SimpleNamespace(runner=folder / "ts-run", faults=folder / "ts-run-faults")


class Runner:
    """One runner, seen from the server."""

    def __init__(self, queue: RunnerQueue, number: int, *, fault: str = "") -> None:
        self.queue, self.number, self.entry = queue, number, queue.entry(number)
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(PATIENCE)
        self.status: int | None = None
        log = os.open(queue.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        # Numbers far above 3 and 4, so that no dup2 hits the source of another
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in (theirs.fileno(), queue.directory, log)]
        actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0), (os.POSIX_SPAWN_DUP2, 0, 1)]
        actions += [(os.POSIX_SPAWN_DUP2, fd, to) for fd, to in zip(high, (3, 4, 2), strict=True)]
        env = {"TSFAST_FAULT": fault} if fault else {}
        program = queue.built.faults if fault else queue.built.runner
        words = native.words(program, str(number))
        self.pid = os.posix_spawn(words[0], words, env, file_actions=actions)
        for fd in (*high, log):
            os.close(fd)
        theirs.close()

    def descriptors(self) -> int:
        """How many are open. Those of valgrind are above the limit."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return sum(int(fd) < limit for fd in os.listdir(f"/proc/{self.pid}/fd"))

    def give(self, job: tsf_assign, descriptors: Sequence[int] = (), *, word: int = TSF_RUN_ASSIGNED) -> None:
        self.entry.job, self.entry.word = job.job, job.gen << 8 | word
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self.socket.sendmsg([bytes(job)], rights)

    def unread(self) -> int:
        """Bytes that the runner has not taken yet."""
        return struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, b"\0" * 4))[0]

    def report(self) -> tuple[int, int, int]:
        packet = self.socket.recv(64)
        assert len(packet) == ctypes.sizeof(tsf_report), f"no report; log: {self.queue.log.read_text()}"
        report = tsf_report.from_buffer_copy(packet)
        return report.kind, report.retiring, report.gen

    def started(self, job: tsf_assign) -> None:
        assert self.report() == (TSF_REPORT_STARTED, 0, job.gen)
        assert self.entry.word == job.gen << 8 | TSF_RUN_EXECING

    def ended(self, job: tsf_assign, *, retiring: int = 0) -> tsf_run:
        report = self.report()
        if report[0] == TSF_REPORT_STARTED:
            report = self.report()
        assert report == (TSF_REPORT_ENDED, retiring, job.gen)
        return self.result(job)

    def result(self, job: tsf_assign, state: int = TSF_RUN_EXITED) -> tsf_run:
        result = tsf_run.from_buffer_copy(self.entry)
        assert result.word == job.gen << 8 | state
        assert result.check == layouts.lib.run_check(self.entry)
        return result

    def run(self, job: tsf_assign, descriptors: Sequence[int] = ()) -> tsf_run:
        self.give(job, descriptors)
        return self.ended(job)

    def wait(self) -> int:
        def gone() -> bool:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
            return bool(pid)

        if self.status is None:
            wait_until(gone, "end of the runner")
        assert self.status is not None
        return self.status

    def close(self) -> None:
        self.socket.close()
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()


class RunnerQueue:
    """A state directory with one job table, as the server would write it."""

    def __init__(self, folder: Path, built: SimpleNamespace) -> None:
        self.built, self.folder = built, folder
        self.state, self.logs, self.work = folder / "state", folder / "logs", folder / "work"
        for path in (self.state, self.state / "ctx", self.logs, self.work):
            path.mkdir()
        self.log = folder / "server.log"
        self.directory = os.open(self.state, os.O_RDONLY | os.O_DIRECTORY)
        self.file = os.open(self.state / "runs", os.O_RDWR | os.O_CREAT, 0o600)
        os.truncate(self.file, TSF_RUNS_BYTES)
        self.map = mmap.mmap(self.file, TSF_RUNS_BYTES)
        self.map[: ctypes.sizeof(tsf_runs_header)] = bytes(tsf_runs_header(TSF_RUNS_MAGIC, TSF_RUNS_VERSION, TSF_RUNS))
        self.gen, self.next_id, self.runners = 0x500000000, 65530, []
        self.context = self.write_context()

    def entry(self, number: int) -> tsf_run:
        return tsf_run.from_address(ctypes.addressof(ctypes.c_char.from_buffer(self.map)) + ENTRY * number)

    def locked(self, number: int) -> int:
        """Pid of the holder of the entry's lock, 0 if it is free."""
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, ENTRY * number, 1, 0)
        kind, _, _, _, pid = struct.unpack("hhqqi4x", fcntl.fcntl(self.file, fcntl.F_GETLK, asked))
        return 0 if kind == fcntl.F_UNLCK else pid

    def start(self, number: int = 1, *, fault: str = "") -> Runner:
        runner = Runner(self, number, fault=fault)
        self.runners.append(runner)
        return runner

    def write_context(
        self,
        env: Sequence[str] = ("PATH=/usr/bin:/bin", "A=1", "B=2"),
        *,
        umask: int = 0o027,
        nice: int | None = None,
        affinity: bytes = b"",
        limits: dict[int, tuple[int, int]] | None = None,
    ) -> int:
        cwd, block = strings([str(self.work)]), strings(env)
        values = own_limits()
        for number, pair in (limits or {}).items():
            values[number] = pair
        nice = os.getpriority(os.PRIO_PROCESS, 0) if nice is None else nice
        head = tsf_ctx(TSF_CTX_MAGIC, 0, umask, nice, len(affinity), len(cwd), len(env), len(block))
        for number, pair in enumerate(values):
            head.limits[number][:] = pair
        body = bytes(head)[tsf_ctx.umask.offset :] + affinity + cwd + block
        head.check = layouts.lib.check32(body, len(body), 0)
        name = layouts.lib.hash64(body, len(body), 0)
        (self.state / "ctx" / f"{name:016x}").write_bytes(bytes(head)[: tsf_ctx.umask.offset] + body)
        return name

    def job(
        self,
        *argv: str,
        diff: Sequence[str] = (),
        cwd: str = "",
        prefix: str | None = None,
        context: int | None = None,
        flags: int = 0,
        **damage: int,
    ) -> tsf_assign:
        job, self.next_id, self.gen = self.next_id, self.next_id + 1, self.gen + 1
        prefix = str(self.logs / "ts-out") if prefix is None else prefix
        prefix = "" if flags & TSF_JOB_NO_OUTPUT else prefix
        parts = [strings(argv), b"a label", os.fsencode(prefix), os.fsencode(cwd), strings(diff)]
        blob = bytes((ctypes.c_uint64 * 2)(1, 2)) + b"".join(parts)  # ids of n_after and n_after_ok
        with open(self.state / f"blob.{job >> 16:08x}", "ab") as file:
            file.write(b"\0" * (-file.tell() % 8))
            offset = file.tell()
            file.write(blob)
        cold = tsf_cold(blob_off=offset, blob_len=len(blob), blob_check=layouts.lib.check32(blob, len(blob), job))
        cold.ctx, cold.flags, cold.n_after, cold.n_after_ok = context or self.context, flags, 1, 1
        cold.argc, cold.argv_len, cold.label_len = len(argv), *map(len, parts[:2])
        cold.prefix_len, cold.cwd_len, cold.diff_len = map(len, parts[2:])
        for field, value in damage.items():
            setattr(cold, field, value)
        cold.check = layouts.lib.cold_check(cold, job)
        return tsf_assign(gen=self.gen, job=job, cold=cold)

    def shell(self, script: str, **options: object) -> tsf_assign:
        return self.job("sh", "-c", script, **options)

    def output(self, result: tsf_run, end: str = "") -> bytes:
        return (self.logs / f"ts-out.{result.suffix.decode()}{end}").read_bytes()

    def close(self) -> None:
        for runner in self.runners:
            runner.close()
        os.close(self.file)
        os.close(self.directory)
