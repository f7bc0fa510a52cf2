"""The view of a sink: the ports that it has been sent and has accepted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dfovsdb.model import Port, PortEvent


class SinkView:
    """In memory: what the sink has accepted, by uuid. Iterating yields the uuids."""

    def __init__(self) -> None:
        self._ports: dict[str, Port] = {}
        #: Ports whose last offer may or may not have arrived before this process began.
        self.doubtful: set[str] = set()
        self.get = self._ports.get

    def __iter__(self) -> Iterator[str]:
        return iter(self._ports)

    def ports(self) -> dict[str, Port]:
        """Return a copy; from any thread."""
        return self._ports.copy()

    def offering(self, events: Sequence[PortEvent]) -> None:
        """Record that these events are about to be offered."""

    def accepted(self, events: Sequence[PortEvent]) -> None:
        """Record that the sink has accepted these events."""
        ports = self._ports
        for event in events:
            if event.action == "offline":
                del ports[event.port.uuid]
            else:
                ports[event.port.uuid] = event.port
        if self.doubtful:
            self.doubtful.difference_update(event.port.uuid for event in events)

    def refused(self, event: PortEvent) -> None:
        """Record that the sink refused this event: its last accepted state stays."""

    @property
    def behind(self) -> bool:
        """Return whether the stored view is incomplete because something could not be written."""
        return False

    def mend(self) -> None:
        """Write what could not be written before."""

    def settle(self) -> None:
        """End: nothing more will be delivered."""
