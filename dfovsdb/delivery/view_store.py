"""The stored views of the sinks: the ports that each sink has accepted, in a file of state_dir.

Because of this file, departures are delivered after a restart too. A port is marked before an
offer and confirmed after it was accepted. A crash between the two leaves the port doubtful, and a
doubtful port is sent again. So a crash may repeat an event, but never lose one.

A stored port whose bytes were damaged may still look like a port, of another name, so each row has
a checksum. A file that is deleted while it is in use is noticed, and written again.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shlex
import sqlite3
import struct
import threading
import time
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from dfovsdb import json_v1
from dfovsdb.delivery.view import SinkView
from dfovsdb.disk import check_may_write, is_full, is_read_only
from dfovsdb.errors import ConfigurationError, DfovsdbError
from dfovsdb.logs import get_logger
from dfovsdb.model import UNREADABLE, Port, PortEvent
from dfovsdb.text.escape import counted

LOG = get_logger(__name__)

FILE_NAME = "told.sqlite"
#: "dfov": identifies files of dfovsdb (sqlite.org/pragma.html#pragma_application_id)
_APPLICATION_ID = 0x6466_6F76
_VERSION = 2
_FILES = ("", "-wal", "-shm", "-journal")  # of one database (sqlite.org/tempfiles.html)
#: Primary result codes (sqlite.org/rescode.html) that say nothing about the file itself.
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
_RETRY = 4.0  # seconds before another attempt to write after the disk refused
_CLOSE = 0.2  # seconds that closing waits for a hanging disk

#: SQL, and the rows of parameters to run it with.
Statement = tuple[str, Sequence[tuple[object, ...]]]


def check_folder(state_dir: str | os.PathLike[str]) -> None:
    """Check whether a ViewStore can be kept there; nothing is created, opened or locked.

    :raises ConfigurationError: it cannot.
    """
    folder = Path(state_dir)
    try:
        os.stat(folder / ".")  # a path that fails for a file
        for path in (folder, *_files(folder)):
            mode = os.R_OK | os.W_OK | (os.X_OK if path == folder else 0)
            check_may_write(path, mode)
    except OSError as error:
        raise _unusable(folder, error) from None


def held_by(state_dir: str | os.PathLike[str]) -> int | None:
    """Return the process that has the views there in use, None if there is none."""
    try:
        with (Path(state_dir) / FILE_NAME).open("rb") as file:
            # struct flock of fcntl(2), over the bytes that SQLite locks (its file os.h)
            query = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0x40000000, 512, 0)
            kind, _, _, _, pid = struct.unpack("hhqqi", fcntl.fcntl(file, fcntl.F_GETLK, query))
    except OSError:
        return None
    return None if kind == fcntl.F_UNLCK else int(pid)


class ViewStore:
    """The SQLite file under state_dir with the views of all sinks of one process.

    It survives the process, but not a loss of power: what was written in the last seconds before
    one may be missing. This is the price for not waiting for the disk twice for every event.

    :raises ConfigurationError: the folder does not exist, cannot be written to, or is in use.
    :raises DfovsdbError: its disk is full.
    """

    def __init__(self, state_dir: str | os.PathLike[str]) -> None:
        self._path = Path(state_dir) / FILE_NAME
        self._lock = threading.Lock()
        self._retry_at: float | None = None
        self._closed = False
        self._identity: os.stat_result | None = None  # of the open file; None: it is in memory
        try:
            self._use(self._open("every sink is sent everything again"))
        except (sqlite3.Error, OSError) as error:
            raise _unusable(self._path.parent, error) from None

    def view(self, sink: str, host: str) -> StoredSinkView:
        """Return the view of one sink instance on one host.

        :raises ConfigurationError: the disk cannot be read.
        """
        try:
            return StoredSinkView(self, sink, host)
        except sqlite3.Error as error:
            if _is_in_the_way(error):
                self.close()
                raise _unusable(self._path.parent, error) from None
            self._db.close()
            self._set_aside(error, "every sink is sent everything again")
        self._use(self._connect())
        return StoredSinkView(self, sink, host)

    def close(self) -> None:
        """Close the file. Whatever an abandoned sink still accepts is not stored."""
        self._closed = True
        if self._lock.acquire(timeout=_CLOSE):
            self._db.close()
            self._lock.release()

    def load(self, sink: str, host: str) -> tuple[list[tuple[Port, bool]], bool]:
        """Return the stored ports of a sink, with whether each is doubtful, and whether all of
        them could be read.
        """
        with self._lock:
            rows = self._db.execute(
                "SELECT uuid, doubtful, port, checksum FROM told WHERE sink = ? AND host = ?",
                (sink, host),
            ).fetchall()
        ports: list[tuple[Port, bool]] = []
        lost: list[str] = []
        for uuid, doubtful, text, checksum in rows:
            try:
                if checksum != _checksum(uuid, doubtful, text):
                    raise ValueError("its checksum is wrong")
                ports.append((json_v1.decode_port(text), bool(doubtful)))
            except (*UNREADABLE, TypeError, ValueError, AttributeError) as error:
                lost.append(f"{uuid!r:.50}: {error}")
        if lost:
            LOG.warning(
                "%s: %s that sink %s was sent cannot be read, such as %s; what is still there is "
                "sent as new, but no departure is sent of what has left meanwhile",
                self._path,
                counted(len(lost), "port"),
                sink,
                lost[0],
            )
        return ports, not lost

    def write(self, statements: Sequence[Statement]) -> bool:
        """Run statements in one transaction; return False if the disk refuses, logged once."""
        with self._lock:
            if self._closed or (self._retry_at and time.monotonic() < self._retry_at):
                return False
            try:
                if not self._is_there():
                    self._write_again()
                with self._db:
                    for sql, rows in statements:
                        self._db.executemany(sql, rows)
            except (sqlite3.Error, OSError) as error:
                if self._retry_at is None:
                    LOG.warning(
                        "%s cannot be written: %s; continuing without it, and trying again later",
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

    def _use(self, db: sqlite3.Connection) -> None:
        self._db, self._identity = db, os.stat(self._path)

    def _is_there(self) -> bool:
        """Return whether the file that is open still has its name."""
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False
        return self._identity is not None and os.path.samestat(self._identity, there)

    def _write_again(self) -> None:
        """Write everything to a new file, because nobody will find the one that is open.

        Until this has succeeded everything is in memory, and no file counts as open: that of a
        failed attempt is empty, and a deleted one may come back with its folder.
        """
        if self._identity is not None:
            memory = sqlite3.connect(":memory:", check_same_thread=False)
            memory.text_factory = bytes
            self._db.backup(memory)
            self._db.close()  # before another is opened: it deletes the journal of its name
            self._db, self._identity = memory, None
        db = self._open("it will be written again")
        try:
            self._db.backup(db)
        except BaseException:
            db.close()
            raise
        self._db.close()
        self._use(db)
        LOG.warning("%s was deleted or replaced while in use; it was written again", self._path)

    def _open(self, then: str) -> sqlite3.Connection:
        """Open the file, or a new one if it cannot be read.

        :param then: what follows from that, for the log.
        """
        try:
            return self._connect()
        except (sqlite3.DatabaseError, TypeError, ValueError) as error:
            if _is_in_the_way(error):
                raise
            self._set_aside(error, then)
            return self._connect()

    def _set_aside(self, error: Exception, then: str) -> None:
        aside = f"{self._path}.{int(time.time())}.bad"
        for suffix in _FILES:  # a journal left here would be applied to the new file
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{self._path}{suffix}", f"{aside}{suffix}")
        LOG.warning(
            "%s cannot be read: %s; set aside as %s, and %s", self._path, error, aside, then
        )

    def _connect(self) -> sqlite3.Connection:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL, 0o600))
        db = sqlite3.connect(self._path, timeout=1, check_same_thread=False)
        db.text_factory = bytes  # a damaged file may have text that is not UTF-8
        try:
            # two processes would corrupt each other's views
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            (application,) = db.execute("PRAGMA application_id").fetchone()
            (version,) = db.execute("PRAGMA user_version").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if tables and (application, version) != (_APPLICATION_ID, _VERSION):
                raise sqlite3.DatabaseError(
                    f"it is not a file of this version of dfovsdb ({application:#x}, {version})"
                )
            if (found := db.execute("PRAGMA integrity_check(1)").fetchone()[0]) != b"ok":
                raise sqlite3.DatabaseError(str(found, errors="replace"))
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {_VERSION}")
            db.execute(
                "CREATE TABLE IF NOT EXISTS told (sink TEXT NOT NULL, host TEXT NOT NULL, "
                "uuid TEXT NOT NULL, doubtful INTEGER NOT NULL, port BLOB NOT NULL, "
                "checksum INTEGER NOT NULL, "
                "PRIMARY KEY (sink, host, uuid)) WITHOUT ROWID"
            )
            db.execute("SELECT sink, host, uuid, doubtful, port, checksum FROM told LIMIT 1")
            # check that writing is possible at all
            db.execute("UPDATE told SET doubtful = doubtful WHERE 0")
            db.commit()
        except BaseException:
            db.close()
            raise
        return db


class StoredSinkView(SinkView):
    """A view that is kept in a ViewStore too.

    For each port the file has what the sink has accepted, or, if it has accepted nothing yet, what
    it is being offered. While an offer is open the port is doubtful.
    """

    _PUT = (
        "INSERT OR REPLACE INTO told (sink, host, uuid, doubtful, port, checksum) "
        "VALUES (?, ?, ?, ?, ?, ?)"
    )
    _DELETE = "DELETE FROM told WHERE sink = ? AND host = ? AND uuid = ?"
    _DELETE_ALL = "DELETE FROM told WHERE sink = ? AND host = ?"

    def __init__(self, state: ViewStore, sink: str, host: str) -> None:
        super().__init__()
        self._state = state
        self._key = (sink, host)
        self._offered: dict[str, Port] = {}
        ports, complete = state.load(sink, host)
        self._behind = not complete  # the file has something else than this view
        for port, doubtful in ports:
            self._ports[port.uuid] = port
            if doubtful:
                self.doubtful.add(port.uuid)

    def offering(self, events: Sequence[PortEvent]) -> None:
        """Record a port before its online is offered."""
        offered = {event.port.uuid: event.port for event in events}
        self._offered |= offered
        self._save(offered)

    def accepted(self, events: Sequence[PortEvent]) -> None:
        """Remove a port after its offline was accepted."""
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
        """Write what the disk has refused before, for the last time."""
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
        if self._behind:  # write everything, so that the file is correct again
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
                text = json_v1.encode_port(port)
                checksum = _checksum(uuid.encode(), doubtful, text)
                put.append((*self._key, uuid, doubtful, text, checksum))
        statements += [(self._DELETE, gone), (self._PUT, put)]
        self._behind = not self._state.write(statements)


def _checksum(uuid: bytes, doubtful: int, port: bytes) -> int:
    return zlib.crc32(b"%s %d %s" % (uuid, doubtful, port))


def _is_in_the_way(error: Exception) -> bool:
    """Return whether the error says nothing about the file itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _IN_THE_WAY


