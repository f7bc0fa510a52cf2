"""Standard output: whether it is a terminal, and how to write on it."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, TypedDict

from dfovsdb.errors import DfovsdbError

if TYPE_CHECKING:
    from dfovsdb.model import PortEvent, SyncMarker


class Style(TypedDict):
    """The arguments of the functions that make lines."""

    colour: bool
    width: int | None
    utc: bool


class Terminal:
    """Standard output, and how to write on it.

    :param wide: cut no line.
    :param utc: show times in UTC.
    :raises DfovsdbError: it is closed, or cannot be written to.
    """

    def __init__(self, *, wide: bool = False, utc: bool = False) -> None:
        self.utc = utc
        self._day = ""  # of the last line
        if sys.stdout is None:
            raise DfovsdbError("standard output is closed, so nothing can be written to it")
        self.here = sys.stdout.isatty()
        plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        self.colour = self.here and not plain
        self.width = shutil.get_terminal_size().columns if self.here and not wide else None
        self._encoding = sys.stdout.encoding or "utf-8"

    @property
    def style(self) -> Style:
        """Return how to make lines of text for it."""
        return {"colour": self.colour, "width": self.width, "utc": self.utc}

    def show(
        self, item: PortEvent | SyncMarker, *, json: bool, selected: int | None = None
    ) -> None:
        """Write an item, as JSON or for people; `selected` as for terminal_lines()."""
        from dfovsdb.json_v1 import to_json
        from dfovsdb.text.events import terminal_lines
        from dfovsdb.text.local_time import local

        if json:
            self.write_json(to_json(item))
        else:
            day = local(item.time, utc=self.utc).strftime("%Y-%m-%d")
            if day != self._day and self._day:
                self.write(f"── {day} ──")
            self._day = day
            self.write(*terminal_lines(item, selected=selected, **self.style))

    def write(self, *lines: str) -> None:
        """Write lines of text that is escaped already."""
        for line in lines:
            self._write(line.encode(self._encoding, errors="replace"))

    def write_json(self, line: bytes) -> None:
        """Write a line of JSON, escaped on a terminal and unchanged elsewhere."""
        from dfovsdb.text.escape import clean_json

        self._write(clean_json(line) if self.here else line)

    def _write(self, line: bytes) -> None:
        try:
            sys.stdout.buffer.write(line + b"\n")
            sys.stdout.flush()
        except BrokenPipeError:  # its reader has read enough
            raise
        except OSError as error:
            # What is still buffered would be written, and fail, when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise DfovsdbError(f"cannot write to standard output: {error.strerror}") from None
