"""An internal sink that counts events, and how long ports take until they can be used.

It receives events like any other sink, on a thread of its own, so it costs the loop only a place
in the list of workers. After falling behind it counts the events that it then receives.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from dfovsdb.histogram import WAITS, Histogram
from dfovsdb.model import Port, PortEvent
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
        self._unready: dict[str, datetime] = {}
        self._uninstalled: dict[str, datetime] = {}

    def emit(self, event: PortEvent) -> None:
        port = event.port
        self.events[event.action, port.kind] += 1
        if event.action == "online" and event.previous is None and event.origin == "update":
            if port.state == "pending":
                self._unready[port.uuid] = event.time
            if not _ovn_installed(port):
                self._uninstalled[port.uuid] = event.time
        elif event.action == "offline" or event.origin != "update":
            self._unready.pop(port.uuid, None)
            self._uninstalled.pop(port.uuid, None)
        else:
            if port.state == "ready":
                _measure(self._unready, self.to_ready, event)
            if _ovn_installed(port):
                _measure(self._uninstalled, self.to_ovn_installed, event)

    def emit_many(self, events: Sequence[PortEvent]) -> None:
        for event in events:
            self.emit(event)


def _measure(since: dict[str, datetime], waits: _Waits, event: PortEvent) -> None:
    began = since.pop(event.port.uuid, None)
    if began is not None:
        waits[event.port.kind].observe(max(0.0, (event.time - began).total_seconds()))


def _ovn_installed(port: Port) -> bool:
    return port.attributes.get("ovn_installed") == "true"
