"""How much of the compiled modules has run: a table by package, for `make coverage`.

A build with TSFAST_COVERAGE=1 counts executed lines of the generated C; gcov reads the counts, and the comments that
Cython writes before each piece of C tell which line of a source it is of. Code without the GIL counts like any other.
What a process has not written when it is killed or executes another program is missing.
"""

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from places import ROOT

BUILD = ROOT / "build" / "coverage"
PIECE = re.compile(r'^ *\/\* "(tsfast/[\w/]+\.p(?:yx|xd|xi))":(\d+)$')
END = "/* function exit code */"

Executed = dict[str, dict[int, bool]]  # by source and line


def counts_of(data: Path) -> dict[int, int]:
    """How often each line of the generated C has run that has code."""
    command = ["gcov", "--json-format", "--stdout", data.name]
    told = json.loads(subprocess.run(command, cwd=data.parent, capture_output=True, text=True, check=True).stdout)
    lines = [line for file in told["files"] if file["file"].endswith(f"{data.stem}.c") for line in file["lines"]]
    counts: dict[int, int] = defaultdict(int)
    for line in lines:
        counts[line["line_number"]] += line["count"]
    return counts


def add(executed: Executed, data: Path) -> None:
    """A line that several modules have, as one of an inline function, has run if one of them ran it."""
    counts = counts_of(data)
    place: tuple[str, int] | None = None
    for number, text in enumerate(data.with_suffix(".c").read_text().splitlines(), 1):
        if match := PIECE.match(text):
            place = match[1], int(match[2])
        elif END in text:
            place = None
        elif place and number in counts:
            source, line = place
            executed[source][line] = executed[source].get(line, False) or counts[number] > 0


def ranges(lines: list[int]) -> str:
    """As 3-5 9."""
    found: list[list[int]] = []
    for line in lines:
        if found and found[-1][1] == line - 1:
            found[-1][1] = line
        else:
            found.append([line, line])
    return " ".join(f"{first}-{last}" if last > first else str(first) for first, last in found)


def main() -> None:
    executed: Executed = defaultdict(dict)
    for data in sorted(BUILD.rglob("*.gcda")):
        add(executed, data)
    if not executed:
        sys.exit("nothing has been counted: see `make coverage`")
    packages: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    with (BUILD / "not-executed").open("w") as report:
        for source, lines in sorted(executed.items()):
            package = source.split("/")[1].partition(".")[0]
            for name in (package, "all"):
                packages[name][0] += len(lines)
                packages[name][1] += sum(lines.values())
            report.write(f"{source}: {ranges(sorted(line for line, ran in lines.items() if not ran))}\n")
    print(f"{'package':12} {'lines':>7} {'executed':>9}")
    for name, (number, ran) in sorted(packages.items(), key=lambda item: (item[0] == "all", item[0])):
        print(f"{name:12} {number:>7,} {ran / number:>9.1%}")
    print(f"lines that were not executed: {(BUILD / 'not-executed').relative_to(ROOT)}")


if __name__ == "__main__":
    main()
