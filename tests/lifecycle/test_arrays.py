"""`--array`: elements, how many run at once, an array as a whole and one of its elements, its row in the list."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios

import pytest

from support.gpu_queue import GpuQueue
from support.processes import kill, sleeping
from support.queues import Queue

# Each element says that it runs, waits until it may end, and notes how many there were then.
CROWD = "touch run/{}; until [ -e go ]; do sleep 0.01; done; ls run | wc -l >> crowd; rm run/{}"


def crowd(queue: Queue, array: str, *options: object) -> int:
    (queue.work / "run").mkdir()
    return queue.submit(*options, "--array", array, "sh", "-c", CROWD)


def most(queue: Queue) -> int:
    return max(map(int, (queue.work / "crowd").read_text().split()))


def rows(queue: Queue) -> list[str]:
    return queue.get("-l").splitlines()[1:]


def states(queue: Queue, ids: str) -> list[str]:
    return [line.partition(" ")[2] for line in queue.get("-s", ids).splitlines()]


# ---- elements


def test_elements(queue: Queue) -> None:
    queue.finish("true")
    script = 'echo "$0 $1 $TS_ARRAY_INDEX $TS_ARRAY_ID $TS_JOBID"'
    assert queue.submit("--array", "9-11", "sh", "-c", script, "{}", "a{}b{}{") == 1
    assert queue.run("-w", 1).returncode == 0
    assert [queue.output(job) for job in (1, 2, 3)] == [
        "9 a9b9{ 9 1 1\n", "10 a10b10{ 10 1 2\n", "11 a11b11{ 11 1 3\n"
    ]  # fmt: skip
    assert queue.get("-F", "1[10]").endswith(" 10 'a10b10{'")
    assert queue.get("-c", "1[11]") == "11 a11b11{ 11 1 3"
    assert queue.get("-q") == "3"
    assert queue.info(2)["Array"] == "1[10] of 3"
    assert queue.submit("true", "{}") == 4 and queue.get("-F", 4) == "true '{}'"


def test_environment_of_an_array_in_an_array(queue: Queue) -> None:
    queue.get("-S", 2)
    queue.finish("--array", "5-5", "ts", "-n", "--array", "7-7", "sh", "-c", "echo $TS_ARRAY_INDEX > index")
    queue.wait_until(lambda: queue.run("-w", 1).returncode == 0)
    assert (queue.work / "index").read_text() == "7\n"


def test_files_of_the_elements(queue: Queue) -> None:
    assert "{index}" in queue.refused("--array", "1-2", "--log", "out", "true")
    queue.finish("--array", "1-2", "--log", "out-{index}-{}", "echo", "{}")
    queue.wait(1)
    assert [(queue.work / f"out-{i}-{{}}").read_text() for i in (1, 2)] == ["1\n", "2\n"]
    queue.finish("--array", "1-2", "--append", "--log", "all", "echo", "{}")
    queue.wait(3)
    assert (queue.work / "all").read_text() == "1\n2\n"


def test_no_output(queue: Queue) -> None:
    assert queue.get("-n", "--array", "1-3", "true") == ""
    queue.wait(2)
    assert re.fullmatch(r"0\[1-3\] +finished +stdout +\(3 ok\) true", rows(queue)[0])


@pytest.mark.parametrize("bad", ["3-1", "1-70000", "x", "1-", "1-2%0", "1-2%", "-1-2", "", "1-2%x", "1,2"])
def test_wrong_ranges(queue: Queue, bad: str) -> None:
    queue.refused(f"--array={bad}", "true")
    assert "exclude each other" in queue.refused("--array", "1-2", "-f", "true")
    assert "--array" in queue.refused("--batch", "-", stdin="true\n--array 1-3 true {}\n")
    assert queue.ids() == []


def test_too_long_a_command(queue: Queue) -> None:
    assert "256 MiB" in queue.refused("--array", "1-65536", "echo", "x" * 10_000)
    assert queue.submit("true") == 0


def test_room(queue: Queue) -> None:
    queue.environment["TS_MAXCONN"] = "5"
    _, gate = queue.blocker()
    assert queue.run("-B", "--array", "1-5", "true").returncode == 2
    call = queue.start("--array", "1-5", "true")
    queue.wait_until(lambda: sleeping(call.pid))
    gate.open()
    assert call.communicate(timeout=20)[0] == b"1\n"
    queue.get("-w", 1)
    assert queue.submit("--array", "1-6", "true") == 6  # larger than the queue may be, and the queue is empty


# ---- how many at once


def test_never_more_at_once_than_the_array_allows(queue: Queue) -> None:
    queue.get("-S", 8)
    crowd(queue, "1-40%3")
    other = queue.submit("true")
    queue.wait_until(lambda: queue.get("-R") == "3")
    queue.wait(other)  # it is not held up by those that the array holds back
    assert states(queue, "0") == ["running"] * 3 + ["queued"] * 37
    assert "its array runs as many elements as its limit allows: 3" in queue.get("--why", "0[7]")
    assert queue.get("--why", 0).startswith("Array 0[1-40] (37 queued, 3 running)\n")
    (queue.work / "go").touch()
    assert queue.run("-w", 0).returncode == 0
    assert most(queue) <= 3


def test_all_at_once_without_a_limit(queue: Queue) -> None:
    queue.get("-S", 8)
    crowd(queue, "1-12")
    queue.wait_until(lambda: queue.get("-R") == "8")
    (queue.work / "go").touch()
    assert queue.run("-w", 0).returncode == 0


def test_in_the_order_of_the_queue(queue: Queue) -> None:
    _, gate = queue.blocker()
    queue.get("--array", "1-4%2", "sh", "-c", "echo {} >> order")
    queue.get("-u", "1[3]")
    queue.get("-U", "2-4")
    gate.open()
    assert queue.run("-w", 1).returncode == 0
    assert (queue.work / "order").read_text().split() == ["3", "1", "4", "2"]


def test_the_limit_outlives_the_server(queue: Queue) -> None:
    queue.get("-S", 8)
    crowd(queue, "1-30%3")
    queue.wait_until(lambda: queue.get("-R") == "3")
    for _ in range(2):
        queue.kill_server()
        assert states(queue, "0") == ["running"] * 3 + ["queued"] * 27
        assert rows(queue)[0].endswith("(27 queued, 3 running) sh -c " + f"'{CROWD}'")
    (queue.work / "go").touch()
    queue.wait_until(lambda: states(queue, "0[1-9]") == ["finished"] * 9)
    kill(queue.server_pid())
    queue.wait_until(lambda: states(queue, "0") == ["finished"] * 30)
    assert most(queue) <= 3


def test_limit_and_slots(queue: Queue) -> None:
    queue.get("-S", 4)
    crowd(queue, "1-9%3", "-N", 2)
    queue.wait_until(lambda: queue.get("-R") == "2")
    queue.get("-S", 8)
    queue.wait_until(lambda: queue.get("-R") == "3")
    (queue.work / "go").touch()
    assert queue.run("-w", 0).returncode == 0
    assert most(queue) <= 3


def test_limit_and_gpus(gpu_queue: GpuQueue) -> None:
    gpu_queue.learn()
    crowd(gpu_queue, "1-9%2", "-G", 1)
    gpu_queue.wait_until(lambda: gpu_queue.get("-R") == "2")
    assert states(gpu_queue, "1") == ["running"] * 2 + ["queued"] * 7
    gpu_queue.kill_server()
    assert states(gpu_queue, "1") == ["running"] * 2 + ["queued"] * 7
    (gpu_queue.work / "go").touch()
    assert gpu_queue.run("-w", 1).returncode == 0
    assert most(gpu_queue) <= 2


# ---- the whole, and one element


def test_wait(queue: Queue) -> None:
    queue.get("--array", "1-5", "sh", "-c", "exit $(( {} % 4 ))")
    assert queue.run("-w").returncode == 1
    assert queue.run("-w", 0).returncode == 1
    assert [queue.run("-w", f"0[{i}]").returncode for i in (2, 4)] == [2, 0]
    assert queue.run("-w", "0[2-4]").returncode == 2
    assert queue.run("-w", 1).returncode == 2


def test_elements_that_are_not_there(queue: Queue) -> None:
    queue.get("--array", "3-5", "true")
    for element in ("0[2]", "0[6]", "0[4-6]"):
        assert "array 0 has the elements 3 to 5" in queue.refused("-s", element)
    assert "job 1 is not an array" in queue.refused("-s", "1[3]")
    assert "job 9 is not an array" in queue.refused("-c", "9[3]")
    for wrong in ("0[", "0[]", "0[x]", "0[3]x", "0[5-4]", "[3]"):
        assert "is not an element of an array" in queue.refused("-w", wrong)
    assert "is not one job" in queue.refused("-o", "0[3-4]")


def test_remove(queue: Queue) -> None:
    _, gate = queue.blocker()
    queue.get("--array", "1-6%2", "true")
    queue.get("-r", "1[2]")
    assert queue.ids() == [0, 1, 3, 4, 5, 6]
    queue.get("-r", "1[4-5]")
    assert rows(queue)[1].endswith("(3 queued) true")
    queue.get("-r", 1)
    assert queue.ids() == [0]
    assert "no longer known" in queue.refused("-w", 1)
    gate.open()


def test_an_array_is_what_is_left_of_it(queue: Queue) -> None:
    queue.environment["TS_MAXFINISHED"] = "2"
    queue.get("--array", "1-6", "false")
    queue.wait(5)
    queue.wait_until(lambda: queue.ids() == [4, 5])
    assert queue.get("-s", 0) == "4 finished\n5 finished"
    assert rows(queue)[0].endswith("(2 failed, 4 forgotten) false")
    queue.kill_server()
    assert queue.get("-s", "0[6]") == "finished"
    queue.get("-C")
    assert "no longer known" in queue.refused("-s", 0)


def test_kill_and_cancel(queue: Queue) -> None:
    queue.get("-S", 2)
    queue.get("--array", "1-6", "sleep", "100")
    queue.wait_until(lambda: queue.get("-R") == "2")
    queue.get("-k", "0[1]")
    assert queue.run("-w", "0[1]").returncode == 255
    queue.wait_until(lambda: states(queue, "0") == ["finished", "running", "running", "queued", "queued", "queued"])
    assert "not running" in queue.refused("-k", "0[6]")
    queue.get("-k", 0)
    queue.wait_until(lambda: queue.run("-w", "0[2-3]").returncode == 255)
    queue.get("--cancel", "0[6]")
    assert queue.get("-s", "0[6]") == "cancelled"
    queue.get("--cancel")
    assert queue.run("-w", 0).returncode == 255
    assert rows(queue)[0].endswith("(5 failed, 1 skipped) sleep 100")


def test_urgent(queue: Queue) -> None:
    _, gate = queue.blocker()
    for word in ("first", "second"):
        queue.get("--array", "1-2%1", "sh", "-c", f"echo {word}{{}} >> order")
    queue.get("-u", 3)
    gate.open()
    assert queue.run("-w", "1,3").returncode == 0
    assert (queue.work / "order").read_text().split() == ["second1", "second2", "first1", "first2"]


def test_jobs_that_wait_for_an_array(queue: Queue) -> None:
    _, gate = queue.blocker()
    queue.get("--array", "1-3", "test", "{}", "-lt", "3")
    queue.submit("-D", 1, "true")
    queue.submit("-W", 1, "true")
    queue.submit("-W", 2, "true")
    queue.get("--array", "1-2", "true")
    queue.submit("-d", "true")
    waits = {job["ID"]: job["Depends_On"] for job in queue.jobs()}
    assert [waits[id] for id in (4, 5, 6, 9)] == [[1, 2, 3], [1, 2, 3], [2], [7, 8]]
    gate.open()
    queue.run("--wait-all")
    assert states(queue, "4-6") == ["finished", "skipped", "finished"]


def test_skipped_with_what_it_waits_for(queue: Queue) -> None:
    _, gate = queue.blocker()
    queue.get("-W", 0, "--array", "1-4%2", "true")
    queue.submit("-D", 1, "true")
    gate.open(1)
    assert queue.run("-w", 5).returncode == 0
    assert states(queue, "1") == ["skipped"] * 4
    assert re.fullmatch(r"1\[1-4\] +skipped +\(files\) +\(4 skipped\) \[0\]&& true", rows(queue)[1])
    assert queue.submit("-W", 1, "--array", "1-2%1", "true") == 6
    assert states(queue, "6") == ["skipped"] * 2


# ---- lists


def test_one_row(queue: Queue) -> None:
    queue.get("-S", 2)
    first, gate = queue.blocker()
    queue.get("-L", "two words", "--array", "1-100%1", "sh", "-c", 'test {} -ne 2 || read x < "$0"', queue.gate().path)
    last = queue.submit("-N", 2, "true")
    queue.wait_until(lambda: queue.get("-s", "1[2]") == "running")
    before = queue.get("-l")
    assert [line.split()[0] for line in before.splitlines()] == ["ID", "0", "1[1-100]", "101"]
    row = before.splitlines()[2]
    assert (
        row.startswith("1[1-100] running    (files)") and "(98 queued, 1 running, 1 ok) [two words]sh -c 'test" in row
    )
    assert queue.get("-M", "default").splitlines()[2:] == before.splitlines()[2:]
    assert [job["ID"] for job in queue.jobs()] == [0, 2, *range(3, 102), 1]
    assert [(job.get("Array"), job.get("Index")) for job in queue.jobs()[:3]] == [(None, None), (1, 2), (1, 3)]
    assert len(queue.get("-M", "tab").splitlines()) == 102
    gate.open()
    queue.wait(first)
    queue.get("--cancel", f"1,{last}")
    queue.run("-w", 1)
    # its first element ended before job 0 did
    assert [line.split()[0] for line in rows(queue)] == ["1[1-100]", "0", "101"]


def test_on_a_terminal(queue: Queue) -> None:
    _, gate = queue.blocker()
    queue.get("--array", "1-1000%50", "echo", "x" * 60)
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    subprocess.run([queue.program], env=queue.env(), stdout=side, check=True, timeout=20)
    os.close(side)
    shown = os.read(main, 10_000).decode()
    os.close(main)
    lines = [re.sub(r"\x1b\[\d*m", "", line) for line in shown.split("\r\n")]
    assert all(len(line) <= 80 for line in lines)
    assert lines[2].startswith("1[1-1000] queued") and "(1000 queued) echo ..." in lines[2]
    assert "\x1b[2mqueued" in shown
    gate.open()


def test_a_large_array_is_one_row_of_a_short_list(queue: Queue) -> None:
    _, gate = queue.blocker()
    assert queue.submit("--array", "1-65536%9", "true", "{}") == 1
    assert queue.submit("true") == 65537
    # the server answers: without the other program there is nobody else who could
    queue.environment["TSFAST_PROGRAM"] = "/nonexistent"
    server = rows(queue)
    assert [line.split()[0] for line in server] == ["0", "1[1-65536]", "65537"]
    assert server[1].endswith("(65536 queued) true '{}'")
    del queue.environment["TSFAST_PROGRAM"]
    assert from_table(queue)[1:] == server[1:]
    queue.kill_server()
    assert rows(queue)[1:] == server[1:]
    queue.get("--cancel", 1)
    queue.wait_until(lambda: len(rows(queue)) == 3 and len(queue.ids()) <= 1003)
    assert from_table(queue)[1:] == rows(queue)[1:]
    gate.open()


def from_table(queue: Queue) -> list[str]:
    """What `tsfast` shows, which asks no server."""
    program = queue.program.parent / "tsfast"
    shown = subprocess.run([program, "-l"], env=queue.env(), capture_output=True, check=True, timeout=30).stdout
    return shown.decode().splitlines()[1:]


def test_the_table_shows_the_same(queue: Queue) -> None:
    queue.get("-S", 3)
    queue.get("--array", "1-9%2", "sh", "-c", "case {} in 2) exit 1;; 4) exec sleep 100;; esac")
    queue.get("-n", "--array", "0-3", "-D", "0", "true")
    queue.wait_until(lambda: queue.get("-s", "0[9]") == "finished")
    server = rows(queue)
    assert server[0].endswith("esac'") and "(1 running, 7 ok, 1 failed)" in server[0]
    assert from_table(queue) == server
    queue.get("--cancel", "0")
    queue.run("--wait-all")
    assert from_table(queue) == rows(queue)


def test_the_saved_list_has_the_array(queue: Queue) -> None:
    queue.environment["TS_SAVELIST"] = str(queue.directory / "saved.sh")
    queue.get("-S", 2)
    crowd(queue, "1-9%2")
    queue.wait_until(lambda: queue.get("-R") == "2")
    queue.get("-r", "0[5]")
    queue.submit("-D", 7, "true")
    queue.kill_server(signal.SIGTERM)
    lines = (queue.directory / "saved.sh").read_text().splitlines()[1:]
    assert [re.search(r"--array (\S+)", line)[1] for line in lines if "--array" in line] == ["1-2%2", "3-4%2", "6-9%2"]
    assert all("touch run/{};" in line for line in lines if "--array" in line)
    assert "job_7=$((job_5 + 2))" in lines
    (queue.work / "go").touch()
    assert queue.run("-w", 0).returncode == 0
