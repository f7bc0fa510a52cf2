"""Recordings: the bytes that a server sent, with times, and how they are played.

A recording is made of JSON lines, so that it can be read, cut and mailed: a header, then one
line for each connection that was made (`begin`), for bytes that arrived (`data`) and for each
connection that was lost (`lost`), with `t` seconds since the header's `time`. Bytes that are not
UTF-8, because a read cut a character, are kept as lone surrogates. Playing a recording feeds them
through the session, the replica, the classifiers and a worker, without a socket, a thread or a
clock, so the result is the same every time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import msgspec

from dfovsdb import plugins
from dfovsdb.classifiers.base import Classifier
from dfovsdb.classifiers.chain import Chain
from dfovsdb.delivery.dispatcher import Dispatcher
from dfovsdb.delivery.work_queue import Bell, Resync
from dfovsdb.errors import ConfigurationError, ConnectionLost
from dfovsdb.logs import get_logger
from dfovsdb.model import TABLES, PortEvent, SyncMarker
from dfovsdb.monitor.pipeline import Pipeline
from dfovsdb.ovsdb.recorder import VERSION
from dfovsdb.ovsdb.session import Session, Snapshot
from dfovsdb.ovsdb.updates import ABSENT, ColumnType
from dfovsdb.sinks.base import Sink
from dfovsdb.text.escape import clean

LOG = get_logger(__name__)


def replay(
    file: str | os.PathLike[str],
    *,
    classifiers: Sequence[Classifier] | None = None,
    resync: Resync = "replay",
) -> Iterator[PortEvent | SyncMarker]:
    """Yield the events and markers that result from a recording.

    :param classifiers: None means the default ones. A column that they declare, but that the
        recording does not contain, is empty, as with a server that does not have it.
    :param resync: as for a Monitor.
    :raises ConfigurationError: the file cannot be read, or is not a recording.
    """
    with _open(file) as lines:
        header = _header(file, lines.readline())
        player = _Player(header, classifiers, resync)
        for number, line in enumerate(lines, start=2):
            try:
                yield from player.play(_line(file, number, line))
            except ConnectionLost as error:
                LOG.warning("line %d: %s", number, error)


class _Player:
    """The session, the replica, the classifiers, and one worker that is driven step by step."""

    def __init__(
        self, header: _Header, classifiers: Sequence[Classifier] | None, resync: Resync
    ) -> None:
        chain = Chain(plugins.default_classifiers() if classifiers is None else classifiers)
        columns = frozenset(header.columns)
        missing = sorted(chain.extra_columns - columns)
        if missing:
            LOG.warning(
                "the recording does not contain the columns %s; they count as empty",
                ", ".join(missing),
            )
        self._absent: dict[str, ColumnType] = dict.fromkeys(missing, ABSENT)
        self._began = header.time
        self._session = Session(
            0.0,
            extra_columns=columns,
            tables=header.tables,
            monitor=header.monitor,
        )
        self._sink = _Delivered()
        dispatcher = Dispatcher(
            {"replay": self._sink}, host=header.host, resync=resync, queue_limit=1_000_000
        )
        (self._worker,) = dispatcher.workers
        self._worker.queue.bell = _NobodyRings()
        self._pipeline = Pipeline(chain, dispatcher)
        self._worker.open()

    def play(self, line: _Line) -> Iterator[PortEvent | SyncMarker]:
        """Yield the result of one line.

        :raises ConnectionLost: what arrived ended the connection.
        """
        now = line.seconds
        if line.what == "begin":
            self._session.next_step(now)
            self._session.connecting(now)
            self._session.begin(now)
        elif line.what == "lost":
            self._session.lost(ConnectionLost(line.text), now)
        else:
            data = line.text.encode("utf-8", "surrogateescape")
            for message in self._session.received(data, now):
                if isinstance(message, Snapshot):
                    types = {**message.extra_columns, **self._absent}
                    message = message._replace(extra_columns=types)
                self._pipeline.apply(message)
                self._step()
                time = self._began + timedelta(seconds=now)
                for item in self._sink.take():
                    yield msgspec.structs.replace(item, time=time)
            self._session.outgoing()

    def _step(self) -> None:
        try:
            while self._worker.step():
                pass
        except _Idle:
            pass


class _Idle(Exception):
    """There is nothing to deliver."""


class _NobodyRings(Bell):
    def wait(self, seconds: float | None) -> bool:  # noqa: ARG002 - of the contract
        raise _Idle


class _Delivered(Sink):
    def __init__(self) -> None:
        self._items: list[PortEvent | SyncMarker] = []

    def take(self) -> list[PortEvent | SyncMarker]:
        items, self._items = self._items, []
        return items

    def emit(self, event: PortEvent) -> None:
        self._items.append(event)

    def sync_started(self, marker: SyncMarker) -> None:
        self._items.append(marker)

    def sync_finished(self, marker: SyncMarker) -> None:
        self._items.append(marker)


def _open(file: str | os.PathLike[str]) -> Any:
    try:
        return open(file, encoding="ascii", errors="replace")
    except OSError as error:
        raise ConfigurationError(f"cannot read {os.fspath(file)!r}: {error.strerror}") from None


class _Header(msgspec.Struct):
    """The first line of a recording."""

    recording: int
    time: datetime
    host: str
    columns: tuple[str, ...] = ()
    tables: tuple[Literal["Interface", "Port", "Bridge"], ...] = ("Interface",)
    monitor: Literal["auto", "rfc7047"] = "auto"


class _Line(NamedTuple):
    """What happened, and so many seconds after the beginning."""

    seconds: float
    what: Literal["begin", "data", "lost"]
    text: str


def _header(file: str | os.PathLike[str], line: str) -> _Header:
    value = _json(line)
    if not isinstance(value, dict) or "recording" not in value:
        raise _not_a_recording(file, line)
    if value["recording"] != VERSION:
        raise ConfigurationError(f"{os.fspath(file)!r} is not a recording of this version")
    try:
        header = msgspec.convert(value, _Header)
        for table, _, column in (name.rpartition(".") for name in header.columns):
            if table not in ("", *TABLES) or not column:
                raise ValueError(f"there is no column {table}.{column}")
    except ValueError as error:
        raise ConfigurationError(
            f"{os.fspath(file)!r} has a damaged first line: {clean(str(error), 200)}"
        ) from None
    if header.time.tzinfo is None:
        header.time = header.time.replace(tzinfo=UTC)
    return header


def _line(file: str | os.PathLike[str], number: int, line: str) -> _Line:
    value = _json(line)
    if isinstance(value, dict):
        seconds = value.get("t")
        for what in _KINDS:
            text = value.get(what)
            if (
                (isinstance(text, str) or (what == "begin" and what in value))
                and isinstance(seconds, int | float)
                and 0 <= seconds <= _LONGEST
            ):
                return _Line(float(seconds), what, str(text))
    if number == 2:
        raise _not_a_recording(file, line)
    raise ConfigurationError(
        f"{os.fspath(file)!r} is damaged at line {number}: {clean(line.rstrip(), 60)!r}"
    )


def _json(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _not_a_recording(file: str | os.PathLike[str], line: str) -> ConfigurationError:
    return ConfigurationError(f"{os.fspath(file)!r} is not a recording: {line!r:.60}")


_KINDS: tuple[Literal["begin", "data", "lost"], ...] = ("begin", "data", "lost")
_LONGEST = 1e9  # seconds of a recording
