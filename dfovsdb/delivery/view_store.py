"""The told view: the ports that one sink has been told and has accepted.

In memory, or kept in a file of state_dir so that departures are told after a restart too.
There a port is marked before an offer and settled after it was accepted: a crash between the
two leaves it doubtful, and a doubtful port is told again. So a crash may repeat, never lose.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dfovsdb import json_v1
from dfovsdb.delivery.view import SinkView
from dfovsdb.errors import ConfigurationError
from dfovsdb.logs import get_logger
from dfovsdb.model import UNREADABLE, Port, PortEvent
from dfovsdb.text.escape import counted

LOG = get_logger(__name__)

FILE_NAME = "told.sqlite"
#: "dfov": a file of ours (sqlite.org/pragma.html#pragma_application_id)
_APPLICATION_ID = 0x6466_6F76
_VERSION = 1
_FILES = ("", "-wal", "-shm", "-journal")  # of one database (sqlite.org/tempfiles.html)
#: Primary result codes (sqlite.org/rescode.html) that say nothing against the file itself.
_IN_THE_WAY = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_NOMEM,
}
_RETRY = 4.0  # seconds before another try to write after the disk refused
_CLOSE = 0.2  # seconds that closing waits for a disk that hangs

#: SQL, and the rows of parameters to run it with.
Statement = tuple[str, Sequence[tuple[object, ...]]]


def check_folder(state_dir: str | os.PathLike[str]) -> None:
    """See whether a ViewStore could be kept there; nothing is made, opened or locked.

    :raises ConfigurationError: it could not.
    """
    folder = Path(state_dir)
    try:
        os.stat(folder / ".")  # which is none of a file
        for path in (folder, *(file for file in folder.glob(f"{FILE_NAME}*"))):
            mode = os.R_OK | os.W_OK | (os.X_OK if path == folder else 0)
            if not os.access(path, mode, effective_ids=True):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    except OSError as error:
        raise _unusable(folder, error) from None


class ViewStore:
    """The SQLite file under state_dir that keeps the told views of all sinks of one process.

    It outlives the process, not a loss of power: what was written in the last seconds before
    one may be gone, as the price of not waiting for the disk twice for every event.

    :raises ConfigurationError: the folder is not there, cannot be written, or is in use.
    """

    def __init__(self, state_dir: str | os.PathLike[str]) -> None:
        self._path = Path(state_dir) / FILE_NAME
        self._lock = threading.Lock()
        self._retry_at: float | None = None
        self._closed = False
        try:
            self._db = self._open()
        except (sqlite3.Error, OSError) as error:
            raise _unusable(self._path.parent, error) from None

    def view(self, sink: str, host: str) -> StoredSinkView:
        """The told view of one sink instance on one host.

        :raises ConfigurationError: the disk cannot be read.
        """
        try:
            return StoredSinkView(self, sink, host)
        except sqlite3.Error as error:
            if _is_in_the_way(error):
                self.close()
                raise _unusable(self._path.parent, error) from None
            self._db.close()
            self._set_aside(error)
        self._db = self._connect()
        return StoredSinkView(self, sink, host)

    def close(self) -> None:
        """Close the file. A sink that was left behind may still come back; that is not kept."""
        self._closed = True
        if self._lock.acquire(timeout=_CLOSE):
            self._db.close()
            self._lock.release()

    def load(self, sink: str, host: str) -> Iterator[tuple[Port, bool]]:
        """The ports kept for a sink, and whether each is doubtful."""
        with self._lock:
            rows = self._db.execute(
                "SELECT uuid, port, doubtful FROM told WHERE sink = ? AND host = ?", (sink, host)
            ).fetchall()
        lost: list[str] = []
        for uuid, text, doubtful in rows:
            try:
                port = json_v1.decode_port(text)
                if port.uuid.encode() != uuid:
                    raise ValueError(f"it is the port {port.uuid}")
            except (*UNREADABLE, TypeError, ValueError, AttributeError) as error:
                lost.append(f"{uuid!r:.50}: {error}")
            else:
                yield port, bool(doubtful)
        if lost:
            LOG.warning(
                "%s: %s that sink %s was sent cannot be read, such as %s: they are sent as new",
                self._path,
                counted(len(lost), "port"),
                sink,
                lost[0],
            )

    def write(self, statements: Sequence[Statement]) -> bool:
        """Run statements in one transaction; False where the disk refuses, said once."""
        with self._lock:
            if self._closed or (self._retry_at and time.monotonic() < self._retry_at):
                return False
            try:
                with self._db:
                    for sql, rows in statements:
                        self._db.executemany(sql, rows)
            except sqlite3.Error as error:
                if self._retry_at is None:
                    LOG.warning(
                        "%s cannot be written: %s; going on without it, and trying again",
                        self._path,
                        error,
                    )
                self._retry_at = time.monotonic() + _RETRY
                return False
            if self._retry_at is not None:
                self._retry_at = None
                LOG.info("%s can be written again", self._path)
            return True

    def retry_now(self) -> None:
        """Let the next write try the disk, however long ago it refused."""
        if self._retry_at is not None:
            self._retry_at = time.monotonic()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except (sqlite3.DatabaseError, TypeError, ValueError) as error:
            if _is_in_the_way(error):
                raise
            self._set_aside(error)
            return self._connect()

    def _set_aside(self, error: Exception) -> None:
        aside = f"{self._path}.{int(time.time())}.bad"
        for suffix in _FILES:  # a journal left here would be applied to the new file
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{self._path}{suffix}", f"{aside}{suffix}")
        LOG.warning(
            "%s cannot be read: %s; set aside as %s, and every sink is sent everything again",
            self._path,
            error,
            aside,
        )

    def _connect(self) -> sqlite3.Connection:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL, 0o600))
        db = sqlite3.connect(self._path, timeout=1, check_same_thread=False)
        db.text_factory = bytes  # a damaged file may have text that is not UTF-8
        try:
            db.execute("PRAGMA locking_mode = EXCLUSIVE")  # two would spoil each other's views
            (application,) = db.execute("PRAGMA application_id").fetchone()
            (version,) = db.execute("PRAGMA user_version").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if tables and (application, version) != (_APPLICATION_ID, _VERSION):
                raise sqlite3.DatabaseError(
                    f"it is not a file of this version of dfovsdb ({application:#x}, {version})"
                )
            if (found := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != b"ok":
                raise sqlite3.DatabaseError(str(found, errors="replace"))
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {_VERSION}")
            db.execute(
                "CREATE TABLE IF NOT EXISTS told (sink TEXT NOT NULL, host TEXT NOT NULL, "
                "uuid TEXT NOT NULL, doubtful INTEGER NOT NULL, port BLOB NOT NULL, "
                "PRIMARY KEY (sink, host, uuid)) WITHOUT ROWID"
            )
            db.execute("SELECT sink, host, uuid, doubtful, port FROM told LIMIT 1")
            db.execute("UPDATE told SET doubtful = doubtful WHERE 0")  # may we write at all?
            db.commit()
        except BaseException:
            db.close()
            raise
        return db


class StoredSinkView(SinkView):
    """The same, kept in a ViewStore.

    The file has of each port what the sink was told, or, of one that it does not know yet,
    what it is being offered. While an offer is open the port is doubtful.
    """

    _PUT = "INSERT OR REPLACE INTO told (sink, host, uuid, doubtful, port) VALUES (?, ?, ?, ?, ?)"
    _DELETE = "DELETE FROM told WHERE sink = ? AND host = ? AND uuid = ?"
    _DELETE_ALL = "DELETE FROM told WHERE sink = ? AND host = ?"

    def __init__(self, state: ViewStore, sink: str, host: str) -> None:
        super().__init__()
        self._state = state
        self._key = (sink, host)
        self._offered: dict[str, Port] = {}
        self._behind = False  # the file lacks something that could not be written
        for port, doubtful in state.load(sink, host):
            self._ports[port.uuid] = port
            if doubtful:
                self.doubtful.add(port.uuid)

    def offering(self, events: Sequence[PortEvent]) -> None:
        """A port is recorded before its online is offered."""
        offered = {event.port.uuid: event.port for event in events}
        self._offered |= offered
        self._save(offered)

    def accepted(self, events: Sequence[PortEvent]) -> None:
        """A port is removed after its offline was accepted."""
        super().accepted(events)
        self._settled(events)

    def refused(self, event: PortEvent) -> None:
        self._settled((event,))

    @property
    def behind(self) -> bool:
        return self._behind

    def mend(self) -> None:
        if self._behind:
            self._save(())

    def settle(self) -> None:
        """Write what the disk refused before, a last time."""
        if self._behind:
            self._state.retry_now()
            self._save(())

    def _settled(self, events: Sequence[PortEvent]) -> None:
        uuids = [event.port.uuid for event in events]
        for uuid in uuids:
            del self._offered[uuid]
        self._save(uuids)

    def _save(self, uuids: Iterable[str]) -> None:
        statements: list[Statement] = []
        if self._behind:  # write everything, so that the file is true again
            statements.append((self._DELETE_ALL, [self._key]))
            uuids = self._ports.keys() | self._offered.keys()
        put: list[tuple[object, ...]] = []
        gone: list[tuple[object, ...]] = []
        for uuid in uuids:
            port = self._ports.get(uuid) or self._offered.get(uuid)
            if port is None:
                gone.append((*self._key, uuid))
            else:
                doubtful = uuid in self._offered or uuid in self.doubtful
                put.append((*self._key, uuid, doubtful, json_v1.encode_port(port)))
        statements += [(self._DELETE, gone), (self._PUT, put)]
        self._behind = not self._state.write(statements)


def _is_in_the_way(error: Exception) -> bool:
    """Say whether the error says nothing against the file itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _IN_THE_WAY


def _unusable(folder: Path, error: Exception) -> ConfigurationError:
    words = f"state_dir {str(folder)!r} cannot be used: {error}; "
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
        words += "another process uses it"
    elif not folder.exists():
        words += f"make it, for this user to write: mkdir -p {shlex.quote(str(folder))}"
    else:
        words += f"name a folder that uid {os.geteuid()} can write to"
    return ConfigurationError(words)
