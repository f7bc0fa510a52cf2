"""JetStream's acknowledgements: what one says, and up to where a run of messages has them all."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import msgspec

_TOO_LARGE = (10054,)  # JetStream: message size exceeds maximum allowed
_FULL = (10023, 10047, 10077)  # JetStream: insufficient resources or storage, store failed


class Failure(NamedTuple):
    """The first message of a run that is not stored, and why."""

    number: int
    words: str
    refused: bool


class Window:
    """Which messages of one run are acknowledged: `first` is the first that is not."""

    def __init__(self, count: int) -> None:
        self.first = 0
        self.failed: Failure | None = None
        self.stopped: str | None = None  # nothing more is to be expected
        self.moved = asyncio.Event()
        self._count = count
        self._beyond: set[int] = set()  # acknowledged, and one before them is not

    @property
    def end(self) -> int:
        """What is to be waited for: everything, or all before the first that failed."""
        return self._count if self.failed is None else self.failed.number

    def acknowledge(self, number: int) -> None:
        self._beyond.add(number)
        while self.first in self._beyond:
            self._beyond.remove(self.first)
            self.first += 1
        self.moved.set()

    def fail(self, number: int, words: str, *, refused: bool = False) -> None:
        if self.failed is None or number < self.failed.number:
            self.failed = Failure(number, words, refused)
        self.moved.set()

    def stop(self, words: str) -> None:
        self.stopped = self.stopped or words
        self.moved.set()


class ApiError(msgspec.Struct, gc=False):
    """What JetStream says went wrong."""

    code: int = 0
    err_code: int = 0
    description: str = ""

    @property
    def is_of_the_message(self) -> bool:
        """To publish the same again is vain."""
        return self.err_code in _TOO_LARGE

    @property
    def words(self) -> str:
        what = f"{self.description or 'refused'} ({self.err_code or self.code})"
        return f"JetStream is full: {what}" if self.err_code in _FULL else what


class Ack(msgspec.Struct, gc=False):
    """Its answer to a message."""

    error: ApiError | None = None


decode_ack = msgspec.json.Decoder(Ack).decode
