"""What the benchmarks share: queues of tsfast and of its peers in temporary directories, interleaving, statistics."""

import contextlib
import os
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))  # for support.installation and support.fake_nvml
BUILD = HERE.parent / "build" / "bench"
PATIENCE_S = 60.0
CLEAN = ("TS_", "TMPDIR", "XDG_STATE_HOME")  # of the caller's environment nothing that steers a spooler is left


@dataclass
class Options:
    """How much is measured: size() picks between the full and the quick form."""

    quick: bool = False

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full


@dataclass
class Stats:
    """Of one series: median, the two quartiles, how many values."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Stats":
        if len(values) < 2:
            return cls(values[0], values[0], values[0], 1)
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(middle, low, high, len(values))


@dataclass
class Figure:
    """One answered question. `goal` is for `ratio` if there is a peer, else for the median of ours; `sense` says on
    which side of the goal is good."""

    name: str
    unit: str
    series: dict[str, Stats]
    peer: str = ""
    goal: float | None = None
    sense: str = "<="
    note: str = ""
    plot: dict[str, object] = field(default_factory=dict)  # what plots.py draws besides the series
    load: list[float] = field(default_factory=lambda: [round(x, 2) for x in os.getloadavg()])

    @property
    def value(self) -> float:
        """The ratio ours to the peer's, or where there is none our median."""
        ours = self.series["ts"].median
        return ours / self.series[self.peer].median if self.peer in self.series else ours

    def against(self, peer: str, goal: float | None, sense: str = ">=") -> "Figure":
        """The same measurement beside another peer."""
        return replace(self, peer=peer, goal=goal, sense=sense, note="", plot={})

    @property
    def met(self) -> bool | None:
        if self.goal is None or (self.peer and self.peer not in self.series):
            return None
        return self.value <= self.goal if self.sense == "<=" else self.value >= self.goal

    def as_json(self) -> dict[str, object]:
        return asdict(self) | {"value": self.value, "met": self.met}


def interleave(contenders: Mapping[str, Callable[[], float]], rounds: int = 5) -> dict[str, Stats]:
    """Each contender once, then each again: A B C A B C."""
    values: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, measured in contenders.items():
            values[name].append(measured())
    return {name: Stats.of(taken) for name, taken in values.items()}


def seconds(words: Sequence[str], environment: Mapping[str, str] | None = None) -> float:
    """How long a program runs, its output discarded. (Waiting with a timeout, subprocess looks at it every 50 ms.)"""
    begin = time.perf_counter()
    with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL) as process:
        deadline = threading.Timer(PATIENCE_S * 5, process.kill)
        deadline.start()
        try:
            code = process.wait()
            taken = time.perf_counter() - begin
        finally:
            deadline.cancel()
    if code:
        raise SystemExit(f"{' '.join(words)[:200]}: exit code {code}")
    return taken


