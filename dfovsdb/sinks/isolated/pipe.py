"""The messages between the two processes, both of which are ours: pickled, over a socket."""

from __future__ import annotations

import copyreg
import io
import pickle
import threading
from multiprocessing.connection import Connection
from types import MappingProxyType
from typing import Any, NamedTuple


class Call(NamedTuple):
    """To the sink: call this method."""

    method: str
    arguments: bytes  #: packed; unpacked where an error is one of this call


class Condition(NamedTuple):
    """To the sink: the state of the connection to the switch, which it has asked for."""

    text: str


class Answer(NamedTuple):
    """From the sink: the call has returned, or raised."""

    poll_interval: float | None
    #: the arguments of SinkUnavailable
    down: tuple[str, int, float | None] | None = None
    #: any other exception, and its traceback
    raised: tuple[str, str] | None = None


class AskCondition(NamedTuple):
    """From the sink: it wants a Condition."""


class AskReplay(NamedTuple):
    """From the sink: it requests a resend."""


class Logged(NamedTuple):
    """From the sink: the attributes of a log record."""

    record: dict[str, Any]


class Pipe:
    """One end. Any thread may send; one receives."""

    def __init__(self, descriptor: int) -> None:
        self._connection = Connection(descriptor)
        self._lock = threading.Lock()

    def send(self, message: object) -> None:
        """Send a message.

        :raises OSError: the other process has ended.
        """
        packed = pack(message)
        with self._lock:
            self._connection.send_bytes(packed)

    def receive(self) -> Any:
        """Wait for a message.

        :raises EOFError: the other process has ended.
        """
        try:
            return pickle.loads(self._connection.recv_bytes())  # noqa: S301 - our own process
        except OSError as error:
            raise EOFError from error

    def close(self) -> None:
        """Release the socket, when nobody receives any more."""
        self._connection.close()


def pack(message: object) -> bytes:
    """Return a message as bytes.

    :raises pickle.PicklingError: something in it cannot be pickled; AttributeError and TypeError
        too.
    """
    packed = io.BytesIO()
    _Pickler(packed, pickle.HIGHEST_PROTOCOL).dump(message)
    return packed.getvalue()


def _read_only(mapping: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(mapping)


class _Pickler(pickle.Pickler):
    """Takes the read-only mappings of ports and rows, too."""

    dispatch_table = copyreg.dispatch_table | {
        MappingProxyType: lambda mapping: (_read_only, (dict(mapping),))
    }
