"""What an examination has found."""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["fine", "note", "wrong"]

MOST = 10  #: rows that one finding names


class Finding(NamedTuple):
    """What a check has found, in one line, and what to do about it."""

    level: Level
    subject: str
    text: str
    remedy: str = ""


class StopExamination(Exception):
    """Further checks are pointless: the finding that says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.text)
        self.finding = finding
