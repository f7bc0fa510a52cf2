"""A histogram of seconds: counters that cost almost nothing until they are read."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

#: Upper bounds in seconds: for one call, and for a wait that people notice.
CALLS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)
WAITS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class HistogramCounts(NamedTuple):
    """How many values were at most each bound; the last one counts all."""

    buckets: Sequence[tuple[float, int]]
    total: float


class Histogram:
    """Fed by one thread, read by any."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._total += seconds

    def read(self) -> HistogramCounts:
        """Return what was counted so far."""
        total, counts = self._total, list(self._counts)
        buckets, so_far = [], 0
        for bound, count in zip((*self._bounds, float("inf")), counts, strict=True):
            so_far += count
            buckets.append((bound, so_far))
        return HistogramCounts(buckets, total)
