"""A page of the documentation as a shell session: what it tells its reader to type, and what it shows as the answer.

A block of ```console holds commands (`$ `, continued by `> `), each followed by what it prints. A block of another
language whose first line is a comment with a file's name is that file. Times, paths of output files and the like differ
from run to run: they are taken out of both sides. A line `...` stands for lines that the page leaves out.
"""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(r"^```(\w*)$")
FILE = re.compile(r"^# (\w[\w.-]*\.\w+)$")
MARK = "=== line"
CHANGING = [
    (re.compile(r"(?<= running )\s*(\(file\)|\S*/\S*)(\s+\d+\.\d+[a-z]+)?"), " PATH"),  # it may be about to have one
    (re.compile(r"\S*ts-out\.\w+|/\S+\.\.\."), "PATH"),
    (re.compile(r"\b\d+\.\d+\t?(s|ms|m|h)\b"), "TIME"),
    (re.compile(r"\b[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}\b"), "DATE"),
    (re.compile(r"\b\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d\.\d+)?"), "DAY"),
    (re.compile(r"(?<=^Pid: )\d+|(?<=^Peak memory: )\d+ KiB|(?<=^Working directory: ).*"), "SOME"),
    (re.compile(r"GPU-[0-9a-f-]{30,}(.*  )(free|jobs? [\d, ]+)$"), r"UUID\1 WHO"),  # it is chosen at random
    (re.compile(r"\b(GPU|CUDA_VISIBLE_DEVICES=)\s?\d\b"), r"\1 SOME"),
    (re.compile(r" +"), " "),
]


class Step(NamedTuple):
    line: int  # of the page
    command: str
    shown: list[str]


class Page:
    def __init__(self, path: Path) -> None:
        self.steps: list[Step] = []
        self.files: dict[str, str] = {}
        language, block = None, []
        for number, line in enumerate(path.read_text().splitlines(), 1):
            fence = FENCE.match(line)
            if language is None:
                if fence:
                    language, block = fence[1], []
            elif fence:
                self._end_of_block(language, block)
                language = None
            else:
                block.append((number, line))

    def _end_of_block(self, language: str, block: list[tuple[int, str]]) -> None:
        if language == "console":
            self._session(block)
        elif block and (name := FILE.match(block[0][1])):
            self.files[name[1]] = "".join(f"{line}\n" for _, line in block)

    def _session(self, block: list[tuple[int, str]]) -> None:
        for number, line in block:
            if line.startswith("$ "):
                self.steps.append(Step(number, line[2:], []))
            elif line.startswith("> ") and not self.steps[-1].shown:
                last = self.steps[-1]
                self.steps[-1] = last._replace(command=f"{last.command}\n{line[2:]}")
            else:
                self.steps[-1].shown.append(line)

    def script(self) -> str:
        """For bash: all commands in one session, a mark before the output of each."""
        lines = ["exec </dev/null 2>&1"]
        for step in self.steps:
            lines += [f"echo {shlex.quote(f'{MARK} {step.line}')}", step.command]
        return "\n".join(lines) + "\n"

    def differences(self, output: str) -> list[str]:
        """Between what the page shows and what the script has printed."""
        parts = re.split(rf"^{MARK} (\d+)\n", output, flags=re.MULTILINE)
        printed = {int(line): text.splitlines() for line, text in zip(parts[1::2], parts[2::2], strict=True)}
        found = [parts[0]] if parts[0] else []
        for step in self.steps:
            lines = printed.get(step.line)
            if lines is None:
                found.append(f"line {step.line}: {step.command}: was not reached")
            elif not same(step.shown, lines):
                found.append(
                    f"line {step.line}: {step.command}\nthe page shows:\n"
                    + "\n".join(step.shown)
                    + "\nit prints:\n"
                    + "\n".join(lines)
                )
        return found


def settled(line: str) -> str:
    """Without what differs from run to run."""
    for pattern, word in CHANGING:
        line = pattern.sub(word, line)
    return line.rstrip()


def same(shown: list[str], printed: list[str]) -> bool:
    pattern = "".join(r"(?:.*\n)*" if line == "..." else re.escape(settled(line)) + "\n" for line in shown)
    return re.fullmatch(pattern, "".join(f"{settled(line)}\n" for line in printed)) is not None
