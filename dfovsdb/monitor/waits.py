"""Waits for a monitor: they end with what is waited for, or when the monitor ends."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

from dfovsdb.delivery.dispatcher import OPEN_TIMEOUT, Dispatcher
from dfovsdb.delivery.worker import Worker
from dfovsdb.errors import MonitorStopped, WaitTimeout
from dfovsdb.model import Port
from dfovsdb.monitor.loop import Loop
from dfovsdb.monitor.queue_sink import BatchSink
from dfovsdb.monitor.wait_for import WaitForPort, WaitUntilGone
from dfovsdb.sinks.base import Sink


class Waits:
    """What waits for one monitor, on whatever thread or event loop."""

    def __init__(self, loop: Loop, dispatcher: Dispatcher) -> None:
        self._loop = loop
        self._dispatcher = dispatcher
        self._lock = threading.Lock()
        self._waiting: set[WaitForPort | WaitUntilGone | BatchSink] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def release(self) -> None:
        """End all of them: the monitor has ended."""
        with self._lock:
            waiting = list(self._waiting)
        for sink in waiting:
            if isinstance(sink, BatchSink):
                sink.end()
            else:
                sink.fail(self.over())

    def over(self) -> MonitorStopped:
        """Return the error for callers that wait while the monitor ends."""
        return MonitorStopped(f"{self._loop.address}: {self._loop.condition}")

    def check(self) -> None:
        """Check that there is something to wait for.

        :raises RuntimeError: the monitor was not started.
        :raises MonitorStopped: it was stopped, or has ended.
        """
        if self._loop.over:
            raise self.over()
        if not self._loop.started:
            raise RuntimeError(
                "this Monitor was not started: call its start() first, or use it in a `with` "
                "statement (`async with` for dfovsdb.aio)"
            )

    def attach(self, name: str, sink: Sink) -> Worker:
        """Add a sink whose open() has returned.

        :raises RuntimeError: the monitor was not started.
        :raises MonitorStopped: it was stopped, or has ended.
        :raises Exception: what its open() raises.
        """
        self.check()
        worker = self._dispatcher.attach(name, sink)
        if self._loop.over:  # a stop that began before this was added may not have seen it
            self._dispatcher.detach(worker)
            raise self.over()
        if worker.opened.wait(OPEN_TIMEOUT) and worker.failure is not None:
            failure = worker.failure
            self._dispatcher.detach(worker)
            raise failure
        return worker

    @contextlib.contextmanager
    def gone_waiter(self, predicate: Callable[[Port], bool]) -> Iterator[Future[None]]:
        """Provide, within the context, the future that wait_gone() waits for."""
        sink = WaitUntilGone(predicate)
        with self.ends(sink), self.attached("wait_gone", sink):
            yield sink.future

    def still_there(self, timeout: float | None) -> WaitTimeout:
        """Return what wait_gone() raises after that many seconds."""
        return self._timeout(f"such a port is still there after {timeout} s")

    @contextlib.contextmanager
    def waiter(self, predicate: Callable[[Port], bool]) -> Iterator[Future[Port]]:
        """Provide, within the context, the future of the port that wait_for() waits for."""
        sink = WaitForPort(predicate)
        with self.ends(sink), self.attached("wait_for", sink):
            yield sink.future

    @contextlib.contextmanager
    def ends(self, sink: WaitForPort | WaitUntilGone | BatchSink) -> Iterator[None]:
        """End the wait when the monitor ends, within the context."""
        with self._lock:
            self._waiting.add(sink)
        try:
            self.check()  # the last thing: what ends from here on ends this wait too
            yield
        finally:
            with self._lock:
                self._waiting.discard(sink)

    def no_such_port(self, timeout: float | None) -> WaitTimeout:
        """Return what wait_for() raises after that many seconds."""
        return self._timeout(f"no such port within {timeout} s")

    def no_sync(self) -> WaitTimeout:
        """Return what watch() raises if the time for the first sync has passed."""
        return self._timeout("no sync in the time given")

    def _timeout(self, text: str) -> WaitTimeout:
        trouble = self._loop.outage.text
        return WaitTimeout(f"{text}: {trouble}" if trouble else text)

    @contextlib.contextmanager
    def attached(self, name: str, sink: Sink) -> Iterator[None]:
        """Deliver events to another sink within the context, beginning with a first sync."""
        worker = self.attach(name, sink)
        try:
            yield
        finally:
            self._dispatcher.detach(worker)
