"""The sink that writes JSON lines, version 1, to standard output or a file."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shlex
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from oslo_config import cfg

from dfovsdb.disk import check_may_write, is_full
from dfovsdb.errors import ConfigurationError, SinkUnavailable
from dfovsdb.json_v1 import to_json
from dfovsdb.logs import get_logger
from dfovsdb.sinks.base import Sink, SinkContext

if TYPE_CHECKING:
    from dfovsdb.model import PortEvent, SyncMarker

LOG = get_logger(__name__)

_PATIENCE = 1.0  # seconds for a reader of a pipe that is full; after that it is an outage
_BEGINNING = b'{"v":'  # of every line
_LINE = 1 << 16  # bytes at the end of a file in which an incomplete line is looked for first
_LONGEST_LINE = 1 << 26  # and at most


class JsonlSink(Sink):
    """Append a line for each event, and reopen the file on SIGHUP, for logrotate.

    A full disk is an outage, and so is a pipe that nobody reads. Of a line that was written only
    in part, the part is removed from a file; into a pipe the rest is written before anything else.
    If the file is deleted, a new one is begun, and all ports are sent again.
    """

    options = (
        cfg.StrOpt(
            "path",
            default="-",
            help="File to append to, or - for standard output. A new file has mode 0640.",
        ),
        cfg.IntOpt(
            "max_bytes",
            default=0,
            min=0,
            help="Size in bytes beyond which the file is renamed to PATH.1 and a new one is begun "
            "(earlier ones become PATH.2 and so on). A single longer line is still written whole. "
            "0 leaves rotation to logrotate.",
        ),
        cfg.IntOpt(
            "keep",
            default=7,
            min=1,
            max=1000,
            help="How many renamed files are kept; the oldest is deleted. Used with max_bytes.",
        ),
    )

    def __init__(self, path: str = "-", max_bytes: int = 0, keep: int = 7) -> None:
        if not path:
            raise ConfigurationError("option path is empty: name a file, or - for standard output")
        if max_bytes and path == "-":
            raise ConfigurationError(
                "option max_bytes is set, but standard output cannot be rotated: name a file in "
                "option path"
            )
        self.path = path  #: `-` for standard output
        self._max_bytes = max_bytes
        self._keep = keep
        self._fd = -1
        self._rest = b""  # the end of a line whose beginning has been written
        self._rotates = True  # the last rotation has not failed
        self._request_replay: Callable[[], None] = lambda: None
        self._check_path()

    def _check_path(self) -> None:
        """Check what can be checked without creating the file; open() finds the rest."""
        if self.path == "-":
            return
        path = Path(self.path)
        if os.path.isdir(path):
            raise ConfigurationError(f"{path} is a folder: name a file in it in option path")
        try:
            os.stat(path.parent)
            check_may_write(path if os.path.exists(path) else path.parent)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS):
                raise ConfigurationError(self._text(error)) from None

    def open(self, context: SinkContext) -> None:
        self._request_replay = context.request_replay
        try:
            self._open()
        except OSError as error:
            kind = SinkUnavailable if is_full(error) else ConfigurationError
            raise kind(self._text(error)) from None

    def reopen(self) -> None:
        if self.path == "-":
            return
        self._leave_deleted_file()
        self.close()
        try:
            self._open()
        except OSError as error:
            raise SinkUnavailable(self._text(error)) from None

    def emit(self, event: PortEvent) -> None:
        self._write([to_json(event)])

    def emit_many(self, events: Sequence[PortEvent]) -> None:
        self._write([to_json(event) for event in events])

    def sync_started(self, marker: SyncMarker) -> None:
        self._write([to_json(marker)])

    def sync_finished(self, marker: SyncMarker) -> None:
        self._write([to_json(marker)])

    def close(self) -> None:
        if self.path != "-" and self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._rest = b""

    def _open(self) -> None:
        if self.path == "-":
            self._fd = sys.stdout.fileno()
            return
        _end_last_line(self.path)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o640)

    def _write(self, lines: list[bytes]) -> None:
        delivered = 0
        self._leave_deleted_file()
        for part in self._parts([line + b"\n" for line in lines]):
            try:
                self._append(b"".join(part))
            except _Incomplete as error:
                raise SinkUnavailable(
                    self._text(error.cause), delivered + error.whole_lines
                ) from None
            delivered += len(part)

    def _leave_deleted_file(self) -> None:
        """Begin a new file if the present one was deleted, and not only renamed: nobody will ever
        read it, so everything is written again.
        """
        if self.path == "-" or self._fd < 0:
            return
        try:
            ours = os.fstat(self._fd)
        except OSError:  # such as of a network file system: writing says what is wrong
            return
        if ours.st_nlink:
            return
        with contextlib.suppress(OSError):
            if os.path.samestat(ours, os.stat(self.path)):  # such as /dev/stdout
                return
        LOG.warning("%s was deleted; a new file is begun with all ports", self.path)
        self.close()  # the next write opens the new file
        self._request_replay()

    def _parts(self, lines: list[bytes]) -> Iterator[list[bytes]]:
        """Yield the lines in as many parts as there are files to write them to."""
        if not self._max_bytes:
            yield lines
            return
        while lines:
            size = self._size()
            if size and size + len(lines[0]) > self._max_bytes:
                self._rotate()
                size = self._size()
            count = 1
            size += len(lines[0])
            while count < len(lines) and size + len(lines[count]) <= self._max_bytes:
                size += len(lines[count])
                count += 1
            yield lines[:count]
            lines = lines[count:]

    def _append(self, text: bytes) -> None:
        """Write lines, after the rest of one whose beginning has been written.

        :raises _Incomplete: only some of them could be written.
        """
        before = len(self._rest)
        text = self._rest + text
        written = 0
        try:
            if self._fd < 0:  # an earlier attempt to reopen it has failed
                self._open()
            while written < len(text):
                written += self._write_some(text[written:])
        except OSError as error:
            whole = text.rfind(b"\n", 0, written) + 1
            self._rest = b""
            if written > whole:
                try:  # remove the incomplete line
                    if self.path == "-":
                        raise OSError
                    os.ftruncate(self._fd, os.fstat(self._fd).st_size - (written - whole))
                except OSError:  # a pipe, or a disk that fails: write its end later instead
                    self._rest = text[written : text.index(b"\n", written) + 1]
            elif written < before:
                self._rest = text[written:before]
            raise _Incomplete(error, text.count(b"\n", before, max(before, whole))) from None
        self._rest = b""

    def _write_some(self, text: bytes) -> int:
        try:
            return os.write(self._fd, text)
        except BlockingIOError:  # another process has made standard output non-blocking
            poll = select.poll()
            poll.register(self._fd, select.POLLOUT)
            if not poll.poll(_PATIENCE * 1000):
                raise
            return 0

    def _size(self) -> int:
        try:
            return os.fstat(self._fd).st_size if self._fd >= 0 else 0
        except OSError:
            return 0

    def _rotate(self) -> None:
        """Rename the file to PATH.1 and begin a new one; if that fails, go on with the present
        one.

        Earlier files are renamed only as far as the next free name, so that another attempt after
        a failure, which finds PATH.1 free, deletes none of them.
        """
        earlier = [f"{self.path}.{number}" for number in range(1, self._keep + 1)]
        free = next(
            (n for n, name in enumerate(earlier) if not os.path.lexists(name)), len(earlier) - 1
        )
        try:
            for number in range(free, 0, -1):
                os.replace(earlier[number - 1], earlier[number])
            os.replace(self.path, earlier[0])
        except OSError as error:
            if self._rotates:
                LOG.warning(
                    "%s cannot be rotated (%s); writing goes on in the same file",
                    self.path,
                    error.strerror,
                )
            self._rotates = False
            return
        self._rotates = True
        self.close()  # the next write opens the new file

    def _text(self, error: OSError) -> str:
        """Return what is wrong with the file, and what to do."""
        text = f"{self.path}: {error.strerror}"
        if error.errno == errno.ENOENT:
            folder = shlex.quote(str(Path(self.path).parent))
            text += f"; create its folder, writable for this user: mkdir -p {folder}"
        elif error.errno == errno.EACCES:
            text += f"; uid {os.geteuid()} needs permission to write there"
        elif error.errno == errno.EROFS:
            text += (
                "; a systemd unit may write only to the folders that it lists, and must be "
                "restarted after one of them was created again"
            )
        return text


class _Incomplete(Exception):
    """Not everything was written: `cause`, and how many lines were written whole."""

    def __init__(self, cause: OSError, whole_lines: int) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.whole_lines = whole_lines


def _end_last_line(path: str) -> None:
    """End the last line of a file if a crash has left it incomplete.

    The part of an event is removed, because the event was not counted as delivered and is offered
    again. Anything else is kept, and ended.
    """
    try:
        with open(path, "r+b") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return
            size = file.seek(0, os.SEEK_END)
            begin, length, end_of_other, line = size, _LINE, b"", b""
            while begin > 0 and not end_of_other and length <= _LONGEST_LINE:
                begin = max(0, size - length)
                file.seek(begin)
                _, end_of_other, line = file.read().rpartition(b"\n")
                length *= 8
            if not line:
                return
            ours = line.startswith(_BEGINNING) or _BEGINNING.startswith(line)
            if ours and not _is_json(line):
                file.truncate(size - len(line))
                LOG.warning(
                    "%s ended with an incomplete line of %d bytes, which was removed; its event "
                    "is written again",
                    path,
                    len(line),
                )
            else:
                file.seek(0, os.SEEK_END)
                file.write(b"\n")
    except OSError:
        return  # it does not exist or may not be read: opening it to append decides


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except ValueError:
        return False
    return True
