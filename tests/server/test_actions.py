"""What people ask a queue: each action of the command line, its default job, its exit code."""

import os
import re
import signal
import subprocess
from pathlib import Path

from support.patience import wait_until
from support.processes import alive, sleeping
from support.queues import Queue


def test_first_job(queue: Queue) -> None:
    assert queue.get("sh", "-c", "echo hi; sleep 1; exit 3") == "0"
    done = queue.run("-w")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
    shown = queue.run("-c")
    assert (shown.returncode, shown.stdout) == (3, "hi\n")


def test_adding_does_not_wait_for_the_job(queue: Queue) -> None:
    job, gate = queue.blocker()
    assert queue.state(job) == "running"
    gate.open(1)
    assert queue.wait(job) == 1


def test_no_words_list_the_jobs(queue: Queue) -> None:
    queue.finish("-L", "lab", "echo", "a b")
    assert queue.get() == queue.get("-l")
    header, row = queue.get().splitlines()
    assert header == "ID   State      Output               E-Level  Time   Command [run=0/1]"
    assert re.fullmatch(r"0    finished   \S{15}\.\.\.   0         +\d\.\d\ds +\[lab\]echo 'a b'", row)


def test_order_of_the_list(queue: Queue) -> None:
    ended = queue.finish("true")
    running, _ = queue.blocker()
    queued = [queue.submit("true"), queue.submit("-d", "true")]
    rows = [line.split()[:2] for line in queue.get().splitlines()[1:]]
    assert rows == [
        [str(running), "running"],
        [str(queued[0]), "queued"],
        [str(queued[1]), "queued"],
        [str(ended), "finished"],
    ]
    assert "[run=1/1]" in queue.get()
    assert f"[{queued[0]}]&& true" in queue.get()


def test_serialized_lists(queue: Queue) -> None:
    job = queue.finish("-L", "a\tb", "sh", "-c", "exit 2")
    blocker, _ = queue.blocker()
    queued = queue.submit("-D", f"{job},{blocker}", "true")
    first, second, third = queue.jobs()
    assert (first["ID"], first["State"], first["E-Level"]) == (blocker, "running", None)
    assert (second["ID"], second["Depends_On"]) == (queued, [job, blocker])
    assert (third["ID"], third["E-Level"], third["Label"]) == (job, 2, "a\tb")
    assert third["Output"] == queue.get("-o", job)
    lines = queue.get("-M", "tab").splitlines()
    assert len(lines) == 3 and lines[2].split("\t")[0] == str(job)
    assert len({line.count("\t") for line in lines}) == 1
    header = queue.get("-l").splitlines()[0]
    assert header == queue.get("--serialize=default").splitlines()[0] == queue.get("-M").splitlines()[0]
    assert "xml" in queue.refused("-M", "xml")


def test_default_jobs(queue: Queue) -> None:
    """-s -w -a -F mean the job added last; -o -i -p -c the running one started first, else the one ended last."""
    queue.get("-S", "2")
    first = queue.finish("-L", "one", "echo", "1")
    assert queue.get("-o") == queue.get("-o", first)
    running, gate = queue.blocker("-L", "two")
    other, other_gate = queue.blocker("-L", "three")
    queued = queue.submit("-L", "four", "echo", "4")
    assert queue.get("-a") == "four" == queue.get("--get_label", queued)
    assert queue.get("-F") == "echo 4" == queue.get("--full_cmd", queued)
    assert queue.get("-s") == "queued"
    assert queue.get("-q") == str(queued) == queue.get("--last_queue_id")
    assert queue.get("-p") == queue.get("-p", running)
    assert queue.get("-o") == queue.get("-o", running)
    assert "two" in queue.get("-F", running) or queue.get("-a", running) == "two"
    other_gate.open()
    queue.wait(other)
    gate.open()
    queue.wait(running)
    queue.wait(queued)
    last = queue.jobs()[-1]["ID"]
    assert queue.get("-o") == queue.get("-o", last)


def test_label_of_a_job_without_one(queue: Queue) -> None:
    queue.submit("true")
    assert queue.run("-a").stdout == "\n"


