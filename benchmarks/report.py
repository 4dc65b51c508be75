"""What a run found: measurements, and the figures that are met or missed."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import median, percentile

_PACKAGES = ("openai-agents", "grpcio", "protobuf", "pysqlite3", "redis", "sqlalchemy", "asyncpg")


@dataclass(frozen=True, slots=True)
class Measurement:
    """How fast one contestant did one thing.

    Attributes:
        row: The row of the table of goals.
        work: What was done.
        contestant: Who did it.
        scale: The history length or the number of sessions at once, for plots.
        count: How many samples there are.
        p50_ms: Latency in milliseconds; so are the next two.
        p95_ms: As above.
        p99_ms: As above.
        per_s: Throughput: turns or calls a second.
        offered_per_s: The rate of arrivals, when they came on a schedule.
    """

    row: int
    work: str
    contestant: str
    scale: int
    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    per_s: float | None = None
    offered_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its target."""

    row: int
    name: str
    value: float
    unit: str
    target: float
    at_least: bool

    @property
    def is_met(self) -> bool:
        """Whether the target is reached."""
        return self.value >= self.target if self.at_least else self.value <= self.target


@dataclass(slots=True)
class Report:
    """All that a run found."""

    mode: str
    measurements: list[Measurement] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    began: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    load_before: tuple[float, float, float] = field(default_factory=os.getloadavg)

    def measured(
        self,
        row: int,
        work: str,
        contestant: str,
        latencies_s: Sequence[float],
        *,
        scale: int = 0,
        per_s: Sequence[float] = (),
        offered_per_s: float | None = None,
    ) -> None:
        """Take down latencies in seconds and throughputs, one of each round."""
        p50, p95, p99 = (round(1000 * percentile(latencies_s, percent), 4) for percent in (50, 95, 99))
        throughput = round(median(per_s), 2) if per_s else None
        count = len(latencies_s)
        self.measurements.append(
            Measurement(row, work, contestant, scale, count, p50, p95, p99, throughput, offered_per_s)
        )

    def at_most(self, row: int, name: str, value: float, target: float, unit: str = "x") -> None:
        """Take down a figure that is to be small."""
        self._figure(Figure(row, name, round(value, 4), unit, target, at_least=False))

    def at_least(self, row: int, name: str, value: float, target: float, unit: str = "x") -> None:
        """Take down a figure that is to be large."""
        self._figure(Figure(row, name, round(value, 4), unit, target, at_least=True))

    def _figure(self, figure: Figure) -> None:
        self.figures.append(figure)
        print("  " + _figure_line(figure), flush=True)

    def note(self, text: str) -> None:
        """Take down something to know when reading the figures."""
        self.notes.append(text)
        print(f"  note: {text}", flush=True)

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        content = {
            "mode": self.mode,
            "began": self.began,
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": {
                "cores": os.cpu_count(),
                "architecture": platform.machine(),
                "python": platform.python_version(),
                "load_before": self.load_before,
                "load_after": os.getloadavg(),
            },
            "packages": {package: version(package) for package in _PACKAGES},
            "notes": self.notes,
            "figures": [asdict(figure) | {"met": figure.is_met} for figure in self.figures],
            "measurements": [asdict(measurement) for measurement in self.measurements],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n")

    def table(self) -> Iterator[str]:
        """The lines of the table."""
        numbers = f"{'p50 ms':>10} {'p95 ms':>10} {'p99 ms':>10} {'per s':>10} {'offered':>9}"
        yield f"{'row':>3}  {'work':<52} {'contestant':<28} {numbers}"
        for it in sorted(self.measurements, key=lambda measurement: measurement.row):
            per_s = f"{it.per_s:10.1f}" if it.per_s is not None else " " * 10
            latencies = f"{it.p50_ms:10.3f} {it.p95_ms:10.3f} {it.p99_ms:10.3f}"
            offered = f"{it.offered_per_s:9.1f}" if it.offered_per_s is not None else ""
            yield f"{it.row:>3}  {it.work:<52} {it.contestant:<28} {latencies} {per_s} {offered}".rstrip()
        yield ""
        yield f"{'row':>3}  {'goal':<72} {'figure':>12} {'target':>14}"
        yield from (_figure_line(figure) for figure in sorted(self.figures, key=lambda figure: figure.row))
        yield ""
        yield f"{sum(figure.is_met for figure in self.figures)} of {len(self.figures)} figures met ({self.mode})"
        yield from (f"note: {note}" for note in self.notes)


def _figure_line(figure: Figure) -> str:
    bound = "at least" if figure.at_least else "at most"
    value, target = (f"{number:.5g} {figure.unit}" for number in (figure.value, figure.target))
    return (
        f"{figure.row:>3}  {figure.name:<72} {value:>12} {bound:>9} {target:<10} {'met' if figure.is_met else 'missed'}"
    )
