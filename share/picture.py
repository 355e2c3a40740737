"""Draws docs/picture.svg: what a terminal shows of a queue that works, from a real run. `make share` calls it.

Times and names of files differ from run to run: a picture that differs in nothing else stays as it is.
"""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import time
from html import escape
from pathlib import Path

PICTURE = Path(__file__).parents[1] / "docs" / "picture.svg"
TS = Path(sys.executable).parent / "ts"
COLUMNS, ROWS = 92, 40
FILES = {"prepare.py": "import time; time.sleep(1.2)", "train.py": "import time; time.sleep(1000)"}
BEFORE = ["ts -L prepare python3 prepare.py", "ts sh -c 'exit 3'", "ts -w 0-1", "ts -S 3"]
SHOWN = [
    "for seed in 1 2 3 4; do ts -L seed=$seed -W 0 python3 train.py $seed; done",
    "ts -W 2,3,4,5 -L report python3 report.py",
    "ts",
    "ts --why",
]
RUNS_S = 3  # so long the jobs run before the list is shown
# Of the colours of a terminal those that `ts` uses, on a dark ground.
COLOURS = {"31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "2": "#8b949e"}
INK, GROUND, PROMPT = "#e6edf3", "#0d1117", "#79c0ff"
ADVANCE, LINE, MARGIN = 8.43, 20, 18
CHANGING = re.compile(r"/\S+|\b\d+\.\d+s| +")


def on_terminal(command: str, environment: dict[str, str], directory: str) -> str:
    """What it writes to a terminal of its own."""
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    child = subprocess.Popen(
        ["bash", "--norc", "-c", command],
        env=environment,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    output = b""
    try:
        while data := os.read(main, 65536):
            output += data
    except OSError:  # the terminal's other side is closed
        pass
    os.close(main)
    child.wait()
    return output.decode().replace("\r\n", "\n")


def session() -> list[str]:
    """Lines of the screen, with the escape sequences of colours."""
    with tempfile.TemporaryDirectory() as directory:
        environment = {
            "PATH": f"{TS.parent}:/usr/bin:/bin",
            "HOME": directory,
            "TS_SOCKET": f"{directory}/socket",
            "TS_STATE": f"{directory}/state",
            "TSFAST_VAR_TMP": f"{directory}/var",
            "TERM": "xterm-256color",
            "LC_ALL": "C.UTF-8",
        }
        for name, text in FILES.items():
            Path(directory, name).write_text(text)
        lines: list[str] = []
        try:
            for command in BEFORE:
                on_terminal(command, environment, directory)
            for command in SHOWN:
                if command == "ts":
                    time.sleep(RUNS_S)
                lines.append(f"$ {command}")
                lines += on_terminal(command, environment, directory).splitlines()
        finally:
            jobs = subprocess.run([TS, "-M", "json"], env=environment, capture_output=True, check=True).stdout
            for command in ("--cancel 2-6", "-w 2-6", "-K"):
                subprocess.run([TS, *command.split()], env=environment, capture_output=True)
            for job in json.loads(jobs):
                if job["Output"]:
                    os.unlink(job["Output"])
    return lines


def spans(line: str) -> str:
    """A line as pieces of text with their colours."""
    if line.startswith("$ "):
        return f'<tspan fill="{PROMPT}">$</tspan>{escape(line[1:])}'
    drawn = ""
    colour = ""
    for piece in re.split(r"(\x1b\[[\d;]*m)", line):
        if piece.startswith("\x1b"):
            colour = COLOURS.get(piece[2:-1], "")
        elif piece:
            drawn += f'<tspan fill="{colour}">{escape(piece)}</tspan>' if colour else escape(piece)
    return drawn


def drawing(lines: list[str]) -> str:
    width, height = round(COLUMNS * ADVANCE + 2 * MARGIN), len(lines) * LINE + 2 * MARGIN
    rows = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        "<title>A list of jobs in a terminal</title>",
        f'<rect width="{width}" height="{height}" rx="8" fill="{GROUND}"/>',
        f'<g font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="14" fill="{INK}">',
    ]
    for number, line in enumerate(lines):
        y = MARGIN + LINE * number + LINE * 3 // 4
        rows.append(f'<text x="{MARGIN}" y="{y}" xml:space="preserve" style="white-space: pre">{spans(line)}</text>')
    return "\n".join([*rows, "</g>", "</svg>", ""])


def settled(picture: str) -> str:
    """Without what differs from run to run."""
    return CHANGING.sub(" ", picture)


def main() -> int:
    new = drawing(session())
    if not PICTURE.exists() or settled(PICTURE.read_text()) != settled(new):
        PICTURE.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
