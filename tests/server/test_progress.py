"""The line on a terminal that says how far `-w` of several jobs is, and what is left of it afterwards."""

import os
import re
import signal
import subprocess
import tty

import pytest

from support.queues import Queue
from support.terminal import set_size

ERASE = b"\r\x1b[K"


class Waiter:
    """`ts -w` of two jobs, with a terminal of so many columns as stderr."""

    def __init__(self, queue: Queue, *words: object, columns: int = 80, **env: str) -> None:
        self.terminal, theirs = os.openpty()
        tty.setraw(theirs)
        set_size(theirs, columns)
        os.set_blocking(self.terminal, False)
        self.queue = queue
        self.written = b""
        # A group of its own, as a shell makes one: in a group without a shell above it SIGTSTP stops nobody.
        self.child = queue.start(*words, env={"TERM": "xterm", **env}, stderr=theirs, process_group=0)
        self.theirs = theirs

    def read(self) -> bytes:
        try:
            while data := os.read(self.terminal, 65536):
                self.written += data
        except OSError:  # nothing more is there, or nobody has it open any more
            pass
        return self.written

    def lines(self) -> list[bytes]:
        return [line for line in self.read().split(ERASE) if line]

    def wait_for_lines(self, count: int) -> list[bytes]:
        self.queue.wait_until(lambda: len(self.lines()) >= count, "lines of progress")
        return self.lines()

    def end(self) -> int:
        code = self.child.wait(30)
        self.read()
        os.close(self.theirs)
        os.close(self.terminal)
        return code


@pytest.mark.parametrize("words", [("-w", "0,1"), ("--wait-all",)])
def test_it_is_gone_at_the_end(queue: Queue, words: tuple[str, ...]) -> None:
    _, gate = queue.blocker()
    queue.submit("true")
    waiter = Waiter(queue, *words)
    assert re.fullmatch(rb"0 ended, 0 failed, 1 running, 1 left, 0:00:\d\d", waiter.wait_for_lines(1)[0])
    gate.open()
    assert waiter.end() == 0
    assert waiter.written.endswith(ERASE)


@pytest.mark.parametrize("columns", [1, 2, 20, 40])
def test_it_fits_the_terminal_also_when_that_changes(queue: Queue, columns: int) -> None:
    _, gate = queue.blocker()
    queue.submit("true")
    waiter = Waiter(queue, "-w", "0,1", columns=80)
    whole = len(waiter.wait_for_lines(1)[0])
    set_size(waiter.theirs, columns)
    before = len(waiter.lines())
    if columns > 1:
        assert len(waiter.wait_for_lines(before + 2)[-1]) == columns - 1
    set_size(waiter.theirs, 0)  # unknown
    queue.wait_until(lambda: len(waiter.lines()[-1]) == whole)
    gate.open()
    assert waiter.end() == 0
    assert all(len(line) in (whole, columns - 1) for line in waiter.lines())


def test_a_dumb_terminal_gets_none(queue: Queue) -> None:
    _, gate = queue.blocker()
    queue.submit("true")
    dumb, other = Waiter(queue, "-w", "0,1", TERM="dumb"), Waiter(queue, "-w", "0,1")
    other.wait_for_lines(3)
    gate.open()
    assert (dumb.end(), other.end()) == (0, 0)
    assert dumb.written == b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_leaves_an_empty_line(queue: Queue, number: int) -> None:
    _, gate = queue.blocker()
    queue.submit("true")
    waiter = Waiter(queue, "-w", "0,1")
    waiter.wait_for_lines(1)
    waiter.child.send_signal(number)
    assert waiter.end() == -number
    assert waiter.written.endswith(ERASE)
    gate.open()


def test_a_stopped_one_leaves_an_empty_line_and_goes_on(queue: Queue) -> None:
    _, gate = queue.blocker()
    queue.submit("true")
    waiter = Waiter(queue, "-w", "0,1")
    for _ in range(2):
        waiter.wait_for_lines(len(waiter.lines()) + 1)
        waiter.child.send_signal(signal.SIGTSTP)
        os.waitid(os.P_PID, waiter.child.pid, os.WSTOPPED)
        assert waiter.read().endswith(ERASE)
        waiter.child.send_signal(signal.SIGCONT)
    waiter.wait_for_lines(len(waiter.lines()) + 1)
    gate.open()
    assert waiter.end() == 0


def test_what_the_caller_ignores_is_ignored(queue: Queue) -> None:
    _, gate = queue.blocker()
    queue.submit("true")
    queue.program = "/usr/bin/env"
    waiter = Waiter(queue, "--ignore-signal=HUP", "ts", "-w", "0,1")
    del queue.program
    waiter.wait_for_lines(1)
    waiter.child.send_signal(signal.SIGHUP)
    waiter.wait_for_lines(len(waiter.lines()) + 1)
    gate.open()
    assert waiter.end() == 0


def test_messages_do_not_stick_to_it(queue: Queue) -> None:
    """The server ends: what it says begins a line of its own."""
    queue.blocker()
    queue.submit("true")
    waiter = Waiter(queue, "-w", "0,1")
    waiter.wait_for_lines(1)
    queue.kill_server(signal.SIGTERM)
    assert waiter.end() == 255
    assert waiter.written.endswith(ERASE + b"ts: the server was ended; its queue is kept\n")


def test_a_pipe_gets_none(queue: Queue) -> None:
    _, gate = queue.blocker()
    queue.submit("true")
    waiter = queue.start("-w", "0,1", stderr=subprocess.PIPE)
    seen = Waiter(queue, "-w", "0,1")
    seen.wait_for_lines(3)
    gate.open()
    assert waiter.communicate(timeout=30)[1] == b"" and seen.end() == 0
