"""The keys of a host in the buckets, so that its next run can remove those that are left over.

A host could ask the server for its keys. But nats-server 2.9 searches all keys of all hosts to
answer, and does so a thousand times when a thousand hosts return at once. Therefore each host
stores a list of its own keys in parts: SIZE keys `HOST.=.PART` in the bucket of ports. A key is
added to the list before it is created, and removed from the list some time after it was deleted.
So the list may contain too much, but never too little: a key too many is deleted once more, which
changes nothing, while a key that is missing here would stay in the bucket for ever.

A part is written again when one of its keys is new; the removals wait for such a write, or for the
end of a sync. So a change of a port costs one small write where it adds a key, and none otherwise,
and two runs of one host, the second of which reads what the first has left, agree. No I/O.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterable, Iterator

import msgspec

SIZE = 16  #: number of parts, so that a change writes few bytes
PARTS = tuple(f"{number:x}" for number in range(SIZE))
MARK = "="  #: instead of a uuid, which is never empty


class KeyIndex:
    """For each port, the keys of the VIFs that it claims, or may still claim."""

    def __init__(self) -> None:
        self._vifs: dict[str, set[str]] = {}
        self._kept: dict[str, bytes] = {}  # by part: what the bucket has
        self._lacking: set[str] = set()  # parts with a key that the bucket does not have yet

    def __iter__(self) -> Iterator[tuple[str, set[str]]]:
        return iter(self._vifs.items())

    def claims(self, uuid: str) -> set[str]:
        """Return the keys of VIFs that a port may claim."""
        return self._vifs.get(uuid, set())

    def load(self, part: str, value: bytes) -> None:
        """Read a part that another run has stored; what is unreadable counts as nothing."""
        with contextlib.suppress(msgspec.MsgspecError):
            for uuid, vifs in _decode(value).items():
                self._vifs.setdefault(uuid, set()).update(vifs)
            self._kept[part] = value

    def cover(self, uuid: str, vif: str | None) -> None:
        """Record that this port and VIF are about to be published."""
        vifs = self._vifs.get(uuid)
        if vifs is None or (vif is not None and vif not in vifs):
            self._vifs[uuid] = (vifs or set()) | (set() if vif is None else {vif})
            self._lacking.add(_part(uuid))

    def settle(self, uuid: str, vif: str | None) -> None:
        """Record that this was published, and that earlier keys were deleted."""
        self._vifs[uuid] = set() if vif is None else {vif}

    def drop(self, uuid: str) -> None:
        """Record that the port and its keys are gone."""
        self._vifs.pop(uuid, None)

    def lacking(self) -> dict[str, bytes]:
        """Return the parts that must be stored before anything is published, and their values."""
        return self._encoded(self._lacking) if self._lacking else {}

    def changed(self) -> dict[str, bytes]:
        """Return the parts that contain too much or too little, and their values."""
        parts = self._encoded(PARTS)
        return {
            part: value for part, value in parts.items() if value != self._kept.get(part, b"{}")
        }

    def keep(self, parts: dict[str, bytes]) -> None:
        """Record that the bucket has these parts."""
        self._kept |= parts
        self._lacking -= parts.keys()

    def _encoded(self, parts: Iterable[str]) -> dict[str, bytes]:
        content: dict[str, dict[str, list[str]]] = {part: {} for part in sorted(parts)}
        for uuid in sorted(self._vifs):
            if (part := _part(uuid)) in content:
                content[part][uuid] = sorted(self._vifs[uuid])
        return {part: msgspec.json.encode(ports) for part, ports in content.items()}


_decode = msgspec.json.Decoder(dict[str, list[str]]).decode


def _part(uuid: str) -> str:
    return PARTS[zlib.crc32(uuid.encode()) % SIZE]
