"""Jobs that need GPUs: which ones they get, what they see of them, what waits for whom, and what lists show."""

import re

import pytest

from support.fake_nvml import FakeNvml
from support.gpu_queue import GpuQueue

SHOW = ("sh", "-c", "echo ${CUDA_VISIBLE_DEVICES-none} ${CUDA_DEVICE_ORDER-none}")


@pytest.fixture
def known(gpu_queue: GpuQueue) -> GpuQueue:
    """A queue that has seen its GPUs."""
    gpu_queue.learn()
    return gpu_queue


def shown(queue: GpuQueue, *options: object, env: dict[str, str] | None = None) -> str:
    """What a job of these options sees."""
    job = queue.submit(*options, *SHOW, env=env)
    assert queue.wait(job) == 0
    return queue.output(job).strip()


# ---- who gets what --------------------------------------------------------------------------------------------------


def test_each_job_has_gpus_of_its_own(known: GpuQueue) -> None:
    held = [known.hold("-G", 2) for _ in range(4)]
    sets = [known.gpus(job) for job, _ in held]
    assert sorted(gpu for one in sets for gpu in one) == list(range(8))
    late = known.waiting("-G", 1, "true")
    held[2][1].open()
    assert known.wait(late) == 0
    assert set(known.gpus(late)) < set(sets[2])


def test_what_jobs_see(gpu_queue: GpuQueue) -> None:
    queue = gpu_queue
    own = {"CUDA_VISIBLE_DEVICES": "5"}
    assert shown(queue, env=own) == "-1 PCI_BUS_ID", "from the first job on, though NVML was not asked yet"
    queue.learn()
    job = queue.submit("-G", 3, *SHOW, env=own)
    assert queue.wait(job) == 0
    assert queue.output(job).split() == [",".join(map(str, queue.gpus(job))), "PCI_BUS_ID"]
    assert shown(queue, env=own) == "-1 PCI_BUS_ID"
    assert shown(queue, "-G", 0, env=own) == "-1 PCI_BUS_ID"


def test_named_gpus(known: GpuQueue) -> None:
    """In the order of the list, at once, whoever has them; and for nobody else meanwhile."""
    all_of_them, gate = known.hold("-G", 8)
    job = known.submit("-g", "3,1", *SHOW)
    assert known.wait(job) == 0
    assert known.output(job).split() == ["3,1", "PCI_BUS_ID"]
    assert known.gpus(job) == [3, 1]
    gate.open()
    known.wait(all_of_them)
    uuid = known.nvml.uuid(5)
    assert shown(known, "-g", f"{uuid},2") == "5,2 PCI_BUS_ID"
    _, named = known.hold("-g", "0,1,2,3,4,5,6")
    assert shown(known, "-G", 1).startswith("7 ")
    waits = known.waiting("-G", 2, "true")
    named.open()
    assert known.wait(waits) == 0


def test_named_twice(known: GpuQueue) -> None:
    assert "twice" in known.refused("-g", "1,1", "true")
    assert shown(known, "-g", f"1,{known.nvml.uuid(1)}") == "1 PCI_BUS_ID", "by its index and by its UUID"


def test_gpus_of_one_nvlink_group(gpu_queue: GpuQueue, nvml: FakeNvml) -> None:
    for number in range(8):
        other = number ^ 2
        nvml.set(number, links=[nvml.devices[other].bus])
    gpu_queue.learn()
    for _ in range(6):
        job = gpu_queue.finish("-G", 2, "true")
        one, two = gpu_queue.gpus(job)
        assert one ^ 2 == two
    gpu_queue.hold("-G", 1)
    pairs = [gpu_queue.hold("-G", 2)[0] for _ in range(3)]
    assert all(one ^ 2 == two for one, two in map(gpu_queue.gpus, pairs))


def test_first_choice_waits_for_all_devices(gpu_queue: GpuQueue, nvml: FakeNvml) -> None:
    for number in (0, 7):
        nvml.set(number, links=[nvml.devices[7 - number].bus])
    nvml.delay("nvmlDeviceGetMemoryInfo", ms=20)
    job = gpu_queue.waiting("-G", 2, "true")
    assert gpu_queue.wait(job) == 0
    assert gpu_queue.gpus(job) == [0, 7]


def test_gpus_of_one_numa_node(gpu_queue: GpuQueue, nvml: FakeNvml) -> None:
    for number in range(8):
        nvml.set(number, numa=number % 2)
    gpu_queue.learn()
    jobs = [gpu_queue.hold("-G", 4)[0] for _ in range(2)]
    assert sorted(gpu_queue.gpus(job) for job in jobs) == [[0, 2, 4, 6], [1, 3, 5, 7]]


