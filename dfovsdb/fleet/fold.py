"""How the log is read: repeated messages count once, and what all messages add up to.

No I/O: it receives the messages of the log in their order.
"""

from __future__ import annotations

from dfovsdb.model import Port, PortEvent, SyncMarker

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
