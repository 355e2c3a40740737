"""What GPUs cost those who need none, and those who wait for one. Measured on the tests' own driver library."""

import tempfile
from pathlib import Path

from common import Figure, Options, Queue, Stats, helper, ts_program
from gaps import run

from support.fake_nvml import FakeNvml

ROUNDS = 5


def measure(options: Options) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        return [*cpu_jobs(options, Path(folder)), gpu_after_gpu(options, Path(folder))]


def cpu_jobs(options: Options, folder: Path) -> list[Figure]:
    """CPU jobs on a machine whose NVML takes 20 ms to initialise, and with a GPU job that waits all the time."""
    slow = FakeNvml(folder / "slow", devices=8)
    slow.delay("nvmlInitWithFlags", ms=20)
    count = options.size(1000, 200)
    seconds: dict[str, list[float]] = {"none": [], "nvml": [], "waiting": []}
    for _ in range(ROUNDS):
        for name, values in seconds.items():
            with Queue("ts", ts_program()) as queue:
                if name != "none":
                    queue.environment |= slow.env() | {"TS_LEASE_DIR": str(folder)}  # no file there: -G 1 waits
                queue.run("-w", queue.run("true"))
                if name == "waiting":
                    queue.run("-G", "1", "true")
                values.append(queue.shell(loop(count)) * 1e6 / count)
    series = {name: Stats.of(values) for name, values in seconds.items()}
    none = series["none"]
    return [
        Figure(f"{count} CPU jobs, {what}", "us", {"ts": series[name], "none": none}, "none", goal, note=note)
        for name, what, goal, note in (
            ("nvml", "slow NVML", 1.05, f"a job; without any NVML {none.median:,.0f} us"),
            ("waiting", "slow NVML, one waits", None, "a GPU job waits all the time: the poller starts, and asks"),
        )
    ]


def loop(count: int) -> str:
    return f'i=1; while [ $i -lt {count} ]; do "$ts" true; i=$((i+1)); done; "$ts" -w $("$ts" true)'


def gpu_after_gpu(options: Options, folder: Path) -> Figure:
    """From the end of a job on the only GPU to the start of the next one; the same for CPU jobs in one slot."""
    machine = FakeNvml(folder / "one", devices=1)
    (folder / machine.uuid(0)).touch()
    stamp = helper("stamp", static=True)
    jobs = options.size(200, 50)
    gaps: dict[str, list[float]] = {"ts": [], "cpu": []}
    for _ in range(ROUNDS):
        for name, words in (("ts", ("-G", "1", stamp)), ("cpu", (stamp,))):
            with Queue("ts", ts_program()) as queue:
                queue.environment |= machine.env() | {"TS_LEASE_DIR": str(folder)}
                queue.run("-w", queue.run(*words[:-1], "true"))  # the starts of server and NVML are another question
                gaps[name] += run(queue, jobs, jobs, *words)
    series = {name: Stats.of(values) for name, values in gaps.items()}
    note = f"between CPU jobs {series['cpu'].median:,.0f} us"
    return Figure("GPU job end to next start, 1 GPU", "us", series, "cpu", 2.0, note=note)