# ---- lists ----------------------------------------------------------------------------------------------------------


def test_list_of_gpus_in_use(known: GpuQueue) -> None:
    assert known.get("-g") == "ID   GPU-IDs"
    known.hold()
    job, gate = known.hold("-g", "0,1")
    assert known.get("-g").splitlines() == ["ID   GPU-IDs", f"{job:<4} 0 1"]
    gate.open()
    known.wait(job)
    assert known.get("-g") == "ID   GPU-IDs"


def test_column_only_where_there_are_gpus(gpu_queue: GpuQueue) -> None:
    queue = gpu_queue
    queue.finish("true")
    assert "GPUs" not in queue.get()
    queue.learn()
    two = queue.finish("-G", 2, "true")
    half = queue.finish("-G", "0.25", "true")
    memory = queue.finish("-G", 2, "--vram", "1536M", "true")
    lines = queue.get().splitlines()
    at = lines[0].index("GPUs")
    column = {line.split()[0]: line[at:].split()[0] for line in lines[1:]}
    assert column["0"] == "0"
    assert [column[str(job)] for job in (two, half, memory)] == ["2", "0.25", "2x1536M"]
    tab = queue.get("-M", "tab").splitlines()
    assert {len(line.split("\t")) for line in tab} == {len(tab[0].split("\t"))}


def test_fields_of_json(known: GpuQueue) -> None:
    job, _ = known.hold("-g", "6,2")
    found = known.job(job)
    assert (found["GPUs"], found["GPU_IDs"], found["GPU_Memory"]) == (2, [6, 2], None)
    assert found["GPU_UUIDs"] == [known.nvml.uuid(6), known.nvml.uuid(2)]
    part = known.job(known.finish("-G", "0.5", "--vram", "3G", "true"))
    assert (part["GPUs"], part["GPU_Memory"], len(part["GPU_UUIDs"])) == (0.5, 3 << 30, 1)
    none = known.job(known.finish("true"))
    assert (none["GPUs"], none["GPU_IDs"], none["GPU_UUIDs"], none["GPU_Memory"]) == (0, [], [], None)


def test_information(known: GpuQueue) -> None:
    job, _ = known.hold("-g", "1,0")
    info = known.info(job)
    assert (info["GPUs required"], info["GPUs named"], info["GPU IDs"]) == ("2", "1,0", "1,0")
    both = known.info(known.finish("-G", "0.5", "--vram", "3G", "true"))
    assert (both["GPUs required"], both["GPU memory required"]) == ("0.5", "3G")
    waiting = known.info(known.waiting("-G", 8, "true"))
    assert "GPU IDs" not in waiting
    assert "GPUs required" not in known.info(known.finish("true"))


# ---- waiting --------------------------------------------------------------------------------------------------------


def test_those_that_wait_hold_no_slot(known: GpuQueue) -> None:
    known.get("-S", 2)
    _, gate = known.hold("-G", 8)
    waits = known.waiting("-G", 1, "true")
    assert known.state(waits) == "allocating"
    assert known.job(waits)["State"] == "allocating"
    assert "allocating" in known.get()
    assert known.finish("true")
    assert known.state(waits) == "allocating"
    _, slot = known.blocker()
    assert known.state(waits) == "queued", "now it waits for a slot too"
    gate.open()
    slot.open()
    assert known.wait(waits) == 0


def test_few_overtake_many(known: GpuQueue) -> None:
    _, gate = known.hold("-G", 1)
    many = known.waiting("-G", 8, "true")
    assert known.wait(known.submit("-G", 1, "true")) == 0
    assert known.state(many) == "allocating"
    gate.open()
    assert known.wait(many) == 0


def note(queue: GpuQueue, name: str) -> tuple[str, ...]:
    return ("sh", "-c", f"echo {name} >> {queue.directory}/order")


def order(queue: GpuQueue) -> list[str]:
    return (queue.directory / "order").read_text().split()


def test_order_of_the_queue(known: GpuQueue) -> None:
    """Where the GPUs would do for several, the queue's order decides, with -u and -U."""
    known.get("-S", 1)
    _, gate = known.hold("-G", 8)
    names = ["a", "b", "c", "d", "e"]
    jobs = {name: known.submit("-G", 1 + names.index(name), *note(known, name)) for name in names}
    jobs["cpu"] = known.submit(*note(known, "cpu"))
    known.get("-u", jobs["d"])
    known.get("-U", f"{jobs['a']}-{jobs['c']}")
    gate.open()
    for job in jobs.values():
        assert known.wait(job) == 0
    assert order(known) == ["d", "c", "b", "a", "e", "cpu"]


