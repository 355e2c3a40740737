"""Runs the benchmarks: `run.py [--quick] [NAME ...]`. Prints a table, writes build/bench/results.json and report.txt;
the full form writes docs/benchmarks.md and its plots too, in which rows that are not run now keep their last figures.

Nothing fails on a missed goal: the figures depend on the machine and on what else it does. Compare ratios."""

import argparse
import importlib
import json
import os
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import page
import peers
from common import BUILD, Figure, Options
from report import HEAD, about, rows_of

from support import installation

QUESTIONS = (
    *("submit", "loop", "batch", "memory", "million", "idle", "first_call", "commands", "gaps", "end_to_end", "no_op"),
    *("big_list", "table_reader", "table_access", "dependencies", "waiters", "gpu_choice", "gpu_jobs", "disk_storm"),
    *("environments", "durable", "growth", "simulation"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a shorter form that shows the ratios")
    parser.add_argument("--page-only", action="store_true", help="write docs/benchmarks.md from the last results")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(QUESTIONS)}; all by default")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(QUESTIONS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if told := installation.wrong():
        parser.error(told)

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended on the way out
    BUILD.mkdir(parents=True, exist_ok=True)
    results = BUILD / ("quick.json" if arguments.quick else "results.json")
    if not arguments.page_only:
        run(Options(arguments.quick), arguments.names or list(QUESTIONS), results)
    if not arguments.quick:
        page.write(json.loads(results.read_text()), QUESTIONS)


def run(options: Options, names: list[str], path: Path) -> None:
    """Measure, print, and keep what was measured after each question: an interrupted run can be gone on with."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    text = ""

    def say(line: str) -> None:
        nonlocal text
        text += line + "\n"
        print(line, flush=True)

    say(about())
    for who in peers.missing():
        say(f"SKIPPED: {who} is not installed; it is left out")
    say(HEAD)
    begin = time.monotonic()
    for name in names:
        began = time.monotonic()
        figures = measure(name, options, say)
        for figure in figures:
            for line in rows_of(figure):
                say(line)
        kept[name] = {
            "when": time.strftime("%Y-%m-%d"),
            "seconds": round(time.monotonic() - began, 1),
            "machine": about(),
            "left_out": peers.missing(),
            "figures": [figure.as_json() for figure in figures],
        }
        path.write_text(json.dumps(kept, indent=1) + "\n")
    say(f"{time.monotonic() - begin:.0f} s, load {os.getloadavg()[0]:.2f}")
    (BUILD / "report.txt").write_text(text)


def measure(name: str, options: Options, say: Callable[[str], None]) -> list[Figure]:
    """A question that cannot be answered does not take the others with it."""
    try:
        figures: list[Figure] = importlib.import_module(name).measure(options)
        return figures
    except (Exception, SystemExit):
        say(f"FAILED: {name}\n{traceback.format_exc()}")
        return []


if __name__ == "__main__":
    main()
