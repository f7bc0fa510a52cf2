"""The sink that writes JSON lines, version 1, to standard output or a file."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from oslo_config import cfg

from dfovsdb.errors import ConfigurationError, SinkUnavailable
from dfovsdb.json_v1 import to_json
from dfovsdb.sinks.base import Sink, SinkContext

if TYPE_CHECKING:
    from dfovsdb.model import PortEvent, SyncMarker


class JsonlSink(Sink):
    """Append a line for each event, and reopen the file on SIGHUP, for logrotate.

    A full disk is an outage. A line that was written only in part is removed again.
    """

    options = (
        cfg.StrOpt(
            "path",
            default="-",
            help="File to append to, or - for standard output. A new file has mode 0640.",
        ),
    )

    def __init__(self, path: str = "-") -> None:
        if not path:
            raise ConfigurationError("option path is empty: name a file, or - for standard output")
        self._path = path
        self._fd = -1
        try:  # what can be checked without creating the file
            os.stat(Path(path).parent)
        except FileNotFoundError as error:
            raise ConfigurationError(self._text(error)) from None
        except OSError:
            pass  # open() reports it

    def open(self, context: SinkContext) -> None:
        try:
            self._open()
        except OSError as error:
            raise ConfigurationError(self._text(error)) from None

    def reopen(self) -> None:
        if self._path == "-":
            return
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
        if self._path != "-" and self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        if self._path == "-":
            self._fd = sys.stdout.fileno()
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o640)

    def _write(self, lines: list[bytes]) -> None:
        text = b"".join(line + b"\n" for line in lines)
        written = 0
        try:
            if self._fd < 0:  # an earlier attempt to reopen it has failed
                self._open()
            while written < len(text):
                written += os.write(self._fd, text[written:])
        except OSError as error:
            whole = text.rfind(b"\n", 0, written) + 1
            if self._path != "-" and written > whole:  # remove the incomplete line
                os.ftruncate(self._fd, os.fstat(self._fd).st_size - (written - whole))
            delivered = text.count(b"\n", 0, whole)
            raise SinkUnavailable(self._text(error), delivered) from None

    def _text(self, error: OSError) -> str:
        """Return what is wrong with the file, and what to do."""
        text = f"{self._path}: {error.strerror}"
        if error.errno == errno.ENOENT:
            folder = shlex.quote(str(Path(self._path).parent))
            text += f"; create its folder, writable for this user: mkdir -p {folder}"
        elif error.errno == errno.EACCES:
            text += f"; uid {os.geteuid()} needs permission to write there"
        elif error.errno == errno.EROFS:
            text += (
                "; a systemd unit may write only to the folders that it lists, and must be "
                "restarted after one of them was created again"
            )
        return text