def test_removing_and_cancelling(known: GpuQueue) -> None:
    running, _ = known.hold("-G", 8)
    removed, cancelled, last = (known.waiting("-G", 8, "true") for _ in range(3))
    known.get("-r", removed)
    known.get("--cancel", cancelled)
    assert known.state(cancelled) == "cancelled"
    known.get("--cancel", running)
    assert known.wait(last) == 0
    assert known.state(running) == "cancelled"
    assert removed not in known.ids()


def test_dependencies(known: GpuQueue) -> None:
    first, gate = known.hold("-G", 4)
    after = known.submit("-D", first, "-G", 8, "true")
    good = known.submit("-W", first, "-G", 1, "true")
    other = known.submit("-W", good, "true")
    assert known.state(after) == "queued"
    gate.open(3)
    assert known.wait(after) == 0
    assert (known.state(good), known.state(other)) == ("skipped", "skipped")
    assert known.finish("-G", 8, "true")


def test_a_job_that_cannot_be_executed_gives_back(known: GpuQueue) -> None:
    assert known.wait(known.submit("-G", 8, "/nonexistent")) != 0
    _, gate = known.hold("-G", 8)
    gone = known.directory / "gone"
    gone.mkdir()
    job = known.submit("-G", 8, "true", cwd=gone)
    gone.rmdir()
    gate.open()
    assert known.wait(job) != 0
    assert known.wait(known.submit("-G", 8, "true")) == 0


def test_foreground_job(known: GpuQueue) -> None:
    done = known.run("-nf", "-g", "4", *SHOW)
    assert (done.returncode, done.stdout) == (0, "4 PCI_BUS_ID\n")


def test_many_through_few(known: GpuQueue) -> None:
    """No two at once on a GPU: each takes a directory per GPU that must not be there."""
    marks = known.directory
    script = (
        f'for gpu in $(echo $CUDA_VISIBLE_DEVICES | tr , " "); do mkdir {marks}/taken.$gpu || exit 1; done;'
        f'for gpu in $(echo $CUDA_VISIBLE_DEVICES | tr , " "); do rmdir {marks}/taken.$gpu; done'
    )
    jobs = [known.submit("-G", 1 + number % 4, "sh", "-c", script) for number in range(60)]
    assert [known.wait(job) for job in jobs] == [0] * 60
    assert {gpu for job in jobs for gpu in known.gpus(job)} == set(range(8))


def test_many_kinds_of_need(known: GpuQueue) -> None:
    """They come and go, so that their places are used again."""
    for start in (1, 51):
        _, gate = known.hold("-G", 8)
        jobs = [known.submit("-G", 1 + size % 2, "--vram", f"{size}M", "true") for size in range(start, start + 50)]
        removed = jobs.pop(7)
        known.get("-r", removed)
        gate.open()
        assert [known.wait(job) for job in jobs] == [0] * 49


def test_more_slots_than_there_are(known: GpuQueue) -> None:
    job = known.waiting("-N", 51, "-G", 1, "true")
    assert known.state(job) == "queued"
    known.get("-S", 51)
    assert known.wait(job) == 0


def test_hundreds_of_gpus(gpu_queue: GpuQueue, nvml: FakeNvml) -> None:
    """More leases than go to a runner in one message."""
    nvml.resize(300)
    gpu_queue.add_lease_files()
    gpu_queue.learn()
    halves = [gpu_queue.hold("-G", 150) for _ in range(2)]
    assert sorted(gpu for job, _ in halves for gpu in gpu_queue.gpus(job)) == list(range(300))
    all_of_them = gpu_queue.waiting("-G", 300, *SHOW)
    for _, gate in halves:
        gate.open()
    assert gpu_queue.wait(all_of_them) == 0
    assert gpu_queue.output(all_of_them).split()[0] == ",".join(map(str, range(300)))


# ---- more than there is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("-G", "9"), ("-g", "0,99"), ("-g", "GPU-ffffffff-0000-4000-8000-000000000000")])
def test_more_than_there_is(known: GpuQueue, words: tuple[str, ...]) -> None:
    done = known.run(*words, "true")
    assert done.returncode == 0
    assert re.fullmatch(r"ts: warning: .*\n", done.stderr)
    job = int(done.stdout)
    assert known.wait(known.submit("-G", 8, "true")) == 0
    assert known.state(job) == "allocating"
    assert "GPU" in known.why(job)
    if words[0] == "-G":
        known.nvml.resize(9)
        known.add_lease_files()
        assert known.wait(job) == 0
        assert known.gpus(job) == list(range(9))