def _unusable(folder: Path, error: Exception) -> DfovsdbError:
    why = (isinstance(error, OSError) and error.strerror) or str(error)
    text = f"state_dir {str(folder)!r} cannot be used: {why}; "
    code = getattr(error, "sqlite_errorcode", 0)
    if code == sqlite3.SQLITE_FULL or is_full(error):
        # no wrong use: another attempt may succeed
        return DfovsdbError(f"{text}free some space on its disk")
    if code == sqlite3.SQLITE_BUSY:
        text += "another process uses it"
    elif not _exists(folder):
        text += f"create it, writable for this user: mkdir -p {shlex.quote(str(folder))}"
    elif is_read_only(folder):
        text += (
            "mount it to be written to; a systemd unit may write only to the folders that it lists"
        )
    elif files := [file for file in _files(folder) if not _may_write(file)]:
        names = " ".join(shlex.quote(str(file)) for file in sorted(files))
        text += f"another user has written in it: chown {os.geteuid()} {names}"
    else:
        text += f"use a folder that uid {os.geteuid()} can write to"
    return ConfigurationError(text)


def _files(folder: Path) -> list[Path]:
    """Return the files there are; none where this user may not look."""
    return [folder / name for name in glob.glob(f"{FILE_NAME}*", root_dir=folder)]


def _exists(folder: Path) -> bool:
    """Return whether it exists, or is behind a folder that this user may not enter."""
    try:
        os.stat(folder)
    except FileNotFoundError:
        return False
    except OSError:
        pass
    return True


def _may_write(file: Path) -> bool:
    return os.access(file, os.W_OK, effective_ids=True)
