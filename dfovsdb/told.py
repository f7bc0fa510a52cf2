"""The told view: the ports that one sink has been told and has accepted.

In memory, or kept in a file of state_dir so that departures are told after a restart too.
There a port is marked before an offer and settled after it was accepted: a crash between the
two leaves it doubtful, and a doubtful port is told again. So a crash may repeat, never lose.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from dfovsdb import json_v1
from dfovsdb.errors import ConfigurationError
from dfovsdb.model import Port, PortEvent

LOG = logging.getLogger(__name__)

FILE_NAME = "told.sqlite"
_APPLICATION_ID = (
    0x6466_6F76  # "dfov": a file of ours (sqlite.org/pragma.html#pragma_application_id)
)
_VERSION = 1
#: SQL, and the rows of parameters to run it with.
Statement = tuple[str, Sequence[tuple[object, ...]]]
_RETRY = 10.0  # seconds before another try to write after the disk refused


class ToldView:
    """In memory: what the sink has accepted, by uuid. It iterates over the uuids."""

    def __init__(self) -> None:
        self._ports: dict[str, Port] = {}
        #: Ports whose last offer may or may not have arrived before this process began.
        self.doubtful: set[str] = set()
        self.get = self._ports.get

    def __iter__(self) -> Iterator[str]:
        return iter(self._ports)

    def offering(self, events: Sequence[PortEvent]) -> None:
        """These events are about to be offered."""

    def accepted(self, events: Sequence[PortEvent]) -> None:
        """The sink has these events."""
        ports = self._ports
        for event in events:
            if event.action == "offline":
                del ports[event.port.uuid]
            else:
                ports[event.port.uuid] = event.port
        if self.doubtful:
            self.doubtful.difference_update(event.port.uuid for event in events)

    def refused(self, event: PortEvent) -> None:
        """The sink refused this event: what it was told before stays."""


class StateFile:
    """The SQLite file under state_dir that keeps the told views of all sinks.

    :raises ConfigurationError: the folder is not there, or cannot be written.
    """

    def __init__(self, state_dir: str | os.PathLike[str]) -> None:
        self._path = Path(state_dir) / FILE_NAME
        self._lock = threading.Lock()
        self._retry_at: float | None = None
        try:
            self._db = self._open()
        except (sqlite3.Error, OSError) as error:
            raise ConfigurationError(
                f"state_dir {str(state_dir)!r} cannot be used: {error}; it must be a folder "
                "that this user may write to"
            ) from None

    def view(self, sink: str, host: str) -> StoredToldView:
        """The told view of one sink instance on one host."""
        return StoredToldView(self, sink, host)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def load(self, sink: str, host: str) -> Iterator[tuple[Port, bool]]:
        """The ports kept for a sink, and whether each is doubtful."""
        with self._lock:
            rows = self._db.execute(
                "SELECT port, doubtful FROM told WHERE sink = ? AND host = ?", (sink, host)
            ).fetchall()
        for text, doubtful in rows:
            try:
                yield json_v1.decode_port(text), bool(doubtful)
            except msgspec.MsgspecError as error:
                LOG.warning("%s: a port of sink %s cannot be read: %s", self._path, sink, error)

    def write(self, statements: Sequence[Statement]) -> bool:
        """Run statements in one transaction; False where the disk refuses, said once."""
        if self._retry_at is not None and time.monotonic() < self._retry_at:
            return False
        try:
            with self._lock, self._db:
                for sql, rows in statements:
                    self._db.executemany(sql, rows)
        except sqlite3.Error as error:
            if self._retry_at is None:
                LOG.warning(
                    "%s cannot be written: %s; going on without it, and trying again",
                    self._path, error,
                )  # fmt: skip
            self._retry_at = time.monotonic() + _RETRY
            return False
        if self._retry_at is not None:
            self._retry_at = None
            LOG.info("%s can be written again", self._path)
        return True

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if not self._path.exists() or isinstance(error, sqlite3.OperationalError):
                raise
            aside = self._path.with_name(f"{FILE_NAME}.{int(time.time())}.bad")
            self._path.rename(aside)
            for suffix in ("-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{self._path}{suffix}").unlink()
            LOG.warning("%s: %s; set aside as %s, starting afresh", self._path, error, aside.name)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(self._path, timeout=1, check_same_thread=False)
        try:
            (application,) = db.execute("PRAGMA application_id").fetchone()
            (version,) = db.execute("PRAGMA user_version").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if tables and (application, version) != (_APPLICATION_ID, _VERSION):
                raise sqlite3.DatabaseError(
                    f"not a file of this version of dfovsdb ({application:#x}, {version})"
                )
            if (found := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(found)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {_VERSION}")
            db.execute(
                "CREATE TABLE IF NOT EXISTS told (sink TEXT NOT NULL, host TEXT NOT NULL, "
                "uuid TEXT NOT NULL, doubtful INTEGER NOT NULL, port BLOB NOT NULL, "
                "PRIMARY KEY (sink, host, uuid)) WITHOUT ROWID"
            )
            db.execute("UPDATE told SET doubtful = doubtful WHERE 0")  # may we write at all?
            db.commit()
        except BaseException:
            db.close()
            raise
        return db


class StoredToldView(ToldView):
    """The same, kept in a StateFile."""

    _PUT = "INSERT OR REPLACE INTO told (sink, host, uuid, doubtful, port) VALUES (?, ?, ?, ?, ?)"
    _DOUBT = "UPDATE told SET doubtful = 1 WHERE sink = ? AND host = ? AND uuid = ?"
    _DELETE = "DELETE FROM told WHERE sink = ? AND host = ? AND uuid = ?"
    _DELETE_ALL = "DELETE FROM told WHERE sink = ? AND host = ?"

    def __init__(self, state: StateFile, sink: str, host: str) -> None:
        super().__init__()
        self._state = state
        self._key = (sink, host)
        self._behind = False  # the file lacks something that could not be written
        for port, doubtful in state.load(sink, host):
            self._ports[port.uuid] = port
            if doubtful:
                self.doubtful.add(port.uuid)

    def offering(self, events: Sequence[PortEvent]) -> None:
        """A port is recorded before its online is offered; a known one becomes doubtful."""
        put = [self._row(event.port, doubtful=True) for event in events if self._is_new(event)]
        doubt = [(*self._key, event.port.uuid) for event in events if not self._is_new(event)]
        self._write([(self._PUT, put), (self._DOUBT, doubt)])

    def accepted(self, events: Sequence[PortEvent]) -> None:
        """A port is removed after its offline was accepted."""
        super().accepted(events)
        gone = [(*self._key, e.port.uuid) for e in events if e.action == "offline"]
        put = [self._row(e.port, doubtful=False) for e in events if e.action != "offline"]
        self._write([(self._DELETE, gone), (self._PUT, put)])

    def refused(self, event: PortEvent) -> None:
        """What the file says becomes what the sink was told before."""
        told = self.get(event.port.uuid)
        if told is None:
            self._write([(self._DELETE, [(*self._key, event.port.uuid)])])
        else:
            doubtful = told.uuid in self.doubtful
            self._write([(self._PUT, [self._row(told, doubtful=doubtful)])])

    def _is_new(self, event: PortEvent) -> bool:
        return event.port.uuid not in self._ports

    def _row(self, port: Port, *, doubtful: bool) -> tuple[object, ...]:
        return (*self._key, port.uuid, int(doubtful), json_v1.encode_port(port))

    def _write(self, statements: Sequence[Statement]) -> None:
        if self._behind:  # write everything, so that the file is true again
            ports = [
                self._row(port, doubtful=uuid in self.doubtful)
                for uuid, port in self._ports.items()
            ]
            statements = [(self._DELETE_ALL, [self._key]), (self._PUT, ports), *statements]
        self._behind = not self._state.write(statements)
