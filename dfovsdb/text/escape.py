"""Make text harmless for a line of a log or a terminal. This module imports nothing of dfovsdb.

Names, ids and errors come from the database and may contain anything. What could break a line or
control a terminal is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_LONGEST = 200  # characters of one value in a line


#: Printable for Python, and nothing to see: what Unicode calls default ignorable, and blanks that
#: are no spaces (Unicode Character Database, DerivedCoreProperties.txt).
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\ufff0-\ufff8\U0001d159\U000e0000-\U000e0fff]"
)


def clean(text: str, longest: int = _LONGEST) -> str:
    """Return the text as one line of visible characters, cut if it is very long."""
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    if _is_visible(text):
        return text
    return "".join(c if _is_visible(c) else ascii(c)[1:-1] for c in text)


def clean_json(line: bytes) -> bytes:
    """Return the same JSON with everything invisible escaped as JSON does; nothing is cut."""
    text = line.decode()
    if _is_visible(text):
        return line
    import json  # most text is visible

    return "".join(c if _is_visible(c) else json.dumps(c)[1:-1] for c in text).encode()


def _is_visible(text: str) -> bool:
    return text.isprintable() and (text.isascii() or _INVISIBLE.search(text) is None)


def counted(number: int, one: str, several: str | None = None) -> str:
    """Return a number and its noun: `1 port`, `2 ports`, `1,234 ports`.

    :param several: the noun for any number but 1; None adds an s to `one`.
    """
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def one_line(error: object) -> str:
    """Return the text of an error without its line breaks."""
    return " ".join(str(error).split())


def close_to(text: str, known: Iterable[str], cutoff: float = 0.6) -> list[str]:
    """Return the known name that is most like the text; none where no one is."""
    import difflib  # a command that is written right needs none

    return difflib.get_close_matches(text, list(known), 1, cutoff)


def did_you_mean(near: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the similar names, if there are any."""
    names = " or ".join(near)
    return f"; did you mean {names}?" if names else ""
