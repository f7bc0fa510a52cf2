"""The order in which people expect names: tap2 before tap10."""

from __future__ import annotations

import re

_DIGITS = re.compile(r"([0-9]+)")


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key for sorting names."""
    return [
        (0, len(part.lstrip("0")), part.lstrip("0")) if place % 2 else (1, 0, part)
        for place, part in enumerate(_DIGITS.split(name))
    ]
