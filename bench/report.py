"""Figures as text."""

import os
import platform

from common import Figure, Stats

HEAD = f"{'question':56} {'':5} {'ts':>16} {'peer':>27} {'ratio':>6} {'goal':>10}      load"


def about() -> str:
    """The machine, in a line."""
    return f"{platform.platform()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.2f}"


def shown(stats: Stats | None) -> str:
    """Median and half of the distance between the quartiles."""
    if stats is None:
        return "-"
    digits = 0 if stats.median >= 100 else 1 if stats.median >= 1 or stats.median == 0 else 3
    spread = f" +-{(stats.high - stats.low) / 2 / stats.median:.0%}" if stats.count > 1 and stats.median else ""
    return f"{stats.median:,.{digits}f}{spread}"


def goal_of(figure: Figure) -> str:
    return "" if figure.goal is None else f"{figure.sense} {figure.goal:,g}"


def verdict(figure: Figure) -> str:
    return {True: "yes", False: "NO", None: ""}[figure.met]


def rest_of(figure: Figure) -> str:
    """The series that have no column of their own."""
    others = [
        f"{name} {shown(stats)} (ts: {figure.series['ts'].median / stats.median:.2f} of it)"
        for name, stats in figure.series.items()
        if name not in ("ts", figure.peer) and stats.median and not figure.plot.get("curve")
    ]
    return ", ".join(others)


def rows_of(figure: Figure) -> list[str]:
    """Its lines in the table."""
    peer = figure.series.get(figure.peer)
    ratio = f"{figure.value:.2f}" if peer else ""
    beside = f"{figure.peer} {shown(peer)}" if peer else ""
    lines = [
        f"{figure.name:56} {figure.unit:5} {shown(figure.series['ts']):>16} {beside:>27} {ratio:>6} "
        f"{goal_of(figure):>10} {verdict(figure):3} {figure.load[0]:5.2f}"
    ]
    return lines + [f"    {text}" for text in (rest_of(figure), figure.note) if text]
