"""Writes docs/benchmarks.md from what was measured."""

import importlib
from collections.abc import Sequence
from pathlib import Path

from common import HERE, Figure, Stats
from report import goal_of, rest_of, shown, verdict

DOCS = HERE.parent / "docs"
TOP = """# Benchmarks

This page is written by `make bench` from what it has measured; [performance.md](performance.md) says what the figures
mean, what was tried, and why a goal is missed. All contenders of a row were measured in the same run, in turn. A figure
is the median, with half of the distance between the quartiles. Ratios count, times depend on the machine and on what
else it does: the load average stands beside each row. The goals are for the ratio, where there is one.

`make bench BENCH="submit gaps"` measures only these and keeps the other rows; `make bench-quick` is a shorter form that
leaves this page alone.
"""


def write(results: dict[str, dict[str, object]], order: Sequence[str]) -> None:
    names = [name for name in order if name in results]
    figures = {name: [figure_of(row) for row in results[name]["figures"]] for name in names}  # type: ignore[attr-defined]
    parts = [TOP, machines(results, names)]
    try:
        plots = importlib.import_module("plots")
    except ImportError:
        print("SKIPPED: matplotlib is not installed; the page has no plots")
    else:
        parts.append(plots.draw(figures, DOCS / "benchmarks"))
    parts[2:2] = [summary([figure for name in names for figure in figures[name]])]
    for name in names:
        parts.append(section(name, figures[name]))
    Path(DOCS / "benchmarks.md").write_text("\n".join(parts))


def figure_of(row: dict[str, object]) -> Figure:
    fields = {key: value for key, value in row.items() if key not in ("value", "met", "series")}
    series = {name: Stats(**stats) for name, stats in row["series"].items()}  # type: ignore[attr-defined]
    return Figure(series=series, **fields)  # type: ignore[arg-type]


def machines(results: dict[str, dict[str, object]], names: list[str]) -> str:
    """When and where; rows of several runs may differ."""
    runs: dict[str, list[str]] = {}
    for name in names:
        machine = str(results[name]["machine"]).partition(", load")[0]
        runs.setdefault(f"{results[name]['when']}, {machine}", []).append(name)
    left_out = sorted({who for name in names for who in results[name]["left_out"]})  # type: ignore[attr-defined]
    lines = [f"Measured {run}" + (f": {', '.join(rows)}." if len(runs) > 1 else ".") for run, rows in runs.items()]
    lines += [f"Not installed, so left out: {', '.join(left_out)}."] if left_out else []
    return "\n".join(lines) + "\n"


def summary(figures: list[Figure]) -> str:
    """How many goals are reached, and which are not."""
    missed = [figure for figure in figures if figure.met is False]
    reached = sum(figure.met is True for figure in figures)
    lines = [f"Goals: {reached} of {reached + len(missed)} reached in this run."]
    lines += ["Missed:"] if missed else []
    lines += [f"- {figure.name}: {shown_value(figure)}, goal {goal_of(figure)}" for figure in missed]
    return "\n".join(lines) + "\n"


def shown_value(figure: Figure) -> str:
    if figure.peer in figure.series:
        return f"{figure.value:.2f} of {figure.peer}"
    return f"{shown(figure.series['ts'])} {figure.unit}".strip()


def section(name: str, figures: list[Figure]) -> str:
    doc = (importlib.import_module(name).__doc__ or "").strip()
    lines = [f"## {name}", "", doc, ""]
    lines += ["| question | unit | ts | peer | ratio | goal | reached | load |", "| --- " * 8 + "|"]
    notes = []
    for figure in figures:
        peer = figure.series.get(figure.peer)
        cells = [figure.name, figure.unit, shown(figure.series["ts"]), f"{figure.peer} {shown(peer)}" if peer else ""]
        cells += [f"{figure.value:.2f}" if peer else "", goal_of(figure), verdict(figure), f"{figure.load[0]:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
        text = "; ".join(part for part in (rest_of(figure), figure.note) if part)
        notes += [f"- {figure.name}: {text}."] if text else []
    return "\n".join([*lines, *([""] if notes else []), *notes, ""])