def warning(queue: GpuQueue, *words: object) -> str:
    """What is said of a job that is queued all the same, and does not stay there."""
    done = queue.run(*words, "true")
    assert done.returncode == 0
    queue.run("--cancel", int(done.stdout))  # some can start, and may have ended
    return done.stderr.removeprefix("ts: warning: ").removesuffix("\n")


def test_needs_that_no_gpu_can_ever_meet(gpu_queue: GpuQueue, nvml: FakeNvml) -> None:
    known = gpu_queue
    nvml.resize(3)
    nvml.set(2, memory_total=24 << 30, memory_free=24 << 30)
    known.learn()
    more = "it waits until there are more"
    assert warning(known, "--vram", "1000T") == (
        f"the job needs 1 GPU with 1000T and the machine has 3, the largest with 80G; {more}"
    )
    assert warning(known, "-G", 3, "--vram", "40G") == (
        f"the job needs 3 GPUs with 40G and the machine has 3, the largest with 80G; {more}"
    )
    assert warning(known, "-G", 2, "--vram", "40G") == ""
    assert warning(known, "--vram", "80G") == "", "all of one is not free now, but may be"
    unknown = "GPU-ffffffff-0000-4000-8000-000000000000"
    waits = "are known on this machine; the job waits until they are there"
    assert warning(known, "-g", f"0,{unknown}") == f"not all of the GPUs 0,{unknown} {waits}"
    assert warning(known, "-g", "99") == f"not all of the GPUs 99 {waits}"
    assert warning(known, "-g", nvml.uuid(1)) == ""


def test_needs_that_the_mode_of_the_gpus_excludes(gpu_queue: GpuQueue, nvml: FakeNvml) -> None:
    nvml.resize(2)
    nvml.divide(0, 2)
    nvml.set(1, compute_mode=3)
    gpu_queue.add_lease_files()
    gpu_queue.learn()
    more = "it waits until there are more"
    assert warning(gpu_queue, "-G", 2) == (
        "the job needs 2 GPUs and the machine has 4, 1 divided into MIG instances, "
        f"2 MIG instances, of which a job gets one alone; {more}"
    )
    assert warning(gpu_queue, "-G", 1) == ""
    assert warning(gpu_queue, "--vram", "20G") == (
        "the job needs 1 GPU with 20G and the machine has 4, 1 divided into MIG instances, "
        f"1 whose compute mode excludes sharing, the largest with 80G; {more}"
    )
    assert warning(gpu_queue, "-g", 0) == (
        "not all of the GPUs 0 can be used, 1 divided into MIG instances; the job waits until they can"
    )


def test_machine_without_gpus(gpu_queue: GpuQueue) -> None:
    """CPU jobs as ever: what the caller says is left alone. No column; a GPU job waits with a warning."""
    queue = gpu_queue
    library = queue.directory / "no-library"
    library.mkdir()
    (library / "libnvidia-ml.so.1").touch()
    queue.environment["LD_LIBRARY_PATH"] = str(library)
    assert shown(queue) == "none none"
    assert shown(queue, env={"CUDA_VISIBLE_DEVICES": "5"}) == "5 none"
    assert "GPUs" not in queue.get()
    done = queue.run("-G", 1, "true")
    assert done.stderr == "ts: warning: no GPU is known here yet; the job waits until one is found\n"
    job = int(done.stdout)
    assert queue.wait(queue.submit("true")) == 0
    assert queue.state(job) == "allocating"
    queue.wait_until(lambda: "NVML" in queue.why(job))
    queue.wait_until(lambda: queue.log_lines("no GPU is available"))
    assert len(queue.log_lines("no GPU is available")) == 1
    assert "it needs 1 GPU; none is known here" in queue.why(job)
    told = queue.run("-G", 1, "true").stderr
    assert re.fullmatch(r"ts: warning: no GPU is known here \(.*NVML.*\); the job waits until one is found\n", told)
    assert shown(queue) == "none none"


# ---- settings -------------------------------------------------------------------------------------------------------


