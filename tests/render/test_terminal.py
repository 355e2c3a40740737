"""What a terminal gets: colours where they are wanted, and a `ts` that leaves it as it was when it is interrupted."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.installation import BIN
from support.patience import wait_until
from support.processes import alive, sleeping
from support.queues import Queue
from support.terminal import Terminal

ESCAPE = re.compile(r"\x1b\[[\d;]*m")


@pytest.fixture
def terminal(queue: Queue, tmp_path: Path) -> Iterator[Terminal]:
    environment = {**queue.environment, "PS1": "$ "}
    with Terminal(tmp_path / "terminal", ["bash", "--norc", "--noprofile"], environment, queue.work) as terminal:
        terminal.wait_for("$")
        yield terminal


def shown(terminal: Terminal, command: str) -> str:
    """What the command shows, with the escape sequences of tmux."""
    terminal.press("C-l")
    terminal.type(f"{command}; echo re''ady", "Enter")
    terminal.wait_for("\nready\n")
    return terminal.look(escapes=True)


def test_end_of_the_queue_tells_a_person_what_is_gone(queue: Queue, terminal: Terminal) -> None:
    _, gate = queue.blocker()
    for after in (), ("-d",), ("-W", 0):
        queue.submit(*after, "true")
    assert "\nts: queued jobs dropped: 3; running jobs that go on: 1\n" in shown(terminal, "ts -K")
    gate.open()
    queue.finish("true")
    assert "dropped" not in shown(terminal, "ts -K"), "nothing is"
    queue.blocker()
    assert queue.run("-K").stderr == "", "a script is told nothing"


@pytest.mark.parametrize("program", ["ts", "tsfast"])
def test_colours_of_states(queue: Queue, terminal: Terminal, program: str) -> None:
    queue.finish("true")
    queue.finish("false")
    skipped = queue.finish("-W", 1, "true")
    _, gate = queue.blocker()
    queue.submit("true")
    text = shown(terminal, f"{program} -l")
    assert queue.state(skipped) == "skipped"
    found = dict(re.findall(r"^(\d) +\x1b\[(\d+)m(?:finished|skipped|running|queued)\x1b\[", text, re.MULTILINE))
    assert found == {"0": "32", "1": "31", "2": "31", "3": "33", "4": "2"}
    gate.open()


@pytest.mark.parametrize("before, after, coloured", [
    ("", "", True),
    ("NO_COLOR= ", "", True),
    ("NO_COLOR=1 ", "", False),
    ("TERM=dumb ", "", False),
    ("", " | cat", False),
])  # fmt: skip
@pytest.mark.parametrize("program", ["ts", "tsfast"])
def test_colours_only_where_wanted(
    queue: Queue, terminal: Terminal, program: str, before: str, after: str, coloured: bool
) -> None:
    queue.finish("true")
    assert bool(ESCAPE.search(shown(terminal, f"{before}{program} -l{after}"))) == coloured


def test_other_formats_have_no_colours(queue: Queue, terminal: Terminal) -> None:
    queue.finish("true")
    assert not ESCAPE.search(shown(terminal, "ts -M tab; ts -M json; ts -i"))


@pytest.mark.parametrize("columns", [33, 40, 80, 200])
def test_rows_stay_on_their_line(queue: Queue, tmp_path: Path, columns: int) -> None:
    """Wide, combining and control characters, and newlines: one row of the screen for each job, columns in line."""
    queue.finish("-L", "日本語\nlabel", "echo", "日本語" * 40)
    queue.finish("-L", "a\tb\x1b[31m", "echo", "e\u0301" * 200)
    queue.finish("echo", "\x1b[2J\x07", "two\nlines", "\u202e", "x" * 300)
    environment = {**queue.environment, "PS1": "$ "}
    with Terminal(
        tmp_path / "wide", ["bash", "--norc", "--noprofile"], environment, queue.work, columns=columns
    ) as terminal:
        terminal.wait_for("$")
        shown(terminal, "ts -l")
        lines = terminal.look().splitlines()
    rows = [line for line in lines if re.match(r"\d ", line)]
    assert [row[:24] for row in rows] == [f"{job}    finished   {queue.get('-o', job)[:8]}" for job in range(3)]
    first = lines.index(rows[0])
    assert lines[first : first + 4] == [*rows, "ready"]


@pytest.mark.parametrize("action", ["-c", "-t", "-w"])
def test_ctrl_c_leaves_the_job_alone(queue: Queue, terminal: Terminal, action: str) -> None:
    job, gate = queue.blocker()
    terminal.type(f"ts {action} {job}", "Enter")
    wait_for_child(queue, terminal)
    terminal.press("C-c")
    terminal.type("echo code $?", "Enter")
    terminal.wait_for("\ncode 130\n")
    assert queue.state(job) == "running"
    gate.open()
    assert queue.wait(job) == 0


def test_ctrl_z_and_on(queue: Queue, terminal: Terminal) -> None:
    gate = queue.gate()
    job = queue.submit("sh", "-c", 'echo one; read x < "$0"; echo two; exit 3', gate.path)
    terminal.type(f"ts -c {job}", "Enter")
    terminal.wait_for("\none\n")
    terminal.press("C-z")
    terminal.wait_for("Stopped")
    gate.open()
    assert queue.wait(job) == 3
    terminal.type("fg; echo code $?", "Enter")
    terminal.wait_for("\ntwo\n")
    terminal.wait_for("\ncode 3\n")


def test_ctrl_c_of_a_foreground_job(queue: Queue, terminal: Terminal) -> None:
    terminal.type("""ts -nf sh -c 'trap "exit 7" INT; echo u""p; read x'""", "Enter")
    terminal.wait_for("\nup\n")
    terminal.press("C-c")
    wait_until(lambda: queue.ids() == [], "it has ended, or it would read the next line")
    terminal.type("echo code $?", "Enter")
    terminal.wait_for("\ncode 7\n")


@pytest.mark.parametrize("action", ["-c", "-t"])
def test_a_closed_pipe_ends_the_reader(queue: Queue, terminal: Terminal, action: str) -> None:
    """And the job runs on."""
    gate, last = queue.gate(), queue.gate()
    job = queue.submit("sh", "-c", 'echo one; read x < "$0"; seq 100000; read x < "$1"', gate.path, last.path)
    terminal.type(f"ts {action} {job} | head -1; echo codes ${{PIPESTATUS[*]}}", "Enter")
    wait_until(lambda: queue.get("-s", job) == "running")
    terminal.wait_for("\none\n")
    gate.open()
    terminal.wait_for("\ncodes 141 0\n")
    assert queue.state(job) == "running"
    last.open()
    assert queue.wait(job) == 0


def test_sigterm_ends_a_reader(queue: Queue) -> None:
    job, gate = queue.blocker()
    reader = queue.start("-c", job)
    wait_until(lambda: sleeping(reader.pid))
    reader.send_signal(signal.SIGTERM)
    assert reader.wait(10) == -signal.SIGTERM
    gate.open()
    assert queue.wait(job) == 0


def wait_for_child(queue: Queue, terminal: Terminal) -> None:
    """The shell of the terminal has a ts that sleeps."""

    def waiting() -> bool:
        for pid in queue.processes():
            try:
                if Path(f"/proc/{pid}/exe").readlink() == BIN / "ts" and alive(pid) and sleeping(pid):
                    return True
            except OSError:
                pass
        return False

    wait_until(waiting, "a ts waits")
