"""The present ports and the last events, for pages that follow them.

An internal sink, so what it has is always consistent: the ports that the events up to its last
number add up to. A client names the last event that it has seen, `EPOCH:SEQ`, and receives what
came after it, or everything if that is not remembered.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dfovsdb.json_v1 import to_json
from dfovsdb.model import Port, PortEvent, SyncMarker
from dfovsdb.sinks.base import Sink, SinkContext

MOST_EVENTS = 2000  #: remembered
MOST_BYTES = 4 << 20  #: of their JSON


class Remembered(NamedTuple):
    """An event or a marker, by its number, as JSON version 1."""

    seq: int
    line: bytes


class Picture(NamedTuple):
    """All ports after the event with this id."""

    id: str
    ports: Sequence[Port]


class LiveEvents(Sink):
    """Remembers the present ports and the last events.

    :param news: called from the sink's thread after each batch.
    """

    def __init__(self, news: Callable[[], object]) -> None:
        self._news = news
        self._lock = threading.Lock()
        self._ports: dict[str, Port] = {}
        self._memory: deque[Remembered] = deque()
        self._size = 0
        self._epoch = ""
        self._seq = 0

    def open(self, context: SinkContext) -> None:
        self._epoch = context.epoch

    def emit(self, event: PortEvent) -> None:
        self.emit_many((event,))

    def emit_many(self, events: Sequence[PortEvent]) -> None:
        lines = [to_json(event) for event in events]
        with self._lock:
            for event, line in zip(events, lines, strict=True):
                if event.action == "offline":
                    self._ports.pop(event.port.uuid, None)
                else:
                    self._ports[event.port.uuid] = event.port
                self._remember(event.seq, line)
        self._news()

    def sync_started(self, marker: SyncMarker) -> None:
        with self._lock:
            self._remember(marker.seq, to_json(marker))
        self._news()

    def sync_finished(self, marker: SyncMarker) -> None:
        self.sync_started(marker)

    def _remember(self, seq: int, line: bytes) -> None:
        self._seq = seq
        self._memory.append(Remembered(seq, line))
        self._size += len(line)
        while self._memory and (len(self._memory) > MOST_EVENTS or self._size > MOST_BYTES):
            self._size -= len(self._memory.popleft().line)

    def picture(self) -> Picture:
        """Return all ports."""
        with self._lock:
            return Picture(self.id_of(self._seq), list(self._ports.values()))

    def id_of(self, seq: int) -> str:
        """Return the id of an event."""
        return f"{self._epoch}:{seq}"

    def since(self, last_id: str) -> Sequence[Remembered] | None:
        """Return what came after this event; None if that is not remembered."""
        epoch, _, number = last_id.rpartition(":")
        if epoch != self._epoch or not (number.isascii() and number.isdigit()) or len(number) > 18:
            return None
        last = int(number)
        with self._lock:
            if last > self._seq or last < self._seq - len(self._memory):
                return None
            later: deque[Remembered] = deque()
            for one in reversed(self._memory):
                if one.seq <= last:
                    break
                later.appendleft(one)
            return tuple(later)
