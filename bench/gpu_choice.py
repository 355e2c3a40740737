"""What it costs to give a job its GPUs: choosing, taking and giving back, on machines of several sizes."""

import time

from common import Figure, Options, Stats

from tsfast.resources.gpus import GpusProbe

NEEDS = {
    "one GPU": {},
    "four GPUs": {"count": 4},
    "half of one": {"share": 500},
    "20 GiB of one": {"share": 0, "vram": 20 << 30},
}


def measure(options: Options) -> list[Figure]:
    figures = []
    for devices in (8, 64, 256, 1024):
        probe = machine(devices)
        for name, need in NEEDS.items():
            number = probe.class_of(**need)
            goal = 1000 if devices == 64 else None
            series = {"ts": Stats.of([cycle(probe, number, options.size(20000, 2000)) for _ in range(9)])}
            figures.append(Figure(f"{name} of {devices}: choose, take, give back", "ns", series, goal=goal))
    return figures


def machine(devices: int) -> GpusProbe:
    """Eight GPUs in each link group, half of them on each of two NUMA nodes; every eighth shared already."""
    probe = GpusProbe()
    for i in range(devices):
        facts = {"link": 1 + i // 8, "numa": 2 * i // devices, "total": 80 << 30, "free": 79 << 30}
        probe.report(b"GPU-%d" % i, i, **facts)
    probe.round_end()
    probe.take(probe.class_of(share=100), range(0, devices, 8))
    return probe


def cycle(probe: GpusProbe, number: int, times: int) -> float:
    """Nanoseconds for one job."""
    begin = time.perf_counter_ns()
    probe.cycle(number, times)
    return (time.perf_counter_ns() - begin) / times
