"""The table of ports that `watch --live` shows: its contents and its appearance.

This is the only module that imports rich. Time is an argument, in seconds that only rise.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dfovsdb.model import Action, Port, PortEvent, SyncMarker
from dfovsdb.sinks.base import Sink
from dfovsdb.text.escape import clean, counted
from dfovsdb.text.events import port_facts

MOMENT = 3.0  #: seconds for which a change is highlighted, and a departed port still shown
_RATE_OVER = 10.0  # seconds
_AROUND = 4  # lines without a port: two of the head, one of the table, one of the foot

_STYLES: dict[Action, str] = {"online": "bold green", "updated": "bold yellow", "offline": "red"}
_STATES = {"ready": "", "pending": "yellow", "failed": "red", "gone": "red"}


class _Row(NamedTuple):
    port: Port
    action: Action
    changed: float


class LiveTable(Sink):
    """Keeps the ports that it receives, and when each changed; another thread reads it.

    :param selection: the ports to keep.
    """

    def __init__(
        self,
        selection: Callable[[Port], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._selection = selection
        self._clock = clock
        self._lock = threading.Lock()
        self._rows: dict[str, _Row] = {}
        self._events: deque[float] = deque()
        self._syncing = False

    def emit(self, event: PortEvent) -> None:
        if not self._selection(event.port):
            return
        now = self._clock()
        with self._lock:
            if event.action == "online" and self._syncing:  # not a change; nothing to highlight
                now -= MOMENT
            else:
                self._events.append(now)
            self._rows[event.port.uuid] = _Row(event.port, event.action, now)

    def sync_started(self, marker: SyncMarker) -> None:  # noqa: ARG002 - any
        self._syncing = True

    def sync_finished(self, marker: SyncMarker) -> None:  # noqa: ARG002 - any
        self._syncing = False

    def render(self, head: str, width: int, height: int) -> RenderableType:
        """Return what the terminal shows.

        :param head: the first line: the server, and the state of the connection; escaped text.
        """
        now = self._clock()
        with self._lock:
            self._forget(now)
            rows, events = list(self._rows.values()), len(self._events)
        there = [row.port for row in rows if row.action != "offline"]
        shown = _those_that_fit(rows, max(1, height - _AROUND))
        left = len(rows) - len(shown)
        foot = f"and {left:,} more; those that changed last are shown" if left else ""
        return Group(
            _line(head, "bold", width),
            _line(f"{_counts(there)}   {events / _RATE_OVER:.1f} events/s", "", width),
            _table(shown, now, width),
            _line(foot, "dim", width),
        )

    def _forget(self, now: float) -> None:
        while self._events and self._events[0] < now - _RATE_OVER:
            self._events.popleft()
        gone = [
            uuid
            for uuid, row in self._rows.items()
            if row.action == "offline" and row.changed <= now - MOMENT
        ]
        for uuid in gone:
            del self._rows[uuid]


def _those_that_fit(rows: list[_Row], number: int) -> list[_Row]:
    """Return all ports in a stable order; if there are too many, those that changed last."""
    if len(rows) > number:
        rows = heapq.nlargest(number, rows, key=lambda row: (row.changed, row.port.uuid))
    return sorted(rows, key=lambda row: (row.port.kind, row.port.name, row.port.uuid))


def _counts(ports: list[Port]) -> str:
    kinds = Counter(port.kind for port in ports)
    return "  ".join(
        [
            counted(len(ports), "port"),
            *(f"{clean(kind, 16)} {kinds[kind]:,}" for kind in sorted(kinds)),
        ]
    )


def _table(rows: list[_Row], now: float, width: int) -> Table:
    table = Table(box=None, width=width, padding=(0, 1, 0, 0), header_style="dim", pad_edge=False)
    for name, columns in (("kind", 8), ("name", 17), ("state", 7), ("ofport", 6), ("link", 4)):
        table.add_column(name, width=columns, no_wrap=True, overflow="ellipsis")
    table.add_column("attributes", ratio=1, no_wrap=True, overflow="ellipsis")
    for port, action, changed in rows:
        fresh = now - changed < MOMENT
        cells = (port.kind, port.name, port.state, port.ofport, port.link_state)
        style = _STYLES[action] if fresh else _STATES[port.state]
        texts = [Text(clean("-" if cell is None else str(cell))) for cell in cells]
        if action == "offline":
            texts[2] = Text("offline")
        table.add_row(*texts, Text(port_facts(port)), style=style)
    return table


def _line(text: str, style: str, width: int) -> Text:
    line = Text(text, style=style, no_wrap=True)
    line.truncate(width, overflow="ellipsis")
    return line