def test_how_much_memory_makes_a_gpu_free(gpu_queue: GpuQueue, nvml: FakeNvml) -> None:
    queue = gpu_queue
    half = nvml.devices[0].memory_total // 2
    for number in range(8):
        nvml.set(number, memory_free=half)
    assert queue.get("--get_gpu_free_perc") == "90"
    job = queue.waiting("-G", 1, "true")
    queue.wait_until(lambda: "8 are short of free memory" in queue.why(job))
    queue.get("--set_gpu_free_perc", 50)
    assert queue.get("--get_gpu_free_perc") == "50"
    assert queue.state(job) == "allocating", "half of it is not more than half of it"
    queue.get("--set_gpu_free_perc", 49)
    assert queue.wait(job) == 0
    queue.kill_server()
    assert queue.get("--get_gpu_free_perc") == "49"
    queue.get("--set_gpu_free_perc", 90)
    job = queue.waiting("-G", 1, "true")
    nvml.set(3, memory_free=nvml.devices[3].memory_total)
    assert queue.wait(job) == 0
    assert queue.gpus(job) == [3]
    for wrong in ("101", "-1", "x"):
        queue.refused("--set_gpu_free_perc", wrong)


def test_memory_of_a_job_that_ended_counts_no_longer(gpu_queue: GpuQueue, nvml: FakeNvml) -> None:
    """What NVML said while the job ran is not held against the next one, without waiting for NVML."""
    nvml.resize(1)
    gpu_queue.learn()
    _, gate = gpu_queue.hold("-G", 1)
    nvml.set(0, memory_free=0)
    late = gpu_queue.waiting("-G", 1, "true")
    gpu_queue.wait_until(lambda: "used by jobs of this queue" in gpu_queue.why(late))
    nvml.set(0, memory_free=nvml.devices[0].memory_total)
    gate.open()
    assert gpu_queue.wait(late) == 0


def test_pause_between_starts(known: GpuQueue) -> None:
    assert known.get("--get_gpu_wait") == "0"
    known.get("--set_gpu_wait", 1000)
    known.hold("-G", 1)
    job = known.waiting("-G", 1, "true")
    named = known.waiting("-g", "0", "true")
    assert "--set_gpu_wait" in known.why(job)
    assert known.finish("true")
    assert known.state(job) == "allocating"
    known.get("--set_gpu_wait", 1)
    assert known.wait(job) == 0
    assert known.wait(named) == 0
    assert known.job(named)["Start_Time"] - known.job(job)["Start_Time"] > 0.9
    assert known.get("--get_gpu_wait") == "1"


def test_visible_devices(gpu_queue: GpuQueue, nvml: FakeNvml) -> None:
    queue = gpu_queue
    queue.environment["TS_VISIBLE_DEVICES"] = f"2,{nvml.uuid(6)}"
    queue.learn()
    jobs = [queue.hold("-G", 1)[0] for _ in range(2)]
    assert sorted(gpu for job in jobs for gpu in queue.gpus(job)) == [2, 6]
    late = queue.waiting("-G", 1, "true")
    queue.wait_until(lambda: "6 are left out by TS_VISIBLE_DEVICES" in queue.why(late))
    assert queue.run("-G", 3, "true").stderr == (
        "ts: warning: the job needs 3 GPUs and the machine has 8, of which TS_VISIBLE_DEVICES leaves 2; "
        "it waits until there are more\n"
    )
    assert shown(queue, "-g", "0") == "0 PCI_BUS_ID", "who names a GPU gets it"


def test_visible_devices_change_while_a_job_waits(gpu_queue: GpuQueue) -> None:
    gpu_queue.environment["TS_VISIBLE_DEVICES"] = "2"
    gpu_queue.learn()
    late = gpu_queue.waiting("-G", 2, "true")
    gpu_queue.get("--setenv", "TS_VISIBLE_DEVICES=2,5")
    assert gpu_queue.wait(late) == 0
    assert sorted(gpu_queue.gpus(late)) == [2, 5]


def test_visible_devices_that_make_no_sense(gpu_queue: GpuQueue) -> None:
    queue = gpu_queue
    queue.environment["TS_VISIBLE_DEVICES"] = "2,x"
    job = queue.waiting("-G", 1, "true")
    queue.wait_until(lambda: "TS_VISIBLE_DEVICES" in queue.why(job))
    queue.wait_until(lambda: not queue.monitors())
    queue.wait_until(queue.monitors, "it is tried again")
    queue.wait_until(lambda: not queue.monitors())
    assert "TS_VISIBLE_DEVICES" in queue.why(job)
    assert len(queue.log_lines("no GPU is available")) == 1
    assert "TS_VISIBLE_DEVICES: 'x' is neither an index nor a UUID" in queue.run("-G", 1, "true").stderr
