"""An internal sink that counts events, and how long ports take until they can be used.

It receives events like any other sink, on a thread of its own, so it costs the loop only a place
in the list of workers. After falling behind it counts the events that it then receives.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from dfovsdb.classifiers import vif
from dfovsdb.histogram import WAITS, Histogram
from dfovsdb.model import PortEvent
from dfovsdb.sinks.base import Sink

_Waits = defaultdict[str, Histogram]


class EventCounter(Sink):
    """Counts events by action and kind, and two waits by kind, in seconds.

    A wait is measured only if its beginning was seen: a port that was already present when the
    table was read, or that returned with a reconnect, is not counted.
    """

    def __init__(self) -> None:
        self.events: Counter[tuple[str, str]] = Counter()
        #: From the row to its ofport (ovs-vswitchd.conf.db(5), Interface, ofport).
        self.to_ready: _Waits = defaultdict(partial(Histogram, WAITS))
        #: From the row to external_ids:ovn-installed, which ovn-controller(8) sets.
        self.to_ovn_installed: _Waits = defaultdict(partial(Histogram, WAITS))
        self._ready, self._installed = Wait(), Wait()

    def emit(self, event: PortEvent) -> None:
        port = event.port
        self.events[event.action, port.kind] += 1
        if (lasted := self._ready.after(event, reached=port.state == "ready")) is not None:
            self.to_ready[port.kind].observe(_seconds(lasted))
        if (lasted := self._installed.after(event, reached=vif.ovn_installed(port))) is not None:
            self.to_ovn_installed[port.kind].observe(_seconds(lasted))

    def emit_many(self, events: Sequence[PortEvent]) -> None:
        for event in events:
            self.emit(event)


class Wait:
    """How long ports have waited for something since their rows came, where that was seen."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], datetime] = {}  # by host and uuid

    def after(self, event: PortEvent, *, reached: bool) -> timedelta | None:
        """Return how long the port of an event has waited, if this event ends that.

        :param reached: whether the port has now what it waits for.
        """
        place = (event.host, event.port.uuid)
        if event.action == "offline" or event.origin != "update":
            self._since.pop(place, None)
        elif event.action == "online" and event.previous is None and not reached:
            self._since[place] = event.time
        elif reached and place in self._since:
            return event.time - self._since.pop(place)
        return None


def _seconds(lasted: timedelta) -> float:
    return max(0.0, lasted.total_seconds())  # a clock may be set back
