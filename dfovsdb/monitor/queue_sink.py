"""Sinks that pass on what they receive to another thread or to an event loop."""

from __future__ import annotations

import abc
import queue
from collections.abc import Sequence

from dfovsdb.model import PortEvent, SyncMarker
from dfovsdb.sinks.base import Sink

#: items that may wait for the body of the loop; behind them the worker's queue is bounded
BATCHES = 16
#: batches of one message that is delivered at once: a departure, and the arrival of the same port
MOST_BATCHES = 4

Batch = Sequence[PortEvent | SyncMarker]


class BatchSink(Sink):
    """Puts everything that it receives, in order, where the event loop or a thread takes it."""

    @abc.abstractmethod
    def put(self, batch: Batch) -> None:
        """Pass an item on; wait while it is not taken."""

    @abc.abstractmethod
    def end(self) -> None:
        """Tell the receiver that the monitor has ended."""

    def emit(self, event: PortEvent) -> None:
        self.put([event])

    def emit_many(self, events: Sequence[PortEvent]) -> None:
        self.put(events)

    def sync_started(self, marker: SyncMarker) -> None:
        self.put([marker])

    def sync_finished(self, marker: SyncMarker) -> None:
        self.put([marker])


class QueueSink(BatchSink):
    """Passes batches to another thread, and waits while it is busy. None ends the queue."""

    def __init__(self) -> None:
        self.batches: queue.Queue[Batch | None] = queue.Queue(BATCHES)
        self._released = False

    @property
    def instant(self) -> bool:  # type: ignore[override]  # it depends on the receiver
        """Return whether put() does not wait, however one message is divided into batches."""
        return self.batches.qsize() <= BATCHES - MOST_BATCHES

    def release(self) -> None:
        """Release a worker that waits: there is no receiver any more."""
        self._released = True
        self._empty()

    def end(self) -> None:
        self.release()
        self.batches.put(None)

    def put(self, batch: Batch) -> None:
        if not self._released:
            self.batches.put(batch)

    def _empty(self) -> None:
        while True:
            try:
                self.batches.get_nowait()
            except queue.Empty:
                return