@contextlib.contextmanager
def beside(words: Sequence[str], **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """A program that runs meanwhile, with whatever it starts; all of it is killed at the end."""
    with subprocess.Popen(words, process_group=0, text=True, **options) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


# ---- programs ----------------------------------------------------------------------------------------------------


def ts_program() -> str:
    """The launcher of the environment that runs the benchmark."""
    path = Path(sys.executable).parent / "ts"
    if not path.exists():
        raise SystemExit(f"{path} is not there: install tsfast into this environment first")
    return str(path)


def tsp_program() -> str | None:
    """Debian's task-spooler, not the `tsp` that tsfast installs beside `ts`."""
    ours = Path(ts_program()).parent.resolve()
    for directory in os.get_exec_path():
        path = Path(directory) / "tsp"
        if path.exists() and path.parent.resolve() != ours and b"tsfast" not in path.read_bytes():
            return str(path)
    return None


def helper(name: str, static: bool = False) -> str:
    """Compile bench/NAME.c, unless that is done already."""
    source, target = HERE / f"{name}.c", BUILD / name
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        BUILD.mkdir(parents=True, exist_ok=True)
        compiler = ["gcc"]
        if static:
            compiler = ["musl-gcc" if shutil.which("musl-gcc") else "gcc", "-static"]
        subprocess.run([*compiler, "-O2", "-o", str(target), str(source)], check=True)
    return str(target)


# ---- queues ------------------------------------------------------------------------------------------------------


def memory() -> str | None:
    """Where files are no question of a disk; None: tempfile's own choice."""
    return "/dev/shm" if os.path.isdir("/dev/shm") else None


class Queue:
    """A spooler with a fresh queue of its own; a context manager that leaves neither processes nor files."""

    def __init__(self, name: str, program: str, slots: int = 1, directory: str | None = None) -> None:
        self.name = name
        self.program = program
        self.directory = Path(tempfile.mkdtemp(prefix=f"bench-{name}-", dir=directory or memory()))
        self.outputs = self.directory / "out"
        self.outputs.mkdir()
        assigned = self.assignments(slots)
        self.environment = {n: v for n, v in os.environ.items() if not n.startswith(CLEAN)} | assigned
        self.assigned = list(assigned)  # the names of those that a caller is told of, see command()
        self.blockers: list[int] = []

    def assignments(self, slots: int) -> dict[str, str]:
        return {
            "TS_SOCKET": str(self.directory / "socket"),
            "TS_STATE": str(self.directory / "state"),
            "TSFAST_VAR_TMP": str(self.directory / "var"),
            "TMPDIR": str(self.outputs),
            "TS_SLOTS": str(slots),
            "TS_MAXFINISHED": "1000000",
        }

    def __enter__(self) -> "Queue":
        return self

    def __exit__(self, *_: object) -> None:
        server = self.server() if (self.directory / "socket").exists() else 0
        for pid in self.blockers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if server:
            self.run("-K", check=False)
            await_true(lambda: not alive(server), "the server's end")
        shutil.rmtree(self.directory, ignore_errors=True)

    def command(self, *words: str) -> list[str]:
        """For the driver: assignments, program, words."""
        return [*(f"{name}={self.environment[name]}" for name in self.assigned), self.program, *words]

    def run(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            [self.program, *words],
            env=self.environment,
            check=check,
            timeout=PATIENCE_S,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def shell(self, script: str) -> float:
        """Seconds that a script of sh takes; `$ts` is the program."""
        return seconds(["/bin/sh", "-c", script], self.environment | {"ts": self.program})

    def block(self) -> None:
        """Fill a slot with a job that stays."""
        place = self.directory / f"blocker-{len(self.blockers)}"
        self.run("sh", "-c", f"echo $$ > {place}; exec sleep 10000")
        await_true(lambda: place.exists() and place.read_text().endswith("\n"), "the blocking job's start")
        self.blockers.append(int(place.read_text()))

    def unblock(self) -> None:
        """Let what is queued start: the job in the slot ends."""
        os.kill(self.blockers.pop(), signal.SIGKILL)

    def fill(self, count: int, *command: str) -> None:
        """Submit the same command many times."""
        words = " ".join(command or ("true",))
        self.shell(f'i=0; while [ $i -lt {count} ]; do "$ts" {words}; i=$((i+1)); done')

    def fill_at_once(self, jobs: Iterable[Any]) -> list[int]:
        """Submit many jobs by one batch of the Python API (tsfast only); their ids."""
        import tsfast

        return tsfast.Queue(str(self.directory / "socket")).submit_many(jobs).tolist()

    def server(self) -> int:
        """The pid of the server: whoever is at the other end of the socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            try:
                connection.connect(str(self.directory / "socket"))
            except OSError:
                return 0
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("3i", peer)[0])


def peers(options: Options) -> list[tuple[str, str]]:
    """Name and program of tsfast, then of each installed peer."""
    tsp = tsp_program()
    return [("ts", ts_program()), *([("tsp", tsp)] if tsp else [])]


@contextlib.contextmanager
def queues(options: Options, slots: int = 1) -> Iterator[list[Queue]]:
    """One fresh queue of each contender."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Queue(name, program, slots)) for name, program in peers(options)]


# ---- measuring ---------------------------------------------------------------------------------------------------


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


def await_true(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {PATIENCE_S:.0f} s for {what} in vain")
        time.sleep(0.002)


def drive(count: int, *commands: Sequence[str]) -> list[list[tuple[int, int]]]:
    """Run the commands in turn from the C driver; for each command the begin and end of its processes, in ns."""
    words = [helper("driver"), str(count)]
    for i, command in enumerate(commands):
        words += ["--", *command] if i else command
    lines = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, timeout=PATIENCE_S * 5).stdout
    samples: list[list[tuple[int, int]]] = [[] for _ in commands]
    for line in lines.splitlines():
        index, begin, end = map(int, line.split())
        samples[index].append((begin, end))
    return samples


def compare_calls(options: Options, name: str, each: Sequence[Queue], *words: str, **figure: object) -> Figure:
    """One call, of all queues in turn: microseconds from spawn to end."""
    samples = drive(options.size(400, 100), *(queue.command(*words) for queue in each))
    series = {
        queue.name: Stats.of([(end - begin) / 1000 for begin, end in taken])
        for queue, taken in zip(each, samples, strict=True)
    }
    return Figure(name, "us", series, peer="tsp", **figure)  # type: ignore[arg-type]
