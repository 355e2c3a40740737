"""Plays the server for the native runner: same files, same socket, same entry of `runs`."""

from __future__ import annotations

import array
import ctypes
import fcntl
import mmap
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

from support import native
from support.patience import patient

PATIENCE = patient(20.0)
ENTRIES = 4096
RUNS_MAGIC, CTX_MAGIC = 0x736E757274736166, 0x31787463
FREE, ASSIGNED, CLAIMED, EXECING, EXITED, REVOKED = range(6)
RECORD, OUTPUT, CHDIR, SPAWN, EXEC = range(1, 6)
NOTE_LIMIT, NOTE_NICE, NOTE_AFFINITY = 1, 2, 4
NO_OUTPUT, FOREGROUND, SPLIT_STDERR = 1, 2, 8
LOG, APPEND, TRUNCATE, GZIP = 256, 512, 1024, 2048
NOTE_GZIP, STAGE_GZIP = 8, 6
STARTED, ENDED, RUN_SIGNAL = 1, 2, 40
NOTE_CANCEL, COMMAND_CANCEL, GRACE_SHIFT = 32, 0x100, 16
U64, U32, I32, U16 = ctypes.c_uint64, ctypes.c_uint32, ctypes.c_int32, ctypes.c_uint16


class Run(ctypes.Structure):
    _fields_ = [
        *[("word", U64), ("job", U64), ("attempt", U32), ("runner", I32), ("command", U64), ("pid", I32)],
        *[("spawn_errno", U32), ("start_ticks", U64), ("start_ns", U64), ("suffix", ctypes.c_char * 8)],
        *[("duration_ns", U64), ("end_ns", U64), ("status", I32), ("cause", U16), ("stage", U16)],
        *[("utime_ms", U32), ("stime_ms", U32), ("maxrss_kb", U32), ("notes", U32), ("check", U64)],
        ("reserved", U64 * 2),
    ]


class Cold(ctypes.Structure):
    _fields_ = [
        *[("enqueue_ns", U64), ("token", U64 * 2), ("blob_off", U64), ("blob_len", U32), ("blob_check", U32)],
        *[("ctx", U64), ("slots", U32), ("flags", U32), ("batch_index", U32), ("batch_count", U32)],
        *[("n_after", U32), ("n_after_ok", U32), ("argc", U32), ("argv_len", U32), ("label_len", U32)],
        *[("prefix_len", U32), ("cwd_len", U32), ("diff_len", U32), ("reserved", U32 * 7), ("check", U32)],
    ]


class Assign(ctypes.Structure):
    _fields_ = [("gen", U64), ("job", U64), ("hide_gpus", U32), ("leases", U32), ("cold", Cold)]


assert ctypes.sizeof(Run) == ctypes.sizeof(Cold) == 128


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"not in time: {what}"
        select.select([], [], [], 0.002)


def strings(*items: str | bytes) -> bytes:
    return b"".join(os.fsencode(item) + b"\0" for item in items)


