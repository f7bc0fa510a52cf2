"""The past of a host: the events in the files that the jsonl sink wrote.

A line is decoded only where it may be asked for, damaged lines are counted, and files may be
compressed by logrotate(8).
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import IO, cast

import msgspec

from dfovsdb.errors import ConfigurationError
from dfovsdb.json_v1 import from_json
from dfovsdb.model import PortEvent
from dfovsdb.text.durations import seconds


class History:
    """The events of some files, in the order of their times.

    :param files: paths; one whose name ends with .gz is decompressed.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._files = files
        self.damaged = 0  #: lines that could not be read

    def events(
        self, wanted: Callable[[PortEvent], bool], texts: Sequence[str] = ()
    ) -> list[PortEvent]:
        """Return the events that are wanted, the oldest first.

        :param texts: one of these is in every event that is wanted; other lines are not decoded.
        :raises ConfigurationError: a file cannot be read.
        """
        needles = [msgspec.json.encode(text)[1:-1] for text in texts]
        found = [
            event for file in self._files for event in self._of(file, needles) if wanted(event)
        ]
        found.sort(key=lambda event: event.time)
        return found

    def _of(self, file: str, needles: Sequence[bytes]) -> Iterator[PortEvent]:
        try:
            with _open(file) as lines:
                for line in lines:
                    if not line.strip() or b'"sync_' in line[:200]:
                        continue
                    if needles and not any(needle in line for needle in needles):
                        continue
                    try:
                        event = from_json(line)
                    except ValueError:
                        self.damaged += 1
                        continue
                    if isinstance(event, PortEvent):
                        yield event
        except (OSError, EOFError) as error:  # EOFError: gzip that was cut
            if isinstance(error, EOFError):
                self.damaged += 1
                return
            raise ConfigurationError(
                f"cannot read {os.fspath(file)!r}: {error.strerror or error}"
            ) from None


def _open(file: str) -> IO[bytes]:
    if file.endswith(".gz"):
        return cast("IO[bytes]", gzip.open(file, "rb"))
    return open(file, "rb")


def moment(text: str) -> datetime:
    """Return the time that somebody means: an ISO time, or so long ago.

    :raises ConfigurationError: it is neither.
    """
    try:
        return datetime.now(UTC) - timedelta(seconds=seconds(text))
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)
    except ValueError:
        pass  # it is no duration
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"{text!r:.60} is no time: use 90s, 10m, 2h, 1d, or 2026-11-22T13:00:00"
        ) from None
    return time.astimezone() if time.tzinfo is None else time


def timeline(events: Iterable[PortEvent]) -> Iterator[tuple[PortEvent, timedelta | None]]:
    """Yield each event with the time since the one before it; None for the first."""
    before: datetime | None = None
    for event in events:
        yield event, None if before is None else event.time - before
        before = event.time
