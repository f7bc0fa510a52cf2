"""The table of ports that `watch --live` shows: its contents and its appearance.

This is the only module that imports rich. Time is an argument, in seconds that only rise.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from dfovsdb.model import Action, Port, PortEvent, SyncMarker
from dfovsdb.sinks.base import Sink
from dfovsdb.text.escape import clean, counted
from dfovsdb.text.events import PORT_GIVES_WAY, PORT_HEADER, identity, port_row
from dfovsdb.text.natural import natural
from dfovsdb.text.tables import table

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
        self._first = 0  # the row at the top
        self._order = 0  # of _ORDERS
        # the widest cells and identity so far: columns that jump cannot be read
        self._widths = [0] * len(PORT_HEADER)
        self._identity = 0

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

    def press(self, key: str, height: int) -> bool:
        """Do what a key asks for; return False if it ends the table.

        :param key: what the terminal sends: `q`, `s` for another order, or a key that scrolls.
        :param height: lines of the terminal.
        """
        page = max(1, height - _AROUND)
        if key in ("q", "Q"):
            return False
        if key in ("s", "S"):
            self._order = (self._order + 1) % len(_ORDERS)
        elif key in _KEYS:
            step = _KEYS[key]
            self._first += step // _PAGE * page if abs(step) == _PAGE else step
        self._first = max(0, self._first)
        return True

    def render(self, head: str, width: int, height: int) -> RenderableType:
        """Return what the terminal shows.

        :param head: the first line: the server, and the state of the connection; escaped text.
        """
        now = self._clock()
        with self._lock:
            self._forget(now)
            rows, events = list(self._rows.values()), len(self._events)
        there = [row.port for row in rows if row.action != "offline"]
        room = max(1, height - _AROUND)
        self._first = min(self._first, max(0, len(rows) - room))
        name, place = _ORDERS[self._order]
        if len(rows) > room and place is _failures_first:

            def place(row: _Row) -> tuple[Any, ...]:  # changes would not be seen otherwise
                trouble, *rest = _failures_first(row)
                return (trouble, now - row.changed >= MOMENT, *rest)

        shown = sorted(rows, key=place)[self._first : self._first + room]
        foot = f"by {name}; s sorts, arrows scroll, q quits"
        if len(shown) < len(rows):
            last = self._first + len(shown)
            foot = f"{self._first + 1:,} to {last:,} of {len(rows):,}, {foot}"
        return Group(
            _line(head, "bold", width),
            _line(f"{_counts(there)}   {events / _RATE_OVER:.1f} events/s", "", width),
            *self._table(shown, now, width),
            _line(foot, "dim", width),
        )

    def _table(self, rows: list[_Row], now: float, width: int) -> Iterator[Text]:
        cells = [_cells(row) for row in rows]
        for column, widest in enumerate(self._widths[:-1]):
            self._widths[column] = max([widest, *(len(row[column]) for row in cells)])
        self._identity = max([self._identity, *(len(identity(row.port)) for row in rows)])
        lines = table(
            PORT_HEADER,
            cells,
            width=width,
            gives_way=PORT_GIVES_WAY,
            last=self._identity,
            least=self._widths,
        )
        yield _line(next(lines), "dim", width)
        for row, line in zip(rows, lines, strict=True):
            fresh = now - row.changed < MOMENT
            style = _STYLES[row.action] if fresh else _STATES[row.port.state]
            yield _line(line, style, width)

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


def _by_kind(row: _Row) -> tuple[Any, ...]:
    return (row.port.kind, natural(row.port.name), row.port.uuid)


def _failures_first(row: _Row) -> tuple[Any, ...]:
    return (row.port.state not in ("failed", "gone"), *_by_kind(row))


def _by_name(row: _Row) -> tuple[Any, ...]:
    return (natural(row.port.name), row.port.uuid)


def _by_change(row: _Row) -> tuple[Any, ...]:
    return (-row.changed, *_by_kind(row))


#: What `s` goes through. All are stable, so that rows stay where they are.
_ORDERS: tuple[tuple[str, Callable[[_Row], tuple[Any, ...]]], ...] = (
    ("failures and kind", _failures_first),
    ("name", _by_name),
    ("last change", _by_change),
)
_PAGE = 1000  # lines, in _KEYS: as many as fit
#: Keys that scroll, as terminals send them, by so many lines.
_KEYS = {
    "\x1b[A": -1,
    "\x1bOA": -1,
    "k": -1,
    "\x1b[B": 1,
    "\x1bOB": 1,
    "j": 1,
    "\x1b[5~": -_PAGE,
    "\x1b[6~": _PAGE,
    " ": _PAGE,
}


def _counts(ports: list[Port]) -> str:
    kinds = Counter(port.kind for port in ports)
    return "  ".join(
        [
            counted(len(ports), "port"),
            *(f"{clean(kind, 16)} {kinds[kind]:,}" for kind in sorted(kinds)),
        ]
    )


def _cells(row: _Row) -> list[str]:
    cells = dict(zip(PORT_HEADER, port_row(row.port), strict=True))
    if row.action == "offline":
        cells["state"] = "offline"
    return list(cells.values())


def _line(text: str, style: str, width: int) -> Text:
    line = Text(text, style=style, no_wrap=True)
    line.truncate(width, overflow="ellipsis")
    return line
