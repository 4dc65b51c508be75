"""The plots: latency against history length, throughput against concurrency."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator

from benchmarks.contestants import ADVANCED, ECHO, ECHO_STREAM, EMBEDDED, REDIS, REMOTE, SQLALCHEMY, SQLITE
from benchmarks.report import Measurement, Report

mpl.use("Agg")

_STYLES = {
    REMOTE: ("#c1121f", "o", "-"),
    EMBEDDED: ("#f48c06", "s", "-"),
    SQLITE: ("#457b9d", "^", "-"),
    ADVANCED: ("#1d3557", "v", "-"),
    REDIS: ("#6a4c93", "D", "-"),
    SQLALCHEMY: ("#2a9d8f", "P", "-"),
    ECHO: ("#888888", "", "--"),
    ECHO_STREAM: ("#bbbbbb", "", "--"),
}


def draw(report: Report, results: Path) -> None:
    """Draw what was measured beside the results."""
    lengths = [it for it in report.measurements if it.row == 1]
    if lengths:
        _draw(
            lengths,
            [it.p50_ms for it in lengths],
            f"One turn (get all, add 4), one session ({report.mode} run)",
            "items in the history",
            "latency, p50 in ms",
            results.with_name(f"{results.stem}-latency.png"),
        )
    levels = [it for it in report.measurements if it.row == 2 and it.per_s is not None and it.work.endswith("y 100")]
    if levels:
        _draw(
            levels,
            [it.per_s or 0.0 for it in levels],
            f"Turns per second, history of 100 items ({report.mode} run)",
            "sessions at once",
            "turns per second",
            results.with_name(f"{results.stem}-throughput.png"),
        )


def _draw(measurements: list[Measurement], values: list[float], title: str, x: str, y: str, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    for name, (color, marker, line) in _STYLES.items():
        points = [(it.scale, value) for it, value in zip(measurements, values, strict=True) if it.contestant == name]
        if points:
            axes.plot(*zip(*points, strict=True), color=color, marker=marker, linestyle=line, label=name)
    axes.set(title=title, xlabel=x, ylabel=y, xscale="log", yscale="log")
    scales = sorted({it.scale for it in measurements})
    axes.set_xticks(scales, [f"{scale:,}" for scale in scales])
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(visible=True, which="major", alpha=0.3)
    figure.legend(loc="outside right center")
    figure.savefig(path, dpi=120)
    plt.close(figure)
