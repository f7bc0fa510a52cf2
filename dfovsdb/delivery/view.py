"""The view of a sink: the ports that it has been sent and has accepted.

Every promise of delivery follows from this one record, kept apart from the switch and apart for
each sink. What a sink still needs is the difference between the ports of the switch and its view,
so:

1. An event is made at the moment it is offered, from the view and the present port. What changed
   twice while the sink was slow is one event, and what came and went is none. Memory is bounded by
   the number of ports, however long an outage lasts.
2. The view changes when the sink has accepted, and at no other time. After an outage, a refusal or
   an overflow of the queue the difference is simply taken again; nothing has to be remembered
   about what went wrong.
3. A departure can be reported only by who knows what was there. The view knows, also of ports that
   vanished while there was no connection; and, kept in a file (view_store.py), while there was no
   process.
4. Between an offer and its answer a process may be killed. Only then is it unknown whether the
   sink has accepted: the port is doubtful, and is offered again. So an event may be repeated, and
   none is lost.
"""

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
