"""Which keys a host has in the buckets, so that its next run can remove what is left over.

A host could ask the server for its keys, but nats-server 2.9 looks through all keys of all hosts
to answer, a thousand times over when a thousand hosts come back at once. So each host keeps a
list of its own, in parts: SIZE keys `HOST.=.PART` in the bucket of ports. A key is in the list
before it is made, and leaves it some time after it was removed; the list may say too much, and
never too little. No I/O.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterable, Iterator

import msgspec

SIZE = 16  #: parts, so that a change writes few bytes
PARTS = tuple(f"{number:x}" for number in range(SIZE))
MARK = "="  #: in place of a uuid, which is never empty


class KeyIndex:
    """Of each port the keys of the VIFs that it claims, or may claim still."""

    def __init__(self) -> None:
        self._vifs: dict[str, set[str]] = {}
        self._kept: dict[str, bytes] = {}  # by part: what the bucket has
        self._lacking: set[str] = set()  # parts that lack a key in the bucket

    def __iter__(self) -> Iterator[tuple[str, set[str]]]:
        return iter(self._vifs.items())

    def claims(self, uuid: str) -> set[str]:
        """The keys of VIFs that a port may claim."""
        return self._vifs.get(uuid, set())

    def load(self, part: str, value: bytes) -> None:
        """What another run has kept; what is not readable is nothing."""
        with contextlib.suppress(msgspec.MsgspecError):
            for uuid, vifs in _decode(value).items():
                self._vifs.setdefault(uuid, set()).update(vifs)
            self._kept[part] = value

    def cover(self, uuid: str, vif: str | None) -> None:
        """This is about to be told."""
        vifs = self._vifs.get(uuid)
        if vifs is None or (vif is not None and vif not in vifs):
            self._vifs[uuid] = (vifs or set()) | (set() if vif is None else {vif})
            self._lacking.add(_part(uuid))

    def settle(self, uuid: str, vif: str | None) -> None:
        """This was told, and what was before is removed."""
        self._vifs[uuid] = set() if vif is None else {vif}

    def drop(self, uuid: str) -> None:
        """The port is gone, and its keys with it."""
        self._vifs.pop(uuid, None)

    def lacking(self) -> dict[str, bytes]:
        """The parts that must be kept before anything is told, and their values."""
        return self._encoded(self._lacking) if self._lacking else {}

    def changed(self) -> dict[str, bytes]:
        """The parts that say too much or too little, and their values."""
        parts = self._encoded(PARTS)
        return {
            part: value for part, value in parts.items() if value != self._kept.get(part, b"{}")
        }

    def keep(self, parts: dict[str, bytes]) -> None:
        """The bucket has these."""
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