def test_full_command_is_never_cut_and_can_be_pasted(queue: Queue) -> None:
    words = ["echo", "it's", "$HOME", "x" * 5000]
    job = queue.submit(*words)
    line = queue.get("-F", job)
    assert subprocess.run(["sh", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True).stdout.split(
        "\n"
    ) == [*words, ""]


def test_states(queue: Queue) -> None:
    failed = queue.finish("false")
    skipped = queue.submit("-W", failed, "true")
    running, _ = queue.blocker()
    queued = queue.submit("true")
    assert [queue.state(job) for job in (failed, skipped, running, queued)] == [
        "finished",
        "skipped",
        "running",
        "queued",
    ]


def test_info(queue: Queue) -> None:
    job = queue.finish("-N", "1", "sh", "-c", "kill -9 $$")
    info = queue.info(job)
    assert info["Exit status"] == "killed by signal 9"
    assert info["Command"] == "sh -c 'kill -9 $$'"
    assert info["Slots required"] == "1"
    assert list(info)[3:6] == ["Enqueue time", "Start time", "End time"]
    assert re.fullmatch(r"[\d.]+s", info["Time run"])
    assert queue.run("-w", job).returncode == 255
    queue.finish("sh", "-c", "exit 200")
    assert queue.info(job + 1)["Exit status"] == "died with exit code 200"
    assert queue.wait(job + 1) == 200


def test_info_of_running_and_queued_jobs(queue: Queue) -> None:
    running, _ = queue.blocker()
    queued = queue.submit("-D", running, "true")
    assert "Time running" in queue.info(running)
    assert queue.info(queued)["Command"] == f"[{running}]&& true"


def test_follow_a_running_job(queue: Queue) -> None:
    gate = queue.gate()
    lines = " ".join(f"{number}" for number in range(30))
    job = queue.submit("sh", "-c", f'printf "%s\\n" {lines}; read x < {gate.path}; echo end; exit 4')
    queue.wait_until(lambda: "29" in queue.output(job), "output is written")
    tail, cat = queue.start("-t"), queue.start("-c", job)
    assert tail.stdout.readline() == b"20\n"
    assert cat.stdout.readline() == b"0\n"
    gate.open()
    rest, _ = tail.communicate(timeout=20)
    assert rest == b"".join(b"%d\n" % number for number in range(21, 30)) + b"end\n"
    assert tail.returncode == 4
    assert cat.communicate(timeout=20)[0].endswith(b"29\nend\n")
    assert cat.returncode == 4
    assert queue.run("-t", job).stdout.splitlines() == [str(number) for number in range(21, 30)] + ["end"]


def test_follow_to_a_reader_that_leaves(queue: Queue) -> None:
    queue.finish("seq", "100000")
    done = subprocess.run(
        ["sh", "-c", "ts -c | head -n 1"], env=queue.env(), capture_output=True, timeout=20, cwd=queue.work
    )
    assert (done.stdout, done.stderr) == (b"1\n", b"")


def test_pid_leads_session_and_group(queue: Queue) -> None:
    job = queue.submit("sh", "-c", "sleep 1000 & sleep 1001 & wait")
    pid = int(queue.get("-p"))
    assert os.getsid(pid) == os.getpgid(pid) == pid
    queue.wait_until(lambda: sum(_group(p) == pid for p in queue.processes()) == 3)
    subprocess.run(["sh", "-c", "kill -- -$(ts -p)"], env=queue.env(), check=True)
    assert queue.wait(job) == 255
    queue.wait_until(lambda: not any(_group(p) == pid for p in queue.processes()), "the tree is gone")


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def test_remove(queue: Queue) -> None:
    running, _ = queue.blocker()
    first, second = queue.submit("true"), queue.submit("true")
    assert queue.get("-r") == ""
    assert queue.ids() == [running, first]
    waiter = queue.start("-w", first)
    wait_until(lambda: sleeping(waiter.pid))
    queue.get("-r", first)
    assert waiter.wait(20) == 255
    assert "running" in queue.refused("-r", running)
    assert "no longer known" in queue.refused("-s", second)


def test_remove_an_ended_job_that_is_first_in_the_list(queue: Queue) -> None:
    job = queue.finish("true")
    queue.get("-r", job)
    assert queue.ids() == []


def test_kill(queue: Queue) -> None:
    running, _ = queue.blocker()
    queued = queue.submit("true")
    queue.get("-k")
    assert queue.wait(running) == 255
    assert queue.info(running)["Exit status"] == f"killed by signal {int(signal.SIGTERM)}"
    queue.wait(queued)
    assert "not running" in queue.refused("-k", running)
    assert "not running" in queue.refused("-k")


def test_kill_all(queue: Queue) -> None:
    queue.get("-S", "3")
    jobs = [queue.blocker()[0] for _ in range(3)]
    assert queue.get("-R") == "3" == queue.get("--count_running")
    queue.get("-T")
    assert [queue.wait(job) for job in jobs] == [255] * 3
    assert queue.get("-R") == "0"


def test_urgent_and_swap(queue: Queue) -> None:
    _, gate = queue.blocker()
    names = [queue.submit("sh", "-c", f"echo {name} >> order") for name in "abcd"]
    queue.get("-u", names[2])
    queue.get("-U", f"{names[0]}-{names[3]}")
    queued = [job["ID"] for job in queue.jobs() if job["State"] == "queued"]
    assert queued == [names[2], names[3], names[1], names[0]]
    queue.get("-u")
    gate.open()
    for job in names:
        queue.wait(job)
    assert (queue.work / "order").read_text().split() == ["d", "c", "b", "a"]


def test_urgent_and_swap_refused(queue: Queue) -> None:
    running, _ = queue.blocker()
    queued = queue.submit("true")
    assert "not queued" in queue.refused("-u", running)
    for pair in (f"{queued}-{queued}", f"{queued}", f"{queued}-", "a-b", f"{queued}-{running}", f"{queued}-99"):
        queue.refused("-U", pair)
    assert queue.ids() == [running, queued]


def test_clear(queue: Queue) -> None:
    failed = queue.finish("false")
    queue.submit("-W", failed, "true")
    running, _ = queue.blocker()
    queued = queue.submit("true")
    assert queue.get("-C") == ""
    assert queue.ids() == [running, queued]


def test_last_id_before_any_job(queue: Queue) -> None:
    queue.refused("-q")
    queue.refused("-w")
    queue.refused("-c")
    assert queue.ids() == []


def test_logdir(queue: Queue) -> None:
    assert queue.get("--get_logdir") == str(queue.out)
    other = queue.directory / "other"
    other.mkdir()
    queue.get("--set_logdir", other)
    assert queue.get("--get_logdir") == str(other)
    assert Path(queue.get("-o", queue.finish("true"))).parent == other


def test_relative_log_directory_of_the_environment(queue: Queue) -> None:
    job = queue.finish("true", env={"TMPDIR": "../out"})
    assert queue.get("--get_logdir") == str(queue.out)
    assert Path(queue.get("-o", job)).parent == queue.out


def test_help_and_version_start_no_server(queue: Queue) -> None:
    for words in (["-h"], ["--help"], ["-V"], ["--version"]):
        done = queue.run(*words)
        assert done.returncode == 0 and done.stdout and not done.stderr
    assert "-S" in queue.get("-h")
    assert not queue.state_dir.exists() and not queue.socket.exists()
    assert queue.processes() == []


def test_output_and_pid_right_after_adding(queue: Queue) -> None:
    """What scripts do: the answer waits for the start instead of failing."""
    queue.get("-S", "1000")
    for _ in range(30):
        job = queue.submit("sleep", "1000")
        assert Path(queue.get("-o", job)).exists()
        assert alive(int(queue.get("-p", job)))
        queue.get("-k", job)
        job = queue.submit("true")
        assert Path(queue.get("-o", job)).exists()


def test_kill_right_after_adding(queue: Queue) -> None:
    queue.get("-S", "1000")
    jobs = []
    for _ in range(50):
        jobs.append(queue.submit("sleep", "1000"))
        queue.get("-k", jobs[-1])
    assert [queue.wait(job) for job in jobs] == [255] * len(jobs)
