"""What the actions say of an array as a whole, and that `5[7]` stays one element."""

import os
import re
import signal
from pathlib import Path

import pytest

from lifecycle.test_arrays import crowd
from support.processes import sleeping
from support.queues import Queue


def shown(queue: Queue, *parts: tuple[int, str]) -> str:
    """As tail shows several files."""
    return "\n".join(f"==> {queue.get('-o', job)} <==\n{text}" for job, text in parts)


# ---- --why


def test_why_speaks_for_all_elements(queue: Queue) -> None:
    queue.get("-S", 8)
    crowd(queue, "1-30%3")
    queue.wait_until(lambda: queue.get("-R") == "3")
    assert queue.get("--why", 0).splitlines()[:5] == [
        "Array 0[1-30] (27 queued, 3 running)",
        "the first that waits:",
        "Job 3 is queued:",
        "its array runs as many elements as its limit allows: 3",
        "it needs 1 slot; of 8 there are 5 free",
    ]
    assert queue.get("--why") == queue.get("--why", 0)
    assert queue.get("--why", "0[4]").startswith("Job 3 is queued:\n")
    (queue.work / "go").touch()
    assert queue.run("-w", 0).returncode == 0
    assert queue.get("--why", 0) == "Array 0[1-30] (30 ok)"


def test_why_of_bad_ends(queue: Queue) -> None:
    queue.get("--array", "5-8", "sh", "-c", "exit $(( {} == 7 ? 3 : 0 ))")
    queue.run("-w", 0)
    assert queue.get("--why", 0).splitlines() == [
        "Array 0[5-8] (3 ok, 1 failed)",
        "the first that failed:",
        "Job 2 has ended:",
        "Exit status: died with exit code 3",
    ]
    job = queue.submit("true")
    queue.wait(job)
    assert queue.get("--why", f"{job},0").count("\n") == 6 - 1


def test_why_of_a_large_array_is_short(queue: Queue) -> None:
    _, gate = queue.blocker()
    queue.get("--array", "1-65536%9", "true")
    lines = queue.get("--why", 1).splitlines()
    assert lines[0] == "Array 1[1-65536] (65536 queued)" and len(lines) < 8
    queue.get("--array", "1-9", "true")
    queue.get("-r", "65537[1-3]")
    assert queue.get("--why", 65537).startswith("Array 65537[1-9] (6 queued)\nthe first that waits:\nJob 65540 ")
    queue.get("-r", 65537)
    assert "no longer known" in queue.refused("--why", 65537)
    gate.open()


# ---- -F, -a, -o, -p


def test_command_label_path_and_pid(queue: Queue) -> None:
    gate = queue.gate()
    queue.get("-S", 2)
    script = 'echo {}; test {} -eq 1 && exit 4; read x < "$0"'
    queue.get("-L", "sweep", "--array", "1-4", "sh", "-c", script, str(gate.path))
    queue.wait_until(lambda: queue.get("-s", "0[2-3]") == "1 running\n2 running")
    assert queue.get("-F", 0) == f"sh -c '{script}' {gate.path}"
    assert "echo 3; test 3" in queue.get("-F", "0[3]")
    assert queue.get("-a", 0) == "sweep"
    assert [queue.get(option, 0) for option in ("-o", "-p")] == [queue.get(option, "0[1]") for option in ("-o", "-p")]
    queue.get("--cancel", 0)
    queue.run("-w", 0)
    queue.get("-r", "0[1]")
    assert queue.get("-a", 0) == "sweep", "its first element is not known any more"
    assert queue.get("-F", 0).startswith("sh -c ")
    assert "no longer known" in queue.refused("-F", "0[1]")


def test_output_that_is_not_stored(queue: Queue) -> None:
    queue.get("-n", "--array", "1-3", "true")
    queue.run("-w", 0)
    for action in ("-c", "-t"):
        assert "array 0 was added with -n" in queue.refused(action, 0)


def test_an_array_of_one_is_its_job(queue: Queue) -> None:
    queue.get("--array", "7-7", "echo", "{}")
    assert queue.run("-w", 0).returncode == 0
    assert (queue.get("-c", 0), queue.get("-F", 0), queue.get("-o", 0).count("\n")) == ("7", "echo 7", 0)
    assert queue.get("--why", 0).startswith("Job 0 has ended:")


# ---- -c, -t


@pytest.mark.parametrize("options", [(), ("-z",)])
def test_outputs_of_all_elements(queue: Queue, options: tuple[str, ...]) -> None:
    queue.get(*options, "--array", "1-4", "sh", "-c", "echo {} >&2; test {} -lt 3")
    queue.run("-w", 0)
    done = queue.run("-c", 0)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == shown(queue, (0, "1\n"), (1, "2\n"), (2, "3\n"), (3, "4\n"))
    assert queue.run("-c", "0[2]").stdout == "2\n"
    assert queue.get("-t", 0) + "\n" == done.stdout


