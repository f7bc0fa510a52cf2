"""The current ports, and the workers that deliver them to the sinks.

The one lock of the delivery side is here. A thread that holds it sees the ports at a message
boundary. It is held while facts are appended and while the ports are copied, and never while a
sink, a classifier or the socket is at work.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dfovsdb.delivery.view import SinkView
from dfovsdb.delivery.work_queue import Fact, Facts, Resync, WorkQueue
from dfovsdb.delivery.worker import Worker
from dfovsdb.errors import ConfigurationError
from dfovsdb.logs import get_logger, text_of
from dfovsdb.model import Port
from dfovsdb.sinks.base import Sink, SinkContext

if TYPE_CHECKING:
    from dfovsdb.delivery.view_store import ViewStore

LOG = get_logger(__name__)

OPEN_TIMEOUT = 10.0  #: seconds that the start waits for a sink's open()


class Dispatcher:
    """Hands facts and copies of the ports to one worker for each sink.

    :param sinks: by instance name.
    :param state_dir: folder for the views of the sinks; None keeps them in memory.
    :param condition: returns the state of the connection in one line, for sinks that ask.
    :raises ConfigurationError: state_dir cannot be used.
    """

    def __init__(
        self,
        sinks: Mapping[str, Sink],
        *,
        host: str,
        resync: Resync,
        queue_limit: int,
        state_dir: str | None = None,
        condition: Callable[[], str] = lambda: "unknown",
    ) -> None:
        self._host = host
        self._resync: Resync = resync
        self._queue_limit = queue_limit
        self._epoch = os.urandom(16).hex()
        self._condition = condition
        self._lock = threading.Lock()
        self._ports: dict[str, Port] = {}
        self.last = self._ports.get  #: a port as last published; for the publishing thread
        self._synced = False
        self._state = _view_store(state_dir) if state_dir else None
        self._workers: tuple[Worker, ...] = tuple(
            self._worker(name, sink, self._state.view(name, host) if self._state else SinkView())
            for name, sink in sinks.items()
        )
        self._configured = self._workers

    @property
    def workers(self) -> Sequence[Worker]:
        """Return one worker for each sink, in the order of configuration."""
        return self._workers

    @property
    def configured(self) -> Sequence[Worker]:
        """Return the same without attached sinks."""
        return self._configured

    def start(self) -> None:
        """Open all sinks, and wait for each until it is open or in an outage.

        :raises ConfigurationError: a sink cannot be opened; all are closed again.
        """
        deadline = time.monotonic() + OPEN_TIMEOUT
        try:
            for worker in self._workers:
                worker.start()
            for worker in self._workers:
                self._wait_open(worker, deadline)
        except BaseException:
            self.stop(timeout=1)
            raise

    def _wait_open(self, worker: Worker, deadline: float) -> None:
        if not worker.opened.wait(max(0.0, deadline - time.monotonic())):
            worker.opened.set()  # from here on the worker itself reports a failure
            LOG.warning(
                "sink %s is still opening after %.0f s; monitoring begins without waiting for it",
                worker.name,
                OPEN_TIMEOUT,
            )
        if worker.failure is not None:
            raise ConfigurationError(
                f"sink {worker.name} cannot be opened: {text_of(worker.failure)}"
            ) from worker.failure

    def publish(self, facts: Sequence[Fact]) -> None:
        """Publish what one message changed."""
        message = Facts(datetime.now(UTC), facts)
        with self._lock:
            self._store(facts)
            lent, to_ring = [], []
            for worker in self._workers:
                if worker.lends(message):
                    lent.append(worker)
                elif worker.queue.feed(message):
                    to_ring.append(worker)
        for worker in to_ring:
            worker.queue.bell.ring()
        for worker in lent:
            worker.deliver(message)

    def publish_sync(self, facts: Iterable[Fact]) -> None:
        """Publish the difference that a snapshot made, and start a sync of every sink."""
        with self._lock:
            self._store(facts)
            self._synced = True
            to_ring = [worker for worker in self._workers if worker.queue.sync()]
        for worker in to_ring:
            worker.queue.bell.ring()

    def _store(self, facts: Iterable[Fact]) -> None:
        ports = self._ports
        for port_uuid, port in facts:
            if port is not None:
                ports[port_uuid] = port
            else:
                ports.pop(port_uuid, None)

    def ports(self) -> dict[str, Port]:
        """Return a consistent copy of all current ports."""
        with self._lock:
            return dict(self._ports)

    def replay(self) -> None:
        """Resend the full state to every sink."""
        for worker in self._workers:
            worker.queue.request_replay()

    def reopen(self) -> None:
        """Let every sink reopen its files."""
        for worker in self._workers:
            worker.queue.request_reopen()

    def attach(self, name: str, sink: Sink) -> Worker:
        """Add a sink while running; it receives all ports in a first sync.

        :raises ConfigurationError: the instance is in use already.
        """
        worker = self._worker(name, sink, SinkView())
        worker.start()
        with self._lock:
            self._workers += (worker,)
            if self._synced and worker.queue.sync():
                worker.queue.bell.ring()
        return worker

    def detach(self, worker: Worker) -> None:
        """Remove a sink that attach() added; what it has not received is dropped."""
        with self._lock:
            self._workers = tuple(w for w in self._workers if w is not worker)
        worker.queue.request_stop(time.monotonic())

    def stop(self, timeout: float) -> bool:
        """Let every worker deliver what is left, close its sink and end, within the timeout.

        :param timeout: seconds for all of them together.
        :returns: whether all of them did.
        """
        well = True
        deadline = time.monotonic() + timeout
        for worker in self._workers:
            worker.queue.request_stop(deadline)
        for worker in self._workers:
            ended = worker.join(deadline + _GRACE - time.monotonic())
            left = worker.left_to_deliver(_COUNTING)
            if left != 0:
                well = False
                worker.report(left or 0)
            if not ended:
                well = False
                LOG.warning("sink %s did not stop in time; abandoned", worker.name)
        if self._state:
            self._state.close()
        return well

    def _worker(self, name: str, sink: Sink, view: SinkView) -> Worker:
        queue = WorkQueue(
            lock=self._lock,
            cut=self._ports.copy,
            resync=self._resync,
            queue_limit=self._queue_limit,
        )
        context = SinkContext(self._host, self._epoch, queue.request_replay, self._condition)
        return Worker(name, sink, queue, view, context)


_GRACE = 0.2  # seconds after the deadline for a sink's close()
_COUNTING = 1.0  # seconds for the selection of a sink, to find out what it has not received


def _view_store(state_dir: str) -> ViewStore:
    from dfovsdb.delivery.view_store import ViewStore  # SQLite, where there is a file

    return ViewStore(state_dir)
