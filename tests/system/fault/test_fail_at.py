"""Failure of the Nth step: each write, packet, rename, sync, lock, signal and new process of a server is refused by the
system, one in each run of the scenario of test_crash_at.py. A call may be refused with one line, and nothing has come
of it then: made again it works. All else is as if nothing had happened.

TSFAST_CRASH_POINTS says how many of the steps, as for the deaths."""

import errno
import struct

import pytest

from support.fault_queue import PATIENCE, FaultQueue
from support.layouts import tsf_header
from support.patience import patient
from system.fault.test_crash_at import WANTED, Run, run


class PatientQueue(FaultQueue):
    """Asks again what was refused, once."""

    refusals = ()

    def answer(self, call, code=0):
        out, err = call.communicate(timeout=PATIENCE)
        if call.returncode == 255 and err.startswith("ts: "):
            assert out == "" and err.count("\n") == 1, (call.args, out, err)
            self.refusals += ((call.args[1:], err),)
            call = self.start(*call.args[1:])
            out, err = call.communicate(timeout=PATIENCE)
        assert code is None or call.returncode == code, f"{call.args}: {out}{err}{self.refusals}\n{self.report()}"
        return out

    def wait(self, id):
        for _ in range(2):
            call = self.start("-w", id)
            _, err = call.communicate(timeout=PATIENCE)
            if not err:
                break
        return call.returncode


class FailedRun(Run):
    queue_class, what = PatientQueue, "failure"

    def __init__(self, folder, kind, step):
        super().__init__(folder, kind, step)
        self.queue.environment["TSFAST_FAILS"] = str(errno.EDQUOT)

    def tried(self, name):
        """No process dies; a start that was put off comes later."""
        return name in self.queue.started()

    def call_foreground(self):
        caller = super().call_foreground()
        if caller.wait(60) == 255:
            assert caller.stdout.read() == ""
            caller = super().call_foreground()
        return caller


class ShortRun(Run):
    """What a runner, a hook or a job before execve needs is not to be had, once: it is tried again."""

    what = "shortage"

    def __init__(self, folder, kind, step):
        super().__init__(folder, kind, step)
        self.queue.environment["TSFAST_FAILS"] = str(errno.ENOMEM)


@pytest.mark.timeout(patient(7200 if WANTED == "all" else 120))
def test_shortage_at_each_step_of_a_runner(tmp_path, fault_points_work):
    total = run(tmp_path / "whole", "runner", 0, ShortRun).count
    sample = total if WANTED == "all" else int(WANTED or 10)
    steps = sorted({1 + n * total // sample for n in range(sample)})
    failed = sum(run(tmp_path / str(step), "runner", step, ShortRun).died for step in steps)
    assert failed >= len(steps) * 9 // 10, "the counts of two runs differ a little, not that much"


@pytest.mark.timeout(patient(7200 if WANTED == "all" else 120))
@pytest.mark.parametrize(("kind", "sample"), [("server", 14), ("durable server", 6)])
def test_failure_of_each_step(tmp_path, fault_points_work, kind, sample):
    total = run(tmp_path / "whole", kind, 0, FailedRun).count
    sample = total if WANTED == "all" else int(WANTED or sample)
    steps = sorted({1 + n * total // sample for n in range(sample)})
    runs = [run(tmp_path / str(step), kind, step, FailedRun) for step in steps]
    failed, refused = sum(run.died for run in runs), sum(bool(run.queue.refusals) for run in runs)
    print(f"{kind}: {total} steps, {failed} of the {len(steps)} tried failed, {refused} calls were refused")
    assert failed >= len(steps) * 9 // 10, "the counts of two runs differ a little, not that much"


LAST_STEP = 1000


def test_swap_whose_last_write_fails(queue):
    """It is done, and the intent of it that stays on the disk undoes nothing that comes later."""
    steps = queue.directory / "steps"
    steps.write_bytes(bytes(8))
    queue.environment |= {"TSFAST_CRASH_AT": f"{LAST_STEP}:{steps}", "TSFAST_FAILS": str(errno.EDQUOT)}
    queue.start_server()
    queue.until_running(queue.job("blocker", queue.until_opened("blocker"), "-N", 3))
    one, two, three = (queue.job(name, "true", "-N", 3) for name in ("one", "two", "three"))
    with steps.open("r+b") as file:
        file.write(struct.pack("=Q", LAST_STEP - 4))
    queue.ts("-U", f"{one}-{three}")
    assert tsf_header.from_buffer_copy((queue.state_dir / "header").read_bytes()).intent[0] == 1
    queue.ts("-u", one)
    queue.kill_server()
    queue.open_gate("blocker")
    for id in (one, two, three):
        assert queue.wait(id) == 0
    assert queue.started() == ["blocker", "one", "three", "two"]
