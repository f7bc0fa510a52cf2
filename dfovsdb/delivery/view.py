"""The view of a sink: the ports that it has been sent and has accepted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dfovsdb.model import Port, PortEvent


class SinkView:
    """In memory: what the sink has accepted, by uuid. It iterates over the uuids."""

    def __init__(self) -> None:
        self._ports: dict[str, Port] = {}
        #: Ports whose last offer may or may not have arrived before this process began.
        self.doubtful: set[str] = set()
        self.get = self._ports.get

    def __iter__(self) -> Iterator[str]:
        return iter(self._ports)

    def ports(self) -> dict[str, Port]:
        """A copy; from any thread."""
        return self._ports.copy()

    def offering(self, events: Sequence[PortEvent]) -> None:
        """These events are about to be offered."""

    def accepted(self, events: Sequence[PortEvent]) -> None:
        """The sink has these events."""
        ports = self._ports
        for event in events:
            if event.action == "offline":
                del ports[event.port.uuid]
            else:
                ports[event.port.uuid] = event.port
        if self.doubtful:
            self.doubtful.difference_update(event.port.uuid for event in events)

    def refused(self, event: PortEvent) -> None:
        """The sink refused this event: what it was told before stays."""

    @property
    def behind(self) -> bool:
        """Whether what is kept of it lacks something that could not be written."""
        return False

    def mend(self) -> None:
        """Write what could not be written before, where there is anything."""

    def settle(self) -> None:
        """Nothing more will be told."""