def test_followed_to_the_end(queue: Queue) -> None:
    gates = [queue.gate() for _ in range(3)]
    where = " ".join(str(gate.path) for gate in gates)
    script = f'set -- {where}; shift {{}}; echo begin {{}}; read x < "$1"; echo end {{}}; exit $x'
    queue.get("--array", "0-2", "sh", "-c", script)
    call = queue.start("-c", 0)
    assert call.stdout is not None
    for number, gate in enumerate(gates):
        queue.wait_until(lambda number=number: queue.get("-s", f"0[{number}]") == "running")
        if number:
            assert call.stdout.readline() == b"\n"
        assert call.stdout.readline().decode() == f"==> {queue.get('-o', number)} <==\n"
        assert call.stdout.readline().decode() == f"begin {number}\n"
        gate.open(number * 5)
        assert call.stdout.readline().decode() == f"end {number}\n"
    out, err = call.communicate(timeout=60)
    assert (call.returncode, out, err) == (5, b"", b"")


def test_skipped_removed_and_forgotten_elements(queue: Queue) -> None:
    _, gate = queue.blocker()
    queue.get("--array", "1-4", "echo", "{}")
    queue.get("-r", "1[2]")
    queue.get("--cancel", "1[3]")
    gate.open()
    queue.run("--wait-all")
    done = queue.run("-c", 1)
    assert (done.returncode, done.stderr) == (queue.run("-w", 1).returncode, queue.run("-w", 1).stderr)
    assert done.stdout == shown(queue, (1, "1\n"), (4, "4\n"))
    queue.get("-C")
    assert "no longer known" in queue.refused("-c", 1)


def test_what_is_forgotten_is_said(queue: Queue) -> None:
    queue.environment["TS_MAXFINISHED"] = "2"
    queue.get("--array", "1-5", "echo", "{}")
    queue.wait_until(lambda: queue.get("-s", 0) == "3 finished\n4 finished")
    done = queue.run("-c", 0)
    assert done.returncode == 255
    assert done.stderr == "ts: 3 of 5 jobs were forgotten: how they ended is not known\n"
    assert done.stdout == shown(queue, (3, "4\n"), (4, "5\n"))


def test_the_queue_ends_meanwhile(queue: Queue) -> None:
    queue.blocker()
    queue.get("--array", "1-3", "true")
    call = queue.start("-c", 1)
    waiter = Path(f"/proc/{call.pid}/task/{call.pid}/children")
    queue.wait_until(lambda: [pid for pid in waiter.read_text().split() if sleeping(int(pid))])
    queue.get("-K")
    out, err = call.communicate(timeout=60)
    assert (call.returncode, out) == (255, b"")
    assert err.startswith(b"ts: ") and err.count(b"\n") <= 2


def test_nobody_waits_for_a_call_that_is_gone(queue: Queue) -> None:
    queue.blocker()
    queue.get("--array", "1-3", "true")
    call = queue.start("-c", 1)
    waiter = Path(f"/proc/{call.pid}/task/{call.pid}/children")
    queue.wait_until(lambda: [pid for pid in waiter.read_text().split() if sleeping(int(pid))])
    (child,) = (int(pid) for pid in waiter.read_text().split())
    call.send_signal(signal.SIGINT)
    call.communicate(timeout=60)
    queue.wait_until(lambda: not os.path.exists(f"/proc/{child}"))


def test_tail_is_short(queue: Queue) -> None:
    queue.get("--array", "1-30", "sh", "-c", "seq 20; echo last of {}")
    queue.run("-w", 0)
    done = queue.run("-t", 0)
    assert done.returncode == 0
    assert done.stderr == "ts: 20 more like these; name an element to see it, as 0[7]\n"
    assert re.findall(r"last of (\d+)", done.stdout) == [str(i) for i in range(21, 31)]
    assert done.stdout.startswith(f"==> {queue.get('-o', '0[21]')} <==\n12\n")


def test_tail_of_those_that_run(queue: Queue) -> None:
    gate = queue.gate()
    queue.get("-S", 2)
    script = 'echo {}; test {} -eq 1 && exit; echo runs; read x < "$0"'
    queue.get("--array", "1-4", "sh", "-c", script, str(gate.path))
    queue.wait_until(lambda: queue.output(1) == "2\nruns\n" if queue.state(1) == "running" else False)
    queue.wait_until(lambda: queue.output(2) == "3\nruns\n" if queue.state(2) == "running" else False)
    assert queue.get("-t", 0) + "\n" == shown(queue, (1, "2\nruns\n"), (2, "3\nruns\n"))


def test_output_of_what_has_not_begun(queue: Queue) -> None:
    queue.blocker()
    queue.get("--array", "1-3", "true")
    assert "no element of array 1 has output yet" in queue.refused("-t", 1)
    assert "has not started yet" in queue.refused("-c", "1[2]")
