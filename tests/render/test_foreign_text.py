"""Whatever bytes labels, paths, words and variables hold: a person, a log and a list see one line of harmless text, and
`$(ts -o)` gets the exact value. Each place that repeats them is tried with each kind of character."""

import os
import subprocess
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from support.installation import BIN
from support.queues import Queue
from support.terminal import bytes_on_terminal
from tsfast.base.text import as_line

KINDS = {
    "escape": b"\x1b[2J",
    "newline": b"\n2026-01-01 00:00:00 serving",
    "return": b"\rts: ",
    "tab": b"\t",
    "bell": b"\x07",
    "del": b"\x7f",
    "c1": "\u009b31m".encode(),
    "raw c1": b"\x9b31m",
    "no utf-8": b"\xff\xe6\xbc",
    "override": "\u202e".encode(),
    "isolate": "\u2066".encode(),
    "mark": "\u200f\u061c".encode(),
    "no width": "\u200b\ufeff".encode(),
    "tag": "\U000e0041".encode(),
    "separators": "\u2028\u2029".encode(),
}
BAD = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def texts() -> list[tuple[str, str]]:
    return [(name, os.fsdecode(b"a" + data + b"z")) for name, data in KINDS.items()]


def harmless(data: bytes, what: object, but: str = "\n") -> None:
    text = data.decode()  # raises for what is no UTF-8
    found = {hex(ord(c)) for c in text if unicodedata.category(c) in BAD and c not in but}
    assert not found, (what, found, data)


def escaped(text: str) -> bytes:
    return as_line(text)[:-1]


def both(queue: Queue, *words: object, program: str = "ts", env: dict[str, str | None] | None = None) -> list[bytes]:
    """What the call writes to a terminal, and what to a pipe (stdout and stderr together)."""
    environment = queue.env({"NO_COLOR": "1", **(env or {})})
    call = [BIN / program, *words]
    piped = subprocess.run(
        [os.fsencode(str(word)) for word in call],
        env=environment, cwd=queue.work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ).stdout  # fmt: skip
    return [bytes_on_terminal(call, environment, queue.work, 2000), piped]


# ---- what stands in lists

LISTS = [("-l",), ("-M", "tab"), ("-M", "json"), ("-i",), ("--why",)]


@pytest.mark.parametrize("words", LISTS, ids=lambda words: words[-1])
@pytest.mark.parametrize("program", ["ts", "tsfast"])
def test_lists(queue: Queue, words: tuple[str, ...], program: str) -> None:
    """Label, command, output file and directory, of jobs that ended and one that could not start."""
    for name, text in texts():
        directory = queue.work / text
        directory.mkdir()
        path = queue.out / text
        queue.finish("-L", text, "--log", path, "true", text, cwd=directory, env={"TS_ENV": f"echo '{text}'"})
        last = int(queue.run("-L", text, "--log", queue.out / "none" / text, "true").stdout)  # warns: no such directory
        queue.wait(last)
        terminal, piped = both(queue, *words, *([last] if words[0] in ("-i", "--why") else []), program=program)
        harmless(terminal, name, "\n\t" if words[-1] == "tab" else "\n")
        if words[0] in ("-i", "--why"):
            harmless(piped, name)
            assert escaped(text) in terminal and escaped(text) in piped
        else:
            kept = piped.decode("utf-8", "surrogateescape")
            assert not {c for c in kept if unicodedata.category(c) in ("Cc", "Zl", "Zp")} - set("\n\t"), (name, kept)
            assert not set("\u202e\u2066\u200f\u061c") & set(kept), (name, kept)
        queue.get("-C")


def test_information_of_a_job_that_ran(queue: Queue) -> None:
    for name, text in texts():
        directory = queue.work / text
        directory.mkdir()
        queue.finish("-L", text, "--log", queue.out / text, "true", text, cwd=directory)
        for written in both(queue, "-i"):
            harmless(written, name)
            assert b"\nLabel: " + escaped(text) + b"\n" in written
            assert b"\nOutput: " + escaped(str(queue.out / text)) + b"\n" in written
            assert b"\nWorking directory: " + escaped(str(directory)) + b"\n" in written


def test_lists_of_arrays(queue: Queue) -> None:
    for name, text in texts():
        first = queue.submit("--array", "1-3", "-L", text, "true", text)
        queue.run("-w", first)
        terminal, _ = both(queue, "-l")
        harmless(terminal, name)
        assert terminal.count(b"\n") == 2
        queue.get("-C")


# ---- one value

VALUES: dict[str, Callable[[Queue, str], tuple[tuple[object, ...], str]]] = {
    "label": lambda queue, text: (("-a", queue.finish("-L", text, "true")), text),
    "output": lambda queue, text: (("-o", queue.finish("--log", queue.out / text, "true")), str(queue.out / text)),
    "variable": lambda queue, text: (("--getenv", "X"), text) if not queue.get("--setenv", f"X={text}") else ((), ""),
    "directory": lambda queue, text: (("--get_logdir",), log_directory(queue, text)),
}


def log_directory(queue: Queue, text: str) -> str:
    path = queue.out / text
    path.mkdir()
    queue.get("--set_logdir", path)
    return str(path)


