"""The steps of a scenario, as data, and what each of them shows when a spooler performs it."""

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from support.patience import patient, wait_until
from system.compat.spoolers import Spooler


class Step(NamedTuple):
    verb: str
    arguments: tuple[object, ...]
    options: dict[str, object]


def call(*words: object, **options: object) -> Step:
    """One call. Shows the exit code and stdout. Options: env, stdin, umask, cwd, code_only (not stdout)."""
    return Step("call", words, options)


def ok_after(ids: str, *words: object) -> Step:
    """A job that runs only if those ended well: -D there, -W here."""
    return Step("ok_after", (ids, *words), {})


def until(job: int, state: str) -> Step:
    return Step("until", (job, state), {})


def open_gate(name: str, code: int = 0) -> Step:
    return Step("open_gate", (name, code), {})


def rows(raw: bool = False) -> Step:
    """The whole list; raw: with words quoted as the list shows them."""
    return Step("rows", (raw,), {})


def list_lines() -> Step:
    """How many lines the list has."""
    return Step("list_lines", (), {})


def output(job: int, suffix: str = "") -> Step:
    """What the job's output file holds."""
    return Step("output", (job, suffix), {})


def start(name: str, *words: object, **options: object) -> Step:
    """A call that goes on while the next steps are made."""
    return Step("start", (name, *words), options)


def end(name: str) -> Step:
    """Shows the exit code and stdout of a started call, once it has ended."""
    return Step("end", (name,), {})


def signal_job(job: int, number: int) -> Step:
    """A signal from outside to the process that -p names."""
    return Step("signal_job", (job, number), {})


def file(path: str) -> Step:
    """What a file holds, once it is there."""
    return Step("file", (path,), {})


def shell(text: str) -> tuple[str, ...]:
    return ("sh", "-c", text)


def each(*jobs: tuple[str, ...]) -> tuple[Step, ...]:
    return tuple(call(*words) for words in jobs)


def typed(text: str, **options: object) -> Step:
    """Lines of a shell in which `ts` is the spooler. Shows the exit code and stdout. Options: env."""
    return Step("typed", (text,), options)


def script(path: str, text: str) -> Step:
    return Step("script", (path, text), {})


def perform(spooler: Spooler, steps: tuple[Step, ...]) -> list[object]:
    """What the steps have shown, step by step."""
    for name in {
        word.partition("gate.")[2] for step in steps for word in map(str, step.arguments) if "@/gate." in word
    }:
        spooler.fifo(name)
    return [PERFORM[step.verb](spooler, *step.arguments, **step.options) for step in steps]


def _call(spooler: Spooler, *words: object, cwd: str = "@/cwd", code_only: bool = False, **options: object) -> object:
    if "env" in options:
        options["env"] = {name: spooler.expand(value) for name, value in options["env"].items()}
    done = spooler.run(*map(spooler.expand, words), cwd=spooler.expand(cwd), **options)
    return done.returncode, None if code_only else spooler.neutral(done.stdout)


def _ok_after(spooler: Spooler, ids: str, *words: object) -> object:
    return _call(spooler, *spooler.after_ok, ids, *words)


def _until(spooler: Spooler, job: int, state: str) -> object:
    wait_until(
        lambda: any(row[:2] == (job, state) for row in spooler.table()[1]), f"{spooler.name}: job {job} is {state}"
    )
    if state == "running":
        wait_until(lambda: spooler.is_up(job), f"{spooler.name}: job {job} is up")
    return state


def _output(spooler: Spooler, job: int, suffix: str) -> object:
    return spooler.neutral(Path(spooler.get("-o", job) + suffix).read_bytes().decode("utf-8", "surrogateescape"))


def _start(spooler: Spooler, name: str, *words: object, **options: object) -> object:
    spooler.started[name] = spooler.start(*map(spooler.expand, words), **options)
    return None


def _end(spooler: Spooler, name: str) -> object:
    child: subprocess.Popen[bytes] = spooler.started[name]
    out, _ = child.communicate(timeout=20)
    return child.returncode, spooler.neutral(out.decode())


def _signal_job(spooler: Spooler, job: int, number: int) -> object:
    os.kill(int(spooler.get("-p", job)), number)
    return None


def _file(spooler: Spooler, path: str) -> object:
    found = Path(spooler.expand(path))
    wait_until(lambda: found.exists() and found.stat().st_size, f"{spooler.name}: {path}")
    return spooler.neutral(found.read_text())


def _typed(spooler: Spooler, text: str, env: "dict[str, str] | None" = None) -> object:
    done = subprocess.run(
        ["sh", "-c", f'ts() {{ "$TS" "$@"; }}\n{spooler.expand(text)}'],
        env=spooler.env(
            {"TS": str(spooler.program), **{name: spooler.expand(value) for name, value in (env or {}).items()}}
        ),
        cwd=spooler.work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=patient(30),
    )
    return done.returncode, spooler.neutral(done.stdout)


def _script(spooler: Spooler, path: str, text: str) -> object:
    found = Path(spooler.expand(path))
    found.write_text(text)
    found.chmod(0o755)
    return None


PERFORM = {
    "call": _call,
    "ok_after": _ok_after,
    "until": _until,
    "open_gate": lambda spooler, name, code: spooler.let_end(name, code),
    "rows": lambda spooler, raw: spooler.table(raw),
    "list_lines": lambda spooler: spooler.run("-l").stdout.count("\n"),
    "output": _output,
    "start": _start,
    "end": _end,
    "signal_job": _signal_job,
    "file": _file,
    "script": _script,
    "typed": _typed,
}
