"""Recording: write the bytes that a server sent to a file, with their times.

A recording is made of JSON lines, so that it can be read, cut and mailed: a header, then one
line for each connection that was made (`begin`), for bytes that arrived (`data`) and for each
connection that was lost (`lost`), with `t` seconds since the header's `time`. Bytes that are
not UTF-8, because a read cut a character, are kept as lone surrogates.
"""

from __future__ import annotations

import json
import os
import re
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from dfovsdb.errors import ConfigurationError, ConnectionLost
from dfovsdb.logs import get_logger
from dfovsdb.model import TABLE
from dfovsdb.ovsdb.session import Changes, Session, Snapshot
from dfovsdb.version import __version__

LOG = get_logger(__name__)

VERSION = 1  #: version of the format


class RecordingSession(Session):
    """A Session that records what it receives.

    :param file: is created. If the disk is full, the recording ends, but the session continues.
    :raises ConfigurationError: the file exists already, or cannot be created.
    """

    def __init__(
        self, now: float, *, file: str | os.PathLike[str], host: str, **options: Any
    ) -> None:
        super().__init__(now, **options)
        self._name = os.fspath(file)
        self._file: int | None = None  # kept open: another file may get its name
        self._began = now
        self._held = ""  # the end of what was read, where a secret may begin
        header = {
            "recording": VERSION,
            "dfovsdb": __version__,
            "time": datetime.now(UTC).isoformat(),
            "host": host,
            "monitor": options.get("monitor", "auto"),
            "tables": list(options.get("tables", (TABLE,))),
            "columns": sorted(options.get("extra_columns", ())),
        }
        try:
            self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._close = weakref.finalize(self, os.close, self._file)
            _write_all(self._file, json.dumps(header) + "\n")
        except OSError as error:
            raise ConfigurationError(
                f"cannot record to {os.fspath(file)!r}: {error.strerror}"
            ) from None

    def begin(self, now: float) -> None:
        self._held = ""
        self._write(now, begin=True)
        super().begin(now)

    def received(self, data: bytes, now: float) -> Iterator[Snapshot | Changes]:
        if data:
            text = self._held + data.decode("utf-8", "surrogateescape")
            end = found.start() if (found := _UNFINISHED.search(text)) else len(text)
            self._held = text[end:]
            if end:
                self._write(now, data=_SECRET.sub(_hidden, text[:end]))
        return super().received(data, now)

    def lost(self, error: ConnectionLost, now: float) -> None:
        self._write(now, lost=str(error))
        super().lost(error, now)

    def _write(self, now: float, **what: Any) -> None:
        if self._file is None:
            return
        line = json.dumps({"t": round(now - self._began, 6), **what})
        try:
            _write_all(self._file, line + "\n")
        except OSError as error:
            LOG.warning("the recording %s ends here: %s", self._name, error.strerror)
            self._close()
            self._file = None


#: A pair of a map (RFC 7047, section 5.1) whose key names a secret, such as options:psk.
_SECRET = re.compile(
    r'(\["[^"\\]*(?:psk|passw|secret|private_key|token)[^"\\]*",")((?:[^"\\]|\\.)*)(")',
    re.IGNORECASE | re.DOTALL,
)
#: The beginning of a pair at the end of what was read; it is kept until the rest is there.
_UNFINISHED = re.compile(r'\[(?:"[^"\\]{0,80}(?:"(?:,(?:"(?:[^"\\]|\\.)*\\?)?)?)?)?\Z', re.DOTALL)


def _hidden(pair: re.Match[str]) -> str:
    return f"{pair[1]}***{pair[3]}"


def _write_all(descriptor: int, line: str) -> None:
    left = line.encode("ascii")
    while left:
        left = left[os.write(descriptor, left) :]
