"""watch(): events in the caller's own thread, in a for loop."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Collection, Generator, Sequence
from typing import Literal, Unpack, overload

from dfovsdb.classifiers.base import Classifier
from dfovsdb.defaults import DEFAULT_CONNECTION
from dfovsdb.model import PortEvent, SyncMarker
from dfovsdb.monitor import Monitor
from dfovsdb.monitor.options import ConnectionOptions, check_watch
from dfovsdb.monitor.queue_sink import Batch, QueueSink
from dfovsdb.selection import Selection

_GLANCE = 0.2  # seconds between two looks at a stop_event


@overload
def watch(
    connection: str = ...,
    *,
    once: bool = ...,
    timeout: float | None = ...,
    kinds: Collection[str] = ...,
    names: Collection[str] = ...,
    stop_event: threading.Event | None = ...,
    markers: Literal[False] = ...,
    classifiers: Sequence[Classifier] | None = ...,
    **options: Unpack[ConnectionOptions],
) -> Generator[PortEvent, None, None]: ...


@overload
def watch(
    connection: str = ...,
    *,
    once: bool = ...,
    timeout: float | None = ...,
    kinds: Collection[str] = ...,
    names: Collection[str] = ...,
    stop_event: threading.Event | None = ...,
    markers: bool,
    classifiers: Sequence[Classifier] | None = ...,
    **options: Unpack[ConnectionOptions],
) -> Generator[PortEvent | SyncMarker, None, None]: ...


def watch(
    connection: str = DEFAULT_CONNECTION,
    *,
    once: bool = False,
    timeout: float | None = None,
    kinds: Collection[str] = (),
    names: Collection[str] = (),
    stop_event: threading.Event | None = None,
    markers: bool = False,
    classifiers: Sequence[Classifier] | None = None,
    **options: Unpack[ConnectionOptions],
) -> Generator[PortEvent | SyncMarker, None, None]:
    """Yield events: without end, or until `once` or `stop_event` ends them.

    While there is no connection it waits. A slow body of the loop receives the latest state, not
    every state in between. Leaving the loop, or closing the generator, ends the monitor.

    :param once: end after the first sync.
    :param timeout: seconds for the first sync.
    :param kinds: only ports of these kinds.
    :param names: only ports whose names match one of these shell patterns.
    :param stop_event: another thread sets it to end the loop.
    :param markers: yield SyncMarkers too.
    :param classifiers: None means the default ones.
    :param options: everything else that Monitor takes, except sinks and state_dir.
    :raises WaitTimeout: the first sync took longer than the timeout.
    :raises ConfigurationError: the connection or an option cannot be used.
    """
    check_watch(once, timeout, stop_event, markers, options)
    sink = QueueSink()
    sink.selection = Selection(kinds=kinds, names=names) or None
    monitor = Monitor(connection, classifiers=classifiers, sinks={"watch": sink}, **options)
    return _events(
        monitor, sink, once=once, timeout=timeout, stop_event=stop_event, markers=markers
    )


def _events(
    monitor: Monitor,
    sink: QueueSink,
    *,
    once: bool,
    timeout: float | None,
    stop_event: threading.Event | None,
    markers: bool,
) -> Generator[PortEvent | SyncMarker, None, None]:
    deadline = None if timeout is None else time.monotonic() + timeout
    with monitor, monitor.waits.ends(sink):
        try:
            while (batch := _next_batch(sink, deadline, monitor, stop_event)) is not None:
                for event in batch:
                    if isinstance(event, PortEvent) or markers:
                        yield event
                    if isinstance(event, SyncMarker) and event.action == "sync_finished":
                        deadline = None
                        if once:
                            return
        finally:
            sink.release()


def _next_batch(
    sink: QueueSink,
    deadline: float | None,
    monitor: Monitor,
    stop_event: threading.Event | None,
) -> Batch | None:
    """Return the next batch; None if the event is set.

    :raises WaitTimeout: the deadline has passed.
    :raises MonitorStopped: the monitor has ended by itself.
    """
    while stop_event is None or not stop_event.is_set():
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        wait = left if stop_event is None else min(_GLANCE, _GLANCE if left is None else left)
        try:
            batch = sink.batches.get(timeout=wait)
        except queue.Empty:
            if left is not None and (wait == left or left == 0):
                raise monitor.waits.no_sync() from None
            continue
        if batch is None:
            raise monitor.waits.over()
        return batch
    return None
