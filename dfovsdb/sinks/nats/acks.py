"""Acknowledgements of JetStream: how to read one, and up to where a run of messages has them
all.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import msgspec

_TOO_LARGE = (10054,)  # JetStream: message size exceeds maximum allowed
_FULL = (10023, 10047, 10077)  # JetStream: insufficient resources or storage, store failed


class Failure(NamedTuple):
    """The first message of a run that is not stored, and the reason."""

    number: int
    text: str
    refused: bool


class Window:
    """Which messages of one run are acknowledged; `first` is the first one that is not."""

    def __init__(self, count: int) -> None:
        self.first = 0
        self.failed: Failure | None = None
        self.stopped: str | None = None  # no further acknowledgements are expected
        self.moved = asyncio.Event()
        self._count = count
        self._beyond: set[int] = set()  # acknowledged, while an earlier one is not

    @property
    def end(self) -> int:
        """Return whether to wait on: for everything, or for all before the first failed one."""
        return self._count if self.failed is None else self.failed.number

    def acknowledge(self, number: int) -> None:
        self._beyond.add(number)
        while self.first in self._beyond:
            self._beyond.remove(self.first)
            self.first += 1
        self.moved.set()

    def fail(self, number: int, text: str, *, refused: bool = False) -> None:
        if self.failed is None or number < self.failed.number:
            self.failed = Failure(number, text, refused)
        self.moved.set()

    def stop(self, text: str) -> None:
        self.stopped = self.stopped or text
        self.moved.set()


class ApiError(msgspec.Struct, gc=False):
    """An error that JetStream reports."""

    code: int = 0
    err_code: int = 0
    description: str = ""

    @property
    def is_of_the_message(self) -> bool:
        """Return whether publishing the same message again is pointless."""
        return self.err_code in _TOO_LARGE

    @property
    def text(self) -> str:
        what = f"{self.description or 'refused'} ({self.err_code or self.code})"
        return f"JetStream is full: {what}" if self.err_code in _FULL else what


class Ack(msgspec.Struct, gc=False):
    """JetStream's response to a message."""

    error: ApiError | None = None
    seq: int = 0

    @property
    def failure(self) -> str | None:
        """Return why the message is not known to be stored; None if it is.

        nats-server 2.10 calls a message a duplicate, of sequence 0, while the first one is still
        on its way to the other servers. If the leader changes, it never arrives there.
        """
        if self.error is not None:
            return self.error.text
        return None if self.seq else "a duplicate of a message that is not stored yet"


decode_ack = msgspec.json.Decoder(Ack).decode
