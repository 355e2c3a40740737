"""Death at the Nth step: server and runners die at each write, packet, rename, sync, lock, signal, swap of a word and
new process of a scenario in which everything occurs, one step in each run of it (native/fault.h).

TSFAST_CRASH_POINTS says at how many of them, spread evenly, or `all` (make soak)."""

import os
import shlex
import struct

import pytest

from support.fake_nvml import FakeNvml
from support.fault_queue import FaultQueue, is_free
from support.patience import patient
from support.processes import alive, kill
from support.state_files import entries
from system.fault.test_storm import processes

WANTED = os.environ.get("TSFAST_CRASH_POINTS", "")
CODES = {"long": 5, "first": 0, "bad": 7, "gpu": 3, "after": 0, "ok": 4, "zip": 6, "foreground": 9, "last": 200}
CODES |= {"batched": 2, "behind": 0}
SKIPPED, CANCELLED = {"skipped"}, {"waiting", "running"}


class Run:
    """One run of the scenario, in which whoever comes to the step dies once."""

    queue_class, what = FaultQueue, "death"

    def __init__(self, folder, kind, step):
        folder.mkdir()
        self.kind, self.step, self.steps = kind, step, folder / "steps"
        self.steps.write_bytes(bytes(8))
        self.queue = queue = self.queue_class(folder, slots=4)
        queue.give_gpus(FakeNvml(folder / "nvml", devices=2))
        self.hooks, hook = folder / "hooks", folder / "hook"
        self.hooks.touch()
        hook.write_text(f'#!/bin/sh\necho "$1 $2" >> {self.hooks}\n')
        hook.chmod(0o755)
        queue.environment |= {
            "TS_ONFINISH": str(hook),
            "TS_CANCEL_GRACE": "0",
            "TS_DURABLE": str(int(kind == "durable server")),
            "TSFAST_CRASH_AT": f"{'runner:' if kind == 'runner' else ''}{step}:{self.steps}",
        }
        self.ids = {}

    @property
    def count(self):
        return struct.unpack("=Q", self.steps.read_bytes())[0]

    @property
    def died(self):
        return 0 < self.step <= self.count

    def job(self, name, script, *options):
        self.ids[name] = self.queue.job(name, script, *options)

    # ---- what is done ------------------------------------------------------------------------------------------
    def act(self):
        """The calls survive each death: they start the next server and ask again."""
        queue, ids, job = self.queue, self.ids, self.job
        job("long", f"{queue.until_opened('long')}; exit 5")
        job("first", "exit 0")
        job("bad", "exit 7")
        job("gpu", 'test -n "$CUDA_VISIBLE_DEVICES" && exit 3', "-G", 1)
        job("after", "true", "-D", ids["gpu"])
        job("ok", "exit 4", "-W", ids["first"])
        job("skipped", "true", "-W", ids["bad"])
        for name in ("big", "removed", "late", "urgent", "waiting"):
            job(name, "true", "-N", 99)
        queue.ts("-u", ids["urgent"])
        queue.ts("-r", ids["removed"])
        queue.ts("-U", f"{ids['big']}-{ids['late']}")
        queue.ts("--cancel", ids["waiting"])
        self.batch()
        job("running", queue.until_opened("running"))
        queue.wait_until(lambda: self.tried("running"), "the start of a job")
        self.kill_server()
        job("zip", "echo hello; exit 6", "-z")
        queue.ts("--cancel", ids["running"], code=None)  # it can have ended with its runner
        caller = self.call_foreground()
        queue.wait(ids["zip"])
        caller.wait(60)
        self.ids["foreground"] = int(caller.stdout.read())
        self.foreground = caller.returncode
        self.kill_server()
        job("last", "exit 200")

    def batch(self):
        lines = self.queue.directory / "batch"
        words = shlex.join(self.queue.words("batched", "exit 2")), shlex.join(self.queue.words("behind", "exit 0"))
        lines.write_text("{}\n-D @0 {}\n".format(*words))
        first, last = map(int, self.queue.ts("--batch", lines).split("-"))
        assert last == first + 1
        self.ids |= {"batched": first, "behind": last}

    def call_foreground(self):
        return self.queue.start("-f", *self.queue.words("foreground", "exit 9"))

    def kill_server(self):
        """So that the next one recovers the queue, and can die of it."""
        if server := self.queue.server():
            self.queue.kill(server)

    def tried(self, name):
        """It runs, or it never will, for its process died instead of its runner."""
        return name in self.queue.started() or self.queue.ts("-s", self.ids[name]) != "running\n"

    # ---- what must have come of it -----------------------------------------------------------------------------
    def check(self):
        queue, ids = self.queue, self.ids
        queue.wait_until(lambda: self.tried("long"), "the start of the first job")
        if "long" in queue.started() and queue.ts("-s", ids["long"]) == "running\n":
            queue.open_gate("long")
        codes = {name: queue.wait(ids[name]) for name in ids if name in {*CODES, *SKIPPED, *CANCELLED}}
        odd = {name for name, code in CODES.items() if codes[name] != code}
        jobs = queue.by_id()
        assert set(jobs) == set(ids.values()) - {ids["removed"]}
        queued = [job for job in jobs if jobs[job]["State"] == "queued"]
        assert queued == [ids[name] for name in ("urgent", "late", "big")]
        if odd:
            odd -= self.excuse(next(iter(odd - {"ok"} or odd)))
        assert not odd, {name: codes[name] for name in odd}
        for name in CODES:
            assert jobs[ids[name]]["State"] in ("finished", *(["skipped"] if name == "ok" and self.excused else []))
        assert jobs[ids["skipped"]]["State"] == "skipped"
        for name in CANCELLED:
            state = jobs[ids[name]]["State"]
            assert state == "cancelled" or self.excuse(name), f"{name} is {state}"
        if self.excused != "foreground":
            assert self.foreground == 9
        started = queue.started()
        assert len(started) == len(set(started)), started
        assert {*CODES, "running"} - set(started) <= {self.excused, *(["ok"] if self.excused == "first" else [])}
        assert set(started) <= {*CODES, "running"}
        self.check_hooks(jobs)
        self.check_rest()

    excused = None

    def excuse(self, name):
        """One job at most: its own process died before it had executed anything, and it says so; or its runner did
        after the server that had started both was killed, and it is lost; or what it writes to."""
        assert self.kind == "runner", f"{name} has no excuse\n{self.queue.details(self.ids[name])}"
        assert self.excused in (None, name), f"{name} and {self.excused}"
        info = self.queue.details(self.ids[name])
        if name == "zip" and "killed by signal 13" in info:
            assert name in self.queue.started()  # it was gzip that died
        elif "lost: the runner died" not in info:
            assert "killed by signal 9" in info, info
            assert name not in self.queue.started()
        self.excused = name
        return {name, "ok"} if name == "first" else {name}

    def check_hooks(self, jobs):
        wanted = {f"{job} {level}" for name in CODES if (level := jobs[job := self.ids[name]]["E-Level"]) is not None}
        missing = int(self.kind == "runner")  # the hook's process can be the one that dies, right before it executes it
        ran = self.hooks.read_text
        self.queue.wait_until(lambda: len(wanted - set(ran().splitlines())) <= missing, f"the hooks of {wanted}")

    def check_rest(self):
        """Nothing is taken, nothing is left."""
        queue = self.queue
        queue.wait_until(lambda: not entries(queue.state_dir), "the entries are free")
        queue.wait_until(lambda: all(is_free(path) for path in queue.leases.iterdir()), "the leases are free")
        runners = queue.runners().values()
        queue.ts("-K")
        queue.wait_until(lambda: not processes(queue), "no process is left")
        queue.wait_until(lambda: not any(alive(pid) for pid in runners), "no runner is left")

    def close(self):
        self.queue.end()
        for pid in processes(self.queue):
            kill(pid)


def run(folder, kind, step, run_class=Run):
    run = run_class(folder, kind, step)
    try:
        run.act()
        run.check()
    except BaseException:
        print(f"{kind}: {run.what} at step {step} of {run.count}, {'died' if run.died else 'not reached'}")
        print(f"{run.ids}\n{run.queue.report()}")
        raise
    finally:
        run.close()
    return run


@pytest.mark.timeout(patient(7200 if WANTED == "all" else 120))
@pytest.mark.parametrize(("kind", "sample"), [("server", 14), ("durable server", 6), ("runner", 10)])
def test_death_at_each_step(tmp_path, fault_points_work, kind, sample):
    total = run(tmp_path / "whole", kind, 0).count
    sample = total if WANTED == "all" else int(WANTED or sample)
    steps = sorted({1 + n * total // sample for n in range(sample)})
    died = sum(run(tmp_path / str(step), kind, step).died for step in steps)
    print(f"{kind}: {total} steps, died at {died} of the {len(steps)} tried")
    assert died >= len(steps) * 9 // 10, "the counts of two runs differ a little, not that much"
