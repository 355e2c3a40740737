"""Memory of queued jobs, all counted: the server's and the runners' own and shared pages, the blocks of the state
directory, which on tmpfs are memory too, and what the kernel keeps for sockets and the like as far as /proc tells."""

import subprocess
from pathlib import Path

from common import Figure, Options, Queue, Stats, peers

COMMAND = "true " + "x" * 95


def measure(options: Options) -> list[Figure]:
    figures = []
    jobs = options.size(10000, 2000)
    few = options.size(900, 300)  # tsp takes no more
    series = {}
    for name, program in peers(options):
        count = jobs if name == "ts" else few
        with Queue(name, program) as queue:
            queue.block()
            before = everything(queue)
            queue.fill(count, *COMMAND.split())
            after = everything(queue)
        series[name] = Stats.of([(after - before) / count])
        if name == "ts":
            grown = (after - before) / 1e6 * 10000 / count
            figures.append(
                Figure(
                    "memory of 10,000 queued jobs above an idle queue",
                    "MB",
                    {"ts": Stats.of([grown])},
                    goal=30,
                    note=f"{count} jobs of 100-byte commands; idle queue: {before / 1e6:.1f} MB",
                )
            )
    note = "PSS of all processes of the queue and state directory; tsp has a process per queued job"
    figures.append(Figure("memory per queued job", "bytes", series, "tsp", note=note))
    return figures


def everything(queue: Queue) -> int:
    """Bytes of memory and storage that the queue uses."""
    return sum(proportional(pid) for pid in processes(queue)) + blocks(queue.directory / "state")


def processes(queue: Queue) -> list[int]:
    """All of the spooler's processes: they have its socket in their environment, and are no jobs."""
    wanted = f"TS_SOCKET={queue.environment['TS_SOCKET']}".encode()
    found = []
    server = queue.server()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            name = (entry / "comm").read_text().strip()
            status = (entry / "status").read_text()
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        parent = int(status.partition("PPid:")[2].split()[0])
        if int(entry.name) == server or parent == server or (wanted in environment and name in ("ts", "tsp")):
            found.append(int(entry.name))
    return found


def proportional(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # it ended meanwhile
    return 0


def blocks(directory: Path) -> int:
    if not directory.exists():
        return 0
    done = subprocess.run(["du", "-s", "-B1", str(directory)], check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout.split()[0])
