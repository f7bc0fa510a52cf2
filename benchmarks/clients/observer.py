"""What a client tells the harness: when it was synced, and when it saw which mark.

Times are CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import json
import sys
import time

#: The columns that every client asks for; written out, as peers run without dfovsdb.
COLUMNS = (
    "name",
    "type",
    "options",
    "external_ids",
    "ofport",
    "mac_in_use",
    "admin_state",
    "link_state",
    "error",
)
MARK = "bench-mark"  #: name of the row whose external_ids:vm-id is the mark
END = "end"  #: the mark after which a client reports begins with this
STORM = "tapstorm"  #: names of the ports of a boot storm begin with this


class Observer:
    """Keeps what was seen and says it on stdout, an object a line."""

    def __init__(self) -> None:
        self.events = 0
        self._rows = 0
        self._left = 0
        self._marks: list[tuple[str, float]] = []
        self._storm: set[str] = set()
        self._storm_size = 0

    def go(self) -> str:
        """Wait for the word of the harness: how many rows there are, how many will storm.

        :returns: the connection.
        """
        say({"ready": time.monotonic()})
        rows, storm = sys.stdin.readline().split()
        self._rows = self._left = int(rows)
        self._storm_size = int(storm)
        return sys.argv[1]

    def created(self) -> None:
        """A row was seen for the first time since the client connected.

        For clients that do not say when the table is complete: all rows of it are.
        """
        self._left -= 1
        if self._left == 0:
            self._left = self._rows
            self.synced()

    def synced(self) -> None:
        """The whole table is there."""
        say({"synced": time.monotonic()})

    def row(self, name: str, ofport: int | None, mark: str | None) -> None:
        """One change was seen; `mark` is external_ids:vm-id."""
        self.events += 1
        if name == MARK:
            self.mark(mark or "")
        elif self._storm_size and ofport is not None and name.startswith(STORM):
            self._storm.add(name)
            if len(self._storm) == self._storm_size:
                say({"storm": time.monotonic()})

    def mark(self, mark: str) -> None:
        """A mark was seen."""
        self._marks.append((mark, time.monotonic()))
        if mark.startswith(END):
            marks, self._marks = self._marks, []
            say({"end": mark, "marks": marks, "events": self.events})


def say(what: dict[str, object]) -> None:
    """A line to the harness."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()
