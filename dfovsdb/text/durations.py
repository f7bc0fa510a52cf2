"""Durations as people write them: `30`, `30s`, `10m`, `2h`, `1d`."""

from __future__ import annotations

import re
import threading

_UNITS = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ms|[smhd]?)")


def seconds(text: str) -> float:
    """Return the seconds of a duration.

    :raises ValueError: it is none.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None or not text.isascii():
        raise ValueError(f"{text!r:.60} is not a duration: use 30, 30s, 10m, 2h or 1d")
    value = float(found[1]) * _UNITS[found[2]]
    if value > threading.TIMEOUT_MAX:
        raise ValueError(f"{text!r:.60} is too long")
    return value


def why_not_seconds(value: object) -> str:
    """Return what is wrong with it; empty for a number that can be waited for, and for None."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "is not a number of seconds"
    if not value >= 0:
        return "is not allowed: use 0 or more seconds"
    if value > threading.TIMEOUT_MAX:
        return f"is not allowed: use {threading.TIMEOUT_MAX:.0f} seconds or less"
    return ""
