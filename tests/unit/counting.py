"""Counts work, for tests that must not time it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class CountingSet(set[str]):
    """Counts the elements that operations on whole sets copy."""

    copied = 0

    def _count(self, other: Any) -> set[str]:
        CountingSet.copied += len(self) + len(other)
        return set(self)

    def union(self, *others: Any) -> set[Any]:
        return self._count(others[0]).union(*others)

    def __or__(self, other: Any) -> Any:
        return self._count(other) | other

    def __xor__(self, other: Any) -> Any:
        return self._count(other) ^ other


class CountingDict(dict[str, Any]):
    """Counts the keys over which something iterates."""

    iterated = 0

    def __iter__(self) -> Iterator[str]:
        CountingDict.iterated += len(self)
        return super().__iter__()