@pytest.mark.parametrize("value", VALUES)
def test_a_value_is_exact_in_a_pipe_and_harmless_on_a_terminal(queue: Queue, value: str) -> None:
    for name, text in texts():
        words, exact = VALUES[value](queue, text)
        terminal, piped = both(queue, *words)
        assert piped == os.fsencode(exact) + b"\n", name
        assert terminal == escaped(exact) + b"\n", name


def test_a_command_is_read_back_by_bash(queue: Queue) -> None:
    for name, text in texts():
        job = queue.finish("printf", "%s", text)
        terminal, piped = both(queue, "-F", job)
        harmless(terminal, name)
        for written in terminal, piped:
            assert written.count(b"\n") == 1
            assert subprocess.run([b"bash", b"-c", written], stdout=subprocess.PIPE).stdout == os.fsencode(text), name


def test_a_command_in_a_pipe_keeps_what_any_shell_can_read(queue: Queue) -> None:
    job = queue.finish("true", "a\u200f\u200bz")
    assert queue.get("-F", job) == "true 'a\u200f\u200bz'"


# ---- messages

MESSAGES: dict[str, Callable[[Queue, str], tuple[tuple[object, ...], str, dict[str, str | None]]]] = {
    "id": lambda queue, text: (("-s", text), "ts", {}),
    "option": lambda queue, text: (("--" + text,), "ts", {}),
    "number": lambda queue, text: (("-N", text, "true"), "ts", {}),
    "left over": lambda queue, text: (("-w", "0", text), "ts", {}),
    "set_logdir": lambda queue, text: (("--set_logdir", text), "ts", {}),
    "batch": lambda queue, text: (("--batch", text), "ts", {}),
    "log": lambda queue, text: (("--log", taken(queue, text), "true"), "ts", {}),
    "gpus": lambda queue, text: (("-g", text, "true"), "ts", {}),
    "slots": lambda queue, text: (("-l",), "ts", {"TS_SLOTS": text}),
    "engine": lambda queue, text: (("-l",), "ts", {"TS_ENGINE": text}),
    "state": lambda queue, text: (("-l",), "ts", {"TS_STATE": f"/dev/null/{text}"}),
    "socket": lambda queue, text: (("-l",), "ts", {"TS_SOCKET": f"/dev/null/{text}"}),
    "file of socket": lambda queue, text: (("-l",), "ts", {"TS_SOCKET": taken(queue, text)}),
    "tsfast": lambda queue, text: (("-M", text), "tsfast", {}),
    "list": lambda queue, text: (("-l",), "tsfast", {"TS_SOCKET": f"/dev/null/{text}"}),
    "events": lambda queue, text: (("events", "--since", text), "tsfast", {}),
    "events option": lambda queue, text: (("events", "--" + text), "tsfast", {}),
    "doctor": lambda queue, text: (("doctor",), "tsfast", {"TS_SLOTS": text, "TS_ONFINISH": text, "TS_STATE": text}),
    "stop": lambda queue, text: (("stop",), "tsfast", {"TS_SOCKET": taken(queue, text)}),
    "gpus option": lambda queue, text: (("gpus", "--timeout", text), "tsfast", {}),
    "visible": lambda queue, text: (("gpus",), "tsfast", {"TS_VISIBLE_DEVICES": text}),
    "service": lambda queue, text: (("install-service", "--" + text), "tsfast", {}),
}


def taken(queue: Queue, text: str) -> str:
    path = queue.out / text
    path.touch()
    return str(path)


@pytest.mark.parametrize("place", MESSAGES)
def test_messages(queue: Queue, place: str) -> None:
    for name, text in texts():
        words, program, env = MESSAGES[place](queue, text)
        for written in both(queue, *words, program=program, env=env):
            harmless(written, name)
            assert place == "doctor" or written.count(b"\n") == 1, (name, written)


@pytest.mark.parametrize("place", ["set_logdir", "batch", "slots", "id", "log", "file of socket"])
def test_messages_name_what_is_wrong(queue: Queue, place: str) -> None:
    for name, text in texts():
        words, program, env = MESSAGES[place](queue, text)
        for written in both(queue, *words, program=program, env=env):
            assert escaped(text) in written, name


def test_command_not_found_in_the_output(queue: Queue) -> None:
    """That line is ours."""
    for name, text in texts():
        job = int(queue.run(text).stdout)
        queue.wait(job)
        written = Path(queue.get("-o", job)).read_bytes()
        harmless(written, name)
        assert written.count(b"\n") == 1 and escaped(text) in written


# ---- the log


def test_the_log(queue: Queue) -> None:
    """Programs of TS_ONFINISH, addresses, and the socket's own name cannot fake a line in it."""
    for name, text in texts():
        socket = queue.directory / f"s{text}"
        env = {"TS_SOCKET": str(socket), "TS_STATE": str(queue.directory / f"state {name}")}
        log = queue.directory / f"state {name}" / "log"
        env |= {"TS_SAVELIST": f"/dev/null/{text}"}
        queue.run("true", env={**env, "TS_ONFINISH": text})
        queue.run("-m", "true", env={**env, "TS_MAILTO": text, "PATH": f"{BIN}:/usr/bin:/bin"})
        queue.wait_until(lambda log=log: b"the program after job" in log.read_bytes(), "the hook is told of")
        begun = log.read_bytes().count(b" serving ")
        queue.run("-K", env=env)
        written = log.read_bytes()
        harmless(written, name)
        assert begun == 1 and written.count(b"\n2026-01-01 00:00:00") == 0, written
        assert escaped(text) in written
