"""The plots of docs/benchmarks.md."""

from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
from common import Figure
from matplotlib.axes import Axes

matplotlib.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "tsfast",  # the same figures give the same file
        "font.size": 9,
        "font.family": "sans-serif",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.facecolor": "white",
    }
)
OURS, BATCH, THEIRS, FLOOR = "#1f5fa8", "#6fa8dc", "#b0b0b0", "#404040"
Figures = dict[str, list[Figure]]


def draw(figures: Figures, directory: Path) -> str:
    """Write one SVG for each plot that has something to show; the part of the page that shows them."""
    directory.mkdir(exist_ok=True)
    lines = []
    for name, (title, plot) in PLOTS.items():
        canvas, axes = plt.subplots(figsize=(8, 4.5))
        if plot(axes, figures):
            axes.set_title(title)
            canvas.tight_layout()
            canvas.savefig(directory / f"{name}.svg", metadata={"Date": None, "Creator": None})
            lines += [f"![{title}]({directory.name}/{name}.svg)", ""]
        plt.close(canvas)
    return "\n".join(lines)


def beside_tsp(axes: Axes, figures: Figures) -> bool:
    """All ratios to tsp as factors, better to the right, and their goals."""
    rows = [figure for each in figures.values() for figure in each if figure.peer == "tsp" and "tsp" in figure.series]
    rows = [figure for figure in rows if figure.value > 0][::-1]
    if not rows:
        return False
    factors = [figure.value if figure.sense == ">=" else 1 / figure.value for figure in rows]
    axes.figure.set_size_inches(8, 1.2 + 0.24 * len(rows))
    axes.barh([figure.name for figure in rows], factors, color=OURS, height=0.65)
    for i, (figure, factor) in enumerate(zip(rows, factors, strict=True)):
        axes.annotate(f"{factor:.1f}", (factor, i), xytext=(3, 0), textcoords="offset points", va="center")
        if figure.goal:
            goal = figure.goal if figure.sense == ">=" else 1 / figure.goal
            axes.plot([goal, goal], [i - 0.42, i + 0.42], color="#d04020", linewidth=2)
    axes.set_xscale("log")
    axes.axvline(1, color=FLOOR, linewidth=0.8)
    axes.set_xlabel("times better than tsp (logarithmic); red: the goal")
    return True


def throughput(axes: Axes, figures: Figures) -> bool:
    """Jobs per second of all contenders, by job and slots."""
    groups = [f for name in ("end_to_end", "no_op") for f in figures.get(name, []) if "throughput" in f.plot]
    if not groups:
        return False
    rates = []
    for figure in groups:
        known = {name: stats.median for name, stats in figure.series.items()}
        own = {"ts, shell": known.pop("ts"), "ts, batch": float(str(figure.plot["batch"]))}
        rates.append(own | known)
    names = list(dict.fromkeys(name for row in rates for name in row))
    colours = {"ts, shell": OURS, "ts, batch": BATCH, "floor": FLOOR, "tsp": "#d08040"}
    width = 0.8 / max(1, len(names))
    for k, name in enumerate(names):
        at = [i + k * width for i, row in enumerate(rates) if name in row]
        axes.bar(at, [row[name] for row in rates if name in row], width, label=name, color=colours.get(name))
    labels = [f"{figure.plot['throughput']}\n{figure.plot['slots']} at once" for figure in groups]
    axes.set_xticks([i + 0.4 - width / 2 for i in range(len(groups))], labels)
    axes.set_ylabel("jobs/s, first call to last end")
    axes.legend(frameon=False, ncols=2)
    return True


def growth(axes: Axes, figures: Figures) -> bool:
    """What one job costs at each size, beside what it costs at the smallest."""
    rows = [figure for figure in figures.get("growth", []) if figure.plot.get("curve")]
    if not rows:
        return False
    axes.figure.set_size_inches(8, 5.5)
    for i, figure in enumerate(rows):
        curve = {int(size): float(cost) for size, cost in figure.plot["curve"].items()}  # type: ignore[attr-defined]
        first = curve[min(curve)]
        name = figure.name.rpartition(", ")[0]
        style = "-" if i < 10 else "--"
        axes.plot(list(curve), [cost / first for cost in curve.values()], style, marker="o", markersize=3, label=name)
    sizes = sorted(int(size) for size in rows[0].plot["curve"])  # type: ignore[call-overload]
    logarithm = [len(str(size)) - 1 for size in sizes]
    axes.plot(sizes, [value / logarithm[0] for value in logarithm], color="black", linewidth=2, label="O(log n)")
    axes.set_xscale("log")
    axes.set_xlabel("jobs in the queue")
    axes.set_ylabel("cost of one, relative to 1,000 jobs")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    return True


def edges(axes: Axes, figures: Figures) -> bool:
    rows = [figure for figure in figures.get("dependencies", []) if figure.plot.get("curve")]
    if not rows:
        return False
    for figure in rows:
        curve = {int(size): float(cost) for size, cost in figure.plot["curve"].items()}  # type: ignore[attr-defined]
        axes.plot(list(curve), list(curve.values()), marker="o", label=figure.name.partition(" of")[0])
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("edges")
    axes.set_ylabel("us an edge, queued and ended")
    axes.legend(frameon=False)
    return True


def latency(axes: Axes, figures: Figures) -> bool:
    """The simulated day: percentiles of the dispatch latency."""
    rows = [figure for figure in figures.get("simulation", []) if figure.plot.get("percentiles")]
    if not rows:
        return False
    for figure in rows:
        points = [(float(p), float(us)) for p, us in figure.plot["percentiles"].items()]  # type: ignore[attr-defined]
        axes.plot([us / 1000 for _, us in points], [p for p, _ in points], color=OURS, marker="o", markersize=3)
    axes.set_xscale("log")
    axes.set_xlabel("from when a job could start to its first instruction, ms")
    axes.set_ylabel("% of the jobs")
    axes.grid(alpha=0.3)
    return True


def day(axes: Axes, figures: Figures) -> bool:
    """The simulated day: jobs that wait and jobs that run."""
    rows = [figure for figure in figures.get("simulation", []) if figure.plot.get("queued")]
    if not rows:
        return False
    for figure in rows:
        times, queued, running = zip(*figure.plot["queued"], strict=True)  # type: ignore[call-overload]
        axes.plot(times, queued, color=THEIRS, label="queued")
        axes.plot(times, running, color=OURS, linewidth=0.8, label="running")
    axes.set_yscale("symlog")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds of the compressed day")
    axes.set_ylabel("jobs")
    axes.legend(frameon=False)
    return True


PLOTS = {
    "ratios": ("tsfast beside tsp, in one run", beside_tsp),
    "throughput": ("Jobs from the first call to the last end", throughput),
    "growth": ("What a job costs as the queue grows", growth),
    "edges": ("What a dependency costs", edges),
    "latency": ("A simulated day: dispatch latency", latency),
    "day": ("A simulated day: the queue", day),
}