def process_state(pid: int) -> str:
    """Letter of the process's state; `gone` also for a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "gone"
    letter = text.rpartition(")")[2].split()[0]
    return "gone" if letter in "ZX" else letter


def own_limits() -> list[tuple[int, int]]:
    limits = [resource.getrlimit(i) for i in range(16)]
    if native.UNDER_VALGRIND:  # shows no room above the soft limit, where it has its own descriptors
        limits[resource.RLIMIT_NOFILE] = (limits[resource.RLIMIT_NOFILE][0],) * 2
    return [tuple(value & 0xFFFFFFFFFFFFFFFF for value in pair) for pair in limits]


def build(folder: Path) -> SimpleNamespace:
    """The runner, the runner with fault points, and the checksums of the headers."""
    for name, extra in (("ts-run", []), ("ts-run-faults", ["-DTSFAST_FAULTS"])):
        native.build(folder / name, "runner", "-O2", "-DGZIP_PATIENCE_MS=300", *extra, static=True)
    code = folder / "check.c"
    code.write_text(
        '#include "runs.h"\n'
        "uint32_t check32(const void *p, size_t n, uint64_t seed) { return tsf_check32(p, n, seed); }\n"
        "uint64_t hash64(const void *p, size_t n, uint64_t seed) { return tsf_hash64(p, n, seed); }\n"
        "uint64_t run_check(const struct tsf_run *run) { return tsf_run_check(run); }\n"
    )
    subprocess.run(
        ["cc", "-shared", "-fPIC", f"-I{native.NATIVE}", "-o", str(folder / "check.so"), str(code)], check=True
    )
    lib = ctypes.CDLL(str(folder / "check.so"))
    lib.check32.argtypes = lib.hash64.argtypes = [ctypes.c_char_p, ctypes.c_size_t, U64]
    lib.check32.restype, lib.hash64.restype = U32, U64
    lib.run_check.argtypes, lib.run_check.restype = [ctypes.POINTER(Run)], U64
    return SimpleNamespace(runner=folder / "ts-run", faults=folder / "ts-run-faults", lib=lib)


class Runner:
    """One runner, seen from the server."""

    def __init__(self, queue: Queue, number: int, *, fault: str = "") -> None:
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

    def give(self, job: Assign, descriptors: Sequence[int] = (), *, word: int = ASSIGNED) -> None:
        self.entry.job, self.entry.word = job.job, job.gen << 8 | word
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self.socket.sendmsg([bytes(job)], rights)

    def unread(self) -> int:
        """Bytes that the runner has not taken yet."""
        return struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, b"\0" * 4))[0]

    def report(self) -> tuple[int, int, int]:
        packet = self.socket.recv(64)
        assert len(packet) == 16, f"no report; log: {self.queue.log.read_text()}"
        return struct.unpack("=IIQ", packet)

    def started(self, job: Assign) -> None:
        assert self.report() == (STARTED, 0, job.gen)
        assert self.entry.word == job.gen << 8 | EXECING

    def ended(self, job: Assign, *, retiring: int = 0) -> Run:
        report = self.report()
        if report[0] == STARTED:
            report = self.report()
        assert report == (ENDED, retiring, job.gen)
        return self.result(job)

    def result(self, job: Assign, state: int = EXITED) -> Run:
        result = Run.from_buffer_copy(self.entry)
        assert result.word == job.gen << 8 | state
        assert result.check == self.queue.built.lib.run_check(ctypes.byref(self.entry))
        return result

    def run(self, job: Assign, descriptors: Sequence[int] = ()) -> Run:
        self.give(job, descriptors)
        return self.ended(job)

    def wait(self) -> int:
        def gone() -> bool:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
            return bool(pid)

        if self.status is None:
            until(gone, "end of the runner")
        assert self.status is not None
        return self.status

    def close(self) -> None:
        self.socket.close()
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()


class Queue:
    """A state directory with one job table, as the server would write it."""

    def __init__(self, folder: Path, built: SimpleNamespace) -> None:
        self.built, self.folder, self.lib = built, folder, built.lib
        self.state, self.logs, self.work = folder / "state", folder / "logs", folder / "work"
        for path in (self.state, self.state / "ctx", self.logs, self.work):
            path.mkdir()
        self.log = folder / "server.log"
        self.directory = os.open(self.state, os.O_RDONLY | os.O_DIRECTORY)
        self.file = os.open(self.state / "runs", os.O_RDWR | os.O_CREAT, 0o600)
        os.truncate(self.file, 128 * (ENTRIES + 1))
        self.map = mmap.mmap(self.file, 128 * (ENTRIES + 1))
        struct.pack_into("=QII", self.map, 0, RUNS_MAGIC, 1, ENTRIES)
        self.gen, self.next_id, self.runners = 0x500000000, 65530, []
        self.context = self.write_context()

    def entry(self, number: int) -> Run:
        return Run.from_address(ctypes.addressof(ctypes.c_char.from_buffer(self.map)) + 128 * number)

    def locked(self, number: int) -> int:
        """Pid of the holder of the entry's lock, 0 if it is free."""
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 128 * number, 1, 0)
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
        cwd, block = strings(str(self.work)), strings(*env)
        values = own_limits()
        for number, pair in (limits or {}).items():
            values[number] = pair
        nice = os.getpriority(os.PRIO_PROCESS, 0) if nice is None else nice
        body = struct.pack("=IiIIII", umask, nice, len(affinity), len(cwd), len(env), len(block))
        body += b"".join(struct.pack("=QQ", *pair) for pair in values) + affinity + cwd + block
        name = self.lib.hash64(body, len(body), 0)
        head = struct.pack("=II", CTX_MAGIC, self.lib.check32(body, len(body), 0))
        (self.state / "ctx" / f"{name:016x}").write_bytes(head + body)
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
    ) -> Assign:
        job, self.next_id, self.gen = self.next_id, self.next_id + 1, self.gen + 1
        prefix = str(self.logs / "ts-out") if prefix is None else prefix
        prefix = "" if flags & NO_OUTPUT else prefix
        parts = [strings(*argv), b"a label", os.fsencode(prefix), os.fsencode(cwd), strings(*diff)]
        blob = struct.pack("=QQ", 1, 2) + b"".join(parts)
        with open(self.state / f"blob.{job >> 16:08x}", "ab") as file:
            file.write(b"\0" * (-file.tell() % 8))
            offset = file.tell()
            file.write(blob)
        cold = Cold(blob_off=offset, blob_len=len(blob), blob_check=self.lib.check32(blob, len(blob), job))
        cold.ctx, cold.flags, cold.n_after, cold.n_after_ok = context or self.context, flags, 1, 1
        cold.argc, cold.argv_len, cold.label_len = len(argv), *map(len, parts[:2])
        cold.prefix_len, cold.cwd_len, cold.diff_len = map(len, parts[2:])
        for field, value in damage.items():
            setattr(cold, field, value)
        cold.check = self.lib.check32(bytes(cold), 124, job)
        return Assign(gen=self.gen, job=job, cold=cold)

    def shell(self, script: str, **options: object) -> Assign:
        return self.job("sh", "-c", script, **options)

    def output(self, result: Run, end: str = "") -> bytes:
        return (self.logs / f"ts-out.{result.suffix.decode()}{end}").read_bytes()

    def close(self) -> None:
        for runner in self.runners:
            runner.close()
        os.close(self.file)
        os.close(self.directory)
