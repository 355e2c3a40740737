"""Runs the benchmarks: `run.py [--quick] [NAME ...]`. Prints a table; writes build/bench/results.json and report.txt.

Nothing fails on a missed goal: the figures depend on the machine and on what else it does. Compare ratios."""

import argparse
import importlib
import json
import os
import platform
import time

from common import BUILD, Figure, Options, tsp_program

QUESTIONS = (
    *("submit", "loop", "memory", "idle", "first_call", "commands", "gaps", "end_to_end"),
    *("gpu_choice", "gpu_jobs"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a shorter form that shows the ratios")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(QUESTIONS)}; all by default")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(QUESTIONS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")

    options = Options(quick=arguments.quick)
    say = Report()
    say.line(f"{platform.platform()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.2f}")
    if not tsp_program():
        say.line("SKIPPED: tsp (Debian's task-spooler) is not installed; there is nothing to compare with")
    say.line(Report.HEAD)
    figures: list[Figure] = []
    begin = time.monotonic()
    for name in arguments.names or QUESTIONS:
        for figure in importlib.import_module(name).measure(options):
            figures.append(figure)
            say.figure(figure)
    say.line(f"{time.monotonic() - begin:.0f} s, load {os.getloadavg()[0]:.2f}")
    BUILD.mkdir(parents=True, exist_ok=True)
    result = {"machine": platform.platform(), "quick": options.quick, "figures": [f.as_json() for f in figures]}
    (BUILD / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    (BUILD / "report.txt").write_text(say.text)


class Report:
    """The table, line by line as the figures come."""

    HEAD = f"{'question':46} {'':5} {'ts':>18} {'tsp':>18} {'ratio':>6} {'goal':>8}      load"

    def __init__(self) -> None:
        self.text = ""

    def line(self, text: str) -> None:
        self.text += text + "\n"
        print(text, flush=True)

    def figure(self, figure: Figure) -> None:
        def show(name: str) -> str:
            stats = figure.series.get(name)
            if stats is None:
                return "-"
            spread = f" +-{(stats.high - stats.low) / 2 / stats.median:.0%}" if stats.count > 1 and stats.median else ""
            return f"{stats.median:,.{0 if stats.median >= 100 else 1}f}{spread}"

        ratio = f"{figure.value:.2f}" if figure.peer in figure.series else ""
        goal = "" if figure.goal is None else f"{figure.sense}{figure.goal:g}"
        met = {True: "yes", False: "NO", None: ""}[figure.met]
        self.line(
            f"{figure.name:46} {figure.unit:5} {show('ts'):>18} {show('tsp'):>18} {ratio:>6} {goal:>8} {met:3}"
            f" {figure.load[0]:5.2f}"
        )
        if figure.note:
            self.line(f"    {figure.note}")


if __name__ == "__main__":
    main()
