"""What an examination has found, on the terminal: faults first."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from dfovsdb.cli.terminal import Terminal

if TYPE_CHECKING:
    from dfovsdb.doctor.finding import Finding

_INDENT = 21
#: A command in backquotes is never divided, so that it can be copied.
_WORD = re.compile(r"(?:`[^`]*`|\S)+")
_COLOURS = {"wrong": "31", "note": "33", "fine": "32"}  # in the order in which they are shown


def show(findings: Iterable[Finding], *, as_json: bool = False, quiet: bool = False) -> int:
    """Print the findings; return how many say that something is wrong.

    :param quiet: leave out what is fine.
    """
    terminal = Terminal()
    found = sorted(findings, key=lambda finding: list(_COLOURS).index(finding.level))
    wrong = sum(finding.level == "wrong" for finding in found)
    if as_json:
        for finding in found:
            terminal.write_json(json.dumps(finding._asdict()).encode())
        return wrong
    for level, subject, text, remedy in found:
        if quiet and level == "fine":
            continue
        first, *rest = _wrapped(text, terminal.width)
        if remedy:
            rest += _wrapped(f"-> {remedy}", terminal.width)
        shown = f"\x1b[{_COLOURS[level]}m{level:<5}\x1b[0m" if terminal.colour else f"{level:<5}"
        terminal.write(f"{shown}  {subject:<12}  {first}")
        terminal.write(*(" " * _INDENT + line for line in rest))
    terminal.write(f"{wrong} wrong" if wrong else "nothing is wrong")
    return wrong


def _wrapped(text: str, width: int | None) -> list[str]:
    """Divide a text between words where the terminal ends."""
    lines = [""]
    for word in _WORD.findall(text):
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and width and _INDENT + len(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
