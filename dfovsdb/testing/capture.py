"""A sink that keeps everything, with assertions that wait and show the transcript."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from dfovsdb.model import Port, PortEvent, SyncMarker
from dfovsdb.sinks.base import Sink, SinkContext
from dfovsdb.text.events import event_line, marker_line

DEADLINE = 30.0  #: seconds that an assertion waits


def wait_until(
    condition: Callable[[], object], timeout: float = DEADLINE, what: str = "the condition"
) -> None:
    """Wait for a condition that is not announced.

    :param timeout: seconds.
    :param what: the name of the condition in the error.
    :raises AssertionError: it does not become true in time.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        time.sleep(0.005)


class CaptureSink(Sink):
    """Keeps everything that it receives.

    `items` are events and markers in order. `ports` is what they add up to: by uuid, the ports
    that a listener from the beginning holds to be present.
    """

    def __init__(self) -> None:
        self.items: list[PortEvent | SyncMarker] = []
        self.ports: dict[str, Port] = {}
        self.context: SinkContext | None = None
        self.closed = False
        self._changed = threading.Condition(threading.RLock())

    def open(self, context: SinkContext) -> None:
        self.context = context

    def emit(self, event: PortEvent) -> None:
        with self._changed:
            self.items.append(event)
            if event.action == "offline":
                self.ports.pop(event.port.uuid, None)
            else:
                self.ports[event.port.uuid] = event.port
            self._changed.notify_all()

    def sync_started(self, marker: SyncMarker) -> None:
        self._keep(marker)

    def sync_finished(self, marker: SyncMarker) -> None:
        self._keep(marker)

    def close(self) -> None:
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    @property
    def events(self) -> list[PortEvent]:
        """Return the events without the markers."""
        return [item for item in self.items if isinstance(item, PortEvent)]

    def of(self, name: str) -> list[PortEvent]:
        """Return the events of the port of this name."""
        return [event for event in self.events if event.port.name == name]

    def actions(self, name: str) -> list[str]:
        """Return what happened to the port of this name."""
        return [event.action for event in self.of(name)]

    def syncs(self) -> int:
        """Return how many syncs are complete."""
        with self._changed:
            return sum(1 for item in self.items if item.action == "sync_finished")

    def wait_until(self, condition: Callable[[], object], timeout: float = DEADLINE) -> None:
        """Wait for a condition on what was captured.

        :raises AssertionError: it does not become true in time; with the transcript.
        """
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                raise AssertionError(f"not within {timeout} s; so far:\n{self.transcript()}")

    def wait_for_actions(self, name: str, actions: Sequence[str]) -> list[PortEvent]:
        """Wait until exactly this has happened to the port of this name; return the events."""
        self.wait_until(lambda: self.actions(name) == list(actions))
        return self.of(name)

    def wait_for_sync(self, number: int = 1) -> None:
        """Wait until that many syncs are complete."""
        self.wait_until(lambda: self.syncs() >= number)

    def transcript(self) -> str:
        """Return everything, with one line for each item."""
        return "\n".join(
            f"{item.seq:>4} {item.origin:<8} "
            + (event_line(item) if isinstance(item, PortEvent) else marker_line(item))
            for item in self.items
        )

    def _keep(self, marker: SyncMarker) -> None:
        with self._changed:
            self.items.append(marker)
            self._changed.notify_all()
