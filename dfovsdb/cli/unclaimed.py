"""Counts the interfaces that no classifier claims, for `dfovsdb watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfovsdb.classifiers.base import Classifier
from dfovsdb.model import port_of
from dfovsdb.selection import OTHER

if TYPE_CHECKING:
    from dfovsdb.model import Interface
    from dfovsdb.selection import Selection


class Unclaimed(Classifier):
    """A classifier at the end of the chain that claims nothing: it records which rows it sees.

    :param selection: which of them count.
    """

    kind = "unclaimed"

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._uuids: set[str] = set()

    def classify(self, interface: Interface) -> None:
        if self._selection(port_of(interface, OTHER, {})):
            self._uuids.add(interface.uuid)

    def count(self) -> int:
        """Return how many rows it has seen since the last call."""
        count = len(self._uuids)
        self._uuids.clear()
        return count
