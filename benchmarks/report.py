"""Medians, their spread and ratios: as a table, as JSON and as a plot."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.work import Sample

#: What the plot shows: work, figure, and its title; of each work the largest that was run.
_PLOT = (
    ("cold sync", "time", "Cold sync of {} interfaces, s"),
    ("churn", "CPU per change", "CPU per change, {} interfaces, µs"),
    ("cold sync", "peak memory", "Peak memory at {} interfaces, MB"),
    ("resync", "time", "Resync of {} interfaces, s"),
)

#: Work, figure, and the most that dfovsdb may need, as a ratio to a peer.
TARGETS = (
    ("cold sync of 50,000", "time", 1.4, "bare"),
    ("cold sync of 50,000", "time", 1, "ovsdb-client"),
    ("cold sync of 50,000", "time", 1 / 8, "idl"),
    ("cold sync of 50,000", "time", 1 / 15, "ovsdbapp"),
    ("cold sync of 50,000", "peak memory", 1, "ovsdb-client"),
    ("cold sync of 50,000", "peak memory", 1 / 2, "idl"),
    *(
        (f"churn with {rows}", "CPU per change", limit, peer)
        for rows in ("2,000", "50,000")
        for limit, peer in ((1.8, "bare"), (1 / 3, "idl"), (1 / 5, "ovsdbapp"))
    ),
    ("latency at 200/s", "p50", 1.5, "bare"),
    ("latency at 200/s", "p99", 1.5, "bare"),
    ("resync of 50,000", "bytes", 1.01, "bare"),
)


class Figure(NamedTuple):
    """One line of the table."""

    work: str
    peer: str
    figure: str
    unit: str
    median: float
    low: float
    high: float
    runs: int
    to_floor: float | None  #: ratio to the bare reader, where that has the figure
    to_ours: float | None  #: ratio to dfovsdb


def summarize(samples: Iterable[Sample]) -> list[Figure]:
    """One figure for each work, peer and name; in the order in which they came."""
    values: dict[tuple[str, str, str], list[float]] = {}
    units: dict[str, str] = {}
    for sample in samples:
        values.setdefault((sample.work, sample.figure, sample.peer), []).append(sample.value)
        units[sample.figure] = sample.unit
    medians = {key: statistics.median(found) for key, found in values.items()}

    def ratio(median: float, base: float | None) -> float | None:
        return median / base if base else None

    return [
        Figure(
            work,
            peer,
            name,
            units[name],
            medians[work, name, peer],
            min(found),
            max(found),
            len(found),
            ratio(medians[work, name, peer], medians.get((work, name, "bare"))),
            ratio(medians[work, name, peer], medians.get((work, name, "dfovsdb"))),
        )
        for (work, name, peer), found in values.items()
    ]


def slopes(figures: Sequence[Figure]) -> dict[str, float]:
    """How cost grows with the table, by least squares over the sizes of `growth`."""

    def fit(name: str) -> float | None:
        points = [
            (float(f.work.split()[-1].replace(",", "")), f.median)
            for f in figures
            if f.work.startswith("growth") and f.figure == name
        ]
        if len(points) < 2:
            return None
        return statistics.linear_regression(*zip(*points, strict=True)).slope

    found = {}
    if (slope := fit("memory")) is not None:
        found["memory, bytes for each further row"] = slope * 1e6
    if (slope := fit("CPU per change")) is not None:
        found["CPU per change, µs for each further 10,000 rows"] = slope * 1e4
    return found


def table(figures: Sequence[Figure]) -> str:
    """The figures in columns, grouped by work and figure."""
    lines = []
    heading = None
    ordered = sorted(figures, key=lambda f: _position(figures, f))
    for f in ordered:
        if (f.work, f.figure) != heading:
            heading = f.work, f.figure
            unit = f", {f.unit}" if f.unit else ""
            lines.append(f"\n{f.work}: {f.figure}{unit}")
            lines.append(f"  {'':<16}{'median':>10}  {'low - high':<22}{'floor':>7}{'dfovsdb':>9}")
        spread = f"{_number(f.low)} - {_number(f.high)}"
        lines.append(
            f"  {f.peer:<16}{_number(f.median):>10}  {spread:<22}"
            f"{_ratio(f.to_floor):>7}{_ratio(f.to_ours):>9}"
        )
    lines += ["", *(f"{name}: {_number(slope)}" for name, slope in slopes(figures).items())]
    return "\n".join([*lines, "", *_against_targets(figures)])


def _against_targets(figures: Sequence[Figure]) -> Iterator[str]:
    medians = {(f.work, f.figure, f.peer): f.median for f in figures}
    for work, name, limit, peer in TARGETS:
        ours, theirs = medians.get((work, name, "dfovsdb")), medians.get((work, name, peer))
        if ours is not None and theirs:
            verdict = "met" if ours <= limit * theirs else "missed"
            yield (
                f"{work}, {name}: {ours / theirs:.2f} of {peer}, {theirs / ours:.1f} times less; "
                f"at most {limit:.2f}: {verdict}"
            )


def _position(figures: Sequence[Figure], figure: Figure) -> tuple[int, int]:
    def first(key: str, value: str) -> int:
        return next(i for i, f in enumerate(figures) if getattr(f, key) == value)

    return first("work", figure.work), first("figure", figure.figure)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def write_json(path: Path, figures: Sequence[Figure], *, quick: bool) -> None:
    """Everything that was measured, and on what."""
    result: dict[str, Any] = {
        "quick": quick,
        "machine": machine(),
        "growth": slopes(figures),
        "figures": [f._asdict() for f in figures],
    }
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def machine() -> dict[str, str]:
    """The machine and the software, in general terms."""
    server = subprocess.run(["ovsdb-server", "--version"], capture_output=True, text=True).stdout
    return {
        "processor": processor(),
        "python": platform.python_version(),
        "ovsdb-server": server.split("\n")[0].split()[-1],
        **{name: metadata.version(name) for name in ("msgspec", "ovs", "ovsdbapp")},
    }


def processor() -> str:
    """What it is called, and how many of them."""
    cpu = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
    return f"{cpu}, {len(os.sched_getaffinity(0))} cores"


def plot(path: Path, figures: Sequence[Figure]) -> None:
    """Bars for the largest table of some kinds of work."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels = []
    for work, name, title in _PLOT:
        chosen = [f for f in figures if f.work.startswith(work) and f.figure == name]
        chosen = [f for f in chosen if f.peer not in ("before", "dfovsdb-diff")]
        if chosen:
            chosen = [f for f in chosen if f.work == chosen[-1].work]
            panels.append((title.format(chosen[-1].work.split()[-1]), chosen))
    drawing, axes = plt.subplots(2, 2, figsize=(11, 6), layout="constrained")
    for axis, (title, chosen) in zip(axes.flat, panels, strict=False):
        names = [f.peer for f in chosen]
        medians = [f.median for f in chosen]
        errors = [[f.median - f.low for f in chosen], [f.high - f.median for f in chosen]]
        colors = [{"dfovsdb": "#1a7f5a", "bare": "#b9b9b9"}.get(n, "#5b7ea4") for n in names]
        bars = axis.barh(names, medians, xerr=errors, color=colors, ecolor="#666666")
        axis.bar_label(bars, [_number(m) for m in medians], padding=6, fontsize=8)
        axis.invert_yaxis()
        axis.set_title(title, fontsize=10, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.15)
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_visible(False)
    drawing.savefig(path, dpi=110)
