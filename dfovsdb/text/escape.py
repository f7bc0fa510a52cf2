"""Make text harmless for a line of a log or a terminal. This module imports nothing of dfovsdb.

Names, ids and errors come from the database and may contain anything. What could break a line or
control a terminal is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

_LONGEST = 200  # characters of one value in a line


def clean(text: str, longest: int = _LONGEST) -> str:
    """Return the text as one line of printable characters, cut if it is very long."""
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def clean_json(line: bytes) -> bytes:
    """Return the same JSON with everything unprintable escaped as JSON does; nothing is cut."""
    text = line.decode()
    if text.isprintable():
        return line
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text).encode()


def counted(number: int, one: str, several: str | None = None) -> str:
    """Return a number and its noun: `1 port`, `2 ports`, `1,234 ports`.

    :param several: the noun for any number but 1; None adds an s to `one`.
    """
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def did_you_mean(near: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the similar names, if there are any."""
    names = " or ".join(near)
    return f"; did you mean {names}?" if names else ""
