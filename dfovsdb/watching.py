"""watch(): events in the caller's own thread, in a for loop."""

from __future__ import annotations

import abc
import queue
import time
from collections.abc import Generator, Sequence
from typing import Any, Literal, overload

from dfovsdb.classifiers.base import Classifier
from dfovsdb.config import DEFAULT_CONNECTION
from dfovsdb.model import PortEvent, SyncMarker
from dfovsdb.monitor import Monitor
from dfovsdb.sinks.base import Sink

# items that may wait for the body of the loop; behind them the worker's queue is bounded
_BATCHES = 16


@overload
def watch(
    connection: str = ...,
    *,
    once: bool = ...,
    timeout: float | None = ...,
    markers: Literal[False] = ...,
    classifiers: Sequence[Classifier] | None = ...,
    **options: Any,
) -> Generator[PortEvent, None, None]: ...


@overload
def watch(
    connection: str = ...,
    *,
    once: bool = ...,
    timeout: float | None = ...,
    markers: bool,
    classifiers: Sequence[Classifier] | None = ...,
    **options: Any,
) -> Generator[PortEvent | SyncMarker, None, None]: ...


def watch(
    connection: str = DEFAULT_CONNECTION,
    *,
    once: bool = False,
    timeout: float | None = None,
    markers: bool = False,
    classifiers: Sequence[Classifier] | None = None,
    **options: Any,
) -> Generator[PortEvent | SyncMarker, None, None]:
    """Yield events without end, or until the first sync is complete.

    While there is no connection it waits. A slow body of the loop receives the latest state, not
    every state in between. Leaving the loop, or closing the generator, ends the monitor.

    :param once: end after the first sync.
    :param timeout: seconds for the first sync.
    :param markers: yield SyncMarkers too.
    :param classifiers: None means the default ones.
    :param options: everything else that Monitor takes.
    :raises WaitTimeout: the first sync took longer than the timeout.
    :raises ConfigurationError: the connection or an option cannot be used.
    """
    sink = _QueueSink()
    monitor = Monitor(connection, classifiers=classifiers, sinks={"watch": sink}, **options)
    return _events(monitor, sink, once=once, timeout=timeout, markers=markers)


def _events(
    monitor: Monitor, sink: _QueueSink, *, once: bool, timeout: float | None, markers: bool
) -> Generator[PortEvent | SyncMarker, None, None]:
    deadline = None if timeout is None else time.monotonic() + timeout
    with monitor:
        try:
            while True:
                for event in _next_batch(sink, deadline, monitor):
                    if isinstance(event, PortEvent) or markers:
                        yield event
                    if isinstance(event, SyncMarker) and event.action == "sync_finished":
                        deadline = None
                        if once:
                            return
        finally:
            sink.release()


def _next_batch(
    sink: _QueueSink, deadline: float | None, monitor: Monitor
) -> Sequence[PortEvent | SyncMarker]:
    try:
        wait = None if deadline is None else max(0.0, deadline - time.monotonic())
        return sink.batches.get(timeout=wait)
    except queue.Empty:
        raise monitor.no_sync() from None


class BatchSink(Sink):
    """Puts everything that it receives, in order, where the event loop or a thread takes it."""

    @abc.abstractmethod
    def put(self, batch: Sequence[PortEvent | SyncMarker]) -> None:
        """Hand over an item; wait while it is not taken."""

    def emit(self, event: PortEvent) -> None:
        self.put([event])

    def emit_many(self, events: Sequence[PortEvent]) -> None:
        self.put(events)

    def sync_started(self, marker: SyncMarker) -> None:
        self.put([marker])

    def sync_finished(self, marker: SyncMarker) -> None:
        self.put([marker])


class _QueueSink(BatchSink):
    """Hands batches to another thread, and waits while it is busy."""

    def __init__(self) -> None:
        self.batches: queue.Queue[Sequence[PortEvent | SyncMarker]] = queue.Queue(_BATCHES)
        self._released = False

    def release(self) -> None:
        """Nobody listens any more: let a worker that waits go on."""
        self._released = True
        while True:
            try:
                self.batches.get_nowait()
            except queue.Empty:
                return

    def put(self, batch: Sequence[PortEvent | SyncMarker]) -> None:
        if not self._released:
            self.batches.put(batch)
