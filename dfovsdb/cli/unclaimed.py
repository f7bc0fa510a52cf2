"""Counts the interfaces that no classifier claims, for `dfovsdb watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfovsdb.classifiers.base import Classifier

if TYPE_CHECKING:
    from dfovsdb.model import Interface


class Unclaimed(Classifier):
    """A classifier at the end of the chain that claims nothing: it records which rows it sees."""

    kind = "unclaimed"

    def __init__(self) -> None:
        self._uuids: set[str] = set()

    def classify(self, interface: Interface) -> None:
        self._uuids.add(interface.uuid)

    def count(self) -> int:
        """Return how many rows it has seen since the last call."""
        count = len(self._uuids)
        self._uuids.clear()
        return count
