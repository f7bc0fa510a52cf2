"""How the log is read: what was there twice counts once, and what it says in the end.

No I/O: it is fed the messages of the log, in their order.
"""

from __future__ import annotations

from dfovsdb.model import Port, PortEvent, SyncMarker

#: An agent offers a batch again, 500 events at most (and its markers); what lies this far back
#: was there before.
_BACK = 2000


class Seen:
    """Knows messages again by their ids, `HOST:EPOCH:SEQ`."""

    def __init__(self) -> None:
        self._highest: dict[str, int] = {}  # by HOST:EPOCH
        self._recent: dict[str, set[int]] = {}

    def __call__(self, message_id: str) -> bool:
        """Whether it was seen before; now it is. What has no id of ours never was."""
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
    """The ports of every host, as the log says them: `ports[host][uuid]`.

    A port that left while its agent was dead is not told offline: it is missing from the next
    sync. So the end of a sync in which every port was told removes those that were not.
    """

    def __init__(self) -> None:
        self.ports: dict[str, dict[str, Port]] = {}
        self._in_sync: dict[str, set[str]] = {}  # by host: what was told since it began
        self._seen = Seen()

    def add(self, item: PortEvent | SyncMarker, message_id: str) -> bool:
        """Take a message; False where it was there before, and so changes nothing."""
        if self._seen(message_id):
            return False
        ports = self.ports.setdefault(item.host, {})
        if isinstance(item, SyncMarker):
            told = self._in_sync.pop(item.host, None)
            if item.action == "sync_started":
                self._in_sync[item.host] = set()
            elif told is not None and len(told) >= (item.ports or 0):
                self.ports[item.host] = {uuid: ports[uuid] for uuid in ports if uuid in told}
        elif item.action == "offline":
            ports.pop(item.port.uuid, None)
        else:
            ports[item.port.uuid] = item.port
            self._in_sync.get(item.host, set()).add(item.port.uuid)
        return True
