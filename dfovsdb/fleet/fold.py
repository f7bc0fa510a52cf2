"""How the log is read: repeated messages count once, and what all messages add up to.

No I/O: it receives the messages of the log in their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from dfovsdb.classifiers import vif
from dfovsdb.model import Port, PortEvent, SyncMarker
from dfovsdb.telemetry.event_counter import Wait

#: An agent offers a batch again, 500 events at most (and its markers); an older message
#: is a repetition.
_BACK = 2000


class Seen:
    """Recognizes repeated messages by their ids, `HOST:EPOCH:SEQ`."""

    def __init__(self) -> None:
        self._highest: dict[str, int] = {}  # by HOST:EPOCH
        self._recent: dict[str, set[int]] = {}

    def __call__(self, message_id: str) -> bool:
        """Return whether this id was seen before, and remember it. Other ids count as new."""
        source, _, number = message_id.rpartition(":")
        if not source or not number.isdecimal():
            return False
        seq, highest = int(number), self._highest.get(source, 0)
        recent = self._recent.setdefault(source, set())
        if seq in recent or seq <= highest - _BACK:
            return True
        recent.add(seq)
        if seq > highest:
            self._highest[source] = seq
            if len(recent) > 2 * _BACK:
                self._recent[source] = {kept for kept in recent if kept > seq - _BACK}
        return False


class Fold:
    """The ports of every host according to the log: `ports[host][uuid]`.

    A port that left while its agent was down is not reported offline: it is missing from the next
    sync. Therefore the end of a sync that contained every port removes all others.
    """

    def __init__(self) -> None:
        self.ports: dict[str, dict[str, Port]] = {}
        self._in_sync: dict[str, set[str]] = {}  # by host: the ports of the sync in progress
        self._seen = Seen()

    def add(self, item: PortEvent | SyncMarker, message_id: str) -> bool:
        """Add a message; return False if it is a repetition, and so changes nothing."""
        if self._seen(message_id):
            return False
        ports = self.ports.setdefault(item.host, {})
        if isinstance(item, SyncMarker):
            listed = self._in_sync.pop(item.host, None)
            if item.action == "sync_started":
                self._in_sync[item.host] = set()
            elif listed is not None and len(listed) >= (item.ports or 0):
                self.ports[item.host] = {uuid: ports[uuid] for uuid in ports if uuid in listed}
        elif item.action == "offline":
            ports.pop(item.port.uuid, None)
        else:
            ports[item.port.uuid] = item.port
            self._in_sync.get(item.host, set()).add(item.port.uuid)
        return True


class Moment(NamedTuple):
    """An event of a VIF."""

    event: PortEvent
    hosts: list[str]  #: those that have the VIF after it
    ready: timedelta | None  #: how long after its row the port has become ready with this event
    installed: timedelta | None  #: the same for OVN, which has installed it


class Life:
    """The life of one VIF on all hosts, from a part of the log.

    A port that left while its agent was down is not reported offline, as in `Fold`. Here an
    event of the sync that reveals it says so.
    """

    def __init__(self, iface_id: str) -> None:
        self._iface_id = iface_id
        self._events: list[PortEvent] = []
        self._there: dict[str, dict[str, Port]] = {}  # by host: the ports that have the VIF
        self._before: set[tuple[str, str]] = set()  # those that had it before the first event
        self._known: set[tuple[str, str]] = set()  # those that have had an event
        self._in_sync: dict[str, set[str]] = {}  # by host: the ports of the sync in progress

    def add(self, item: PortEvent | SyncMarker) -> None:
        """Add a message of the log, which is no repetition."""
        if isinstance(item, SyncMarker):
            self._add_marker(item)
            return
        port, there = item.port, self._there.setdefault(item.host, {})
        if item.action != "offline":
            self._in_sync.get(item.host, set()).add(port.uuid)
        had = self._is_it(port if item.action == "offline" else item.previous)
        has = item.action != "offline" and self._is_it(port)
        if not had and not has:
            return
        if had and (item.host, port.uuid) not in self._known:
            self._before.add((item.host, port.uuid))
        self._append(item)
        if has:
            there[port.uuid] = port
        else:
            there.pop(port.uuid, None)

    def is_on(self, host: str, port: Port) -> None:
        """Add where the VIF is now; if the log does not say since when, it was there before."""
        if (host, port.uuid) not in self._known:
            self._before.add((host, port.uuid))

    def moments(self) -> Iterator[Moment]:
        """Yield the events of the VIF in their order."""
        have = set(self._before)
        ready, installed = Wait(), Wait()
        for event in self._events:
            place = (event.host, event.port.uuid)
            gone = event.action == "offline" or not self._is_it(event.port)
            (have.discard if gone else have.add)(place)
            yield Moment(
                event,
                sorted({host for host, _ in have}),
                ready.after(event, reached=event.port.state == "ready"),
                installed.after(event, reached=vif.ovn_installed(event.port)),
            )

    def _add_marker(self, marker: SyncMarker) -> None:
        listed = self._in_sync.pop(marker.host, None)
        if marker.action == "sync_started":
            self._in_sync[marker.host] = set()
        elif listed is not None and len(listed) >= (marker.ports or 0):
            there = self._there.get(marker.host, {})
            for uuid in there.keys() - listed:
                self._append(
                    PortEvent(
                        action="offline",
                        port=there.pop(uuid),
                        previous=None,
                        origin=marker.origin,
                        seq=marker.seq,
                        time=marker.time,
                        host=marker.host,
                    )
                )

    def _append(self, event: PortEvent) -> None:
        self._events.append(event)
        self._known.add((event.host, event.port.uuid))

    def _is_it(self, port: Port | None) -> bool:
        return port is not None and port.attributes.get("iface_id") == self._iface_id
