"""How many interfaces no classifier claims: `dfovsdb watch` has no other way to know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfovsdb.classifiers.base import Classifier

if TYPE_CHECKING:
    from dfovsdb.model import Interface


class Unclaimed(Classifier):
    """Is asked last, and claims nothing: it notes whom it was asked of."""

    kind = "unclaimed"

    def __init__(self) -> None:
        self._uuids: set[str] = set()

    def classify(self, interface: Interface) -> None:
        self._uuids.add(interface.uuid)

    def count(self) -> int:
        """Return of how many rows it was asked since the last call."""
        count = len(self._uuids)
        self._uuids.clear()
        return count
